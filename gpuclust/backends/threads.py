"""How many threads to use, and one kernel at a time: Numba's simplest threading layer is not re-entrant."""

import threading
from collections.abc import Callable
from typing import Any

import numba
from sklearn.utils._openmp_helpers import _openmp_effective_n_threads

_lock = threading.Lock()


def thread_count() -> int:
    """Threads of a parallel kernel: NUMBA_NUM_THREADS, OMP_NUM_THREADS, threadpoolctl and the CPU quota all cap it."""
    return max(1, min(numba.get_num_threads(), _openmp_effective_n_threads()))


def run(kernel: Callable[..., Any], *args: Any) -> Any:
    """Call a parallel kernel with the thread count as its last argument."""
    with _lock:
        return kernel(*args, thread_count())
