"""Mini-batch K-Means (Sculley, "Web-scale k-means clustering", WWW 2010). The rules are scikit-learn's.

Invariant: a centre is the mean of all the weight that it was given since it was placed, held in float64. The
labels of a batch are certified and its sums exact, so a step depends on the rows of its batch and on nothing
else: not on chunks, threads or the device. When not to use it: where every row can be read some ten times,
K-Means finds better centres.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..backends.base import Array, Backend, Centers, Chunk
from ..backends.frame import Frame
from ..backends.kernels import solve
from ..backends.layout import Layout
from ..backends.statistics import Cost
from ..data.array import ArraySource
from ..data.source import Source
from ..errors import DataError
from ..objectives.mean import Assigned, assign
from . import progress
from .nearest import nearest, staged
from .scan import scan

logger = logging.getLogger("gpuclust")
NO_WEIGHT = "Sample weights must contain at least one non-zero number."


class Rules(NamedTuple):
    batch_size: int
    reassignment_ratio: float
    tol: float = 0.0  # bound of the sum of squared moves of the centres; 0: not looked at
    patience: int | None = None  # steps without a better smoothed cost; None: not looked at
    verbose: int = 0


@dataclass(frozen=True)
class Running:
    """What a step hands to the next."""

    centers: np.ndarray  # f64 [k, d]
    counts: np.ndarray  # f64 [k]: the weight that each centre has seen
    since: int = 0  # rows since the last reassignment


class Outcome(NamedTuple):
    running: Running
    n_steps: int
    cost: float  # smoothed cost of a batch per unit of weight


def run(
    source: Source, running: Running, rules: Rules, n_steps: int, random_state: np.random.RandomState
) -> Outcome:
    """Steps over mini-batches of `source` until a stop rule holds, at most `n_steps` (at least one)."""
    watch = Watch(rules, n_steps, source.n_rows)
    with closing(batches(source, rules.batch_size, random_state)) as coming:
        for number in range(1, n_steps + 1):
            began, old = time.perf_counter(), running
            batch = next(coming)
            running, cost = step(batch, old, rules, random_state)
            total = float(cost.total.value())
            rows, seconds = int(cost.rows.sum()), time.perf_counter() - began
            progress.emit(progress.Iteration(0, number, n_steps, total, rows, rows, seconds))
            moved = float(((running.centers - old.centers) ** 2).sum()) if rules.tol > 0 else 0.0
            if watch.done(number, total / float(cost.mass.value().sum()), moved):
                break
    return Outcome(running, number, watch.cost)


def step(
    batch: Source, running: Running, rules: Rules, random_state: np.random.RandomState
) -> tuple[Running, Cost]:
    """Centres and counts after one batch, and the cost of the batch under the centres before it.

    Raises
    ------
    ValueError
        If a value of the batch is NaN or infinite.
    """
    seen, centers = _seen(batch, running.centers), running.centers
    means, mass = np.empty_like(centers), np.empty(len(centers))
    solve.means(seen.delta.sums, centers, means, mass)
    counts = running.counts + mass
    rate = np.divide(mass, counts, out=np.zeros_like(mass), where=mass > 0)[:, None]
    centers = np.where(rate == 1, means, centers + rate * (means - centers))
    since = running.since + rules.batch_size
    if np.all(running.counts > 0) and since < 10 * len(centers):
        return Running(centers, counts, since), seen.cost
    return _reassigned(batch, Running(centers, counts), rules, random_state), seen.cost


def _seen(batch: Source, centers: np.ndarray) -> Assigned:
    frame = scan(batch)
    batch.allocate("label", np.int32, -1)
    batch.allocate_bounds(1)
    return batch.fold(assign, batch.backend.pack(centers, frame, Layout.build(centers, 1), None))


def _reassigned(
    batch: Source, running: Running, rules: Rules, random_state: np.random.RandomState
) -> Running:
    """Centres that saw less than a share of what the busiest saw start again at rows of the batch.

    The rows are drawn uniformly from those of positive weight, for at most half as many centres as there are
    such rows: those of least count, lowest index on ties. Their new count is the least of the others', so
    that they are not moved again at once.
    """
    weight = batch.host_weight
    eligible = np.arange(batch.n_rows) if weight is None else np.flatnonzero(weight > 0)
    low = running.counts < rules.reassignment_ratio * running.counts.max()
    low[np.argsort(running.counts, kind="stable")[len(eligible) // 2 :]] = False
    where = np.flatnonzero(low)
    if not len(where):
        return running
    rows = eligible[random_state.choice(len(eligible), replace=False, size=len(where))]
    tell(rules.verbose, f"[MiniBatchKMeans] Reassigning {len(where)} cluster centers.")
    centers, counts = running.centers.copy(), running.counts.copy()
    centers[where] = batch.take(rows)
    counts[where] = counts[where] if low.all() else counts[~low].min()
    return Running(centers, counts)


class Watch:
    """When to stop: centres that hardly move, or a smoothed cost that no longer falls."""

    def __init__(self, rules: Rules, n_steps: int, n_rows: int):
        self._rules, self._n_steps = rules, n_steps
        self._share = min(rules.batch_size * 2.0 / (n_rows + 1), 1.0)
        self._least, self._stalled = np.inf, 0
        self.cost = np.nan

    def done(self, number: int, cost: float, moved: float) -> bool:
        """After step `number` (from 1), whose batch cost `cost` per unit of weight."""
        line = f"Minibatch step {number}/{self._n_steps}: mean batch inertia: {cost}"
        if number == 1:  # the cost of the first centres, which would weigh on the average for long
            self.cost = cost
            tell(self._rules.verbose, line)
            return False
        self.cost = cost if number == 2 else self.cost * (1 - self._share) + cost * self._share
        tell(self._rules.verbose, f"{line}, ewa inertia: {self.cost}")
        why = self._why(moved)
        if why:
            tell(self._rules.verbose, f"Converged ({why}) at step {number}/{self._n_steps}")
        return bool(why)

    def _why(self, moved: float) -> str:
        if self._rules.tol > 0 and moved <= self._rules.tol:
            return "small centers change"
        if self.cost < self._least:
            self._least, self._stalled = self.cost, 0
        else:
            self._stalled += 1
        if self._rules.patience is not None and self._stalled >= self._rules.patience:
            return "lack of improvement in inertia"
        return ""


def batches(
    source: Source, size: int, random_state: np.random.RandomState
) -> Generator[ArraySource, None, None]:
    """Mini-batches without end: drawn where the source can seek, else blocks in the stream's order."""
    return _drawn(source, size, random_state) if source.seekable else _in_order(source, size)


