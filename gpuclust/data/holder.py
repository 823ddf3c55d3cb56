"""What a worker does: it holds shards with their ledgers, folds over them, and answers about rows."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import numpy as np

from ..backends.base import Backend, Bounds, Centers, Chunk
from ..backends.cpu import CPUBackend
from ..backends.frame import Frame
from ..backends.metric import Metric
from ..backends.select import select
from ..backends.threads import at_most
from ..config import config_context
from ..errors import DataError
from .array import KEPT, ArraySource
from .branches import Branch, Failure, Parts, Reply, heard, sent, together
from .collection import fetched, rows_of
from .plan import DEFAULT_CHUNK, LEAST_ROWS, ROW_STATE, statistics_bytes
from .readers import ArrayReader, EmptyFileError, Reader, check_weight
from .shards import brought, on_host
from .source import Source
from .stream import Stream, StreamSource

Entry = tuple[str, tuple[Any, ...]]  # a method and its arguments


class Facts(NamedTuple):
    """What a shard tells before it is opened."""

    rows: int
    features: int
    dtype: np.dtype
    names: tuple[str, ...] | None = None
    weighted: bool = False
    seekable: bool = True


class Told(NamedTuple):
    """What a holder tells before its shards are opened."""

    facts: list[Facts]
    card: str  # which card of which machine it computes on; '': none


class Opening(NamedTuple):
    """How shards become sources, on every worker alike."""

    device: str
    dtype: np.dtype
    chunk_rows: int | None
    clusters: int
    metric: Metric
    memory: int | None  # budget of a worker, bytes


class Holder:
    """Some shards of a source. An actor: one for each worker, whose calls run one after another.

    Sources that differ in their weights alone are views of the same rows, each with a ledger of its own.
    """

    def __init__(self, blocks: Sequence[Any], weights: Sequence[Any] | None):
        self._blocks, self._weights = list(blocks), weights
        self._rows: list[np.ndarray | Reader] = []
        self._views: dict[int, list[Source]] = {}
        self._memory: int | None = None
        self._backend: Backend = CPUBackend()
        self._free: int | None = None  # bytes, before any worker opened its shards
        self._last: tuple[int, Any] = 0, None  # the newest fold, and what it gave until the next call

    def call(self, request: bytes, below: Sequence[Branch] = ()) -> bytes:
        """A packed `Reply`: what a method gives, merged with what the branches below give. What this raises is not the
        method's.
        """
        coming, lost = sent(below, request) if below else [], list[str]()
        try:
            found = self._done(request)
            for branch, answer in zip(below, coming, strict=True):
                other = heard(answer, branch)
                if other.failure is not None:
                    return other.packed()
                found, lost = together([*found, *other.found]), [*lost, *other.lost]
            return Reply(found, lost).packed()
        except Exception as error:
            return _as_bytes(error)

    def _done(self, request: bytes) -> Any:
        """What a method gives. A fold changes the ledger: where its answer was lost on the way, it is given again.

        Raises
        ------
        RuntimeError
            If it is an earlier fold, of a parent that is gone.
        """
        from distributed.protocol import pickle

        number, view, method, args, dropped = pickle.loads(request)
        newest, last = self._last
        if number and number == newest:
            return last
        if 0 < number < newest:
            raise RuntimeError(f"Fold {number} came after fold {newest}.")
        for old in dropped:
            self._views.pop(old, None)
        with at_most(_worker().state.nthreads), self._budget():
            found = getattr(self, method)(view, *args)
        self._last = (number, found) if number else (newest, None)
        return found

    def _budget(self) -> AbstractContextManager[None]:
        return nullcontext() if self._memory is None else config_context(memory=self._memory)

    # the shards
    def told(self, view: int, device: str) -> Told:
        """What the shards are like, and where they will be."""
        facts, self._backend = self.facts(), select(device).backend
        card = self._backend.card
        if not card:
            return Told(facts, "")
        self._free = self._backend.free_bytes()
        return Told(facts, f"{socket.gethostname()} {card}")

    def facts(self) -> list[Facts]:
        if not self._rows:
            self._rows = [_readable(block) for block in self._blocks]
            names = [_names(block) for block in self._blocks]
            self._facts = [_fact(rows, given) for rows, given in zip(self._rows, names, strict=True)]
            self._blocks = []
        return self._facts

    def open(
        self, view: int, opening: Opening, starts: Sequence[int], weights: Sequence[Any] | None, beside: int = 0
    ) -> tuple[float | None, str]:
        """Make sources of the shards, whose first rows are `starts` of all rows; bytes a row for bounds, if limited,
        and what this worker computes on. `beside`: bytes that other workers will take of the same card.
        """
        self._memory, fresh = opening.memory, not self._rows
        self._backend = select(opening.device).backend if fresh else self._backend
        facts, nothing = self.facts(), [None] * len(starts)
        given: Sequence[Any] = weights or self._weights or nothing
        total, sources = sum(fact.rows for fact in facts), []
        fits = self._backend.holds(room_for(facts, opening) + beside, None if fresh else self._free)
        for i, fact in enumerate(facts):
            weight = None if given[i] is None else _weight(given[i], fact.rows)
            left = None if opening.memory is None else opening.memory - ROW_STATE * (total - fact.rows)
            source = self._source(self._rows[i], weight, fact, opening, fits, left)
            source.first = starts[i]
            sources.append(source)
            self._rows[i] = np.empty((0, fact.features))  # the source holds them, perhaps as another dtype
        self._views[view] = sources
        bounds = [s.bound_bytes / s.n_rows for s in sources if s.n_rows and s.bound_bytes is not None]
        return min(bounds, default=None), self._backend.name

    def _source(
        self,
        rows: np.ndarray | Reader,
        weight: np.ndarray | None,
        fact: Facts,
        opening: Opening,
        fits: bool,
        memory: int | None,
    ) -> Source:
        """A file is read once and held, or read in every pass where the memory has a budget; rows stay with the host
        where the device has no room for all.
        """
        _, dtype, chunk_rows, clusters, metric, _ = opening
        if isinstance(rows, Reader) and fact.weighted and weight is not None:
            raise DataError("The files carry weights already; pass those or sample_weight, not both.")
        if isinstance(rows, Reader) and memory is not None:
            with config_context(memory=max(memory, 1)):
                source = StreamSource(rows, weight, self._backend, chunk_rows, clusters, metric)
            source.dtype = dtype
            return source
        if isinstance(rows, Reader):
            rows, weight = _read(rows, weight)
        if not fits:
            kept = ArrayReader(rows.astype(dtype, copy=False))
            return StreamSource(kept, weight, self._backend, chunk_rows, clusters, metric)
        uploaded = None if weight is None else self._backend.upload(weight, np.float64)
        return ArraySource(self._backend.upload(rows, dtype), uploaded, self._backend, chunk_rows)

    def reweight(self, view: int, base: int, weights: Sequence[np.ndarray]) -> None:
        """A view of the rows of another one, in which each counts so many times as often."""
        self._views[view] = [
            source.reweighted(weight) for source, weight in zip(self._views[base], weights, strict=True)
        ]  # fmt: skip

    def replay(self, view: int, log: Sequence[Entry]) -> None:
        """What other holders have been told before this one was made; bounds of rows are made, not kept."""
        for method, args in log:
            getattr(self, method)(view, *(_renewed(arg) for arg in args))

    # what a source does
    def fold(self, view: int, step: Any, args: Sequence[Any]) -> Parts:
        """The merged statistic of the shards here, or one for each where their order matters; each with a first row."""
        backend = self._backend
        with backend.current():
            args = tuple(args) if backend.name == "cpu" else brought(tuple(args), backend)
            parts = together([(s.first, s.fold(step, *args)) for s in self._views[view] if s.n_rows])
            return [(first, on_host(part, backend)) for first, part in parts]

    def allocate(self, view: int, name: str, dtype: Any, fill: Any, width: int | None) -> None:
        for source in self._views[view]:
            source.allocate(name, dtype, fill, width)

    def allocate_bounds(self, view: int, k: int, groups: int, metric: Metric) -> None:
        for source in self._views[view]:
            source.allocate_bounds(k, groups, metric)

    def keep(self, view: int, frame: Frame, k: int) -> None:
        for source in self._views[view]:
            source.keep(frame, k)

    def release(self, view: int, *names: str) -> None:
        for source in self._views[view]:
            source.release(*names)

    def write(self, view: int, name: str, index: np.ndarray, values: np.ndarray) -> None:
        """Of rows by global index, those that are here."""
        for source in self._views[view]:
            here = source.has(index)
            if here.any():
                source.write(name, index[here] - source.first, values[here])

    def fill(self, view: int, name: str, parts: Sequence[np.ndarray]) -> None:
        for source, values in zip(self._views[view], parts, strict=True):
            source.fill(name, values)

    def columns(self, view: int, name: str) -> list[tuple[int, np.ndarray]]:
        """A ledger column, shard by shard, with the shard's first row."""
        return [(source.first, source.backend.to_host(source.rows(name))) for source in self._views[view]]

    def weights(self, view: int) -> list[tuple[int, np.ndarray]]:
        """Shard by shard, with the shard's first row."""
        found = [(source.first, source.host_weight) for source in self._views[view] if source.n_rows]
        return [(first, weight) for first, weight in found if weight is not None]

    def gather(self, view: int, index: np.ndarray) -> list[tuple[np.ndarray, np.ndarray, np.ndarray | None]]:
        """Of rows by global index those that are here: their places in `index`, the rows, their weights."""
        found = []
        for source in self._views[view]:
            here = np.flatnonzero(source.has(index))
            if len(here):
                X, weight = source.gather(index[here] - source.first)
                found.append((here, *_on_host(source, X, weight)))
        return found

    def slices(self, view: int, ranges: Sequence[tuple[int, int]]) -> list[tuple[int, Chunk]]:
        """The parts of ranges of rows that are here, with their ledgers, and which range each belongs to."""
        found = []
        for source in self._views[view]:
            for number, (start, stop) in enumerate(ranges):
                chunk = source.overlap(start, stop)
                if chunk is not None:
                    X, weight = _on_host(source, chunk.X, chunk.weight)
                    columns = [(name, column) for name, column in chunk.rows.items() if name not in KEPT]
                    ledger = {name: source.backend.to_host(column) for name, column in columns}
                    found.append((number, Chunk(X, weight, chunk.start, ledger)))
        return found


