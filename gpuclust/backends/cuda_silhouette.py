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


def add_distance_sums(
    X: Array, Y: Array, start: np.ndarray, first: int, scale: float, metric: Metric, out: Array
) -> None:
    """See `Backend.add_distance_sums`."""
    clusters, dtype, k = len(start) - 1, X.dtype, out.shape[1]
    args = (X, *X.shape, Y, send(start, np.int64), clusters, first, dtype.type(scale), out, k)
    grid = blocks_of(len(X)), min(clusters, MOST_GROUPS)
    launch(f"silhouette.add_{kind(metric, dtype)}", grid, args, shared=STAGED * dtype.itemsize)
