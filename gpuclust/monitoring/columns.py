"""Columns of rows as a model is given them: numbers, or categories by name."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..validation import host
from .tally import Tally


def number_like(dtype: Any) -> bool:
    """Whether a column of a pandas DataFrame holds numbers (flags, and categories that are numbers, too)."""
    from pandas.api import types

    dtype = dtype.categories.dtype if dtype == "category" else dtype
    return bool(types.is_bool_dtype(dtype) or (types.is_numeric_dtype(dtype) and not types.is_complex_dtype(dtype)))


def numbers(column: Any) -> np.ndarray:
    """A column as float32 or float64 [n], NaN where there is no value.

    Raises
    ------
    ValueError
        If a value is no number.
    """
    if hasattr(column, "to_numpy") and hasattr(column, "isna"):
        column = column.to_numpy(np.float64, na_value=np.nan) if column.dtype != np.float32 else column.to_numpy()
    found = np.asarray(column)
    return found if found.dtype in (np.float32, np.float64) else found.astype(np.float64)


def category_names(column: np.ndarray) -> np.ndarray:
    """A column as text, object [n]; None where there is no value."""
    seen: dict[Any, str | None] = {}
    try:
        names = [seen[v] if v in seen else seen.setdefault(v, _name(v)) for v in column.tolist()]
    except TypeError:  # lists and the like, in a column that the model drops
        names = [_name(v) for v in column.tolist()]
    return np.array(names, object)


def _name(value: Any) -> str | None:
    """Numbers have one name, whether they are kept as integers or not: a missing value turns integers into floats."""
    if value is None or (isinstance(value, float | np.floating) and value != value):
        return None
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    text = str(value)
    return None if text in ("<NA>", "NaT") else text


def columns_of(X: Any, names: list[str], tally: Tally) -> list[np.ndarray]:
    """The columns of rows [n, d] that a service was given: an array, a list of rows, or a DataFrame, which is asked for
    the columns by name if it has them. NaN where they are not counted.

    Raises
    ------
    ValueError
        If they are not as many as the training rows had, or a number is none.
    """
    X = X.to_pandas() if hasattr(X, "to_pandas") else host(X)
    frame = hasattr(X, "iloc")
    if frame and set(names) <= set(X.columns):
        X = X[names]
    rows: Any = X if frame or isinstance(X, np.ndarray) else np.array(X, object)
    if rows.ndim != 2 or rows.shape[1] != len(tally.used):
        raise ValueError(f"rows of shape {rows.shape}, but the model was fitted on {len(tally.used)} features.")
    found = []
    for f, (text, used) in enumerate(zip(tally.categorical, tally.used, strict=True)):
        if not used:
            found.append(np.full(len(rows), np.nan))
            continue
        column = rows.iloc[:, f] if frame else rows[:, f]
        found.append(category_names(column.to_numpy(object) if frame else column) if text else numbers(column))
    return found
