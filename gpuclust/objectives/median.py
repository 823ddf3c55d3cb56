"""K-Medians: centres are medians feature by feature, the cost is the Manhattan distance.

Medians are exact in every iteration. Of rows in memory, those of clusters that changed are searched for their middle
values. Else a bracket around each median of the last iteration is carried along; the pass that assigns the rows also
counts what lies below it and keeps what lies inside. Medians that left their brackets are settled by further passes
over the rows and their labels (`search.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple, final

import numpy as np

from ..backends.base import Array, Backend, Bounds, Centers, Chunk, sets_labels
from ..backends.brackets import Brackets
from ..backends.frame import Frame
from ..backends.kernels import solve
from ..backends.layout import Drift, Layout
from ..backends.metric import Metric
from ..backends.statistics import DD, Cost, Moves, Ranks, Top, check_labelled, merged
from ..data.source import Source
from .mean import WORN, Final, farthest
from .pruning import Pruning
from .search import MANY_ROWS, SAMPLE_BYTES, SAMPLE_ROWS, Search

ROOM_BYTES = 20 << 20  # for the values inside brackets, which are held two and a half times while they are ordered
ROOM_ROW_BYTES = 4  # and as many more to every row
SPARE_ROW_BYTES = 2  # of a budget's, to every row: what seeding needed, two and a half times, and buckets


@dataclass(frozen=True)
class Medians:
    """Parameters between iterations: centres f64 [k, d], and what the rows' bounds are worth."""

    centers: np.ndarray
    terms: np.ndarray  # f64 [2, 1]: cost of the assignment to the centres before
    pruning: Pruning
    drift: Drift
    moved: int = 0  # rows, in the last iteration


class Stage(NamedTuple):
    centers: Centers
    brackets: Brackets | None
    medians: bool  # whether rows are selected in the same pass


@dataclass(frozen=True)
class Placed:
    """What an assignment did, what it costs, and what its pass told about the medians."""

    moves: Moves
    cost: Cost
    middles: tuple[np.ndarray, np.ndarray] | None  # of the clusters that changed; of all rows only, which never merge
    ranks: Ranks | None

    def merge(self, other: Placed) -> Placed:
        ranks = None if self.ranks is None or other.ranks is None else self.ranks.merge(other.ranks)
        return Placed(self.moves.merge(other.moves), self.cost.merge(other.cost), None, ranks)


