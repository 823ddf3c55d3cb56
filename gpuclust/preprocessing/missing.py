"""drop_missing: columns that are mostly empty, then rows that are not complete."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ..data.stream import opened
from ..profiling.rows import listed
from ..validation import host, is_stream
from .containers import blocks, column_names, columns_of, missing_values, rows_of, selected


class Complete(NamedTuple):
    """What `drop_missing` kept."""

    X: Any  # the rows and columns that are left, in X's kind of container; of a stream or path, a stream
    rows: np.ndarray  # int64: which rows of X these are
    columns: list[Any]  # names, or numbers where there are none
    explanation: list[str]


def drop_missing(
    X: Any, *, rows: bool = True, columns: float | None = None, chunk_size: int | None = None
) -> Complete:
    """Drop columns with too many missing values (NaN, None, null), then rows that still miss any.

    A scikit-learn Pipeline cannot drop rows, so that this is done before it is fitted.

    Parameters
    ----------
    X : array-like, sparse CSR, DataFrame (pandas, polars, pyarrow), stream or path of shape (n_samples, n_features)
    rows : bool, default=True
        Whether to drop rows.
    columns : float in [0, 1], optional
        Columns are dropped of which a larger share than this is missing. Default: none.
    chunk_size : int, optional
        Rows of a stream that are read at a time.

    Returns
    -------
    Complete
        X (never changed; what is left of it), rows (int64 indices), columns (names or numbers), explanation.

    Raises
    ------
    ValueError
        If `columns` is no share, or nothing would be left.
    DataError
        If a file cannot be read.

    Examples
    --------
    >>> import numpy as np
    >>> from gpuclust.preprocessing import drop_missing
    >>> X = np.array([[1.0, np.nan, 5.0], [2.0, np.nan, np.nan], [3.0, 4.0, 6.0]])
    >>> found = drop_missing(X, columns=0.5)
    >>> found.X.tolist(), found.rows.tolist(), found.columns
    ([[1.0, 5.0], [3.0, 6.0]], [0, 2], [0, 2])
    """
    if columns is not None and not 0 <= columns <= 1:
        raise ValueError(f"columns={columns!r} must be a share in [0, 1], or None.")
    lazy = is_stream(X)
    if not lazy:
        X = host(X) if hasattr(X, "shape") else np.asarray(X)
        if len(X.shape) != 2:
            raise ValueError(f"Expected 2D array, got {len(X.shape)}D array instead.")
    counts, n_rows, names = _streamed_counts(X, chunk_size) if lazy else _counts(X)
    most = n_rows if columns is None else columns * n_rows
    keep = np.flatnonzero(counts <= most)
    gone = np.setdiff1d(np.arange(len(names)), keep)
    if lazy:
        kept, left = _stream_left(X, keep if len(gone) else None, rows, n_rows, chunk_size)
    else:
        left = columns_of(X, keep) if len(gone) else X
        kept = _complete(left) if rows else np.arange(n_rows)
        left = rows_of(left, kept) if len(kept) < n_rows else left
    if not len(kept) or not len(keep):
        raise ValueError("Every row has a missing value: fill them with SimpleImputer, or drop the emptiest columns.")
    return Complete(left, kept, [names[f] for f in keep], _told(names, gone, columns, n_rows, len(kept)))


def _counts(X: Any) -> tuple[np.ndarray, int, list[Any]]:
    """Missing values of each column, the number of rows and the columns."""
    return np.array([column.sum() for column in missing_values(X)]), X.shape[0], column_names(X)


def _streamed_counts(X: Any, chunk_size: int | None) -> tuple[np.ndarray, int, list[Any]]:
    reader = opened(X).open()
    counts, n_rows = np.zeros(reader.n_features, np.int64), 0
    for part, _ in blocks(opened(X), chunk_size):
        counts += np.isnan(part).sum(axis=0)
        n_rows += len(part)
    return counts, n_rows, list(range(reader.n_features) if reader.names is None else reader.names)


def _complete(X: Any) -> np.ndarray:
    lacking = np.zeros(X.shape[0], bool)
    for column in missing_values(X):
        lacking |= column
    return np.flatnonzero(~lacking)


def _stream_left(
    X: Any, columns: np.ndarray | None, rows: bool, n_rows: int, chunk_size: int | None
) -> tuple[np.ndarray, Any]:
    """The rows of a stream that are kept, and the stream of them."""
    keep = partial(_whole_rows if rows else _every_row, columns)
    kept = np.flatnonzero(np.concatenate([keep(part) for part, _ in blocks(opened(X), chunk_size)]))
    same = columns is None and len(kept) == n_rows
    return kept, opened(X) if same else selected(opened(X), keep, columns, chunk_size)


def _whole_rows(columns: np.ndarray | None, X: np.ndarray) -> Any:
    return ~np.isnan(X if columns is None else X[:, columns]).any(axis=1)


def _every_row(columns: np.ndarray | None, X: np.ndarray) -> np.ndarray:
    return np.ones(len(X), bool)


def _told(names: list[Any], gone: np.ndarray, share: float | None, n_rows: int, kept: int) -> list[str]:
    told = []
    if len(gone):
        which = listed([names[f] for f in gone])
        told.append(f"Columns of which more than {share:.0%} is missing are dropped: {which}.")
    if kept < n_rows:
        told.append(f"{n_rows - kept} of {n_rows} rows miss a value and are dropped.")
    return told
