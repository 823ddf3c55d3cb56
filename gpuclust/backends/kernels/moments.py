"""Count, range, sum and sum of squares by label and feature, in one pass; sums are double-double (Ogita, Rump and
Oishi, "Accurate sum and dot product", SIAM J. Sci. Comput. 2005), so that the order of rows does not show."""

import numpy as np
from numba import njit, prange

from . import CACHE
from .sums import two_sum
from .tile import fma

SUM, SUM_E, SQUARE, SQUARE_E = range(4)


@njit(parallel=True, cache=CACHE, nogil=True)
def moments_pass(X, label, origin, count, low, high, sums, threads):
    """X [n, d], label i32 [n], origin f64 [k, d] IN; count i64, low, high f64 [threads, k, d] OUT, sums f64
    [threads, 4, k, d] of x - origin OUT: folded in. Values that are NaN or infinite are left out.
    """
    n, d = X.shape
    for t in prange(threads):
        for i in range(n * t // threads, n * (t + 1) // threads):
            j = label[i]
            for f in range(d):
                x = np.float64(X[i, f])
                if not abs(x) < np.inf:
                    continue
                count[t, j, f] += 1
                low[t, j, f] = min(low[t, j, f], x)
                high[t, j, f] = max(high[t, j, f], x)
                r = x - origin[j, f]
                sums[t, SUM, j, f], e = two_sum(sums[t, SUM, j, f], r)
                sums[t, SUM_E, j, f] += e
                p = r * r
                sums[t, SQUARE, j, f], e = two_sum(sums[t, SQUARE, j, f], p)
                sums[t, SQUARE_E, j, f] += e + fma(r, r, -p)