def room_for(facts: Sequence[Facts], opening: Opening) -> int:
    """Bytes of a device that all shards of a worker take."""
    needed = sum(fact.rows * (fact.features * opening.dtype.itemsize + ROW_STATE) for fact in facts)
    return needed + statistics_bytes(opening.clusters, max(fact.features for fact in facts), opening.dtype.itemsize)


def _worker() -> Any:
    from distributed import get_worker

    return get_worker()


def _as_bytes(error: Exception) -> bytes:
    """That it went wrong: the error itself, for a client that can make it again, and in words."""
    from distributed.protocol import pickle

    try:
        made = bytes(pickle.dumps(error))
    except Exception:  # it holds what cannot be sent
        made = b""
    text = f"{type(error).__name__}: {error}"
    return Reply(None, (), Failure(made, text, isinstance(error, MemoryError), _worker().address)).packed()


def _readable(block: Any) -> np.ndarray | Reader:
    """Rows, or the reader of a file; a file without rows gives none."""
    if not isinstance(block, Stream):
        return rows_of(block)
    try:
        return block.open()
    except EmptyFileError:
        return np.empty((0, 0))


def _fact(rows: np.ndarray | Reader, names: tuple[str, ...] | None) -> Facts:
    if isinstance(rows, np.ndarray):
        return Facts(len(rows), rows.shape[1], rows.dtype, names)
    named = None if rows.names is None else tuple(map(str, rows.names))
    assert rows.n_rows is not None  # of a file
    return Facts(rows.n_rows, rows.n_features, rows.dtype, named, rows.weighted, rows.seekable)


