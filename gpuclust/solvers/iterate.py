"""The only fixed-point loop: fold, solve, until no label or no centre moves."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

import numpy as np

from ..backends.base import Backend, Chunk
from ..backends.frame import Frame
from ..backends.statistics import DD, Cost, loss
from ..data.source import Source
from ..errors import TURNED, DataError
from ..objectives.mean import Final
from . import progress

logger = logging.getLogger("gpuclust")


class Fit(NamedTuple):
    params: Any  # as reported: centres rounded to the rows' dtype
    cost: Cost  # of the final labels against the reported centres
    n_iter: int
    converged: bool
    history: np.ndarray  # f64 [n_iter]: cost of each assignment against its own centres


class Reported(NamedTuple):
    """What is kept of a fit's parameters, without its sums."""

    centers: np.ndarray  # f64 [k, d]


class Place(NamedTuple):
    """Where the loop stands after an iteration. It goes on from here once that iteration is made again."""

    n_iter: int
    before: np.ndarray  # f64 [k, d]: the centres that the iteration began with
    after: np.ndarray  # f64 [k, d]: and those that it ended with
    changes: np.ndarray  # f64 [n_iter - 1, 2]: of the cost, from each assignment to the next, high and low parts


class Keeper(Protocol):
    def due(self) -> bool:
        """Whether to keep the place after one more iteration."""

    def keep(self, place: Place, /) -> None: ...


class Objective(Protocol):
    """What centres are and what an assignment costs: `Mean`, `Median`. Parameters are dataclasses with `centers`,
    `terms` and `moved`."""

    @property
    def frame(self) -> Frame: ...

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
    source: Source,
    objective: Objective,
    params: Any,
    *,
    max_iter: int,
    tol: float,
    run: int = 0,
    verbose: int = 0,
    keeper: Keeper | None = None,
    place: Place | None = None,
) -> Fit:
    """Lloyd's iteration from `params`, the objective's first ones, or from a `place` on the way that began there. What
    `tol` means is the objective's business; 0: until no label changes.

    The ledger's labels end as the nearest of the reported centres, at convergence and at the iteration limit alike.

    Raises
    ------
    DataError
        If the place is not one of these rows.
    ValueError
        If rows hold NaN or infinity that was not there at the first read.
    """
    changes: list[DD] = []  # of the cost, from each assignment to the next
    told: Final | None = None
    converged = False
    if place is not None:
        params, changes = _again(source, objective, params, place), [DD(*change) for change in place.changes.tolist()]
    for n_iter in range(1 if place is None else place.n_iter + 1, max_iter + 1):
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
        if keeper is not None and n_iter < max_iter and keeper.due():
            keeper.keep(_place(source.backend, n_iter, old, params, changes))
    reported = objective.report(source.backend, params)
    final = _known(objective.finish(source, reported), objective.frame)
    changes.append(objective.change(params.terms, final.terms))
    return Fit(reported, final.cost, n_iter, converged, _history(final.cost.total, changes))


def _known(final: Final, frame: Frame) -> Final:
    """Refuse costs that are no number. Bounds settle labels of rows that are not read; costs are summed of all. Those
    of rows so large that sums of squares overflow tell nothing, and are inf."""
    scale = float(frame.scale)
    most = 4.0 * frame.mass * frame.largest / scale / (1.0 if frame.metric.l1 else scale)  # about any centre among them
    if not np.isfinite(final.cost.total.hi) and np.isfinite(most):
        raise ValueError(f"Some rows {TURNED}")
    return final


def _place(backend: Backend, n_iter: int, old: Any, new: Any, changes: list[DD]) -> Place:
    before, after = (backend.to_host(params.centers) for params in (old, new))
    return Place(n_iter, before, after, np.array(changes, np.float64).reshape(-1, 2))


def _again(source: Source, objective: Objective, params: Any, place: Place) -> Any:
    """The parameters after the iteration of a place. Labels and sums follow from its first centres alone."""
    old = replace(params, centers=place.before)
    new = objective.solve(source, source.fold(objective.partial, objective.begin(source.backend, old)), old)
    if not np.array_equal(source.backend.to_host(new.centers), place.after):
        raise DataError(
            "The rows are not those of the checkpoint: an iteration made again ends with other centres. Pass the same"
            " rows, delete the checkpoint, or choose another path."
        )
    return new


def _history(total: DD, changes: list[DD]) -> np.ndarray:
    """Costs from the last one and the changes that led to it; back to front, since early costs may dwarf the last."""
    history = np.empty(len(changes))
    for i in reversed(range(len(changes))):
        total = total + -changes[i]
        history[i] = _loss(total)
    return history


def _loss(total: DD) -> float:
    return max(loss(total), 0.0)


def _tell(verbose: int, record: progress.Iteration) -> None:
    _say(verbose, f"Iteration {record.iteration - 1}, inertia {record.inertia}.")
    progress.emit(record)


def _say(verbose: int, line: str) -> None:
    logger.debug(line)
    if verbose:
        print(line)
