"""Sums of distances to the rows of clusters on CUDA: `kernels/cuda/silhouette.cu`."""

from __future__ import annotations

from typing import Final

import numpy as np

from .cuda_kernels import MOST_GROUPS, blocks_of, launch
from .cuda_labels import DEPTH, ROWS, kind
from .cuda_memory import send
from .metric import Metric
from .statistics import Array

WIDTH: Final = 16  # rows that each row of a block is compared with at once
STAGED: Final = ROWS * (DEPTH + 1) + DEPTH * WIDTH  # values in shared memory
MOST_WORK: Final = 1 << 41  # of a launch, pairs of rows times features and a root: GPUs of displays are given seconds


def add_distance_sums(
    X: Array, Y: Array, start: np.ndarray, first: int, scale: float, metric: Metric, out: Array
) -> None:
    """See `Backend.add_distance_sums`."""
    (n, d), clusters, dtype, k = X.shape, len(start) - 1, X.dtype, out.shape[1]
    known = (Y, send(start, np.int64), clusters, first, dtype.type(scale))
    step = max(1, MOST_WORK // (ROWS * max(1, len(Y)) * (d + 8))) * ROWS
    for low in range(0, n, step):
        rows, sums = X[low : low + step], out[low : low + step]
        grid = blocks_of(len(rows)), min(clusters, MOST_GROUPS)
        args = (rows, len(rows), d, *known, sums, k)
        launch(f"silhouette.add_{kind(metric, dtype)}", grid, args, shared=STAGED * dtype.itemsize)
