"""Checkpoints: a fit that was killed goes on from the last one, and ends as if nothing had happened, bit for bit.

What rows know (labels, bounds) is not written. Labels are certified and sums exact, so all of it follows from the
centres: the iteration that a checkpoint was written after is made again from its first centres, in one pass more, and
must end with the same ones, or the rows are not those of the checkpoint.
"""

from __future__ import annotations

import logging
import os
import time
import warnings
from pathlib import Path
from typing import Any, Final, NamedTuple, final

import numpy as np

from ..errors import DataError, ModelFileError
from ..files.atomic import remove
from ..files.signed import read_signed, write_signed
from .iterate import Place

logger = logging.getLogger("gpuclust")

FORMAT_VERSION: Final = 1
KEY: Final = "gpuclust_checkpoint"
SECONDS: Final = 60.0


class Checkpoint(NamedTuple):
    """Where and how often a fit writes its state, for `KMeans(checkpoint=...)` and `KMedians(checkpoint=...)`.

    The state is written after an iteration, once `iterations` of them or `seconds` have passed since the last time,
    whichever comes first. It takes a few times the bytes of the centres.

    Parameters
    ----------
    path : str or path-like
        The file: replaced in one step, and removed when the fit ends well. No two fits may share one at a time.
    iterations : int, optional
    seconds : float or None, default=60.0

    Examples
    --------
    >>> import gpuclust
    >>> gpuclust.KMeans(8, checkpoint=gpuclust.Checkpoint("fit.ckpt", iterations=10, seconds=None))
    KMeans(checkpoint=Checkpoint(path='fit.ckpt', iterations=10, seconds=None))
    """

    path: str | os.PathLike[str]
    iterations: int | None = None
    seconds: float | None = SECONDS


class Best(NamedTuple):
    """The best of the runs that are over."""

    centers: np.ndarray  # f64 [k, d], as reported
    history: np.ndarray  # f64 [n_iter]
    converged: bool
    inertia: float


class State(NamedTuple):
    """All that a fit goes on from."""

    run: int
    initial: np.ndarray  # f64 [k, d]: the first centres of this run
    place: Place | None  # None: before the first iteration
    best: Best | None
    random_state: dict[str, Any]  # after the first centres were drawn


@final
class Keeper:
    """Writes where a fit stands when it is time to, and finds it again."""

    def __init__(self, settings: Checkpoint):
        self._path, self._settings = Path(settings.path), settings
        self._found = _read(self._path) if self._path.exists() else None
        self._identity: dict[str, Any] = {}
        self._state: State | None = None
        self._iterations, self._written, self._told = 0, time.monotonic(), False

    @classmethod
    def of(cls, checkpoint: Any) -> Keeper | None:
        """The keeper that a `checkpoint` parameter asks for; a file that is there is read.

        Raises
        ------
        ValueError
            If it makes no sense, or the file could not be written.
        ModelFileError
            If there is a file, and it is damaged or no checkpoint.
        """
        if checkpoint is None:
            return None
        settings = checkpoint if isinstance(checkpoint, Checkpoint) else Checkpoint(checkpoint)
        every, seconds = settings.iterations, settings.seconds
        if every is None and seconds is None:
            raise ValueError(f"{settings} would never be written: give it iterations, seconds or both.")
        if (every is not None and not every >= 1) or (seconds is not None and not seconds >= 0):
            raise ValueError(f"{settings}: iterations must be 1 or more and seconds 0 or more.")
        path = Path(settings.path)
        if path.is_dir() or not os.access(path.absolute().parent, os.W_OK):
            raise ValueError(f"checkpoint={os.fspath(path)!r} cannot be written: pass a file in a folder that can.")
        return cls(settings)

    def resume(self, identity: dict[str, Any]) -> State | None:
        """The state to go on from, None for a fresh start; `identity`: what the fit depends on, in JSON's types.

        Raises
        ------
        DataError
            If the file belongs to another fit.
        """
        self._identity = identity
        if self._found is None:
            return None
        found, state = self._found
        differs = [
            f"{key} is {found.get(key)!r} there and {value!r} here"
            for key, value in identity.items()
            if found.get(key) != value
        ]
        if differs:
            raise DataError(
                f"The checkpoint {self._path} belongs to another fit: {', '.join(differs)}. Delete the file, or choose"
                " another path."
            )
        logger.info("Resumed from %s.", self._path)
        return state

    def begin(self, state: State) -> None:
        """A run starts, or goes on; its first centres may have taken long."""
        self._state = state
        if self._late():
            self._write(state)

    def due(self) -> bool:
        """Whether it is time to `keep`, after one more iteration."""
        self._iterations += 1
        every = self._settings.iterations
        return self._late() or (every is not None and self._iterations >= every)

    def keep(self, place: Place) -> None:
        assert self._state is not None
        self._write(self._state._replace(place=place))

    def remove(self) -> None:
        """The fit has ended well."""
        remove(self._path)

    def _late(self) -> bool:
        seconds = self._settings.seconds
        return seconds is not None and time.monotonic() - self._written >= seconds

    def _write(self, state: State) -> None:
        """A full disk costs the checkpoint, not the fit: it is told once, and tried again when the next one is due."""
        try:
            write_signed(self._path, KEY, *_encoded(self._identity, state))
        except OSError as error:
            if not self._told:
                warnings.warn(f"A checkpoint was not written, the fit goes on: {error}", UserWarning, stacklevel=2)
            self._told = True
        self._iterations, self._written = 0, time.monotonic()


