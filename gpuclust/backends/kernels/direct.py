"""Distances summed directly, (x - c)^2 or |x - c| in float64, features in order: the arithmetic that defines a label.

No fast-math here: the sums are those of the definition, only the loop over centres is vectorised.
"""

import numpy as np
from numba import njit, prange

from . import CACHE


@njit
def nearest_direct(X, i, centers_t, work, l1):
    """Index of the nearest centre of row i; ties go to the lowest index. centers_t f64 [d, k], work f64 [k] <- costs:
    squared distances, or Manhattan distances where `l1`.
    """
    d, k = centers_t.shape
    for j in range(k):
        work[j] = 0.0
    for f in range(d):
        x = np.float64(X[i, f])
        row = centers_t[f]
        if l1:
            for j in range(k):
                work[j] += abs(x - row[j])
        else:
            for j in range(k):
                diff = x - row[j]
                work[j] += diff * diff
    best = 0
    for j in range(1, k):
        if work[j] < work[best]:
            best = j
    return best


@njit(fastmath={"reassoc", "contract"})
def distance_estimate(X, i, centers, j, l1):
    """Distance of row i to centre j, Manhattan or Euclidean, float64, sums in any order: good to 1e-14 relative."""
    total = 0.0
    if l1:
        for f in range(X.shape[1]):
            total += abs(np.float64(X[i, f]) - centers[j, f])
        return total
    for f in range(X.shape[1]):
        diff = np.float64(X[i, f]) - centers[j, f]
        total += diff * diff
    return np.sqrt(total)


@njit(inline="always")
def _cost4(X, i, centers, label, cost, at, l1):
    """Four rows at once: four independent chains of additions hide the latency of each other."""
    a, b, c, e = np.uintp(label[i]), np.uintp(label[i + 1]), np.uintp(label[i + 2]), np.uintp(label[i + 3])
    s0 = s1 = s2 = s3 = 0.0
    if l1:
        for f in range(X.shape[1]):
            s0 += abs(np.float64(X[i, f]) - centers[a, f])
            s1 += abs(np.float64(X[i + 1, f]) - centers[b, f])
            s2 += abs(np.float64(X[i + 2, f]) - centers[c, f])
            s3 += abs(np.float64(X[i + 3, f]) - centers[e, f])
        cost[at], cost[at + 1], cost[at + 2], cost[at + 3] = s0, s1, s2, s3
        return
    for f in range(X.shape[1]):
        d0 = np.float64(X[i, f]) - centers[a, f]
        d1 = np.float64(X[i + 1, f]) - centers[b, f]
        d2 = np.float64(X[i + 2, f]) - centers[c, f]
        d3 = np.float64(X[i + 3, f]) - centers[e, f]
        s0 += d0 * d0
        s1 += d1 * d1
        s2 += d2 * d2
        s3 += d3 * d3
    cost[at], cost[at + 1], cost[at + 2], cost[at + 3] = s0, s1, s2, s3


@njit
def _cost1(X, i, centers, j, l1):
    total = 0.0
    for f in range(X.shape[1]):
        diff = np.float64(X[i, f]) - centers[j, f]
        total += abs(diff) if l1 else diff * diff
    return total


@njit
def block_costs(X, centers, label, start, stop, cost, l1):
    """cost[:stop - start] <- cost of rows start..stop at their own centre."""
    i = start
    while i + 4 <= stop:
        _cost4(X, i, centers, label, cost, i - start, l1)
        i += 4
    while i < stop:
        cost[i - start] = _cost1(X, i, centers, label[i], l1)
        i += 1


@njit(parallel=True, cache=CACHE, nogil=True)
def row_costs(X, centers, label, cost, l1, threads):
    """cost f64 [n] OUT <- cost of every row at its own centre: the distance, Manhattan or squared."""
    n = X.shape[0]
    for t in prange(threads):
        start, stop = n * t // threads, n * (t + 1) // threads
        block_costs(X, centers, label, start, stop, cost[start:stop], l1)


@njit(parallel=True, cache=CACHE, nogil=True)
def distances(X, centers_t, out, l1, threads):
    """out [n, k] OUT <- Euclidean or Manhattan distances, summed in float64, rounded once to out's dtype."""
    n, k = X.shape[0], centers_t.shape[1]
    for t in prange(threads):
        work = np.empty(k)
        for i in range(n * t // threads, n * (t + 1) // threads):
            nearest_direct(X, i, centers_t, work, l1)
            for j in range(k):
                out[i, j] = work[j] if l1 else np.sqrt(work[j])
