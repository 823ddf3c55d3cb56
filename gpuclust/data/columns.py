"""Columns of what users hand over: their names, and which of them holds text where numbers are needed."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..errors import DataError

LONGEST = 40  # characters of a value that a message shows


def library(X: Any) -> str | None:
    """'pandas', 'polars' or 'pyarrow' for their frames, else None."""
    for name, kind in (("pandas", "DataFrame"), ("polars", "DataFrame"), ("pyarrow", "Table")):
        module = sys.modules.get(name)  # without it there is no such frame
        if module is not None and hasattr(module, kind) and isinstance(X, getattr(module, kind)):
            return name
    return None


def column_names(X: Any) -> list[Any]:
    """The columns of a frame; 0, 1, ... of anything else."""
    kind = library(X)
    if kind is None:
        return list(range(X.shape[1]))
    return list(X.column_names if kind == "pyarrow" else X.columns)


@contextmanager
def text_told(X: Any, among: Sequence[int] | None = None) -> Iterator[None]:
    """That text is no number, in NumPy's words, is said with the column and what to do.

    Where the column is looked for: `among` the columns that are numbers; None: all of a frame. Arrays, whose columns
    have no names, are then refused in NumPy's words, as scikit-learn does.

    Raises
    ------
    DataError
        In place of NumPy's error.
    """
    try:
        yield
    except ValueError as error:
        anonymous = among is None and library(X) is None
        if anonymous or isinstance(error, DataError) or "could not convert string to float" not in str(error):
            raise
        for name, column in columns(X, among):
            text = _first_text(column)
            if text is not None:
                raise DataError(_said(name, text)) from error
        raise


def _said(name: Any, text: str) -> str:
    return (
        f"could not convert string to float: column {name!r} must hold numbers, but has the text {text[:LONGEST]!r}."
        " Replace such values by numbers, or by NaN where the column is imputed (pandas."
        "to_numeric(column, errors='coerce') does it); to cluster categories, let gpuclust.preprocessing."
        "make_preprocessor encode them before the fit."
    )


def columns(X: Any, among: Sequence[int] | None = None) -> Iterator[tuple[Any, np.ndarray]]:
    """Name and values of each column that may hold text; `among`: of these columns only."""
    kind = library(X)
    if kind is None:
        X = X if isinstance(X, np.ndarray) else np.asarray(X, object)
        if X.ndim != 2:
            return
    for f, name in enumerate(column_names(X)):
        if among is not None and f not in among:
            continue
        if kind is None:
            column = X[:, f]
        else:
            column = np.asarray(X.iloc[:, f] if kind == "pandas" else X[name] if kind == "polars" else X.column(f))
        if column.dtype.kind not in "biufc":
            yield name, column


def _first_text(column: np.ndarray) -> str | None:
    """The first text that is no number."""
    for value in column:
        if isinstance(value, str):
            try:
                float(value)
            except ValueError:
                return str(value)
    return None
