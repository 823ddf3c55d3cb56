"""A source of rows: it folds a step over chunks and keeps what belongs to each row (the ledger)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from copy import copy
from typing import Any, TypeVar

import numpy as np

from ..backends.base import Array, Backend, Chunk
from ..backends.frame import Frame
from ..backends.layout import Layout, group_count
from ..backends.metric import Metric
from ..backends.statistics import Statistic

S = TypeVar("S", bound=Statistic)


class Source(ABC):
    """Rows [n_rows, n_features] behind one verb, `fold`."""

    remote = False  # whether what is as long as the data has far to go

    def __init__(self, backend: Backend, n_rows: int | None, n_features: int, dtype: Any):
        self.backend, self.n_features, self.dtype = backend, n_features, np.dtype(dtype)
        self._n_rows = n_rows
        self.first = 0  # the number of the first row: not 0 for a shard of a larger source; an index begins here
        self._ledger: dict[str, Array] = {}
        self.n_passes = 0

    @property
    def device(self) -> str:
        """What it computes on, by name."""
        return self.backend.name

    @property
    def n_rows(self) -> int:
        """Number of rows; a source that cannot know counts them in a pass of its own."""
        if self._n_rows is None:
            self.n_passes += 1
            self._n_rows = sum(chunk.X.shape[0] for chunk in self._chunks())
        return self._n_rows

    @abstractmethod
    def _chunks(self) -> Generator[Chunk, None, None]:
        """All rows once, in order."""

    @abstractmethod
    def slices(self, ranges: Sequence[tuple[int, int]]) -> list[Chunk]:
        """The rows of each [start, stop), with their slices of the ledger."""

    def has(self, number: np.ndarray) -> np.ndarray:
        """Which of these rows of the larger source are here, bool [m]."""
        return (number >= self.first) & (number < self.first + self.n_rows)

    def overlap(self, start: int, stop: int) -> Chunk | None:
        """The rows of [start, stop) of the larger source that are here, with their slices of the ledger."""
        low, high = max(start - self.first, 0), min(stop - self.first, self.n_rows)
        return self.slices([(low, high)])[0] if low < high else None

    def fold(self, step: Callable[..., S], *args: Any) -> S:
        """`step(backend, chunk, *args)` over all chunks, merged in row order. One pass over the data."""
        self.n_passes += 1
        with self.backend.current(), closing(self._chunks()) as chunks:  # ends the reading thread where a step raises
            found: S = self.backend.told(step(self.backend, chunk, *args) for chunk in chunks)
            return found

    def chunks(self) -> Generator[Chunk, None, None]:
        """All rows once, in order, for results that are as long as the data. One pass."""
        self.n_passes += 1
        return self._chunks()

    def collect(self, function: Callable[..., Array], *args: Any) -> list[Any]:
        """`function(backend, chunk, *args)`, one entry a row, of all chunks in order, where the caller's data live. One
        pass."""
        self.n_passes += 1
        with self.backend.current(), closing(self._chunks()) as chunks:
            return [self.placed(function(self.backend, chunk, *args)) for chunk in chunks]

    @property
    def host_rows(self) -> Any:
        """All rows as one host array or matrix, where they are in memory; else None."""
        return None

    @property
    def host_weight(self) -> np.ndarray | None:
        """All weights on the host; None where rows count once."""
        return None

    @property
    def alone(self) -> Chunk | None:
        """All rows as one chunk, where they are in memory, dense and in one chunk."""
        return None

    @property
    def whole(self) -> Array | None:
        """The same without weights, as one array."""
        alone = None if self.weighted else self.alone
        return None if alone is None else alone.X

    def reweighted(self, weight: np.ndarray) -> Source:
        """The same rows, where they are, each counted `weight` (f64 [n], on the host) times as often."""
        other, own = copy(self), self.host_weight
        other._ledger, other.n_passes = {}, 0
        other._take_weight(weight if own is None else weight * own)
        return other

    def _take_weight(self, weight: np.ndarray) -> None:
        """Weights f64 [n], from the host, in place of the present ones."""
        raise NotImplementedError

    def labels(self, *, copy: bool) -> Array | None:
        """The ledger's labels; None where they are not held but made, by `lazily`. A copy outlasts the next start."""
        with self.backend.current():
            return self.rows("label").copy() if copy else self.rows("label")

    def lazily(self, function: Callable[[Any], Any], dtype: Any) -> Any:
        """What `function` gives for each block of the caller's collection, one entry a row."""
        raise NotImplementedError

    def placed(self, column: Array) -> Any:
        """A ledger column where the caller's data live."""
        return self.backend.to_host(column)

    @property
    def sparse(self) -> bool:
        return False

    @property
    def weighted(self) -> bool:
        return False

    @property
    def bound_bytes(self) -> int | None:
        """Bytes that bounds to groups of centres may take; None where nothing limits them."""
        return None

    def layout(self, centers: np.ndarray) -> Layout:
        """Centres in as many groups as have bounds of their own: only dense rows on the CPU keep those."""
        k, d = centers.shape
        groups = group_count(k, d, self.dtype.itemsize) if self.backend.groups_bounds and not self.sparse else 1
        if self.bound_bytes is not None:
            groups = max(1, min(groups, self.bound_bytes // (4 * self.n_rows)))
        return Layout.build(centers, groups)

    def allocate_bounds(self, k: int, groups: int, metric: Metric) -> None:
        """What a row keeps between iterations: bounds to its own centre, to all others, to each of several groups."""
        if self.backend.keeps_bounds(metric, k, self.n_features):
            self.allocate("upper", np.float32, 0)
            self.allocate("lower", np.float32, 0)
            self.allocate("lowers", np.float32, 0, groups if groups > 1 else 0)

    def keep(self, frame: Frame, k: int) -> None:
        """What assignments to k centres within a frame read in place of the rows, where those stay on the device."""
        return

    def allocate(self, name: str, dtype: Any, fill: Any, width: int | None = None) -> None:
        """A ledger column (or `width` of them), one entry a row; filled anew where it is there already."""
        shape = (self.n_rows,) if width is None else (self.n_rows, width)
        present = self._ledger.get(name)
        if present is not None and present.shape == shape and present.dtype == dtype:
            with self.backend.current():
                present[...] = fill
        else:
            self._ledger[name] = self.backend.full(shape, fill, dtype)

    def release(self, *names: str) -> None:
        for name in names:
            self._ledger.pop(name, None)

    def rows(self, name: str) -> Array:
        """A whole ledger column, on the device."""
        return self._ledger[name]

    def write(self, name: str, index: np.ndarray, values: np.ndarray) -> None:
        """Set a ledger column for rows by index, i64 [m]; values [m] are on the host."""
        column = self.rows(name)
        with self.backend.current():
            column[self.backend.upload(index, np.int64)] = self.backend.upload(values, column.dtype)

    def fill(self, name: str, values: np.ndarray) -> None:
        """Set a ledger column for all rows; values [n] are on the host."""
        column = self.rows(name)
        with self.backend.current():
            column[...] = self.backend.upload(values, column.dtype)

    def take(self, index: np.ndarray) -> np.ndarray:
        """Rows by index, in the order asked for, dense, on the host."""
        chunks = self.slices([(int(i), int(i) + 1) for i in index])
        return np.concatenate([dense(self.backend.to_host(c.X)) for c in chunks])

    @property
    def seekable(self) -> bool:
        """Whether rows here and there are read without those between."""
        return False

    def gather(self, index: np.ndarray) -> tuple[Array, Array | None]:
        """Rows by index (repeats too) and their weights, in the order asked for, on the device.

        One pass, where the source cannot seek.
        """
        rows, back = np.unique(index, return_inverse=True)
        X, weight = [], []
        for chunk in self.chunks():
            start = chunk.start - self.first
            low, high = np.searchsorted(rows, [start, start + chunk.X.shape[0]])
            inside = self.backend.upload(rows[low:high] - start, np.int64)
            with self.backend.current():
                X.append(chunk.X[inside])
                weight.append(None if chunk.weight is None else chunk.weight[inside])
        back = self.backend.upload(back, np.int64)
        with self.backend.current():
            return self.backend.joined(X)[back], None if weight[0] is None else self.backend.joined(weight)[back]

    def _chunk(self, X: Array, weight: Array | None, start: int) -> Chunk:
        stop = start + X.shape[0]
        return Chunk(X, weight, self.first + start, {name: column[start:stop] for name, column in self._ledger.items()})


def joined(chunks: Sequence[Chunk], join: Callable[[list[Array]], Array]) -> Chunk:
    """Chunks that follow each other as one; `join` concatenates their arrays."""
    first = chunks[0]
    if len(chunks) == 1:
        return first
    weight = None if first.weight is None else join([chunk.weight for chunk in chunks])
    rows = {name: join([chunk.rows[name] for chunk in chunks]) for name in first.rows}
    return Chunk(join([chunk.X for chunk in chunks]), weight, first.start, rows)


def dense(X: Any) -> np.ndarray:
    return X.toarray() if hasattr(X, "toarray") else np.asarray(X)
