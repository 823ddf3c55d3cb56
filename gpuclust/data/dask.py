"""Rows that the workers of a Dask cluster hold: a source whose folds run where the rows are.

Each worker has one actor (`Holder`) with its shards and their ledgers; what travels are the parameters of a step and
merged statistics: to and from every worker or, where they are many, down a tree of them and up again. Statistics merge
to the same bits in any order, so results are those of one machine.

k-means++ is one fold for each centre, and a fold costs some milliseconds however few rows there are; each of these
sends 8 bytes for every 1024 rows and trial centre. At large k seeding takes longer than the iterations:
`init='k-means||'` takes seven folds. K-Medians sends, besides counts by cluster and feature, the values that lie near
the medians: 20 MB a pass at most. Mini-batches are drawn rows, and so they do travel to the client.
"""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from copy import copy
from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np

from ..backends.base import Array, Chunk
from ..backends.cpu import CPUBackend
from ..backends.frame import Frame
from ..backends.metric import Metric
from ..config import get_config
from ..errors import DataError
from .branches import merged_in_pairs
from .collection import blocks_of, column_blocks, is_collection, mapped
from .crew import Crew, Part, Request
from .holder import Facts, Opening, Told, room_for
from .plan import DEFAULT_CHUNK
from .source import Source, joined


