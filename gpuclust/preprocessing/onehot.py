"""OneHotEncoder: scikit-learn's, for which a missing category is the same in a DataFrame, in a file and in JSON."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn import preprocessing as sklearn
from sklearn.utils.validation import check_is_fitted

from .containers import decoded, library
from .frequency import plain


class OneHotEncoder(sklearn.OneHotEncoder):
    """scikit-learn's OneHotEncoder, to which None, NaN and pandas.NA in columns of text are one category.

    scikit-learn tells them apart: fitted on a DataFrame that has NaN, it takes the None that files, JSON and other
    libraries have in its place for a category that it never saw. Parameters and attributes are scikit-learn's; a
    missing value is None among `categories_`.

    Examples
    --------
    >>> import numpy as np
    >>> from gpuclust.preprocessing import OneHotEncoder
    >>> encoder = OneHotEncoder(sparse_output=False).fit(np.array([["a"], [np.nan]], dtype=object))
    >>> encoder.transform(np.array([[None]], dtype=object)).tolist()
    [[0.0, 1.0]]
    """

    def fit(self, X: Any, y: Any = None) -> Self:
        """Find the categories; X is an array-like or DataFrame of shape (n_samples, n_features), y is ignored."""
        super().fit(_alike(X, ()))
        return self

    def transform(self, X: Any) -> Any:
        """A column per category, 1 where it applies; X as in `fit`."""
        check_is_fitted(self)
        absent = (value for values in self.categories_ for value in [*_absent(values), None][:1])
        return super().transform(_alike(X, tuple(absent)))

    def to_sklearn(self) -> sklearn.OneHotEncoder:
        """The fitted scikit-learn twin; None is a missing category to it, NaN is none that it knows."""
        check_is_fitted(self)
        twin = sklearn.OneHotEncoder(**self.get_params())
        vars(twin).update(vars(self))
        return twin


def _absent(values: np.ndarray) -> list[Any]:
    return [value for value in values.tolist() if value is None or value != value]


def _alike(X: Any, absent: tuple[Any, ...]) -> Any:
    """The same rows with one sign for what is missing in columns of objects: None, or that of `absent`."""
    X = decoded(X)
    if library(X) == "pandas":
        return _alike_frame(X, absent)
    if not isinstance(X, np.ndarray) or X.dtype != object or X.ndim != 2:
        return X
    out = np.empty_like(X)
    for f in range(X.shape[1]):
        out[:, f] = _signed(X[:, f], absent[f : f + 1])
    return out


def _signed(column: np.ndarray, absent: tuple[Any, ...]) -> np.ndarray:
    sign = absent[0] if absent else None
    out = np.empty(len(column), object)
    out[:] = [sign if value is None else value for value in plain(column)]
    return out


def _alike_frame(X: Any, absent: tuple[Any, ...]) -> Any:
    import pandas as pd

    found = {}
    for f, dtype in enumerate(X.dtypes):
        column, kind = X.iloc[:, f], dtype.categories.dtype if dtype == "category" else dtype
        if not pd.api.types.is_numeric_dtype(kind) and column.isna().any():
            column = pd.Series(_signed(column.to_numpy(object), absent[f : f + 1]), X.index, object)
        found[f] = column
    return pd.DataFrame(found, index=X.index).set_axis(X.columns, axis=1)
