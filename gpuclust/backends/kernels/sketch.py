"""Sketches of weighted values: R of them that stand for equal shares of the weight, in ascending order."""

import numpy as np
from numba import njit, prange

from . import CACHE
from .order import sort


@njit
def _upper(values, low, x):
    """The first place from `low` on whose value is greater than x; values ascending."""
    high = len(values)
    while low < high:
        middle = (low + high) >> 1
        if values[middle] <= x:
            low = middle + 1
        else:
            high = middle
    return low


@njit
def _copied(old, first, place, ratio, shift, u, out, i, end):
    """out[i : end] <- old[(i + u) * ratio - shift], within old[first : place]; in runs, since ratio is at least 1."""
    while i < end:
        x = (i + u) * ratio - shift
        at = min(max(np.intp(x), first), place - 1)
        run = min(end - i, place - at)
        if ratio > 1.0:
            run = max(np.intp(min((at + 1 - x) / (ratio - 1.0), np.float64(run))), 1)
        for r in range(run):  # a slice would be slower
            out[i + r] = old[at + r]
        i += run


@njit
def _resample(old, share, values, weight, total, u, out):
    """out <- the values at (i + u) / R of the total weight: of `old`, each worth `share`, and `values`, worth `weight`
    each; both ascending.
    """
    size, m = out.shape[0], len(values)
    step, given, i, first = total / size, 0.0, 0, 0
    for b in range(m + 1):
        if share > 0.0:
            place = _upper(old, first, values[b]) if b < m else size
            end = min(np.intp(np.ceil((place * share + given) / step - u)), size)
            if place > first and end > i:
                _copied(old, first, place, step / share, given / share, u, out, i, end)
                i = end
            first = place
        if b < m:
            given += weight[b]
            end = min(np.intp(np.ceil((first * share + given) / step - u)), size)
            while i < end:
                out[i] = values[b]
                i += 1
    out[i:] = values[m - 1] if share == 0.0 else max(values[m - 1], old[size - 1])  # lost to rounding


@njit(parallel=True, cache=CACHE, nogil=True)
def merge_pass(X, weight, order, start, counts, offset, kept, threads):
    """Merge rows into the sketches of their clusters.

    X [n, d], weight f64 [n], or [0]: 1 each, order i64 [n]: rows by cluster, start i64 [k + 1]: where each begins in
    it, counts f64 [k]: weight of each sketch, offset f64 [k, d] IN; kept [k, d, R] IN, OUT.
    """
    k, d, size = kept.shape
    for t in prange(threads):
        out, values, heavy = np.empty(size, kept.dtype), np.empty(len(order), kept.dtype), np.empty(len(order))
        for p in range(t, k * d, threads):
            j, f = p // d, p % d
            m = start[j + 1] - start[j]
            if m == 0:
                continue
            total = counts[j]
            for s in range(m):
                row = order[start[j] + s]
                values[s], heavy[s] = X[row, f], weight[row] if weight.shape[0] else 1.0
                total += heavy[s]
            sort(values[:m], heavy[:m])
            _resample(kept[j, f], counts[j] / size, values[:m], heavy[:m], total, offset[j, f], out)
            for i in range(size):
                kept[j, f, i] = out[i]
