"""Sums of distances to the rows of clusters, on the CPU."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from .base import Array
from .kernels import between
from .metric import Metric
from .threads import limited, run

BLOCK_BYTES: Final = 1 << 18  # of the rows that tiles are compared with: they stay in the L2 cache


def add_distance_sums(
    X: Array, Y: Array, start: np.ndarray, first: int, scale: float, metric: Metric, out: Array
) -> None:
    """See `Backend.add_distance_sums`."""
    size, factor = max(between.WIDTH, BLOCK_BYTES // (X.shape[1] * X.itemsize)), X.dtype.type(scale)
    for low in range(0, len(Y), size):
        high = min(low + size, len(Y))
        here = np.arange(np.searchsorted(start, low, "right") - 1, np.searchsorted(start, high, "left"))
        edges = np.clip(start[here[0] : here[-1] + 2], low, high)
        panels = pack(Y, edges, factor)
        with limited(len(X) * (high - low) * X.shape[1]):
            run(between.add_pass, X, factor, *panels, first + int(here[0]), out, metric.l1)


def pack(Y: Array, edges: np.ndarray, scale: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows edges[c] .. edges[c + 1] of each cluster in panels of their own, scaled: (panels [P * d * WIDTH], f64 [P *
    WIDTH]: which of their rows are none of the padding, start i64: the first panel of each cluster)."""
    width, counts = between.WIDTH, np.diff(edges)
    start = np.append(0, np.cumsum(-(-counts // width)))
    cluster = np.repeat(np.arange(len(counts)), np.diff(start) * width)
    place = np.arange(len(cluster)) - start[cluster] * width
    rows = Y[edges[cluster] + np.minimum(place, counts[cluster] - 1)] * scale
    panels = np.ascontiguousarray(rows.reshape(-1, width, Y.shape[1]).transpose(0, 2, 1))
    return panels.ravel(), (place < counts[cluster]).astype(np.float64), start
