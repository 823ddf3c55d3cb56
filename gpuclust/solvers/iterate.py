"""The only fixed-point loop: fold, solve, until no label or no centre moves."""

from __future__ import annotations

import logging
import time
from typing import Any, NamedTuple

import numpy as np

from ..backends.statistics import DD, Cost
from ..data.source import Source
from ..objectives.mean import Final, Mean, Means
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
    terms: list[DD] = []
    told: Final | None = None
    converged = False
    for n_iter in range(1, max_iter + 1):
        began = time.perf_counter()
        old, stage = params, objective.begin(source.backend, params)
        delta = source.fold(objective.partial, stage)
        if told is None and (verbose or progress.listening()):
            told = objective.measure(source, old, delta)
        params = objective.solve(source, delta, old)
        terms.append(objective.terms(params))
        if told is not None:
            inertia, seconds = float(objective.losses(terms[-1:], told)[0]), time.perf_counter() - began
            _tell(verbose, progress.Iteration(run, n_iter, max_iter, inertia, delta.moved, source.n_rows, seconds))
        shift = objective.shift(old, params)
        converged = delta.moved == 0 or shift <= tol
        if converged:
            reason = "strict convergence" if delta.moved == 0 else f"center shift {shift} within tolerance {tol}"
            _say(verbose, f"Converged at iteration {n_iter - 1}: {reason}.")
            break
    reported = objective.report(params)
    final = objective.finish(source, reported)
    return Fit(reported, final.cost, len(terms), converged, objective.losses(terms, final))


def _tell(verbose: int, record: progress.Iteration) -> None:
    _say(verbose, f"Iteration {record.iteration - 1}, inertia {record.inertia}.")
    progress.emit(record)


def _say(verbose: int, line: str) -> None:
    logger.debug(line)
    if verbose:
        print(line)
