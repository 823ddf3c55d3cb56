"""First centres: greedy k-means++ (Arthur and Vassilvitskii, 2007, with the trials of its section 5), random rows.

Rows are drawn in proportion to their cost. The costs are rounded to integers on a grid of 2^-53 of their possible
total, so the running sum, and the row at which it crosses a drawn value, do not depend on chunks or threads. A step is
one pass: it folds the centre chosen last into the rows' costs and evaluates all trial centres of the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backends.base import Backend, Chunk
from ..backends.frame import Frame
from ..backends.kernels.trials import BLOCK, grid_of
from ..backends.statistics import Potentials
from ..data.source import Source
from ..errors import TURNED

COARSE = 1 << 38  # a total below this many grid steps is measured again on a finer grid


@dataclass(frozen=True)
class Drawn:
    """Potentials of the rows: by block, on which grid, and the centre not yet folded into the rows' costs."""

    blocks: np.ndarray  # i64 [blocks]
    grid: float
    largest: float
    pending: np.ndarray | None

    @property
    def total(self) -> int:
        return int(self.blocks.sum())


def plus_plus(
    source: Source, frame: Frame, k: int, random_state: np.random.RandomState, trials: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """k rows by greedy k-means++: (centres in the rows' dtype [k, d], their row indices [k]).

    Raises
    ------
    ValueError
        If weights are so large that their potentials overflow.
    """
    trials = trials or 2 + int(np.log(k))
    if not frame.mass * frame.largest < np.inf:
        raise ValueError(
            f"Weights of a total of {frame.mass:g} are too large to draw first centres by: multiply sample_weight by a"
            " constant, or pass init=centers."
        )
    first = first_row(source, frame, random_state)
    source.allocate("cost", source.dtype, np.inf)
    chunk, shares = source.alone, random_state.uniform(size=(k - 1, trials))
    done = None if chunk is None or k == 1 else source.backend.plus_plus(chunk, frame, first, shares)
    if done is None:
        centers, index = one_by_one(source, frame, first, shares)
    else:
        index, passes = done
        centers, source.n_passes = source.take(index), source.n_passes + passes
    source.release("cost")
    return centers, index


def one_by_one(source: Source, frame: Frame, first: int, shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows chosen [k, d], and i64 [k] where they are, beginning with `first`; shares drawn f64 [k - 1, trials]."""
    index = np.full(len(shares) + 1, first)
    beginning = source.take(index[:1])
    centers = np.repeat(beginning, len(index), axis=0)
    state = _evaluate(source, frame, None, beginning, frame.largest)[0]
    for j, drawn in enumerate(shares, 1):
        state = _refined(source, frame, state)
        rows = _crossings(source, frame, state, drawn)
        candidates = source.take(rows) if rows is not None else beginning
        options = _evaluate(source, frame, state.pending, candidates, state.largest)
        best = min(range(len(options)), key=lambda s: options[s].total)
        state, centers[j] = options[best], candidates[best]
        index[j] = rows[best] if rows is not None else first
    return centers, index


def first_row(source: Source, frame: Frame, random_state: np.random.RandomState) -> int:
    """A row drawn in proportion to its weight."""
    source.allocate("cost", source.dtype, 1)
    state = _evaluate(source, frame, None, np.empty((0, source.n_features)), 1.0)[0]
    rows = _crossings(source, frame, state, random_state.uniform(size=1))
    return 0 if rows is None else int(rows[0])


def random_rows(source: Source, k: int, random_state: np.random.RandomState) -> np.ndarray:
    """k distinct rows in proportion to their weights, as scikit-learn draws them.

    Raises
    ------
    ValueError
        If fewer rows have a weight.
    """
    n, weight = source.n_rows, source.host_weight
    if weight is not None and np.count_nonzero(weight) < k:
        raise ValueError(
            f"init='random' draws n_clusters={k} different rows of positive weight, and only"
            f" {np.count_nonzero(weight)} have one: lower n_clusters, or use init='k-means++'."
        )
    p = np.full(n, 1.0 / n) if weight is None else weight / weight.sum()
    return source.take(random_state.choice(n, size=k, replace=False, p=p))


def _step(backend: Backend, chunk: Chunk, frame: Frame, known: Any, trial: np.ndarray, grid: float) -> Potentials:
    return backend.trials(chunk, frame, known, trial, grid)


def _evaluate(source: Source, frame: Frame, known: Any, trial: np.ndarray, largest: float) -> list[Drawn]:
    """One pass: the potentials under each trial centre, on a grid that holds their total in 53 bits."""
    grid = grid_of(frame.mass * largest)
    stat = source.fold(_step, frame, known, trial, grid)
    blocks = stat.dense((source.n_rows - 1) // BLOCK + 1)
    pending = list(trial) or [None]
    return [Drawn(b, grid, float(m), c) for b, m, c in zip(blocks, stat.largest, pending, strict=True)]


def _refined(source: Source, frame: Frame, state: Drawn) -> Drawn:
    """The same potentials on a finer grid, where an outlier that is now a centre had made the present one coarse."""
    if state.total >= COARSE or state.largest == 0:
        return state
    return _evaluate(source, frame, state.pending, np.empty((0, source.n_features)), state.largest)[0]


def _running(potentials: np.ndarray) -> np.ndarray:
    """Their running sum."""
    if np.min(potentials, initial=0) < 0:  # what is no number becomes the least of integers
        raise ValueError(f"Some rows {TURNED}")
    return np.cumsum(potentials)


def _crossings(source: Source, frame: Frame, state: Drawn, uniform: np.ndarray) -> np.ndarray | None:
    """Rows at which the running sum of potentials passes each drawn share of the total; None where all are zero."""
    if state.total == 0:
        return None
    running = _running(state.blocks)
    drawn = [min(int(u * state.total), state.total - 1) for u in uniform]
    block = np.searchsorted(running, drawn, side="right")
    chunks = source.slices([(int(b) * BLOCK, min((int(b) + 1) * BLOCK, source.n_rows)) for b in block])
    rows = np.empty(len(drawn), np.int64)
    for s, (value, b, chunk) in enumerate(zip(drawn, block, chunks, strict=True)):
        inside = _running(source.backend.potentials(chunk, frame, state.pending, state.grid))
        rows[s] = chunk.start + np.searchsorted(inside, value - (running[b] - state.blocks[b]), side="right")
    return rows
