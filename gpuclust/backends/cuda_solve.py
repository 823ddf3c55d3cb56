"""Means on CUDA: `kernels/cuda/solve.cu`."""

from __future__ import annotations

import cupy
import numpy as np

from .cuda_kernels import address, blocks_of, launch
from .cuda_memory import constant, there
from .statistics import Array, Delta, Solved, check_labels


def means(sums: Array, old: Array, origin: np.ndarray, delta: Delta | None) -> Solved:
    """See `Backend.means`: one record crosses to the host."""
    (k, d), levels, centers = old.shape, sums.shape[1], there(old, np.float64)
    sums, out, record = there(sums, np.float64), cupy.empty((k, d)), cupy.empty(5 * k + 1)
    change, counts, total = (None, None, sums) if delta is None else (delta.sums, delta.moved, cupy.empty(sums.shape))
    given = (sums, address(change), address(counts), centers, constant(origin, np.float64))
    launch("solve.means", blocks_of(32 * k), (*given, k, levels, d, total, out, record))
    host = record.get()
    mass, high, low, way, entered = host[:-1].reshape(5, k)
    if delta is not None:
        check_labels(int(host[-1]))
    moved = 0 if delta is None else int(entered.sum())
    return Solved(total, out, mass, np.stack([high, low]), float(way.sum()), moved)