class DaskSource(Source):
    """Rows of a collection, behind the default client; weight: a collection too, or f64 [n] on the host, or None.

    `device`: what each worker computes on, 'auto': a GPU where it has one. The client computes on its CPU.
    """

    remote = True

    def __init__(
        self,
        X: Any,
        weight: Any,
        device: str,
        chunk_rows: int | None = None,
        clusters: int = 0,
        metric: Metric = Metric.EUCLIDEAN,
    ):
        self._collection, blocks = X, blocks_of(X)
        lazy = is_collection(weight)
        self._crew = Crew(blocks.pieces, column_blocks(weight, X, len(blocks.pieces)) if lazy else None)
        told = self._crew.ask(Request(0, "told", (device,)))
        facts = _facts(told)
        self._starts = np.append(0, np.cumsum([fact.rows for fact in facts]))
        filled = [fact for fact in facts if fact.rows]
        self.names = filled[0].names
        super().__init__(
            CPUBackend(), int(self._starts[-1]), filled[0].features, np.result_type(*{fact.dtype for fact in filled})
        )
        if weight is not None and not lazy and weight.shape != (self.n_rows,):
            raise ValueError(f"sample_weight.shape == {weight.shape}, expected ({self.n_rows},)!")
        self._host_weight: np.ndarray | None = None if lazy else weight
        self._weighted = weight is not None or any(fact.weighted for fact in filled)
        self._seekable = all(fact.seekable for fact in filled)
        opening = Opening(device, self.dtype, chunk_rows, clusters, metric, get_config().memory)
        self._open(opening, None if lazy else weight, _beside(told, opening))

    def _open(self, opening: Opening, weight: np.ndarray | None, beside: dict[str, int]) -> None:
        starts = self._starts

        def own(part: Part) -> tuple[Any, ...]:
            weights = None if weight is None else _split(starts, weight, part)
            return opening, [int(starts[s]) for s in part.shards], weights, beside.get(part.holder.key, 0)

        self._view, opened = self._crew.view("open", own=own)
        self._opened = self._view
        limits = [bound for bound, _ in opened if bound is not None]
        self._bound_bytes = int(min(limits) * self.n_rows) if limits else None
        weakref.finalize(self, self._crew.drop, self._view)

    # asking
    def _asked(self, method: str, *args: Any) -> list[Any]:
        return [answer for _, answer in self._crew.ask(Request(self._view, method, args))]

    def _remember(self, method: str, *args: Any) -> None:
        """A step that sets every label, whatever it was, makes those before it unnecessary. Where there is no column
        yet, there is none that a step could have changed: its arguments, perhaps as long as the data, are let go.
        """
        log = self._crew.log(self._view)
        if method == "fold" and (not log or getattr(args[0], "reads_only", False)):
            return
        if method == "fold" and getattr(args[0], "sets_labels", False):
            log = _columns_there(log)
        self._crew.keep(self._view, [*log, (method, args)])

    # what a source does
    def fold(self, step: Callable[..., Any], *args: Any) -> Any:
        self.n_passes += 1
        found = sorted(self._crew.fold(Request(self._view, "fold", (step, args))), key=itemgetter(0))
        self._remember("fold", step, args)
        return merged_in_pairs([part for _, part in found])

    def allocate(self, name: str, dtype: Any, fill: Any, width: int | None = None) -> None:
        self._asked("allocate", name, dtype, fill, width)
        self._remember("allocate", name, dtype, fill, width)

    def allocate_bounds(self, k: int, groups: int, metric: Metric) -> None:
        self._asked("allocate_bounds", k, groups, metric)
        self._remember("allocate_bounds", k, groups, metric)

    def keep(self, frame: Frame, k: int) -> None:
        """Not told again to a holder that takes the place of a lost one: it does without."""
        if self.device != self.backend.name:
            self._asked("keep", frame, k)

    @property
    def device(self) -> str:
        return ",".join(sorted({device for _, device in self._crew.answers(self._opened)}))

    def release(self, *names: str) -> None:
        self._asked("release", *names)
        self._remember("release", *names)
        log = self._crew.log(self._view)
        if not _columns_there(log):
            self._crew.keep(self._view, [])

    def write(self, name: str, index: np.ndarray, values: np.ndarray) -> None:
        self._asked("write", name, index, values)
        self._remember("write", name, index, values)

    def fill(self, name: str, values: np.ndarray) -> None:
        self._crew.ask(Request(self._view, "fill", (), lambda part: (name, _split(self._starts, values, part))))
        log = self._crew.log(self._view)
        if log and log[-1][:1] == ("write",) and log[-1][1][0] == name:  # what nothing has read since
            self._crew.keep(self._view, log[:-1])
        self._remember("write", name, np.arange(self.n_rows), values)

    def rows(self, name: str) -> Array:
        return _in_order(self._asked("columns", name))

    def reweighted(self, weight: np.ndarray) -> Source:
        other, base, starts = copy(self), self._view, self._starts
        other.n_passes, other._host_weight, other._weighted = 0, None, True
        other._view, _ = self._crew.view("reweight", own=lambda part: (base, _split(starts, weight, part)))
        other._base = self  # type: ignore[attr-defined]  # whose view the rows are needed from after a loss
        weakref.finalize(other, self._crew.drop, other._view)
        return other

    @property
    def weighted(self) -> bool:
        return self._weighted

    @property
    def host_weight(self) -> np.ndarray | None:
        if self._weighted and self._host_weight is None:
            self._host_weight = _in_order(self._asked("weights"))
        return self._host_weight

    @property
    def bound_bytes(self) -> int | None:
        return self._bound_bytes

    @property
    def seekable(self) -> bool:
        return self._seekable

    def gather(self, index: np.ndarray) -> tuple[Array, Array | None]:
        X = np.empty((len(index), self.n_features), self.dtype)
        weight = np.empty(len(index)) if self.weighted else None
        for where, rows, weights in chain(*self._asked("gather", index)):
            X[where] = rows
            if weight is not None:
                weight[where] = weights
        return X, weight

    def take(self, index: np.ndarray) -> np.ndarray:
        return self.gather(index)[0]

    def labels(self, *, copy: bool) -> None:
        """They are what `predict` gives: made where the rows are, when they are asked for."""
        return

    def lazily(self, function: Callable[[Any], Any], dtype: Any) -> Any:
        result = mapped(function, self._collection, dtype)
        result._chunks = (tuple(int(n) for n in np.diff(self._starts)),)
        return result

    def slices(self, ranges: Sequence[tuple[int, int]]) -> list[Chunk]:
        found: list[list[Chunk]] = [[] for _ in ranges]
        for number, chunk in chain(*self._asked("slices", list(ranges))):
            found[number].append(chunk)
        return [joined(sorted(chunks, key=lambda chunk: chunk.start), np.concatenate) for chunks in found]

    def _chunks(self) -> Generator[Chunk, None, None]:
        """All rows, brought to the client a few at a time: for results as long as the data."""
        step = max(1, DEFAULT_CHUNK // (self.n_features * self.dtype.itemsize))
        for start in range(0, self.n_rows, step):
            yield self.slices([(start, min(start + step, self.n_rows))])[0]


def _facts(told: Sequence[tuple[Part, Told]]) -> list[Facts]:
    """What the shards are like, in order.

    Raises
    ------
    DataError
        If they differ in their features, or there are no rows.
    """
    found = dict(chain(*(zip(part.shards, each.facts, strict=True) for part, each in told)))
    facts = [found[s] for s in sorted(found)]
    filled = [fact for fact in facts if fact.rows]
    if not filled:
        raise DataError("The shards hold no rows.")
    if len({(fact.features, fact.names, fact.weighted) for fact in filled}) > 1:
        raise DataError("The shards differ in their features: give each the same columns in the same order.")
    return facts


def _beside(told: Sequence[tuple[Part, Told]], opening: Opening) -> dict[str, int]:
    """For each holder the bytes that the others will take of the same card."""
    room = {part.holder.key: room_for(each.facts, opening) if each.card else 0 for part, each in told}
    taken: Counter[str] = Counter()
    for part, each in told:
        taken[each.card] += room[part.holder.key]
    return {part.holder.key: taken[each.card] - room[part.holder.key] for part, each in told}


def _split(starts: np.ndarray, column: np.ndarray, part: Part) -> list[np.ndarray]:
    """What of a column belongs to each of a part's shards."""
    return [column[starts[s] : starts[s + 1]] for s in part.shards]


def _columns_there(log: Sequence[tuple[str, tuple[Any, ...]]]) -> list[tuple[str, tuple[Any, ...]]]:
    """How the columns that a log leaves were allocated."""
    there: dict[str, tuple[str, tuple[Any, ...]]] = {}
    for method, args in log:
        if method == "allocate":
            there[args[0]] = (method, args)
        elif method == "allocate_bounds":
            there[method] = (method, args)
        elif method == "release":
            there = {name: entry for name, entry in there.items() if name not in args}
    return list(there.values())


def _in_order(found: Sequence[Sequence[tuple[int, np.ndarray]]]) -> np.ndarray:
    """Columns of shards, given with their first rows, as one."""
    return np.concatenate([column for _, column in sorted(chain(*found), key=itemgetter(0))])
