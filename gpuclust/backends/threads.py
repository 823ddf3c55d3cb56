"""How many threads to use, and one kernel at a time: Numba's simplest threading layer is not re-entrant."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import numba
from sklearn.utils._openmp_helpers import _openmp_effective_n_threads

WORTH_A_THREAD: Final = 1 << 22  # multiply-adds; on a busy machine to wake a thread takes 10 ms and more
_lock = threading.Lock()


def thread_count() -> int:
    """Threads of a parallel kernel: NUMBA_NUM_THREADS, OMP_NUM_THREADS, threadpoolctl and the CPU quota all cap it."""
    return max(1, min(numba.get_num_threads(), _openmp_effective_n_threads()))


def run(kernel: Callable[..., Any], *args: Any) -> Any:
    """Call a parallel kernel with the thread count as its last argument."""
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
