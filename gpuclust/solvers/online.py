"""Mini-batches (Sculley, "Web-scale k-means clustering", WWW 2010). The rules are scikit-learn's.

The labels of a batch are certified, so a step depends on the rows of its batch and on nothing else: not on chunks,
threads or the device. When not to use it: where every row can be read some ten times, the full iteration finds better
centres.
"""

from __future__ import annotations

import logging
import time
from contextlib import closing
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ..backends.statistics import Cost
from ..data.source import Source
from . import progress
from .batches import batches
from .steps import Running, Update

logger = logging.getLogger("gpuclust")


class Rules(NamedTuple):
    batch_size: int
    reassignment_ratio: float
    tol: float = 0.0  # bound of the sum of squared moves of the centres; 0: not looked at
    patience: int | None = None  # steps without a better smoothed cost; None: not looked at
    verbose: int = 0


class Outcome(NamedTuple):
    running: Running
    n_steps: int
    cost: float  # smoothed cost of a batch per unit of weight


def run(
    source: Source,
    running: Running,
    update: Update,
    rules: Rules,
    n_steps: int,
    random_state: np.random.RandomState,
) -> Outcome:
    """Steps over mini-batches of `source` until a stop rule holds, at most `n_steps` (at least one)."""
    watch = Watch(rules, n_steps, source.n_rows)
    with closing(batches(source, rules.batch_size, random_state)) as coming:
        for number in range(1, n_steps + 1):
            began, old = time.perf_counter(), running
            batch = next(coming)
            running, cost = step(batch, old, update, rules, random_state)
            total = cost.loss
            rows, seconds = int(cost.rows.sum()), time.perf_counter() - began
            progress.emit(progress.Iteration(0, number, n_steps, total, rows, rows, seconds))
            moved = float(((running.centers - old.centers) ** 2).sum()) if rules.tol > 0 else 0.0
            if watch.done(number, total / float(cost.mass.value().sum()), moved):
                break
    return Outcome(running, number, watch.cost)


def step(
    batch: Source, running: Running, update: Update, rules: Rules, random_state: np.random.RandomState
) -> tuple[Running, Cost]:
    """Centres and counts after one batch, and the cost of the batch under the centres before it.

    Raises
    ------
    ValueError
        If a value of the batch is NaN or infinite.
    """
    known = bool(np.all(running.counts > 0))
    running, cost = update.learn(batch, running, random_state)
    since = running.since + rules.batch_size
    if known and since < 10 * len(running.centers):
        return replace(running, since=since), cost
    return _reassigned(batch, replace(running, since=0), update, rules, random_state), cost


def _reassigned(
    batch: Source, running: Running, update: Update, rules: Rules, random_state: np.random.RandomState
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
    tell(rules.verbose, f"[{update.name}] Reassigning {len(where)} cluster centers.")
    counts = running.counts.copy()
    counts[where] = counts[where] if low.all() else counts[~low].min()
    return running.placed(where, batch.take(rows), counts)


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


def tell_empty(found: Cost) -> None:
    empty = int(np.count_nonzero(found.rows == 0))
    if empty:
        logger.warning("%d of %d clusters hold no row.", empty, len(found.rows))


def tell(verbose: Any, line: str) -> None:
    """A line for the log, and for stdout where `verbose`."""
    logger.debug(line)
    if verbose:
        print(line)
