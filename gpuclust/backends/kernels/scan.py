"""Range and moments of a chunk in one pass; sums are double-double (Ogita, Rump and Oishi, 2005, Dot2)."""

import numpy as np
from numba import njit, prange

from .sums import two_sum
from .tile import fma

LOW, HIGH, LEAST, SUM, SUM_E, SQ, SQ_E, WSUM, WSUM_E, WSQ, WSQ_E = range(11)
FIELDS = 11


@njit
def blank(d):
    out = np.zeros((FIELDS, d))
    out[LOW], out[HIGH], out[LEAST] = np.inf, -np.inf, np.inf
    return out


@njit
def _range(row, x, f):
    row[LOW, f] = min(row[LOW, f], x)
    row[HIGH, f] = max(row[HIGH, f], x)
    size = abs(x)
    row[LEAST, f] = size if (size > 0.0 and size < row[LEAST, f]) else row[LEAST, f]


@njit
def _add(out, field, f, value, error):
    total, lost = two_sum(out[field, f], value)
    out[field, f] = total
    out[field + 1, f] += lost + error


@njit
def scan_row(X, i, origin, out):
    for f in range(X.shape[1]):
        x = np.float64(X[i, f])
        _range(out, x, f)
        r = x - origin[f]
        e = 0.0
        if X.itemsize == 8:
            t = r - x
            e = (x - (r - t)) - (origin[f] + t)
        square = r * r
        _add(out, SUM, f, r, e)
        _add(out, SQ, f, square, fma(r, r, -square) + 2.0 * r * e)


@njit
def scan_row_weighted(X, i, origin, w, out):
    for f in range(X.shape[1]):
        x = np.float64(X[i, f])
        r = x - origin[f]
        t = r - x
        e = (x - (r - t)) - (origin[f] + t)
        weighted = w * r
        error = fma(w, r, -weighted) + w * e
        square = weighted * r
        _add(out, WSUM, f, weighted, error)
        _add(out, WSQ, f, square, fma(weighted, r, -square) + error * r + weighted * e)


@njit(parallel=True, cache=True, nogil=True)
def scan_pass(X, weight, origin, out, threads):
    """out f64 [threads, FIELDS, d] OUT, one set of range and moments about `origin` per thread."""
    n, d = X.shape
    for t in prange(threads):
        mine = blank(d)
        for i in range(n * t // threads, n * (t + 1) // threads):
            scan_row(X, i, origin, mine)
            if weight.shape[0]:
                scan_row_weighted(X, i, origin, weight[i], mine)
        out[t] = mine
