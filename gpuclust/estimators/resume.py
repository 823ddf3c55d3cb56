"""What a checkpoint says about a fit, and what a fit makes of it."""

from __future__ import annotations

import hashlib
from numbers import Integral
from typing import Any

import numpy as np

from ..backends.frame import Frame
from ..backends.metric import Metric
from ..data.source import Source
from ..errors import DataError
from ..solvers.checkpoint import Best, State
from ..solvers.iterate import Fit, Place, Reported
from ..solvers.nearest import label


def identity(estimator: Any, source: Source, frame: Frame, init: Any, n_init: int) -> dict[str, Any]:
    """What the result of a fit depends on, in JSON's types. A generator as `random_state` is not told from others: its
    state is part of the checkpoint's."""
    seed = estimator.random_state
    values = frame.shift, frame.scale, frame.magic, frame.variance, frame.mass, frame.largest
    return {
        "class": type(estimator).__name__,
        "n_samples": source.n_rows,
        "n_features": source.n_features,
        "dtype": source.dtype.name,
        "weighted": source.weighted,
        "hash of the range and moments of the rows": _hash(*values),
        "n_clusters": int(estimator.n_clusters),
        "init": _hash(init) if isinstance(init, np.ndarray) else getattr(init, "__qualname__", str(init)),
        "n_init": n_init,
        "max_iter": int(estimator.max_iter),
        "tol": repr(float(estimator.tol)),
        "random_state": int(seed) if isinstance(seed, Integral) else None,
    }


def _hash(*values: Any) -> str:
    total = hashlib.sha256()
    for value in values:
        total.update(np.ascontiguousarray(value).tobytes())
    return total.hexdigest()[:16]


def state_of(
    run: int, centers: np.ndarray, place: Place | None, best: Fit | None, random_state: np.random.RandomState
) -> State:
    """The state as a run begins or goes on; a fit's parameters and costs are kept as far as they do not follow from the
    centres."""
    known = None
    if best is not None:
        known = Best(best.params.centers, best.history, best.converged, best.cost.loss)
    return State(run, centers, place, known, random_state.get_state(legacy=False))


def restored(random_state: np.random.RandomState, state: dict[str, Any]) -> np.random.RandomState:
    """The generator in that state; NumPy's global one is left alone.

    Raises
    ------
    DataError
        If the state is that of a generator of another kind.
    """
    if random_state is np.random.mtrand._rand:
        random_state = np.random.RandomState()
    try:
        random_state.set_state(state)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"random_state cannot go on as the generator of the checkpoint ({error}). Pass one of the same kind, delete"
            " the checkpoint, or choose another path."
        ) from None
    return random_state


def run_again(source: Source, best: Best, metric: Metric) -> tuple[Fit, Any]:
    """A run that is over, from its centres, and a copy of its labels.

    Raises
    ------
    DataError
        If these rows have another inertia.
    """
    cost = label(source, best.centers, metric)
    if cost.loss != best.inertia:
        raise DataError(
            "The rows are not those of the checkpoint: its best run has another inertia. Pass the same rows, delete the"
            " checkpoint, or choose another path."
        )
    fit = Fit(Reported(best.centers), cost, len(best.history), best.converged, best.history)
    return fit, source.labels(copy=True)
