"""Rows on several devices of one machine: each has a shard with its ledger and folds over it in a thread of its own.

What one device is to use that another one has made is copied between them: parameters from the first device to the
others before a fold, statistics to the first device after it. The host waits for neither: work of a device begins once
that which it follows is done there. Statistics merge to the same bits in any order, so results are those of one device.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from contextvars import copy_context
from copy import copy
from functools import partial
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np

from ..backends.base import Array, Backend, Centers, Chunk
from ..backends.frame import Frame
from ..backends.nested import changed
from ..backends.statistics import Delta, merged
from .plan import DEFAULT_CHUNK
from .source import Source, joined

R = TypeVar("R")
ALL = slice(None)


def spread(backend: Backend, n_rows: int, make: Callable[[Backend, slice], Source], stays: bool = False) -> Source:
    """Rows on all devices of a backend, of which `make(member, rows)` makes a source of some; of `ALL` where there is
    one device. `stays`: as that of `ArraySource`."""
    return make(backend, ALL) if len(backend.members) == 1 else ShardedSource(backend, n_rows, make, stays)


def share(array: Any, rows: slice) -> Any:
    """Some rows of an array; None of None."""
    return array if array is None or rows == ALL else array[rows]


class ShardedSource(Source):
    """`n_rows` rows, evenly over the members of a backend."""

    def __init__(
        self, backend: Backend, n_rows: int, make: Callable[[Backend, slice], Source], stays: bool = False
    ):
        members = backend.members[: max(1, n_rows)]
        cuts = [n_rows * i // len(members) for i in range(len(members) + 1)]
        self.backend, self._stays, self._columns = backend, stays, set[str]()
        self._pool = ThreadPoolExecutor(len(members), thread_name_prefix="gpuclust-device")
        rows = [slice(start, stop) for start, stop in pairwise(cuts)]
        made = [(member, partial(make, member, part)) for member, part in zip(members, rows, strict=True)]
        self._shards: list[Source] = self._at_once(made)
        for shard, first in zip(self._shards, cuts[:-1], strict=True):
            shard.first = first
        super().__init__(backend, n_rows, self._shards[0].n_features, self._shards[0].dtype)

    def _at_once(self, work: Sequence[tuple[Backend, Callable[[], R]]]) -> list[R]:
        """What each device finds, in a thread of its own: after all that the first device was given to do before, and
        before what it is given to do next."""
        begun, done = self.backend.mark(), list[Any]()
        tasks = [partial(copy_context().run, partial(_after, begun, done, member, each)) for member, each in work]
        coming = [self._pool.submit(task) for task in tasks]
        wait(coming)
        for mark in done:
            self.backend.follow(mark)
        return [each.result() for each in coming]

    def _everywhere(self, work: Callable[[Source], R]) -> list[R]:
        """What all shards give, in order."""
        return self._at_once([(shard.backend, partial(work, shard)) for shard in self._shards])

    def _brought(self, value: Any) -> Any:
        """Something that shards gave, on the first device."""
        with self.backend.current():
            return brought(value, self.backend)

    # folds
    def fold(self, step: Callable[..., Any], *args: Any) -> Any:
        self.n_passes += 1
        parts = self._brought(tuple(self._everywhere(lambda shard: shard.fold(step, *self._sent(args, shard)))))
        with self.backend.current():
            return merged(parts)

    def collect(self, function: Callable[..., Array], *args: Any) -> list[Any]:
        self.n_passes += 1
        found = self._everywhere(lambda shard: shard.collect(function, *self._sent(args, shard)))
        return [self._brought(part) for parts in found for part in parts]

    def _sent(self, args: tuple[Any, ...], shard: Source) -> Any:
        return args if shard is self._shards[0] else brought(args, shard.backend)

    # the ledger
    def allocate(self, name: str, dtype: Any, fill: Any, width: int | None = None) -> None:
        self._columns.add(name)
        self._everywhere(lambda shard: shard.allocate(name, dtype, fill, width))

    def release(self, *names: str) -> None:
        self._columns.difference_update(names)
        for shard in self._shards:
            shard.release(*names)

    def rows(self, name: str) -> Array:
        """A whole ledger column, on the host: no device need have room for it."""
        return np.concatenate(self._everywhere(lambda shard: shard.backend.to_host(shard.rows(name))))

    def write(self, name: str, index: np.ndarray, values: np.ndarray) -> None:
        def one(shard: Source) -> None:
            here = shard.has(index)
            shard.write(name, index[here] - shard.first, values[here])

        self._everywhere(one)

    def fill(self, name: str, values: np.ndarray) -> None:
        self._everywhere(lambda shard: shard.fill(name, values[_part(shard)]))

    def keep(self, frame: Frame, k: int) -> None:
        self._everywhere(lambda shard: shard.keep(frame, k))

    def placed(self, column: Array) -> Any:
        return self.backend.upload(column, column.dtype) if self._stays else self.backend.to_host(column)

    # what it tells
    @property
    def host_rows(self) -> Any:
        parts = self._everywhere(lambda shard: shard.host_rows)
        return None if any(part is None for part in parts) else np.concatenate(parts)

    @property
    def host_weight(self) -> np.ndarray | None:
        if not self.weighted:
            return None
        return np.concatenate([np.asarray(part) for part in self._everywhere(lambda shard: shard.host_weight)])

    def reweighted(self, weight: np.ndarray) -> Source:
        other = copy(self)
        other._columns, other.n_passes = set(), 0
        other._shards = self._everywhere(lambda shard: shard.reweighted(weight[_part(shard)]))
        return other

    @property
    def weighted(self) -> bool:
        return self._shards[0].weighted

    @property
    def bound_bytes(self) -> int | None:
        parts = [shard.bound_bytes for shard in self._shards]
        return None if None in parts else sum(part for part in parts if part is not None)

    @property
    def seekable(self) -> bool:
        return self._shards[0].seekable

    # rows here and there, on the first device
    def slices(self, ranges: Sequence[tuple[int, int]]) -> list[Chunk]:
        found = self._everywhere(lambda shard: [self._overlapping(shard, *bounds) for bounds in ranges])
        parts = [tuple(chunk for chunk in chunks if chunk is not None) for chunks in zip(*found, strict=True)]
        return [joined(self._brought(chunks), self.backend.joined) for chunks in parts]

    def _overlapping(self, shard: Source, start: int, stop: int) -> Chunk | None:
        """The rows of [start, stop) that a shard has, with the ledger's columns that have one entry a row."""
        chunk = shard.overlap(start, stop)
        return None if chunk is None else self._cut(chunk, slice(0, chunk.X.shape[0]))

    def gather(self, index: np.ndarray) -> tuple[Array, Array | None]:
        def one(shard: Source) -> tuple[np.ndarray, Any]:
            here = np.flatnonzero(shard.has(index))
            asked = len(here) or shard is self._shards[0]
            return here, shard.gather(index[here] - shard.first) if asked else None

        self.n_passes += not self.seekable
        found = [(here, self._brought(rows)) for here, rows in self._everywhere(one) if rows is not None]
        back = self.backend.upload(np.argsort(np.concatenate([here for here, _ in found])), np.int64)
        join = self.backend.joined
        with self.backend.current():
            X = join([X for _, (X, _) in found])[back]
            return X, join([weight for _, (_, weight) in found])[back] if self.weighted else None

    def take(self, index: np.ndarray) -> np.ndarray:
        return self.backend.to_host(self.gather(index)[0])

    def _chunks(self) -> Generator[Chunk, None, None]:
        """All rows, on the first device, a few at a time."""
        step = max(1, DEFAULT_CHUNK // (self.n_features * self.dtype.itemsize))
        for shard in self._shards:
            shard.backend.follow(self.backend.mark())
            with closing(shard._chunks()) as chunks:
                for chunk in chunks:
                    for start in range(0, chunk.X.shape[0], step):
                        yield self._handed(shard.backend, self._cut(chunk, slice(start, start + step)))

    def _cut(self, chunk: Chunk, rows: slice) -> Chunk:
        """Some rows of a chunk, with those columns of the ledger that have one entry a row."""
        weight = None if chunk.weight is None else chunk.weight[rows]
        columns = {name: chunk.rows[name][rows] for name in self._columns}
        return Chunk(chunk.X[rows], weight, chunk.start + rows.start, columns)

    def _handed(self, member: Backend, chunk: Chunk) -> Chunk:
        """A chunk from a member to the first device, in the thread that asks."""
        self.backend.follow(member.mark())
        found: Chunk = self._brought(chunk)
        member.follow(self.backend.mark())
        return found


def _after(begun: Any, done: list[Any], backend: Backend, work: Callable[[], R]) -> R:
    """`work()` once `begun` is; a mark of its end goes to `done`, whether it fails or not."""
    with backend.current():
        backend.follow(begun)
        try:
            return work()
        finally:
            done.append(backend.mark())


def _part(shard: Source) -> slice:
    return slice(shard.first, shard.first + shard.n_rows)


def brought(value: Any, backend: Backend) -> Any:
    """`value` with the arrays in it that are on a device on that of `backend`; centres are packed there anew, since
    devices of another kind read them in another form. What needs no copy stays as it is."""

    def one(part: Any) -> Any:
        if isinstance(part, Centers):
            given = backend.upload(part.given, np.float64)
            return backend.pack(given, part.frame, part.layout, part.drift)._replace(bounds=part.bounds)
        return backend.upload(part, part.dtype) if backend.owns(part) else part

    return changed(value, one)


def on_host(value: Any, backend: Backend) -> Any:
    """`value`, a statistic that `backend` made, as the CPU would have made it."""

    def one(part: Any) -> Any:
        if isinstance(part, Delta):
            return backend.settled(part)
        return backend.to_host(part) if backend.owns(part) else part

    return changed(value, one)
