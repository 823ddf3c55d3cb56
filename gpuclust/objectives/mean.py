"""K-Means: centres are means, the cost is squared Euclidean (Lloyd, 1982).

Invariant: `sums` are the exact sums of the rows under their present labels, so an iteration reads only rows that may
move and re-sums only rows that did; the costs of all assignments follow from the same sums and one direct cost.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple, final

import numpy as np

from ..backends.base import Backend, Centers, Chunk
from ..backends.frame import Frame
from ..backends.kernels import solve
from ..backends.layout import Layout, group_count
from ..backends.statistics import DD, Cost, Delta, Top
from ..data.source import Source
from .pruning import Pruning


@dataclass(frozen=True)
class Means:
    """Parameters between iterations: centres f64 [k, d], those the rows' bounds belong to, and the exact sums."""

    centers: np.ndarray
    before: np.ndarray | None
    sums: np.ndarray  # f64 [k, K, d + 1]
    pruning: Pruning


@dataclass(frozen=True)
class Assigned:
    """What the final pass returns: the rows that still moved, and the cost."""

    delta: Delta
    cost: Cost

    def merge(self, other: Assigned) -> Assigned:
        return Assigned(self.delta.merge(other.delta), self.cost.merge(other.cost))


class Final(NamedTuple):
    cost: Cost
    terms: DD


@final
@dataclass(frozen=True)
class Mean:
    """The objective of K-Means for one start."""

    frame: Frame
    layout: Layout
    dtype: np.dtype

    @classmethod
    def start(cls, source: Source, frame: Frame, centers: np.ndarray) -> tuple[Mean, Means]:
        """Objective and first parameters; the ledger is made ready."""
        k, d = centers.shape
        layout = Layout.build(centers, group_count(k, d, source.dtype.itemsize))
        source.allocate("label", np.int32, -1)
        source.allocate("upper", np.float32, 0)
        source.allocate("lower", np.float32, 0, layout.groups)
        sums = np.zeros((k, *frame.magic.shape))
        return cls(frame, layout, source.dtype), Means(
            np.ascontiguousarray(centers, np.float64), None, sums, Pruning.start(layout.groups, k, d)
        )

    def begin(self, backend: Backend, params: Means) -> Centers:
        centers = backend.pack(params.centers, self.frame, self.layout, params.before)
        return centers._replace(bounds=params.pruning.bounds)

    def partial(self, backend: Backend, chunk: Chunk, centers: Centers) -> Delta:
        return backend.reassign(chunk, centers)

    def solve(self, source: Source, delta: Delta, params: Means) -> Means:
        """New centres from the rows' new labels; clusters left without mass are given the farthest rows."""
        sums = params.sums + delta.sums
        centers, mass = np.empty_like(params.centers), np.empty(len(params.centers))
        solve.means(sums, params.centers, centers, mass)
        empty = np.flatnonzero(~(mass > 0))
        if len(empty):
            moved = self._relocate(source, params.centers, sums, empty)
            solve.means(moved, params.centers, centers, mass)
        return Means(centers, params.centers, sums, params.pruning.after(delta, source.n_rows))

    def terms(self, params: Means) -> DD:
        """Cost of the assignment behind `params.sums` against the centres it was made with, up to a constant."""
        before = params.centers if params.before is None else params.before
        return DD(*solve.assignment_terms(params.sums, before, self.frame.origin))

    def losses(self, terms: list[DD], final: Final) -> np.ndarray:
        """Costs from their terms: the constant is known from a cost that was summed directly."""
        return np.array([max(float((final.cost.total + t + -final.terms).value()), 0.0) for t in terms])

    def shift(self, old: Means, new: Means) -> float:
        """Sum of squared moves of the centres."""
        return float(((new.centers - old.centers) ** 2).sum())

    def report(self, params: Means) -> Means:
        """The parameters as the user gets them: centres rounded once to the rows' dtype."""
        rounded = params.centers.astype(self.dtype).astype(np.float64)
        return replace(params, centers=rounded, before=params.before)

    def assign(self, backend: Backend, chunk: Chunk, centers: Centers) -> Assigned:
        """Labels into the ledger, and their cost summed directly."""
        delta = backend.reassign(chunk, centers)
        label = chunk.rows["label"]
        cost = backend.costs(chunk.X, centers.host, label)
        return Assigned(delta, backend.total(cost, chunk.weight, label, len(centers.host)))

    def measure(self, source: Source, params: Means, delta: Delta) -> Final:
        """The direct cost of the labels as they stand, in a pass of its own, for whoever watches the iterations."""
        cost = source.fold(_measured, params.centers)
        return Final(cost, DD(*solve.assignment_terms(params.sums + delta.sums, params.centers, self.frame.origin)))

    def finish(self, source: Source, params: Means) -> Final:
        """One more assignment, to `params.centers`: its cost, and the same in terms."""
        found = source.fold(self.assign, self.begin(source.backend, params))
        terms = solve.assignment_terms(params.sums + found.delta.sums, params.centers, self.frame.origin)
        return Final(found.cost, DD(*terms))

    def _relocate(self, source: Source, centers: np.ndarray, sums: np.ndarray, empty: np.ndarray) -> np.ndarray:
        """Sums in which each empty cluster holds one row: highest cost first, lowest row on ties, never cost 0."""
        top: Top = source.fold(farthest, centers, len(empty))
        sums = sums.copy()
        for j, cost, row, weight, donor in zip(empty, top.key, top.X, top.weight, top.label, strict=False):
            if cost <= 0:
                break
            piece = np.append(row.astype(np.float64), 1.0) * weight
            sums[j, 0] += piece
            sums[donor, 0] -= piece
        return sums


def _measured(backend: Backend, chunk: Chunk, centers: np.ndarray) -> Cost:
    label = chunk.rows["label"]
    return backend.total(backend.costs(chunk.X, centers, label), chunk.weight, label, len(centers))


def farthest(backend: Backend, chunk: Chunk, centers: np.ndarray, m: int) -> Top:
    return backend.farthest(chunk, centers, m)
