"""One record an iteration to whoever listens: the command line's bar, or a user's own function."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple


class Iteration(NamedTuple):
    run: int  # which of the n_init starts, from 0
    iteration: int  # from 1
    max_iter: int
    inertia: float  # cost of this iteration's assignment against its own centres
    moved: int  # rows that changed cluster
    rows: int
    seconds: float  # of this iteration


_listener: ContextVar[Callable[[Iteration], None] | None] = ContextVar("gpuclust_listener", default=None)


def listening() -> bool:
    return _listener.get() is not None


def emit(record: Iteration) -> None:
    listener = _listener.get()
    if listener is not None:
        listener(record)


@contextmanager
def listen(listener: Callable[[Iteration], None] | None) -> Iterator[None]:
    """Call `listener` with every `Iteration` of the fits inside the block; None: nobody listens."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)
