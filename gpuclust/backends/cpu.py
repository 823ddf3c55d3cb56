"""The CPU: Numba kernels on all cores. Dense rows here; CSR rows in `sparse.py`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, reduce, wraps
from typing import Any, Final, TypeVar, cast, final

import numpy as np
import scipy.sparse as sp

from . import sparse
from .base import Array, Backend, Bounds, Centers, Chunk
from .brackets import Brackets
from .cpu_between import add_distance_sums
from .cpu_ranks import middles, rank
from .frame import Frame
from .kernels import assign, direct, scan, solve, trials
from .kernels.cells import Cells, cells, halvings, no_cells
from .kernels.csr_assign import PackedCSR
from .kernels.pack import padded
from .kernels.scores import PackedCenters
from .kernels.tile import LANES, TRIALS, WIDE
from .layout import Drift, Layout, divides
from .metric import Metric
from .packing import NO_WEIGHT, alias, pack_centers, rounding
from .statistics import DD, Cost, Delta, Moves, Potentials, Ranks, Scan, Solved, Top, check_labelled
from .threads import limited, run, thread_count

F = TypeVar("F", bound=Callable[..., Any])
NO_BOUND: Final = np.empty(0, np.float32)
NO_BOUNDS: Final = NO_BOUND, NO_BOUND, NO_BOUND[:, None]  # upper, lower, lowers
RANKING: Final = 16  # multiply-adds that a value costs which is compared to a bracket
SELECTING: Final = 16  # and one that is searched for those in the middle
WINDOW_BYTES: Final = 1 << 18
BATCH_ROWS, BATCH_BYTES = 1024, 1 << 17  # a batch of rows and its tiles stay in the L2 cache; more rows only pass by


def batch_rows(d: int, itemsize: int = 4) -> int:
    return max(LANES, min(BATCH_ROWS, BATCH_BYTES // (d * itemsize) // LANES * LANES))


def window_rows(d: int, itemsize: int) -> int:
    """Rows whose bounds are tested together: those that survive are read again, from the cache."""
    return int(np.clip(WINDOW_BYTES // (d * itemsize), 4 * batch_rows(d), 4096))


def weights(weight: np.ndarray | None) -> np.ndarray:
    return NO_WEIGHT if weight is None else alias(weight)


def parallel(routine: F) -> F:
    """Run a routine `(self, rows or chunk, ...)` with no more threads than its rows x features x centres are worth."""

    @wraps(routine)
    def call(self: Any, rows: Any, *args: Any) -> Any:
        X = getattr(rows, "X", rows)
        tables = (getattr(arg, "given", arg) for arg in args)
        width = max((len(table) for table in tables if getattr(table, "ndim", 0) == 2), default=1)
        with limited(X.shape[0] * X.shape[-1] * width if X.ndim == 2 else X.shape[0] * 8):
            return routine(self, rows, *args)

    return cast(F, call)


@dataclass(frozen=True)
class Packed:
    """Centres as the kernels read them, made where first used: dense and sparse rows need different forms."""

    centers: np.ndarray
    frame: Frame
    layout: Layout
    drift: Drift
    cells: dict[int, Cells] = field(default_factory=dict)  # by the number of halvings

    @cached_property
    def dense(self) -> PackedCenters:
        return pack_centers(self.centers, self.frame, self.layout, self.drift)

    def grid(self, rows: int, bounds: Bounds) -> Cells:
        """Cells where they pay: few features, enough rows, and no bounds."""
        d, dtype = self.centers.shape[1], self.frame.shift.dtype
        if bounds != Bounds.NONE or not divides(d, rows):
            return no_cells(dtype)
        most = halvings(d, rows)
        if most not in self.cells:
            self.cells[most] = cells(self.centers, most, dtype, self.frame.metric.l1)
        return self.cells[most]

    @cached_property
    def csr(self) -> PackedCSR:
        return sparse.pack_centers(self.centers, self.frame, self.drift)


@final
@dataclass(frozen=True)
class CPUBackend(Backend):
    name: str = "cpu"
    block_rows: int = 1 << 17
    groups_bounds: bool = True
    selects: bool = True

    def keeps_bounds(self, metric: Metric, k: int, d: int) -> bool:
        return True

    def upload(self, rows: Any, dtype: Any) -> Array:
        if sp.issparse(rows):
            return sparse.upload(rows, dtype)
        return alias(np.ascontiguousarray(rows, dtype))

    def to_host(self, array: Array) -> np.ndarray:
        return array if sp.issparse(array) else np.asarray(array)

    def owns(self, array: Any) -> bool:
        return False

    def joined(self, parts: Sequence[Array]) -> Array:
        return np.concatenate(parts)

    def full(self, shape: tuple[int, ...], fill: Any, dtype: Any) -> Array:
        return np.full(shape, fill, dtype)

    def free_bytes(self) -> int:
        try:
            return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        except (ValueError, OSError, AttributeError):
            return 4 << 30

    @parallel
    def scan(self, chunk: Chunk, origin: np.ndarray) -> Scan:
        X, threads = chunk.X, thread_count()
        parts, square = np.empty((threads, scan.FIELDS, X.shape[1])), np.empty((threads, 2))
        if sp.issparse(X):
            sparse.scan(X, parts, square)
        else:
            run(scan.scan_pass, X, origin, parts, square)
        return _scan(X.shape[0], chunk.weight, parts, square)

    def pack(self, centers: np.ndarray, frame: Frame, layout: Layout, drift: Drift | None) -> Centers:
        return Centers(centers, Packed(centers, frame, layout, drift or Drift.none(layout)), frame, layout, drift=drift)

    @parallel
    def reassign(self, chunk: Chunk, centers: Centers) -> Delta:
        k, frame, threads = len(centers.given), centers.frame, thread_count()
        rows, w = chunk.rows, weights(chunk.weight)
        ledger = rows["label"], rows["upper"], rows["lower"], rows["lowers"]
        if sp.issparse(chunk.X):
            kept = centers.bounds == Bounds.KEEP
            return Delta(*sparse.reassign(chunk.X, w, ledger, centers.packed.csr, frame.magic, kept))
        levels, columns = frame.magic.shape
        sums = np.zeros((threads, (k + 1) * levels * columns))
        moved = np.zeros((threads, 2), np.int64)
        _assign(chunk.X, w, ledger, centers, frame.magic, sums, moved)
        if centers.bounds == Bounds.MAKE:  # the next pass, which uses them, takes labels for places
            check_labelled(rows["label"])
        total = sums.sum(axis=0).reshape(k + 1, levels, columns)[:k]
        return Delta(total, int(moved[:, 0].sum()), _pairs(moved, centers))

    def means(self, sums: Array, old: Array, origin: np.ndarray, delta: Delta | None = None) -> Solved:
        k, moved = len(old), 0
        if delta is not None:
            sums, moved = sums + delta.sums, delta.moved
        centers, mass, way, terms = np.empty_like(old), np.empty(k), np.empty(k), np.empty((2, k))
        solve.means(sums, old, centers, mass, way)
        solve.assignment_terms(sums, old, origin, terms)
        return Solved(sums, centers, mass, terms, float(way.sum()), moved)

    @parallel
    def relabel(self, chunk: Chunk, centers: Centers) -> Moves:
        k, rows, threads = len(centers.given), chunk.rows, thread_count()
        label, before, moved = rows["label"], rows["label"].copy(), np.zeros((threads, 2), np.int64)
        ledger = label, rows["upper"], rows["lower"], rows["lowers"]
        _assign(chunk.X, NO_WEIGHT, ledger, centers, centers.frame.magic, np.empty((threads, 0)), moved)
        check_labelled(label)
        return Moves(int(moved[:, 0].sum()), _pairs(moved, centers), _flow(before, label, k, self.block_rows))

    def scatter(self, chunk: Chunk, k: int, magic: np.ndarray) -> np.ndarray:
        sums = np.zeros((k + 1, *magic.shape))
        for part in self.blocks(chunk):
            label, w = part.rows["label"].astype(np.int64), weights(part.weight)
            if sp.issparse(part.X):
                sparse.scatter(part.X, w, label, magic, sums)
            else:
                solve.move_rows(part.X, w, magic, label, np.full_like(label, -1), sums.reshape(-1))
        return sums[:k]

    def ranks(self, chunk: Chunk, brackets: Brackets) -> Ranks:
        with limited(RANKING * chunk.X.size):
            return rank(chunk.X, weights(chunk.weight), chunk.rows["label"], brackets)

    def middles(self, X: Array, label: Array, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with limited(SELECTING * X.size):
            return middles(X, label, wanted)

    @parallel
    def nearest(self, X: Array, centers: Centers) -> Array:
        label, threads = np.full(X.shape[0], -1, np.int32), thread_count()
        if sp.issparse(X):
            sparse.nearest(X, label, centers.packed.csr)
        else:
            ledger = label, *NO_BOUNDS
            unseen = centers._replace(bounds=Bounds.NONE)
            nothing, moved = np.empty((threads, 0)), np.zeros((threads, 2), np.int64)
            _assign(X, NO_WEIGHT, ledger, unseen, centers.frame.magic, nothing, moved)
        return label

    def costs(self, X: Array, centers: np.ndarray, label: Array, metric: Metric) -> Array:
        cost = np.empty(X.shape[0])
        with limited(X.shape[0] * X.shape[1]):  # of each row's distances only one
            if sp.issparse(X):
                sparse.costs(X, centers, label, cost)
            else:
                run(direct.row_costs, X, centers, label, cost, metric.l1)
        return cost

    @parallel
    def total(self, cost: Array, weight: Array | None, label: Array, k: int) -> Cost:
        threads = thread_count()
        total, mass, rows = np.empty((threads, 2)), np.zeros((threads, 2, k)), np.zeros((threads, k), np.int64)
        run(solve.weighted_total, cost, weights(weight), label, total, mass, rows)
        counts = rows.sum(axis=0)
        each = DD(counts.astype(np.float64), np.zeros(k)) if weight is None else _joined(mass)
        return Cost(_joined(total), each, counts)

    def farthest(self, chunk: Chunk, centers: np.ndarray, m: int, metric: Metric) -> Top:
        label = chunk.rows["label"]
        cost = self.costs(chunk.X, centers, label, metric)
        weight = np.ones(len(cost)) if chunk.weight is None else np.asarray(chunk.weight)
        cost[weight <= 0] = -1.0
        bound = _bound(cost, m)
        if sp.issparse(chunk.X):
            bound = sparse.settle(chunk.X, centers, label, cost, bound)
        first = _highest(cost, m, bound)
        X = chunk.X[first].toarray() if sp.issparse(chunk.X) else chunk.X[first]
        return Top(m, cost[first], first + chunk.start, X, weight[first], label[first])

    @parallel
    def trials(
        self, chunk: Chunk, frame: Frame, known: np.ndarray | None, trial: np.ndarray, grid: float
    ) -> Potentials:
        X, cost, n = chunk.X, chunk.rows["cost"], chunk.X.shape[0]
        block = chunk.start // trials.BLOCK
        columns = max(1, len(trial))
        blocks = np.zeros((thread_count(), columns, (chunk.start + n - 1) // trials.BLOCK - block + 1), np.int64)
        largest = np.zeros((thread_count(), columns))
        if sp.issparse(X):
            sparse.trials(X, weights(chunk.weight), cost, frame, known, trial, 1.0 / grid, chunk.start, blocks, largest)
        else:
            panels = trial_panels(known, trial, frame)
            run(
                trials.trials_pass, X, weights(chunk.weight), cost, known is not None, np.zeros_like(frame.shift),
                frame.scale, panels, frame.metric.l1, len(trial), 1.0 / grid, chunk.start, blocks, largest,
                batch_rows(X.shape[1], X.itemsize),
            )  # fmt: skip
        return Potentials({(chunk.start, block): blocks.sum(axis=0)}, largest.max(axis=0))

    def potentials(self, chunk: Chunk, frame: Frame, known: np.ndarray | None, grid: float) -> np.ndarray:
        out = np.empty(chunk.X.shape[0], np.int64)
        w, cost = weights(chunk.weight), chunk.rows["cost"]
        if sp.issparse(chunk.X):
            sparse.potentials(chunk.X, w, cost, frame, known, 1.0 / grid, out)
        else:
            panels = trial_panels(known, np.empty((0, chunk.X.shape[1])), frame)
            origin = np.zeros_like(frame.shift)
            trials.row_potentials(chunk.X, w, cost, origin, frame.scale, panels, frame.metric.l1, 1.0 / grid, out)
        return out

    def race(self, chunk: Chunk, seed: int, size: int) -> Top:
        cost = chunk.rows["cost"]
        weight = np.ones(len(cost)) if chunk.weight is None else chunk.weight
        key = weight * cost / -np.log(uniform(seed, chunk.start, len(cost)))
        first = _highest(key, size, _bound(key, size))
        X = chunk.X[first].toarray() if sp.issparse(chunk.X) else chunk.X[first]
        return Top(size, key[first], first + chunk.start, X, weight[first], chunk.rows["label"][first])

    @parallel
    def distances(self, X: Array, centers: np.ndarray, dtype: Any, metric: Metric) -> Array:
        out = np.empty((X.shape[0], len(centers)), dtype)
        if sp.issparse(X):
            sparse.distances(X, centers, out)
        else:
            run(direct.distances, X, np.ascontiguousarray(centers.T), out, metric.l1)
        return out

    def add_distance_sums(
        self, X: Array, Y: Array, start: np.ndarray, first: int, scale: float, metric: Metric, out: Array
    ) -> None:
        add_distance_sums(X, Y, start, first, scale, metric, out)


def _assign(
    X: Array, weight: Array, ledger: tuple[Array, ...], centers: Centers, magic: Array, sums: Array, moved: Array
) -> None:
    """`kernels.assign.lloyd_pass` with the sizes and shortcuts that suit the rows."""
    n, d = X.shape
    packed, grid = centers.packed.dense, centers.packed.grid(n, centers.bounds)
    run(
        assign.lloyd_pass, X, weight, *ledger, packed, grid, *rounding(d, centers.frame.metric), magic, sums, moved,
        int(centers.bounds), batch_rows(d), window_rows(d, X.itemsize),
    )  # fmt: skip


def _flow(before: np.ndarray, after: np.ndarray, k: int, block: int) -> np.ndarray:
    """How many rows came to each cluster or left it, i64 [k]; labels below 0 are none."""
    flow = np.zeros(k, np.int64)
    for start in range(0, len(after), block):
        old, new = before[start : start + block], after[start : start + block]
        changed = np.flatnonzero(old != new)
        flow += np.bincount(new[changed], minlength=k) + np.bincount(old[changed] + 1, minlength=k + 1)[1:]
    return flow


def _pairs(moved: Array, centers: Centers) -> int:
    """Rows that were scored, from the pairs of row and group that the threads counted."""
    return int(moved[:, 1].sum()) // (1 if centers.bounds == Bounds.NONE else centers.layout.groups)


def uniform(seed: int, start: int, n: int) -> np.ndarray:
    """Numbers in (0, 1) for rows start .. start + n - 1: a function of the seed and the row alone (splitmix64)."""
    with np.errstate(over="ignore"):
        z = (np.arange(start, start + n, dtype=np.uint64) + np.uint64(seed)) * np.uint64(0x9E3779B97F4A7C15)
        for bits, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            z = (z ^ (z >> np.uint64(bits))) * np.uint64(factor)
        z ^= z >> np.uint64(31)
    return ((z >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def trial_panels(known: np.ndarray | None, trial: np.ndarray, frame: Frame) -> np.ndarray:
    """The known centre (if any) and the trial centres, scaled as the rows are: [panels, d, 3] or, wide, as they lie."""
    rows = trial if known is None else np.concatenate([known[None], trial])
    (count, d), wide = rows.shape, rows.shape[1] >= WIDE
    lines = np.zeros((count + -count % TRIALS, padded(d) if wide else d), frame.shift.dtype)
    lines[:count, :d] = rows.astype(lines.dtype) * frame.scale
    lines = lines.reshape(-1, TRIALS, lines.shape[1])
    return lines if wide else np.ascontiguousarray(lines.transpose(0, 2, 1))


def _bound(key: np.ndarray, m: int) -> float:
    """What the m highest keys reach."""
    return float(np.partition(key, len(key) - m)[len(key) - m]) if m < len(key) else -np.inf


def _highest(key: np.ndarray, m: int, bound: float) -> np.ndarray:
    """Indices of the m highest of the keys that reach `bound`: highest first, lowest index on ties."""
    near = np.flatnonzero(key >= bound)
    return near[np.lexsort((near, -key[near]))[:m]]


def _joined(parts: np.ndarray) -> DD:
    """Sum of the threads' (hi, lo) parts [threads, 2, ...]."""
    return reduce(DD.__add__, (DD(part[0], part[1]) for part in parts))


def _scan(n: int, weight: np.ndarray | None, parts: np.ndarray, square: np.ndarray) -> Scan:
    total, squares = _joined(parts[:, scan.SUM :]), _joined(square)
    if weight is None:
        mass, heaviest, lightest = DD(float(n), 0.0), 1.0, 1.0
    else:
        mass = DD(*solve.sum_weighted(alias(weight), NO_WEIGHT))
        heaviest, lightest = float(weight.max()), float(np.min(weight, where=weight > 0, initial=np.inf))
    low, high, least = parts[:, scan.LOW].min(axis=0), parts[:, scan.HIGH].max(axis=0), parts[:, scan.LEAST].min(axis=0)
    return Scan(n, mass, heaviest, lightest, low, high, least, total, squares)
