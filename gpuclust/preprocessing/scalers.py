"""StandardScaler, MinMaxScaler and RobustScaler: scikit-learn's, fitted by folds."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
import scipy.sparse as sp
from scipy.stats import norm
from sklearn import preprocessing as sklearn
from sklearn.base import _fit_context

from ..backends.base import Array
from ..profiling.quantiles import quantiles_of_all
from .base import DEVICE, Here, Step, Streamed, restoring_scale
from .statistics import moments, weighted_moments

TINY = 10  # units in the last place of 1: a range below is none


class StandardScaler(Streamed, Here, sklearn.StandardScaler):
    """Features with mean 0 and variance 1, as scikit-learn's StandardScaler; NaN is left out of the fit and kept.

    Sums are double-double: the fitted values do not depend on the chunk size or the order of the rows. Weights count in
    the mean and the variance if they are passed, or if a stream carries them.

    Parameters
    ----------
    copy, with_mean, with_std : bool, default=True
        As in scikit-learn.
    device : {'auto', 'cpu', 'cuda', 'cuda:N'}, default='auto'
        'auto': where the rows are.
    chunk_size : int, optional
        Rows per chunk of a fit. The result does not depend on it.

    Attributes
    ----------
    mean_, var_, scale_ : float64 array of shape (n_features,) or None
    n_samples_seen_ : int, or array of shape (n_features,) where values are missing
    n_features_in_, feature_names_in_

    Examples
    --------
    >>> from gpuclust.preprocessing import StandardScaler
    >>> StandardScaler().fit_transform([[0.0], [2.0]]).tolist()
    [[-1.0], [1.0]]
    """

    _twin = sklearn.StandardScaler
    _parameter_constraints: ClassVar[dict[str, Any]] = {**sklearn.StandardScaler._parameter_constraints, **DEVICE}

    def __init__(
        self, *, copy: bool = True, with_mean: bool = True, with_std: bool = True, device: str = "auto",
        chunk_size: int | None = None,
    ):  # fmt: skip
        super().__init__(copy=copy, with_mean=with_mean, with_std=with_std)
        self.device = device
        self.chunk_size = chunk_size

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Mean and standard deviation of every feature.

        Parameters
        ----------
        X : array-like, sparse CSR, DataFrame, stream or path of shape (n_samples, n_features)
        y : ignored
        sample_weight : array-like of shape (n_samples,), optional

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If X is sparse and `with_mean`, or a value is infinite; what scikit-learn raises for the same X.
        """
        if sp.issparse(X) and self.with_mean:
            raise ValueError("Cannot center sparse matrices: pass `with_mean=False` instead.")
        source = self._open(X, sample_weight)
        if source.weighted:
            count, mean, variance = weighted_moments(source)
        else:
            found, _ = moments(source)
            count, mean = found.count[0], found.mean[0]
            with np.errstate(invalid="ignore", divide="ignore"):
                variance = found.deviation[0] / count
        self.mean_ = mean if self.with_mean or self.with_std else None
        self.var_ = variance if self.with_std else None
        self.n_samples_seen_ = count[0] if np.all(count == count[0]) else count
        self.scale_ = _deviations(variance, mean, count) if self.with_std else None
        return self

    def _forward(self) -> Step:
        return Step(_centred, self._tables(), self.n_features_in_)

    def _backward(self) -> Step:
        return Step(_uncentred, self._tables(), self.n_features_in_)

    def _tables(self) -> tuple[np.ndarray | None, np.ndarray | None]:
        return (self.mean_ if self.with_mean else None), (self.scale_ if self.with_std else None)


class MinMaxScaler(Streamed, Here, sklearn.MinMaxScaler):
    """Features within a range, as scikit-learn's MinMaxScaler; NaN is left out of the fit and kept.

    Parameters
    ----------
    feature_range : tuple (min, max), default=(0, 1)
    copy : bool, default=True
    clip : bool, default=False
        As in scikit-learn.
    device : {'auto', 'cpu', 'cuda', 'cuda:N'}, default='auto'
        'auto': where the rows are.
    chunk_size : int, optional
        Rows per chunk of a fit. The result does not depend on it.

    Attributes
    ----------
    min_, scale_, data_min_, data_max_, data_range_ : array of shape (n_features,)
    n_samples_seen_ : int
    n_features_in_, feature_names_in_
    """

    _twin = sklearn.MinMaxScaler
    _parameter_constraints: ClassVar[dict[str, Any]] = {**sklearn.MinMaxScaler._parameter_constraints, **DEVICE}

    def __init__(
        self, feature_range: tuple[float, float] = (0, 1), *, copy: bool = True, clip: bool = False,
        device: str = "auto", chunk_size: int | None = None,
    ):  # fmt: skip
        super().__init__(feature_range, copy=copy, clip=clip)
        self.device = device
        self.chunk_size = chunk_size

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> Self:
        """Least and largest value of every feature.

        Parameters
        ----------
        X : array-like, DataFrame, stream or path of shape (n_samples, n_features)
        y : ignored

        Returns
        -------
        self

        Raises
        ------
        TypeError
            If X is sparse.
        ValueError
            If the range is empty or a value is infinite; what scikit-learn raises for the same X.
        """
        least, most = self.feature_range
        if least >= most:
            text = f"Minimum of desired feature range must be smaller than maximum. Got {self.feature_range}."
            raise ValueError(text)
        if sp.issparse(X):
            raise TypeError("MinMaxScaler does not support sparse input. Consider using MaxAbsScaler instead.")
        source = self._open(X)
        found, self.n_samples_seen_ = moments(source)
        low, high = (np.where(found.count > 0, v, np.nan)[0].astype(source.dtype) for v in (found.low, found.high))
        self.data_min_, self.data_max_, self.data_range_ = low, high, high - low
        step = TINY * np.finfo(low.dtype).eps
        self.scale_ = low.dtype.type(most - least) / restoring_scale(self.data_range_, self.data_range_ < step)
        self.min_ = low.dtype.type(least) - low * self.scale_
        return self

    def _forward(self) -> Step:
        limits = np.array(self.feature_range, np.float64) if self.clip else None
        return Step(_ranged, (self.scale_, self.min_, limits), self.n_features_in_)

    def _backward(self) -> Step:
        return Step(_unranged, (self.scale_, self.min_), self.n_features_in_)


