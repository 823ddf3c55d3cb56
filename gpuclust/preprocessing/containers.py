"""Rows and columns of what users hand over, and where values are missing: arrays, CSR, frames of three kinds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import scipy.sparse as sp

from ..backends.statistics import Rows
from ..data.columns import column_names, library
from ..data.plan import plan
from ..data.stream import Stream, stream


def rows_of(X: Any, index: np.ndarray) -> Any:
    """Rows by ascending index, in the same container; the index of a pandas frame goes along."""
    kind = library(X)
    if kind == "pandas":
        return X.iloc[index]
    if kind == "pyarrow":
        return X.take(index)
    return X[index]


def columns_of(X: Any, index: np.ndarray) -> Any:
    """Columns by ascending index, in the same container."""
    kind = library(X)
    if kind == "pandas":
        return X.iloc[:, index]
    if kind is not None:
        return X.select([column_names(X)[i] for i in index])
    return X[:, index]


def missing_values(X: Any) -> Iterator[np.ndarray]:
    """For each column which rows have nothing there (NaN, None, null), bool [n]."""
    kind = library(X)
    if kind == "pandas":
        yield from (X.iloc[:, f].isna().to_numpy(bool) for f in range(X.shape[1]))
    elif kind == "polars":
        for name in X.columns:
            column = X.get_column(name)
            yield (column.is_null() | column.is_nan() if column.dtype.is_float() else column.is_null()).to_numpy()
    elif kind == "pyarrow":
        import pyarrow.compute as pc

        for name in X.column_names:
            yield pc.is_null(X.column(name), nan_is_null=True).to_numpy(zero_copy_only=False)
    else:
        yield from (_absent(X[:, f]) for f in range(X.shape[1]))


def _absent(column: Any) -> np.ndarray:
    if sp.issparse(column):
        column = column.toarray().ravel()
    if column.dtype.kind == "O":
        return np.array([value is None or value != value for value in column], bool)
    return np.asarray(column != column)


def blocks(X: Stream, chunk_size: int | None) -> Iterator[Rows]:
    """Rows and weights of a stream, a chunk at a time."""
    reader = X.open()
    return reader.blocks(plan(reader.n_rows, reader.row_bytes, 0, chunk_size).rows)


def selected(
    X: Stream, keep: Callable[[np.ndarray], np.ndarray], columns: np.ndarray | None, chunk_size: int | None
) -> Stream:
    """The rows of a stream for which `keep` of a chunk is true, and some columns, chosen at every pass."""

    def chunks() -> Iterator[Any]:
        for rows, weight in blocks(X, chunk_size):
            mask = keep(rows)
            part = rows[mask] if columns is None else rows[np.ix_(mask, columns)]
            yield part if weight is None else (part, weight[mask])

    return stream(chunks)
