"""The only fixed-point loop: fold, solve, until no label or no centre moves."""

from __future__ import annotations

import logging
import time
from typing import Any, NamedTuple

import numpy as np

from ..backends.statistics import Cost
from ..data.source import Source
from ..objectives.mean import Mean, Means
from . import progress

logger = logging.getLogger("gpuclust")


class Fit(NamedTuple):
    params: Any  # as reported: centres rounded to the rows' dtype
    cost: Cost  # of the final labels against the reported centres
    n_iter: int
    converged: bool
    history: np.ndarray  # f64 [n_iter]: cost of each assignment against its own centres


def iterate(
    source: Source, objective: Mean, params: Means, *, max_iter: int, tol: float, run: int = 0, verbose: int = 0
) -> Fit:
    """Lloyd's iteration from `params`. `tol` bounds the sum of squared moves of the centres (scikit-learn's test).

    The ledger's labels end as the nearest of the reported centres, at convergence and at the iteration limit alike.
    """
    history: list[float] = []
    converged = False
    for n_iter in range(1, max_iter + 1):
        began = time.perf_counter()
        old, stage = params, objective.begin(source.backend, params)
        delta = source.fold(objective.partial, stage)
        params = objective.solve(source, delta, old)
        history.append(objective.loss(params))
        _tell(verbose, f"Iteration {n_iter - 1}, inertia {history[-1]}.")
        seconds = time.perf_counter() - began
        progress.emit(progress.Iteration(run, n_iter, max_iter, history[-1], delta.moved, source.n_rows, seconds))
        shift = objective.shift(old, params)
        if delta.moved == 0:
            _tell(verbose, f"Converged at iteration {n_iter - 1}: strict convergence.")
            converged = True
        elif shift <= tol:
            _tell(verbose, f"Converged at iteration {n_iter - 1}: center shift {shift} within tolerance {tol}.")
            converged = True
        if converged:
            break
    reported = objective.report(params)
    cost = source.fold(objective.assign, objective.begin(source.backend, reported))
    return Fit(reported, cost, len(history), converged, np.array(history))


def _tell(verbose: int, line: str) -> None:
    logger.debug(line)
    if verbose:
        print(line)