class RobustScaler(Streamed, Here, sklearn.RobustScaler):
    """Features with median 0 and interquartile range 1, as scikit-learn's RobustScaler; NaN is left out and kept.

    Median and quartiles are exact: found among the rows as K-Medians finds its centres; streams are read a few times.

    Parameters
    ----------
    with_centering, with_scaling : bool, default=True
    quantile_range : tuple (q_min, q_max), default=(25.0, 75.0)
    copy : bool, default=True
    unit_variance : bool, default=False
        As in scikit-learn.
    device : {'auto', 'cpu', 'cuda', 'cuda:N'}, default='auto'
        Where ranks are counted; 'auto': where the rows are.
    chunk_size : int, optional
        Rows per chunk of a fit. The result does not depend on it.

    Attributes
    ----------
    center_, scale_ : array of shape (n_features,) or None
    n_features_in_, feature_names_in_
    """

    _twin = sklearn.RobustScaler
    _parameter_constraints: ClassVar[dict[str, Any]] = {**sklearn.RobustScaler._parameter_constraints, **DEVICE}

    def __init__(
        self, *, with_centering: bool = True, with_scaling: bool = True,
        quantile_range: tuple[float, float] = (25.0, 75.0), copy: bool = True, unit_variance: bool = False,
        device: str = "auto", chunk_size: int | None = None,
    ):  # fmt: skip
        super().__init__(
            with_centering=with_centering, with_scaling=with_scaling, quantile_range=quantile_range, copy=copy,
            unit_variance=unit_variance,
        )  # fmt: skip
        self.device = device
        self.chunk_size = chunk_size

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> Self:
        """Median and quantiles of every feature.

        Parameters
        ----------
        X : array-like, sparse CSR, DataFrame, stream or path of shape (n_samples, n_features)
        y : ignored

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If X is sparse and `with_centering`, the quantiles are not in order within [0, 100], or a value is infinite;
            what scikit-learn raises for the same X.
        """
        source = self._open(X)
        least, most = self.quantile_range
        if not 0 <= least <= most <= 100:
            raise ValueError(f"Invalid quantile range: {self.quantile_range}")
        if source.sparse and self.with_centering:
            raise ValueError("Cannot center sparse matrices: use `with_centering=False` instead.")
        found, _ = moments(source)
        middle, low, high = quantiles_of_all(source, found, np.array([50.0, least, most]) / 100)
        self.center_ = middle.astype(source.dtype) if self.with_centering else None
        self.scale_ = None
        if self.with_scaling:
            spread = high - low
            scale = restoring_scale(spread, spread < TINY * np.finfo(np.float64).eps)
            normal = norm.ppf(most / 100) - norm.ppf(least / 100) if self.unit_variance else 1.0
            self.scale_ = (scale / normal).astype(source.dtype)
        return self

    def _forward(self) -> Step:
        return Step(_centred, (self.center_, self.scale_), self.n_features_in_)

    def _backward(self) -> Step:
        return Step(_uncentred, (self.center_, self.scale_), self.n_features_in_)


def _deviations(variance: np.ndarray, mean: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Standard deviations, 1 where the variance is within the rounding of a two-pass sum (Chan, Golub and LeVeque, The
    American Statistician 1983): where scikit-learn takes a feature for constant.
    """
    eps = np.finfo(np.float64).eps
    constant = variance <= count * eps * variance + (count * mean * eps) ** 2
    return restoring_scale(np.sqrt(variance), constant)


def _centred(xp: Any, X: Array, centre: Array | None, scale: Array | None) -> Array:
    if centre is not None:
        X -= centre
    if scale is not None:
        X /= scale
    return X


def _uncentred(xp: Any, X: Array, centre: Array | None, scale: Array | None) -> Array:
    if scale is not None:
        X *= scale
    if centre is not None:
        X += centre
    return X


def _ranged(xp: Any, X: Array, scale: Array, least: Array, limits: Array | None) -> Array:
    X *= scale
    X += least
    if limits is not None:
        X[...] = xp.minimum(xp.maximum(X, limits[0]), limits[1])
    return X


def _unranged(xp: Any, X: Array, scale: Array, least: Array) -> Array:
    X -= least
    X /= scale
    return X