def _read(reader: Reader, weight: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
    """All rows of a file, and their weights where it has some."""
    X, at = np.empty((reader.n_rows or 0, reader.n_features), reader.dtype), 0
    own = np.empty(len(X)) if reader.weighted else None
    for rows, w in reader.blocks(max(LEAST_ROWS, DEFAULT_CHUNK // reader.row_bytes)):
        X[at : at + len(rows)] = rows
        if own is not None:
            own[at : at + len(rows)] = w
        at += len(rows)
    return X, weight if own is None else _weight(own, len(X))


def _weight(weight: Any, rows: int) -> np.ndarray:
    """Weights f64 [n] of a shard.

    Raises
    ------
    DataError
        If they are not one for each row, or negative, or not finite.
    """
    weight = np.asarray(fetched(weight), np.float64).ravel()
    if len(weight) != rows:
        raise DataError(f"A shard of {rows} rows has {len(weight)} weights: give X and sample_weight the same chunks.")
    check_weight(weight)
    return weight


def _on_host(source: Source, X: Any, weight: Any) -> tuple[np.ndarray, np.ndarray | None]:
    to_host = source.backend.to_host
    return to_host(X), None if weight is None else to_host(weight)


def _renewed(value: Any) -> Any:
    """Centres, wherever they stand in the arguments of a step, for rows that have no bounds yet."""
    if isinstance(value, Centers):
        return value if value.bounds == Bounds.NONE else value._replace(bounds=Bounds.MAKE)
    if isinstance(value, tuple):
        parts = [_renewed(part) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    return value


def _names(block: Any) -> tuple[str, ...] | None:
    return tuple(map(str, block.columns)) if hasattr(block, "dtypes") else None
