"""OneHotEncoder: scikit-learn's, for which a missing category is the same in a DataFrame, in a file and in JSON."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from sklearn import preprocessing as sklearn
from sklearn.utils.validation import check_is_fitted

from ..data.columns import columns, decoded, library
from ..errors import DataError
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
        """Find the categories; X is an array-like or DataFrame of shape (n_samples, n_features), y is ignored.

        Raises
        ------
        DataError
            If a column has text and numbers.
        """
        X = alike(X)
        try:
            super().fit(X)
        except TypeError as error:
            _refuse_mixed(X, error)
            raise
        return self

    def transform(self, X: Any) -> Any:
        """A column per category, 1 where it applies; X as in `fit`."""
        check_is_fitted(self)
        signs = {f: [*_absent(each), None][0] for f, each in enumerate(self.categories_)}
        return super().transform(alike(X, signs))

    def to_sklearn(self) -> sklearn.OneHotEncoder:
        """The fitted scikit-learn twin; None is a missing category to it, NaN is none that it knows."""
        check_is_fitted(self)
        twin = sklearn.OneHotEncoder(**self.get_params())
        vars(twin).update(vars(self))
        return twin


def _refuse_mixed(X: Any, error: TypeError) -> None:
    """Raise where scikit-learn cannot sort a column since it has text and numbers."""
    for name, column in columns(X):
        kinds = {isinstance(value, str): value for value in plain(np.asarray(column, object)) if value is not None}
        if len(kinds) > 1:
            raise DataError(
                f"Column {name!r} has text and numbers, for example {kinds[True]!r} and {kinds[False]!r}, which cannot"
                " be told to be the same category or not: make all of it text (df[column].astype(str)), or encode it by"
                " gpuclust.preprocessing.FrequencyEncoder, which keeps them apart."
            ) from error


def _absent(values: np.ndarray) -> list[Any]:
    return [value for value in values.tolist() if value is None or value != value]


def alike(X: Any, signs: Mapping[int, Any] | None = None) -> Any:
    """The same rows with one sign for what is missing in columns of objects: None, or what `signs` has for a column;
    columns that it does not have are left as they are.
    """
    X = decoded(_columnwise(X))
    if library(X) == "pandas":
        return _alike_frame(X, signs)
    if not isinstance(X, np.ndarray) or X.dtype != object or X.ndim != 2:
        return X
    out = np.array(X)
    for f in range(X.shape[1]):
        if signs is not None and f not in signs:
            continue
        out[:, f] = _signed(X[:, f], None if signs is None else signs[f])
    return out


def _columnwise(X: Any) -> Any:
    """A frame of another library as one of pandas, whose columns scikit-learn takes one by one: it makes a single array
    of all others, in which numbers beside text are objects and no longer equal to numbers."""
    if library(X) in ("polars", "pyarrow") and all(map(importlib.util.find_spec, ("pandas", "pyarrow"))):
        X = decoded(X).to_pandas()
    return X


def _signed(column: np.ndarray, sign: Any) -> np.ndarray:
    out = np.empty(len(column), object)
    out[:] = [sign if value is None else value for value in plain(column)]
    return out


def _alike_frame(X: Any, signs: Mapping[int, Any] | None) -> Any:
    import pandas as pd

    found = {}
    for f, dtype in enumerate(X.dtypes):
        column, kind = X.iloc[:, f], dtype.categories.dtype if dtype == "category" else dtype
        asked = signs is None or f in signs
        if asked and not pd.api.types.is_numeric_dtype(kind) and column.isna().any():
            sign = None if signs is None else signs[f]
            column = pd.Series(_signed(column.to_numpy(object), sign), X.index, object)
        found[f] = column
    return pd.DataFrame(found, index=X.index).set_axis(X.columns, axis=1)