def _encoded(identity: dict[str, Any], state: State) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    header: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "fit": identity,
        "run": state.run,
        "n_iter": 0,
        "best": None,
        "random_state": _plain(state.random_state),
    }
    tensors = {"initial": state.initial}
    if state.place is not None:
        header["n_iter"] = state.place.n_iter
        tensors |= {"before": state.place.before, "after": state.place.after, "changes": state.place.changes}
    if state.best is not None:
        header["best"] = {"converged": state.best.converged, "inertia": state.best.inertia.hex()}
        tensors |= {"best_centers": state.best.centers, "best_history": state.best.history}
    return header, {name: np.ascontiguousarray(tensor, np.float64) for name, tensor in tensors.items()}


def _plain(value: Any) -> Any:
    """A generator's state in JSON's types."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value


def _read(path: Path) -> tuple[dict[str, Any], State]:
    """What the fit of a checkpoint depends on, and its state."""
    header, tensors = read_signed(path, KEY, "checkpoint", FORMAT_VERSION)
    try:
        return header["fit"], _decoded(header, tensors)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelFileError(f"{path} is damaged: it is no state of a fit ({error!r}).") from None


def _decoded(header: dict[str, Any], tensors: dict[str, np.ndarray]) -> State:
    fit, n_iter, place, best = header["fit"], header["n_iter"], None, None
    for name, tensor in tensors.items():
        if name not in ("changes", "best_history"):
            _require(tensor.shape == (fit["n_clusters"], fit["n_features"]) and np.isfinite(tensor).all(), name)
        _require(tensor.dtype == np.float64, name)
    _require(0 <= header["run"] < fit["n_init"] and 0 <= n_iter < fit["max_iter"], "run, n_iter")
    if n_iter:
        _require(tensors["changes"].shape == (n_iter - 1, 2), "changes")
        place = Place(n_iter, tensors["before"], tensors["after"], tensors["changes"])
    if header["best"] is not None:
        centers, history = tensors["best_centers"], tensors["best_history"]
        _require(history.ndim == 1, "best_history")
        best = Best(centers, history, header["best"]["converged"], float.fromhex(header["best"]["inertia"]))
    return State(header["run"], tensors["initial"], place, best, header["random_state"])


def _require(holds: Any, name: str) -> None:
    if not holds:
        raise ValueError(name)
