"""Rows of a Parquet file through pyarrow, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from typing import Any

import numpy as np

from ..backends.statistics import Rows
from ..errors import DataError
from .readers import Empty, EmptyFileError, Reader

BATCH_BYTES = 1 << 20


class ParquetReader(Reader):
    """Numeric columns of one Parquet file, in file order or as named; `weight` names the column of weights."""

    def __init__(self, path: Any, columns: Sequence[str] | None = None, weight: str | None = None):
        self._path, self._weight, self.weighted = path, weight, weight is not None
        file = self._file()
        present = file.schema_arrow.names
        self.names = list(columns) if columns is not None else [c for c in present if c != weight]
        for name in [*self.names, *([] if weight is None else [weight])]:
            if name not in present:
                raise DataError(f"{path} has no column {name!r}; it has {', '.join(map(str, present))}.")
        self.dtype = self._common_type(file)
        self.n_rows, self.n_features = file.metadata.num_rows, len(self.names)
        if not self.n_rows or not self.n_features:
            raise EmptyFileError(f"{path} is empty ({self.n_rows} rows, {self.n_features} columns).")
        sizes = [file.metadata.row_group(g).num_rows for g in range(file.metadata.num_row_groups)]
        self._starts, self._first = np.concatenate([[0], np.cumsum(sizes)]), 0

    def _file(self) -> Any:
        try:
            import pyarrow as pa
            import pyarrow.parquet as pq
        except ImportError:
            raise DataError("Reading Parquet needs pyarrow: pip install 'gpuclust[files]'.") from None
        try:
            # read ahead of the chunk, pyarrow would hold whole row groups
            return pq.ParquetFile(self._path, pre_buffer=False, buffer_size=1 << 16)
        except FileNotFoundError:
            raise DataError(f"{self._path} does not exist.") from None
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{self._path} is not a readable Parquet file: {error}") from None

    def _common_type(self, file: Any) -> np.dtype:
        import pyarrow.types as kinds

        fields = [file.schema_arrow.field(name) for name in self.names or []]
        numeric = kinds.is_floating, kinds.is_integer, kinds.is_boolean
        text = [f.name for f in fields if not any(test(f.type) for test in numeric)]
        if text:
            listed = ", ".join(text)
            raise DataError(f"{self._path}: not numeric: {listed}. Choose numeric columns or encode these first.")
        return np.dtype(np.float32 if all(kinds.is_float32(f.type) for f in fields) else np.float64)

    def part(self, start: int, stop: int) -> Reader:
        other = copy(self)
        other._first, other.n_rows = self._first + start, stop - start
        return other

    def blocks(self, rows: int, empty: Empty = np.empty) -> Iterator[Rows]:
        import pyarrow as pa

        try:
            whole = self.n_rows == self._starts[-1]
            file = self._file()
            batches = self._batches(file, rows) if whole else self._between(file, rows, 0, self.n_rows or 0)
            yield from self._filled(batches, rows, empty)
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{self._path} cannot be read: {error}") from None

    def _batches(self, file: Any, rows: int, groups: list[int] | None = None) -> Iterator[Rows]:
        """Rows as pyarrow decodes them: a few at a time, since it holds several times their bytes."""
        few = max(1, min(rows, BATCH_BYTES // self.row_bytes))
        for batch in file.iter_batches(batch_size=few, row_groups=groups, columns=self._wanted()):
            yield self._rows(batch)

    def _filled(self, batches: Iterator[Rows], rows: int, empty: Empty) -> Iterator[Rows]:
        """Blocks of exactly `rows` rows, the last one aside."""
        rows = min(rows, self.n_rows or 1)
        filled, room = 0, None
        for more, w in batches:
            at = 0
            while at < len(more):
                X, weight = room = room or self._room(rows, empty)
                take = min(len(more) - at, rows - filled)
                X[filled : filled + take] = more[at : at + take]
                if weight is not None and w is not None:
                    weight[filled : filled + take] = w[at : at + take]
                filled, at = filled + take, at + take
                if filled == rows:
                    yield X, weight
                    filled, room = 0, None
        if filled:
            yield X[:filled], None if weight is None else weight[:filled]

    def _room(self, rows: int, empty: Empty) -> Rows:
        return empty((rows, self.n_features), self.dtype), empty((rows,), np.float64) if self.weighted else None

    def slices(self, ranges: Sequence[tuple[int, int]]) -> list[Rows]:
        import pyarrow as pa

        file, out = self._file(), []
        try:
            for start, stop in ranges:
                out.append(self._slice(file, start, stop))
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{self._path} cannot be read: {error}") from None
        return out

    def _slice(self, file: Any, start: int, stop: int) -> Rows:
        at, X, weight = 0, *self._room(stop - start, np.empty)
        for more, w in self._between(file, 1 << 40, start, stop):
            X[at : at + len(more)] = more
            if weight is not None and w is not None:
                weight[at : at + len(more)] = w
            at += len(more)
        return X, weight

    def _between(self, file: Any, rows: int, start: int, stop: int) -> Iterator[Rows]:
        """The rows [start, stop), read from the row groups that hold them."""
        start, stop = self._first + start, self._first + stop
        first, last = (int(np.searchsorted(self._starts, i, side="right")) - 1 for i in (start, stop - 1))
        at = int(self._starts[first])
        for X, weight in self._batches(file, rows, list(range(first, last + 1))):
            inside = slice(max(start - at, 0), max(stop - at, 0))
            at += len(X)
            if inside.start < len(X):
                yield X[inside], None if weight is None else weight[inside]
            if at >= stop:
                break

    def _wanted(self) -> list[str]:
        return [*(self.names or []), *([] if self._weight is None else [self._weight])]

    def _rows(self, table: Any) -> Rows:
        X = np.empty((table.num_rows, self.n_features), self.dtype)
        for f, name in enumerate(self.names or []):
            X[:, f] = _numbers(table.column(name))
        weight = None if self._weight is None else _numbers(table.column(self._weight)).astype(np.float64)
        return X, weight


def _numbers(column: Any) -> np.ndarray:
    """A column as numbers, missing values as NaN."""
    import pyarrow as pa

    if pa.types.is_boolean(column.type):
        column = column.cast(pa.uint8())
    return column.to_numpy(zero_copy_only=False) if isinstance(column, pa.Array) else column.to_numpy()