def _drawn(
    source: Source, size: int, random_state: np.random.RandomState
) -> Generator[ArraySource, None, None]:
    """Rows in proportion to their weight, with repeats: scikit-learn's `random_state.choice(n, size, p=p)`.

    The weight is in the draw, so every row of a batch counts once.
    """
    n, running = source.n_rows, _cumulative(source.host_weight)
    while True:
        uniform = random_state.random_sample(size)
        if running is None:
            index = np.minimum((uniform * n).astype(np.int64), n - 1)
        else:
            index = np.searchsorted(running, uniform, side="right")
        yield ArraySource(source.gather(index)[0], None, source.backend)


def _cumulative(weight: np.ndarray | None) -> np.ndarray | None:
    """Share of the weight up to each row. f64 [n]"""
    if weight is None:
        return None
    if not np.all((weight >= 0) & np.isfinite(weight)):
        raise DataError("Weights must be finite and not negative.")
    total = weight.sum()
    if not total > 0:
        raise DataError(NO_WEIGHT)
    running = weight / total
    np.cumsum(running, out=running)
    running /= running[-1]
    return running


def _in_order(source: Source, size: int) -> Generator[ArraySource, None, None]:
    """Blocks of `size` rows of positive weight, pass after pass; where chunks end does not show."""
    parts: list[tuple[Array, Array | None]] = []
    missing = size
    while True:
        found = 0
        with closing(source.chunks()) as chunks:
            for chunk in chunks:
                X, weight = _weighty(source.backend, chunk)
                found += X.shape[0]
                at = 0
                while X.shape[0] - at >= missing:
                    parts.append(_cut(X, weight, at, at + missing))
                    at += missing
                    yield ArraySource(*_joined(source.backend, parts), source.backend)
                    parts, missing = [], size
                parts.append(
                    _joined(source.backend, [_cut(X, weight, at, None)])
                )  # a copy: the chunk is read over
                missing -= X.shape[0] - at
        if not found:
            raise DataError(NO_WEIGHT)


def _weighty(backend: Backend, chunk: Chunk) -> tuple[Array, Array | None]:
    if chunk.weight is None or bool((chunk.weight > 0).all()):
        return chunk.X, chunk.weight
    return chunk.X[chunk.weight > 0], chunk.weight[chunk.weight > 0]


def _cut(X: Array, weight: Array | None, start: int, stop: int | None) -> tuple[Array, Array | None]:
    return X[start:stop], None if weight is None else weight[start:stop]


def _joined(backend: Backend, parts: list[tuple[Array, Array | None]]) -> tuple[Array, Array | None]:
    weights = [weight for _, weight in parts if weight is not None]
    return backend.joined([X for X, _ in parts]), backend.joined(weights) if weights else None


def sample(source: Source, index: np.ndarray) -> ArraySource:
    """Rows by index as a source of their own, in memory."""
    return ArraySource(*source.gather(index), source.backend)


def starting_rows(source: Source, size: int, random_state: np.random.RandomState) -> tuple[Source, Frame]:
    """Rows in memory to choose first centres from, `size` drawn ones or all that there are, and their frame.

    Raises
    ------
    ValueError
        If none of them has a weight.
    """
    if size < source.n_rows:
        source = sample(source, random_state.randint(0, source.n_rows, size))
    elif not isinstance(source, ArraySource):
        source = sample(source, np.arange(source.n_rows))
    frame = scan(source)
    if not frame.mass > 0:
        raise ValueError(
            f"None of the init_size={size} rows drawn to start from has a weight; raise init_size."
        )
    return source, frame


def mass(source: Source) -> float:
    """Sum of all weights."""
    weight = source.host_weight
    return float(source.n_rows if weight is None else weight.sum())


def label(source: Source, centers: np.ndarray) -> Cost:
    """The ledger's labels <- nearest of `centers` (f64 [k, d]); what that costs. One pass."""
    source.allocate("label", np.int32, 0)
    return source.fold(_label, staged(source, centers))


def _label(backend: Backend, chunk: Chunk, centers: Centers) -> Cost:
    for part in backend.blocks(chunk):
        part.rows["label"][...] = nearest(backend, part, centers)
    return backend.cost(chunk, centers.host, centers.frame.metric)


def tell_empty(found: Cost) -> None:
    empty = int(np.count_nonzero(found.rows == 0))
    if empty:
        logger.warning("%d of %d clusters hold no row.", empty, len(found.rows))


def tell(verbose: Any, line: str) -> None:
    """A line for the log, and for stdout where `verbose`."""
    logger.debug(line)
    if verbose:
        print(line)
