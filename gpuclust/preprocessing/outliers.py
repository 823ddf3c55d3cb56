"""OutlierFilter: rows with a value far from the others of its feature are dropped before a fit (Tukey, "Exploratory
data analysis", 1977, for the fences)."""

from __future__ import annotations

import logging
from numbers import Real
from typing import Any, ClassVar, Final, Self

import numpy as np
from sklearn.base import BaseEstimator, _fit_context
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from ..backends.base import Array, Backend, Chunk
from ..backends.select import select
from ..data.source import Source
from ..data.stream import opened
from ..profiling.quantiles import quantiles_of_all
from ..profiling.rows import Parts, device_at, host, listed
from ..profiling.rows import blocks as row_blocks
from ..validation import feature_names_of, is_stream, open_source
from .base import DEVICE
from .containers import rows_of, selected
from .statistics import moments

THRESHOLDS: Final = {"iqr": 1.5, "zscore": 3.0}
UNITS: Final = {"iqr": "interquartile ranges beyond the quartiles", "zscore": "standard deviations from the mean"}
logger = logging.getLogger("gpuclust")


class OutlierFilter(BaseEstimator):
    """Finds rows with a value far from the others of its feature, and drops them before a fit.

    A scikit-learn Pipeline cannot drop rows, so this is no step of one: filter the rows, then fit.
    A missing value is no outlier.

    Parameters
    ----------
    method : {'iqr', 'zscore'}, default='iqr'
        'iqr': more than `threshold` interquartile ranges below the first quartile or above the third (Tukey's fences);
        'zscore': more than `threshold` standard deviations (divisor n) from the mean.
    threshold : float, optional
        Default: 1.5 interquartile ranges, 3 standard deviations.
    device : {'auto', 'cpu', 'cuda', 'cuda:N'}, default='auto'
        Where ranks are counted; 'auto': where the rows are.
    chunk_size : int, optional
        Rows per chunk. The result does not depend on it.

    Attributes
    ----------
    kept_rows_ : int64 array of shape (n_kept,)
        The rows of the fit that are kept, by index from 0.
    n_dropped_ : int
    n_outliers_ : int64 array of shape (n_features,)
        Rows of the fit beyond the limits, feature by feature; a row may count in several.
    lower_, upper_ : float64 array of shape (n_features,)
        Limits; values on them are kept. Infinite for a feature without any spread (z-score) or value.
    explanation_ : list of str
        How many rows are dropped, and why.
    n_features_in_, feature_names_in_

    Examples
    --------
    >>> import numpy as np
    >>> from gpuclust.preprocessing import OutlierFilter
    >>> X = np.array([[1.0], [2.0], [3.0], [4.0], [99.0]])
    >>> outliers = OutlierFilter().fit(X)
    >>> outliers.filter(X).ravel().tolist(), outliers.kept_rows_.tolist(), outliers.n_dropped_
    ([1.0, 2.0, 3.0, 4.0], [0, 1, 2, 3], 1)
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "method": [StrOptions(set(THRESHOLDS))],
        "threshold": [None, Interval(Real, 0, None, closed="left")],
        **DEVICE,
    }

    def __init__(
        self, method: str = "iqr", *, threshold: float | None = None, device: str = "auto",
        chunk_size: int | None = None,
    ):  # fmt: skip
        self.method = method
        self.threshold = threshold
        self.device = device
        self.chunk_size = chunk_size

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> Self:
        """The limits of every feature, and which rows of X lie within all of them.

        Parameters
        ----------
        X : array-like, sparse CSR, DataFrame of numbers, stream or path of shape (n_samples, n_features)
        y : ignored

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a value is infinite; what scikit-learn raises for the same X.
        """
        source = self._open(X, reset=True)
        found, n_rows = moments(source)
        threshold = THRESHOLDS[self.method] if self.threshold is None else float(self.threshold)
        if self.method == "iqr":
            low, high = quantiles_of_all(source, found, np.array([0.25, 0.75]))
            reach, idle = threshold * (high - low), found.count[0] == 0
        else:
            low = high = found.mean[0]
            with np.errstate(invalid="ignore", divide="ignore"):
                reach = threshold * np.sqrt(found.deviation[0] / found.count[0])
            idle = ~(found.low[0] < found.high[0])
        self.lower_, self.upper_ = np.where(idle, -np.inf, low - reach), np.where(idle, np.inf, high + reach)
        kept, beyond = self._judged(source)
        self.kept_rows_ = np.flatnonzero(kept)
        self.n_dropped_, self.n_outliers_ = n_rows - len(self.kept_rows_), beyond
        self.explanation_ = [self._told(n_rows, threshold)]
        logger.info("%s", self.explanation_[0])
        return self

    def mask(self, X: Any) -> np.ndarray:
        """Which rows of X lie within the limits, bool of shape (n_samples,).

        Raises
        ------
        NotFittedError
            If `fit` was not called.
        """
        check_is_fitted(self)
        return self._judged(self._open(X, reset=False))[0]

    def filter(self, X: Any) -> Any:
        """The rows of X within the limits, in X's kind of container; of a stream or path, a stream.

        Raises
        ------
        NotFittedError
            If `fit` was not called.
        """
        check_is_fitted(self)
        if is_stream(X):
            return selected(opened(X), self._within, None, self.chunk_size)
        X = X if hasattr(X, "shape") else np.asarray(X)
        keep = np.flatnonzero(self.mask(X))
        return rows_of(X, select(device_at(X, self.device)).backend.upload(keep, np.int64))

    def fit_filter(self, X: Any, y: Any = None) -> Any:
        """`fit(X).filter(X)`."""
        return self.fit(X).filter(X)

    def to_sklearn(self) -> Any:
        """Raises NotImplementedError: no class of scikit-learn drops rows."""
        raise NotImplementedError(
            "scikit-learn has no step that drops rows: filter them first, X = X[outliers.kept_rows_], and fit its"
            " pipeline on what is left."
        )

    def _open(self, X: Any, *, reset: bool) -> Source:
        device = device_at(X, self.device)
        return open_source(self, X, None, device, reset=reset, chunk_size=self.chunk_size, finite="allow-nan")

    def _judged(self, source: Source) -> tuple[np.ndarray, np.ndarray]:
        """Rows within the limits, bool [n], and how many are beyond each, i64 [d]. One pass."""
        found: Parts = source.fold(_judged, self.lower_, self.upper_)
        kept, beyond = zip(*found.parts, strict=True)
        return np.concatenate(kept), np.sum(beyond, axis=0)

    def _within(self, rows: np.ndarray) -> np.ndarray:
        return ~_beyond(rows, self.lower_, self.upper_).any(axis=1)

    def _told(self, n_rows: int, threshold: float) -> str:
        names = feature_names_of(self, self.n_features_in_)
        most = sorted(np.flatnonzero(self.n_outliers_), key=lambda f: -self.n_outliers_[f])
        which = listed([f"{names[f]} {self.n_outliers_[f]}" for f in most])
        text = f"{self.n_dropped_} of {n_rows} rows have a value more than {threshold:g} {UNITS[self.method]}"
        return f"{text} and are dropped" + (f" ({which})." if which else ".")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.sparse = True
        return tags


def _judged(backend: Backend, chunk: Chunk, lower: np.ndarray, upper: np.ndarray) -> Parts:
    return Parts(tuple(_limits(host(backend, rows), lower, upper) for _, rows in row_blocks(chunk)))


def _limits(X: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    beyond = _beyond(X, lower, upper)
    return ~beyond.any(axis=1), beyond.sum(axis=0)


def _beyond(X: Array, lower: np.ndarray, upper: np.ndarray) -> Any:
    return (X < lower) | (X > upper)
