"""How many threads to use, and one kernel at a time: Numba's simplest threading layer is not re-entrant."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import numba
from sklearn.utils._openmp_helpers import _openmp_effective_n_threads

WORTH_A_THREAD: Final = 1 << 22  # multiply-adds; on a busy machine to wake a thread takes 10 ms and more
FORKED: Final = (
    "This process was forked from one that had run kernels, and its threads (GNU OpenMP) do not outlive a fork. Start "
    "workers by multiprocessing.get_context('spawn') or 'forkserver', or by joblib; or set NUMBA_THREADING_LAYER to "
    "workqueue before the first fit."
)
_lock = threading.Lock()
_lost = False  # the threads, to a fork: a parallel kernel would end the process without a word to whoever waits for it


def _forked() -> None:
    """In a new child: whoever held the lock is not here."""
    global _lock, _lost
    _lock, _lost = threading.Lock(), _lost or _by_gnu()


def _by_gnu() -> bool:
    """Whether threads were started, by GNU's OpenMP."""
    try:
        if numba.threading_layer() != "omp":
            return False
    except ValueError:  # there are none yet
        return False
    from numba.np.ufunc import omppool  # type: ignore[attr-defined]

    return bool(omppool.openmp_vendor == "GNU")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def thread_count() -> int:
    """Threads of a parallel kernel: NUMBA_NUM_THREADS, OMP_NUM_THREADS, threadpoolctl and the CPU quota all cap it."""
    return max(1, min(numba.get_num_threads(), _openmp_effective_n_threads()))


def run(kernel: Callable[..., Any], *args: Any) -> Any:
    """Call a parallel kernel with the thread count as its last argument.

    Raises
    ------
    RuntimeError
        In a process forked from one whose threads cannot be used here.
    """
    if _lost:
        raise RuntimeError(FORKED)
    with _lock:
        return kernel(*args, thread_count())


@contextmanager
def limited(work: int) -> Iterator[None]:
    """No more threads inside the block than calls of `work` multiply-adds each are worth."""
    with at_most(work // WORTH_A_THREAD):
        yield


@contextmanager
def at_most(threads: int) -> Iterator[None]:
    """No more threads inside the block."""
    before = numba.get_num_threads()
    numba.set_num_threads(max(1, min(before, threads)))
    try:
        yield
    finally:
        numba.set_num_threads(before)
