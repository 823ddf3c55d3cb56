"""K-Means: centres are means, the cost is squared Euclidean (Lloyd, 1982).

Invariant: `sums` are the exact sums of the rows under their present labels, so an iteration reads only rows that may
move and re-sums only rows that did; the costs of all assignments follow from the same sums and one direct cost.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple, final

import numpy as np

from ..backends.base import Array, Backend, Bounds, Centers, Chunk, sets_labels
from ..backends.frame import Frame
from ..backends.kernels import solve
from ..backends.layout import Drift, Layout
from ..backends.metric import Metric
from ..backends.statistics import DD, Cost, Delta, Top, merged
from ..data.source import Source
from .pruning import Pruning

WORN = 64.0  # ways of the centres, in widths of the data, from which on bounds in float32 are made anew


@dataclass(frozen=True)
class Means:
    """Parameters between iterations: centres f64 [k, d], the exact sums, and what the rows' bounds are worth."""

    centers: Array  # on the device
    sums: Array  # f64 [k, K, d + 1], the same
    terms: np.ndarray  # f64 [2, k]: costs of the assignment behind `sums`, by cluster, up to sum w|x - o|^2
    pruning: Pruning
    drift: Drift
    shift: float = np.inf  # sum of the squared ways of the centres in the last iteration
    moved: int = 0  # rows, in the last iteration


@dataclass(frozen=True)
class Assigned:
    """The rows that moved, and the cost of their labels."""

    delta: Delta
    cost: Cost

    def merge(self, other: Assigned) -> Assigned:
        return Assigned(self.delta.merge(other.delta), self.cost.merge(other.cost))


class Final(NamedTuple):
    cost: Cost
    terms: np.ndarray  # f64 [2, k]


@final
@dataclass(frozen=True)
class Mean:
    """The objective of K-Means for one start."""

    frame: Frame
    layout: Layout
    dtype: np.dtype
    origin: np.ndarray  # f64 [d], near most centres: what is far from it costs digits of the terms

    @classmethod
    def start(cls, source: Source, frame: Frame, centers: np.ndarray) -> tuple[Mean, Means]:
        """Objective and first parameters; the ledger is made ready."""
        k, d = centers.shape
        layout = source.layout(centers)
        source.allocate("label", np.int32, -1)
        source.allocate_bounds(k, layout.groups, Metric.EUCLIDEAN)
        source.keep(frame, k)
        sums = np.zeros((k, *frame.magic.shape))
        centers = np.ascontiguousarray(centers, np.float64)
        objective = cls(frame, layout, source.dtype, frame.inside(np.median(centers, axis=0)))
        pruning = Pruning.start(layout.groups, k, d, 0 if source.sparse else source.n_rows, Metric.EUCLIDEAN)
        return objective, Means(centers, sums, np.zeros((2, k)), pruning, Drift.none(layout))

    def begin(self, backend: Backend, params: Means) -> Centers:
        centers = backend.pack(params.centers, self.frame, self.layout, params.drift)
        return centers._replace(bounds=params.pruning.bounds)

    @sets_labels
    def partial(self, backend: Backend, chunk: Chunk, centers: Centers) -> Delta:
        return backend.reassign(chunk, centers)

    def solve(self, source: Source, delta: Delta, params: Means) -> Means:
        """New centres from the rows' new labels; clusters left without mass are given the farthest rows."""
        backend, old = source.backend, params.centers
        found = backend.means(params.sums, old, self.origin, delta)
        centers, shift, empty = found.centers, found.shift, np.flatnonzero(~(found.mass > 0))
        if len(empty):
            again = backend.means(self._relocate(source, old, found.sums, empty), old, self.origin)
            centers, shift = again.centers, again.shift
        pruning, drift = params.pruning.after(found.moved, delta.scored, source.n_rows), Drift.none(self.layout)
        if backend.keeps_bounds(Metric.EUCLIDEAN, *params.centers.shape) and pruning.bounds == Bounds.KEEP:
            drift = self._moved(params, centers)
            if drift.other.max() > WORN * np.sqrt(self.frame.largest):
                pruning, drift = pruning.anew(), Drift.none(self.layout)
        return Means(centers, found.sums, found.terms, pruning, drift, shift, found.moved)

    def change(self, old: np.ndarray, new: np.ndarray) -> DD:
        """Change of the cost between two assignments, from their terms."""
        return DD(*solve.terms_change(old, new))

    def converged(self, old: Means, new: Means, tol: float) -> str | None:
        """Why to stop: the sum of squared moves of the centres is at most `tol`."""
        return f"center shift {new.shift} within tolerance {tol}" if new.shift <= tol else None

    def report(self, backend: Backend, params: Means) -> Means:
        """The parameters as the user gets them: centres on the host, rounded once to the rows' dtype."""
        rounded = backend.to_host(params.centers).astype(self.dtype).astype(np.float64)
        kept = backend.keeps_bounds(Metric.EUCLIDEAN, *rounded.shape)
        return replace(params, centers=rounded, drift=self._moved(params, rounded) if kept else params.drift)

    def _moved(self, params: Means, centers: np.ndarray) -> Drift:
        return params.drift.after(params.centers, centers, float(self.frame.scale), self.layout, Metric.EUCLIDEAN)

    def measure(self, source: Source, params: Means, delta: Delta) -> Final:
        """The direct cost of the labels as they stand, in a pass of its own, for whoever watches the iterations."""
        cost = source.fold(_measured, params.centers)
        return Final(cost, source.backend.means(params.sums, params.centers, self.origin, delta).terms)

    def finish(self, source: Source, params: Means) -> Final:
        """One more assignment, to `params.centers`: its cost, and the same in terms."""
        found = source.fold(assign, self.begin(source.backend, params))
        terms = source.backend.means(params.sums, params.centers, self.origin, found.delta).terms
        return Final(found.cost, terms)

    def _relocate(self, source: Source, centers: Array, sums: Array, empty: np.ndarray) -> Array:
        """Sums in which each empty cluster holds one row: highest cost first, lowest row on ties, never cost 0."""
        top: Top = source.fold(farthest, centers, len(empty), Metric.EUCLIDEAN)
        m = np.count_nonzero(top.key[: len(empty)] > 0)
        moved = source.backend.to_host(sums).copy()
        solve.move_rows(top.X[:m], top.weight[:m], self.frame.magic, empty[:m], top.label[:m], moved.reshape(-1))
        return source.backend.upload(moved, np.float64)


@sets_labels
def assign(backend: Backend, chunk: Chunk, centers: Centers) -> Assigned:
    """Labels into the ledger, and their cost summed directly."""
    return Assigned(backend.reassign(chunk, centers), backend.cost(chunk, centers.given, Metric.EUCLIDEAN))


def _measured(backend: Backend, chunk: Chunk, centers: Array) -> Cost:
    return backend.cost(chunk, centers, Metric.EUCLIDEAN)


def farthest(backend: Backend, chunk: Chunk, centers: Array, m: int, metric: Metric) -> Top:
    return merged(backend.farthest(part, centers, m, metric) for part in backend.blocks(chunk))
