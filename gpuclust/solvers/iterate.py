"""The only fixed-point loop: fold, solve, until no label or no centre moves."""

from __future__ import annotations

import logging
import time
from typing import Any, NamedTuple, Protocol

import numpy as np

from ..backends.base import Backend, Chunk
from ..backends.statistics import DD, Cost
from ..data.source import Source
from ..objectives.mean import Final
from . import progress

logger = logging.getLogger("gpuclust")


class Fit(NamedTuple):
    params: Any  # as reported: centres rounded to the rows' dtype
    cost: Cost  # of the final labels against the reported centres
    n_iter: int
    converged: bool
    history: np.ndarray  # f64 [n_iter]: cost of each assignment against its own centres


class Objective(Protocol):
    """What centres are and what an assignment costs: `Mean`, `Median`. Parameters have `terms` and `moved`."""

    def begin(self, backend: Backend, params: Any, /) -> Any:
        """What `partial` needs of the parameters."""

    def partial(self, backend: Backend, chunk: Chunk, stage: Any, /) -> Any:
        """Assign the rows of a chunk; a statistic."""

    def solve(self, source: Source, delta: Any, params: Any, /) -> Any:
        """The next parameters."""

    def change(self, old: np.ndarray, new: np.ndarray, /) -> DD: ...

    def converged(self, old: Any, new: Any, tol: float, /) -> str | None: ...

    def report(self, backend: Backend, params: Any, /) -> Any: ...

    def measure(self, source: Source, params: Any, delta: Any, /) -> Final: ...

    def finish(self, source: Source, params: Any, /) -> Final: ...


def iterate(
    source: Source, objective: Objective, params: Any, *, max_iter: int, tol: float, run: int = 0, verbose: int = 0
) -> Fit:
    """Lloyd's iteration from `params`. What `tol` means is the objective's business; 0: until no label changes.

    The ledger's labels end as the nearest of the reported centres, at convergence and at the iteration limit alike.
    """
    changes: list[DD] = []  # of the cost, from each assignment to the next
    told: Final | None = None
    converged = False
    for n_iter in range(1, max_iter + 1):
        began = time.perf_counter()
        old, stage = params, objective.begin(source.backend, params)
        delta = source.fold(objective.partial, stage)
        if told is None and (verbose or progress.listening()):
            told = objective.measure(source, old, delta)
        params = objective.solve(source, delta, old)
        if n_iter > 1:
            changes.append(objective.change(old.terms, params.terms))
        if told is not None:
            inertia = _loss(told.cost.total + objective.change(told.terms, params.terms))
            seconds = time.perf_counter() - began
            _tell(verbose, progress.Iteration(run, n_iter, max_iter, inertia, params.moved, source.n_rows, seconds))
        reason = "strict convergence" if params.moved == 0 else objective.converged(old, params, tol)
        if reason:
            converged = True
            _say(verbose, f"Converged at iteration {n_iter - 1}: {reason}.")
            break
    reported = objective.report(source.backend, params)
    final = objective.finish(source, reported)
    changes.append(objective.change(params.terms, final.terms))
    return Fit(reported, final.cost, n_iter, converged, _history(final.cost.total, changes))


def _history(total: DD, changes: list[DD]) -> np.ndarray:
    """Costs from the last one and the changes that led to it; back to front, since early costs may dwarf the last."""
    history = np.empty(len(changes))
    for i in reversed(range(len(changes))):
        total = total + -changes[i]
        history[i] = _loss(total)
    return history


def _loss(total: DD) -> float:
    return max(float(total.value()), 0.0)


def _tell(verbose: int, record: progress.Iteration) -> None:
    _say(verbose, f"Iteration {record.iteration - 1}, inertia {record.inertia}.")
    progress.emit(record)


def _say(verbose: int, line: str) -> None:
    logger.debug(line)
    if verbose:
        print(line)
