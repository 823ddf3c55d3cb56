"""Silhouettes whose distances are squares: from the clusters' means, O(n k d), exact.

The squared distances from x to the rows of a cluster B with the mean m sum up to |B| |x - m|^2 + sum_B |y - m|^2: no
term is negative, so nothing cancels wherever the data lie. Cosine distances are half the squares between rows of
length 1; a row of zeros is at distance 1 from every other, as in scikit-learn.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from ..backends.metric import Metric
from .rows import Labelled, check_held, means, put, spread
from .unit import UnitSource

BLOCK_BYTES: Final = 16 << 20  # of the sums of rows by cluster


def coefficients(sums: np.ndarray, code: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Silhouette f64 [m] of rows in clusters `code` from the sums of their distances to all clusters f64 [m, k], which
    are overwritten; sizes [k]."""
    row, size = np.arange(len(sums)), sizes[code]
    own = sums[row, code] / np.maximum(size - 1, 1)
    sums /= sizes
    sums[row, code] = np.inf
    return relative(own, sums.min(axis=1), size > 1)


def relative(own: np.ndarray, other: np.ndarray, counts: Any = True) -> np.ndarray:
    """(other - own) / max(own, other); 0 where both are 0 and for rows that do not count."""
    largest = np.maximum(own, other)
    counts = counts & (largest > 0)
    return np.where(counts, (other - own) / np.where(counts, largest, 1.0), 0.0)


def block_rows(k: int) -> int:
    """Rows of which k numbers each are held at once, whole tiles of 16."""
    return max(16, BLOCK_BYTES // (8 * k) // 16 * 16)


def samples(rows: Labelled, *, cosine: bool) -> np.ndarray:
    """Silhouettes f64 [n] under squared Euclidean or cosine distance."""
    if cosine:
        rows = put(UnitSource(rows.source), rows.codes, rows.k)
    sizes, centers = np.bincount(rows.codes, minlength=rows.k), means(rows).centers
    around = spread(rows, centers, Metric.EUCLIDEAN)
    check_held(around)
    nothing = _rows_of_zeros(rows) if cosine else np.zeros(0, np.int64)
    zeros = np.bincount(rows.codes[nothing], minlength=rows.k)
    found, backend, step = np.empty(len(rows.codes)), rows.source.backend, block_rows(rows.k)
    for chunk in rows.source.chunks():
        for low in range(0, chunk.X.shape[0], step):
            X, start = chunk.X[low : low + step], chunk.start + low
            here = slice(start, start + X.shape[0])
            sums = backend.to_host(backend.distances(X, centers, np.float64, Metric.EUCLIDEAN)) ** 2
            sums = sizes * sums + around
            if cosine:
                sums = sums / 2 + zeros / 2
                mine = nothing[(nothing >= here.start) & (nothing < here.stop)]
                sums[mine - start] = sizes
                sums[mine - start, rows.codes[mine]] -= 1
            found[here] = coefficients(sums, rows.codes[here], sizes)
    return found


def _rows_of_zeros(rows: Labelled) -> np.ndarray:
    """Their indices, ascending."""
    source, found = rows.source, []
    origin, label = np.zeros((1, source.n_features)), source.backend.full
    for chunk in source.chunks():
        size = source.backend.costs(chunk.X, origin, label((chunk.X.shape[0],), 0, np.int32), Metric.EUCLIDEAN)
        found.append(np.flatnonzero(source.backend.to_host(size) == 0) + chunk.start)
    return np.concatenate(found)