@final
@dataclass(frozen=True)
class Median:
    """The objective of K-Medians for one start."""

    frame: Frame
    layout: Layout
    dtype: np.dtype
    lower: bool  # on an even split, the lower of the two middle values instead of their mean
    search: Search | None  # where the rows come in chunks or with weights

    @classmethod
    def start(cls, source: Source, frame: Frame, centers: np.ndarray, lower: bool = False) -> tuple[Median, Medians]:
        """Objective and first parameters; the ledger is made ready."""
        k, d = centers.shape
        layout = source.layout(centers)
        source.allocate("label", np.int32, -1)
        source.allocate_bounds(k, layout.groups, Metric.MANHATTAN)
        centers = np.ascontiguousarray(centers, np.float64)
        pruning = Pruning.start(layout.groups, k, d, source.n_rows, Metric.MANHATTAN)
        select = source.backend.selects and source.whole is not None
        search = None if select else _search(source, frame, centers)
        objective = cls(frame, layout, source.dtype, lower, search)
        return objective, Medians(centers, np.zeros((2, 1)), pruning, Drift.none(layout))

    def __getstate__(self) -> dict[str, Any]:
        """What `partial` needs on another machine: the search is k x d many times over."""
        return {**self.__dict__, "search": None}

    def begin(self, backend: Backend, params: Medians) -> Stage:
        centers = backend.pack(params.centers, self.frame, self.layout, params.drift)
        brackets = None if self.search is None else self.search.ask()
        return Stage(centers._replace(bounds=params.pruning.bounds), brackets, self.search is None)

    @sets_labels
    def partial(self, backend: Backend, chunk: Chunk, stage: Stage) -> Placed:
        found = backend.place(chunk, stage.centers, stage.medians)
        return Placed(*found, None if stage.brackets is None else ranks(backend, chunk, stage.brackets))

    def solve(self, source: Source, delta: Placed, params: Medians) -> Medians:
        """Medians of the rows' new labels; clusters left without mass are given the farthest rows."""
        pruning = params.pruning.after(delta.moves.moved, delta.moves.scored, source.n_rows)
        relocated = self._relocate(source, delta, params.centers)
        centers = self._medians(source, delta, params.centers, relocated)
        drift = Drift.none(self.layout)
        if len(relocated):
            pruning = pruning.anew()
        if pruning.bounds == Bounds.KEEP:
            drift = self._moved(params, centers)
            if drift.other.max() > WORN * self.frame.largest:
                pruning, drift = pruning.anew(), Drift.none(self.layout)
        total = delta.cost.total
        return Medians(centers, np.array([[total.hi], [total.lo]]), pruning, drift, delta.moves.moved)

    def change(self, old: np.ndarray, new: np.ndarray) -> DD:
        """Change of the cost between two assignments, from their terms."""
        return DD(*solve.terms_change(old, new))

    def converged(self, old: Medians, new: Medians, tol: float) -> str | None:
        """Why to stop: the cost fell by less than `tol` of itself; 0: nothing, since rounding alone may raise it."""
        before, after = float(old.terms.sum()), float(new.terms.sum())
        if tol > 0 and before > 0 and before - after < tol * before:
            return f"inertia fell by {before - after}, less than {tol} of it"
        return None

    def report(self, backend: Backend, params: Medians) -> Medians:
        """The parameters as the user gets them: centres rounded once to the rows' dtype."""
        rounded = params.centers.astype(self.dtype).astype(np.float64)
        return replace(params, centers=rounded, drift=self._moved(params, rounded))

    def measure(self, source: Source, params: Medians, delta: Placed) -> Final:
        """The direct cost of the labels as they stand."""
        return Final(delta.cost, np.array([[delta.cost.total.hi], [delta.cost.total.lo]]))

    def finish(self, source: Source, params: Medians) -> Final:
        """One more assignment, to `params.centers`: its cost, and the same in terms."""
        stage = self.begin(source.backend, params)._replace(brackets=None, medians=False)
        return self.measure(source, params, source.fold(self.partial, stage))

    def _moved(self, params: Medians, centers: np.ndarray) -> Drift:
        return params.drift.after(params.centers, centers, float(self.frame.scale), self.layout, Metric.MANHATTAN)

    def _medians(self, source: Source, delta: Placed, old: np.ndarray, relocated: np.ndarray) -> np.ndarray:
        """Exact medians f64 [k, d] of the ledger's labels; clusters without mass keep their old centre."""
        if self.search is not None:
            one, two = self._searched(self.search, source, delta, old.shape, relocated)
        else:
            assert delta.middles is not None
            one, two = delta.middles
            source.n_passes += 1
            if len(relocated):
                changed = np.isin(np.arange(len(old)), relocated)
                again = source.backend.middles(source.whole, source.rows("label"), changed)
                one, two = (np.where(changed[:, None], *pair) for pair in zip(again, (one, two), strict=True))
        centers = middle(one, two, self.lower)
        return np.where(np.isnan(centers), old, centers)

    def _searched(
        self, search: Search, source: Source, delta: Placed, shape: tuple[int, int], relocated: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The middle values f64 [k, d], found in brackets; NaN for clusters without mass."""
        d, flow, rows = shape[1], delta.moves.flow, delta.cost.rows
        left = search.begin()
        if delta.ranks is not None:  # what the pass told of clusters with relocated rows no longer holds
            again = np.isin(left // d, relocated)
            left = np.union1d(left[again], search.settle(left[~again], delta.ranks, rows, flow))
        while len(left):
            left = search.settle(left, source.fold(ranks, search.open(left)), rows, flow)
        return search.state.one.reshape(shape), search.state.two.reshape(shape)

    def _relocate(self, source: Source, delta: Placed, centers: np.ndarray) -> np.ndarray:
        """Give each empty cluster one row: highest cost first, lowest row on ties, never cost 0. The clusters that this
        changed, i64."""
        empty = np.flatnonzero(~(delta.cost.mass.value() > 0))
        if not len(empty):
            return empty
        top: Top = source.fold(farthest, centers, len(empty), Metric.MANHATTAN)
        m = np.count_nonzero(top.key[: len(empty)] > 0)
        source.write("label", top.row[:m], empty[:m])
        return np.union1d(empty[:m], top.label[:m]).astype(np.int64)


def _search(source: Source, frame: Frame, centers: np.ndarray) -> Search:
    """A search that keeps as many values as there is room for; its first brackets are those of a sample."""
    search, X = _blank(source, frame, len(centers)), source.gather(_drawn(source, len(centers)))[0]
    stage = source.backend.pack(centers, frame, Layout.build(centers, 1), None)
    _guess(search, source, X, source.backend.to_host(source.backend.nearest(X, stage)), len(centers))
    return search


def _blank(source: Source, frame: Frame, k: int) -> Search:
    entry = 4 + source.dtype.itemsize + 8 * source.weighted
    spare = ROOM_BYTES + (0 if source.remote else ROOM_ROW_BYTES * source.n_rows)
    if source.bound_bytes is not None:
        spare = min(spare, source.bound_bytes // 2 + SPARE_ROW_BYTES * source.n_rows)
    magic = np.ascontiguousarray(frame.magic[:, -1]) if source.weighted else np.zeros(1)
    return Search.blank(k, source.n_features, source.dtype, magic, spare / entry / source.n_rows, source.n_rows)


def _guess(search: Search, source: Source, X: Array, label: np.ndarray, k: int) -> None:
    """First brackets from sampled rows X and their labels."""
    check_labelled(label)
    search.guess(source.backend.to_host(X), label, np.bincount(label, minlength=k) * (source.n_rows / len(label)))


def _drawn(source: Source, k: int) -> np.ndarray:
    """Indices of rows here and there: as many as tell the medians of k clusters roughly."""
    n = source.n_rows
    most = SAMPLE_BYTES if source.bound_bytes is None else min(SAMPLE_BYTES, source.bound_bytes // 2)
    m = min(n, max(MANY_ROWS, SAMPLE_ROWS * k), max(k, most // (source.n_features * source.dtype.itemsize)))
    return ((np.arange(m) + np.random.default_rng(0).uniform(size=m)) * (n / m)).astype(np.int64)


def medians(source: Source, frame: Frame, k: int, *, lower: bool = False) -> np.ndarray:
    """Exact medians f64 [k, d] of the rows by the ledger's label; NaN for clusters without mass."""
    if source.backend.selects and source.whole is not None:
        source.n_passes += 1
        return middle(*source.backend.middles(source.whole, source.rows("label"), np.ones(k, bool)), lower)
    label, index = source.backend.to_host(source.rows("label")), _drawn(source, k)
    search, rows = _blank(source, frame, k), np.bincount(label, minlength=k)
    _guess(search, source, source.gather(index)[0], label[index], k)
    left = search.begin()
    while len(left):
        left = search.settle(left, source.fold(ranks, search.open(left)), rows, rows)
    return middle(search.state.one.reshape(k, -1), search.state.two.reshape(k, -1), lower)


def middle(one: np.ndarray, two: np.ndarray, lower: bool) -> np.ndarray:
    """Medians f64 from the two values in the middle: their mean, or the lower one."""
    one, two = one.astype(np.float64, copy=False), two.astype(np.float64, copy=False)
    with np.errstate(over="ignore"):
        mean = np.where(np.isfinite(one + two), (one + two) / 2, one / 2 + two / 2)
    return (one if lower else mean) + 0.0  # no negative zeros: their order among zeros is by chance


def ranks(backend: Backend, chunk: Chunk, brackets: Brackets) -> Ranks:
    return merged(backend.ranks(part, brackets) for part in backend.blocks(chunk))
