"""Winsorizer: extreme values are moved to a percentile (Dixon, "Simplified estimation from censored normal samples",
Annals of Mathematical Statistics 1960, after C. P. Winsor)."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, _fit_context
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.validation import check_is_fitted

from ..backends.base import Array
from ..profiling.quantiles import quantiles_of_all
from .base import DEVICE, Here, Step, Streamed
from .statistics import moments


class Winsorizer(Streamed, Here, OneToOneFeatureMixin, BaseEstimator):
    """Values beyond two percentiles of their feature are moved to these; NaN is left out of the fit and kept.

    Parameters
    ----------
    quantile_range : tuple (q_min, q_max), default=(1.0, 99.0)
        Percentiles in [0, 100], by numpy's linear interpolation; exact.
    copy : bool, default=True
        False: in place, where X allows it.
    device : {'auto', 'cpu', 'cuda', 'cuda:N'}, default='auto'
        Where ranks are counted; 'auto': where the rows are.
    chunk_size : int, optional
        Rows per chunk of a fit. The result does not depend on it.

    Attributes
    ----------
    lower_, upper_ : float64 array of shape (n_features,)
        The caps; infinite for a feature without any value.
    n_features_in_, feature_names_in_

    Examples
    --------
    >>> from gpuclust.preprocessing import Winsorizer
    >>> Winsorizer((25, 75)).fit_transform([[0.0], [1.0], [2.0], [3.0], [100.0]]).ravel().tolist()
    [1.0, 1.0, 2.0, 3.0, 3.0]
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {"quantile_range": [tuple], "copy": ["boolean"], **DEVICE}

    def __init__(
        self, quantile_range: tuple[float, float] = (1.0, 99.0), *, copy: bool = True, device: str = "auto",
        chunk_size: int | None = None,
    ):  # fmt: skip
        self.quantile_range = quantile_range
        self.copy = copy
        self.device = device
        self.chunk_size = chunk_size

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> Self:
        """The caps of every feature.

        Parameters
        ----------
        X : array-like, DataFrame, stream or path of shape (n_samples, n_features)
        y : ignored

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If the percentiles are not in order within [0, 100], X is sparse or a value is infinite.
        """
        least, most = self.quantile_range
        if not 0 <= least <= most <= 100:
            raise ValueError(f"quantile_range={self.quantile_range} must be percentiles, 0 <= q_min <= q_max <= 100.")
        source = self._open_dense(X)
        found, _ = moments(source)
        caps = quantiles_of_all(source, found, np.array([least, most]) / 100)
        self.lower_, self.upper_ = np.where(np.isnan(caps), np.array([[-np.inf], [np.inf]]), caps)
        return self

    def to_sklearn(self) -> Any:
        """A FunctionTransformer of numpy.clip: scikit-learn has no such class."""
        check_is_fitted(self)
        caps = {"a_min": self.lower_, "a_max": self.upper_}
        return FunctionTransformer(np.clip, kw_args=caps, feature_names_out="one-to-one")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def _forward(self) -> Step:
        return Step(_clipped, (self.lower_, self.upper_), self.n_features_in_)

    def _backward(self) -> Step:
        return Step(_same, (), self.n_features_in_)


def _clipped(xp: Any, X: Array, lower: Array, upper: Array) -> Array:
    X[...] = xp.minimum(xp.maximum(X, lower), upper)
    return X


def _same(xp: Any, X: Array) -> Array:
    return X
