"""Rows copied and read on the host by several threads: one alone is slower than the link to a GPU."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from itertools import pairwise
from typing import Any, Final

import numpy as np

from .threads import thread_count

MOST: Final = 8  # threads: as many as use what the memory gives
PART: Final = 4 << 20  # bytes of each, or more


def in_parts(n_bytes: int, n: int, work: Callable[[int, int], None], pool: ThreadPoolExecutor | None = None) -> None:
    """`work(start, stop)` for all of [0, n), n_bytes together, in several threads where they are many.

    The work releases the GIL. Raises what it raises.
    """
    count = min(MOST, n, n_bytes // PART)
    count = min(count, thread_count()) if count > 1 else count  # which starts Numba's threads
    if count < 2:
        work(0, n)
    elif pool is None:
        with ThreadPoolExecutor(count, thread_name_prefix="gpuclust-copy") as own:
            _share(own, count, n, work)
    else:
        _share(pool, count, n, work)


def _share(pool: ThreadPoolExecutor, count: int, n: int, work: Callable[[int, int], None]) -> None:
    cuts = pairwise(n * part // count for part in range(count + 1))
    parts: list[Future[None]] = [pool.submit(copy_context().run, work, start, stop) for start, stop in cuts]
    errors = [part.exception() for part in parts]  # of all: nobody writes any more when this ends
    for error in errors:
        if error is not None:
            raise error


def copy_rows(out: np.ndarray, rows: Any, pool: ThreadPoolExecutor | None = None) -> None:
    """out <- rows, converted to its type."""

    def work(start: int, stop: int) -> None:
        np.copyto(out[start:stop], rows[start:stop], casting="unsafe")

    in_parts(out.nbytes, len(out), work, pool)
