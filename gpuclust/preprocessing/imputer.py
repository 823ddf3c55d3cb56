"""SimpleImputer: scikit-learn's, fitted by folds."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar, Self

import numpy as np
from sklearn import impute as sklearn
from sklearn.base import _fit_context

from ..backends.base import Array
from ..data.source import Source
from ..errors import DataError
from ..profiling.quantiles import quantiles_of_all
from ..profiling.rows import columns
from .base import DEVICE, Step, Streamed, elsewhere
from .statistics import moments


class SimpleImputer(Streamed, sklearn.SimpleImputer):
    """Missing values replaced by a statistic of their feature, as scikit-learn's SimpleImputer.

    Means and medians are exact and found by folds. What only scikit-learn has (text, a strategy of one's own, another
    sign for missing values than NaN, `add_indicator`) is done by it, for rows in memory.

    Parameters
    ----------
    missing_values, strategy, fill_value, copy, add_indicator, keep_empty_features
        As in scikit-learn; strategy: {'mean', 'median', 'most_frequent', 'constant'} or callable, default='mean'.
    device : {'auto', 'cpu', 'cuda', 'cuda:N'}, default='auto'
        Where ranks are counted; 'auto': where the rows are.
    chunk_size : int, optional
        Rows per chunk of a fit. The result does not depend on it.

    Attributes
    ----------
    statistics_ : array of shape (n_features,)
        What fills each feature; NaN for those without any value, which `transform` drops.
    indicator_ : MissingIndicator or None
    n_features_in_, feature_names_in_
    """

    _twin = sklearn.SimpleImputer
    statistics_: np.ndarray
    _fit_dtype: Any
    _parameter_constraints: ClassVar[dict[str, Any]] = {**sklearn.SimpleImputer._parameter_constraints, **DEVICE}

    def __init__(
        self, *, missing_values: Any = np.nan, strategy: Any = "mean", fill_value: Any = None, copy: bool = True,
        add_indicator: bool = False, keep_empty_features: bool = False, device: str = "auto",
        chunk_size: int | None = None,
    ):  # fmt: skip
        super().__init__(
            missing_values=missing_values, strategy=strategy, fill_value=fill_value, copy=copy,
            add_indicator=add_indicator, keep_empty_features=keep_empty_features,
        )  # fmt: skip
        self.device = device
        self.chunk_size = chunk_size

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> Self:
        """What fills each feature.

        Parameters
        ----------
        X : array-like, sparse matrix, DataFrame, stream or path of shape (n_samples, n_features)
        y : ignored

        Returns
        -------
        self

        Raises
        ------
        DataError
            If rows that are not in memory ask for what only scikit-learn has.
        ValueError
            If a value is infinite; what scikit-learn raises for the same X.
        """
        nan = isinstance(self.missing_values, float) and np.isnan(self.missing_values)
        plain = nan and not self.add_indicator and isinstance(self.strategy, str)
        if elsewhere(X) and not plain:
            raise DataError(
                "Rows that are streamed or on a GPU are filled where they are NaN, by strategy 'mean', 'median',"
                " 'most_frequent' or 'constant', without indicators; read them into memory for anything else."
            )
        if plain and (elsewhere(X) or self._counts(X)):
            return self._fold(self._open(X))
        super().fit(X)
        if self.strategy == "constant" and self._fit_dtype.kind in "fiu":
            self.statistics_ = self.statistics_.astype(np.float64)
        return self

    def _counts(self, X: Any) -> bool:
        """Whether the statistic of rows in memory comes from a fold: what may be text is left to scikit-learn."""
        return self.strategy in ("mean", "median") and not hasattr(X, "tocsc")

    def _fold(self, source: Source) -> Self:
        found, _ = moments(source)
        empty = found.count[0] == 0
        self.statistics_ = np.where(empty, np.nan, self._statistic(source, found)).astype(source.dtype)
        if self.keep_empty_features:
            fill = self.fill_value if self.strategy == "constant" and self.fill_value is not None else 0
            self.statistics_[empty] = fill
        self.indicator_ = None
        self._fit_dtype = self._fill_dtype = source.dtype
        return self

    def _statistic(self, source: Source, found: Any) -> np.ndarray:
        if self.strategy == "mean":
            return np.asarray(found.mean[0])
        if self.strategy == "median":
            return quantiles_of_all(source, found, np.array([0.5]))[0]
        if self.strategy == "most_frequent":
            return np.array([_mode(column) for column in columns(source)])
        return np.full(source.n_features, 0 if self.fill_value is None else self.fill_value, np.float64)

    def _forward(self) -> Step:
        if self.indicator_ is not None:
            raise DataError("Indicators of missing values are made of rows in memory only; read them into memory.")
        there = np.flatnonzero(~np.isnan(self.statistics_.astype(np.float64)))
        if len(there) == len(self.statistics_):
            return Step(_filled, (self.statistics_, None), len(there))
        warnings.warn(
            f"Skipping features without any observed values: {np.setdiff1d(np.arange(self.n_features_in_), there)}."
            f" At least one non-missing value is needed for imputation with strategy='{self.strategy}'.",
            stacklevel=2,
        )
        return Step(_filled, (self.statistics_[there], there), len(there))

    def inverse_transform(self, X: Any, copy: bool | None = None) -> Any:
        """As scikit-learn's, for rows in memory and `add_indicator=True` only."""
        if elsewhere(X):
            raise DataError("Which values were missing is known of rows in memory only; read them into memory.")
        return super().inverse_transform(X)


def _mode(column: np.ndarray) -> float:
    """The most frequent value, the least of several; NaN where there is none."""
    values, count = np.unique(column[~np.isnan(column)], return_counts=True)
    return float(values[np.argmax(count)]) if len(values) else np.nan


def _filled(xp: Any, X: Array, value: Array, there: Array | None) -> Array:
    X = X if there is None else X[:, there]
    return xp.where(X == X, X, value)
