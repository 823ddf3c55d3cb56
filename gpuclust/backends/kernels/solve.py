"""From exact sums to centres, and the cost of an assignment from the same sums, in double-double arithmetic."""

import numpy as np
from numba import njit, prange

from . import CACHE
from .sums import move_row, two_sum
from .tile import fma


@njit
def _totals(levels, hi, lo):
    """(hi, lo) f64 [d + 1] <- of the exact pieces of every column. Vectorised."""
    hi[:], lo[:] = 0.0, 0.0
    for b in range(levels.shape[0]):
        for f in range(hi.shape[0]):
            hi[f], e = two_sum(hi[f], levels[b, f])
            lo[f] += e
    for f in range(hi.shape[0]):
        hi[f], lo[f] = two_sum(hi[f], lo[f])


@njit
def _product(a, b):
    p = a * b
    return p, fma(a, b, -p)


@njit(cache=CACHE, nogil=True)
def means(sums, old, out, mass, way):
    """out f64 [k, d] OUT <- sums / mass, rounded once; rows without mass keep `old`. sums f64 [k, K, d + 1].

    way f64 [k] OUT <- the squared distance from `old`, summed in feature order.
    """
    k, d = old.shape
    hi, lo = np.empty(d + 1), np.empty(d + 1)
    for j in range(k):
        _totals(sums[j], hi, lo)
        m, m_lo = hi[d], lo[d]
        mass[j], way[j] = m, 0.0
        if not m > 0.0:
            out[j] = old[j]
            continue
        for f in range(d):
            q = hi[f] / m
            out[j, f] = q + (fma(-q, m, hi[f]) + (lo[f] - q * m_lo)) / m
            step = out[j, f] - old[j, f]
            way[j] += step * step


@njit(cache=CACHE, nogil=True)
def assignment_terms(sums, centers, origin, out):
    """out f64 [2, k] OUT <- (hi, lo) of c_j.(m_j c_j - 2 S_j) about the origin: costs up to w|x - o|^2."""
    k, d = centers.shape
    s, s_lo = np.empty(d + 1), np.empty(d + 1)
    for j in range(k):
        _totals(sums[j], s, s_lo)
        m, m_lo, hi, lo = s[d], s_lo[d], 0.0, 0.0
        for f in range(d):
            c, c_lo = two_sum(centers[j, f], -origin[f])
            p, e = _product(m, origin[f])
            about, e2 = two_sum(s[f], -p)
            about_lo = s_lo[f] + (e2 - e - m_lo * origin[f])
            p, e = _product(m, c)
            u, u_lo = two_sum(p, -2.0 * about)
            u_lo += e + m * c_lo + m_lo * c - 2.0 * about_lo
            s[f], e = _product(c, u)
            s_lo[f] = e + c * u_lo + c_lo * u
        for f in range(d):
            hi, e = two_sum(hi, s[f])
            lo += e + s_lo[f]
        out[0, j], out[1, j] = two_sum(hi, lo)


@njit(cache=CACHE, nogil=True)
def terms_change(old, new):
    """(hi, lo) of the sum of new - old, terms [2, k]: a cluster that is as it was adds exactly 0, however far away."""
    hi, lo = 0.0, 0.0
    for j in range(old.shape[1]):
        change, e = two_sum(new[0, j], -old[0, j])
        hi, e2 = two_sum(hi, change)
        lo += e2 + (e + (new[1, j] - old[1, j]))
    return two_sum(hi, lo)


@njit(cache=CACHE, nogil=True)
def move_rows(X, weight, magic, plus, minus, sums):
    """Move row i of X from the sums of cluster minus[i] to those of plus[i]; sums f64 [k * K * (d + 1)] IN OUT."""
    for i in range(X.shape[0]):
        move_row(X, i, weight, magic, sums, plus[i] * magic.size, minus[i] * magic.size)


@njit(cache=CACHE, nogil=True)
def sum_weighted(values, weight):
    """(hi, lo) of sum w v; the products are rounded, the sum is not (2^-104)."""
    hi, lo = 0.0, 0.0
    for i in range(values.shape[0]):
        hi, e = two_sum(hi, values[i] * weight[i] if weight.shape[0] else np.float64(values[i]))
        lo += e
    return two_sum(hi, lo)


@njit(parallel=True, cache=CACHE, nogil=True)
def weighted_total(cost, weight, label, total, mass, rows, threads):
    """total f64 [threads, 2] OUT <- sum of w cost; mass f64 [threads, 2, k], rows i64 [threads, k] OUT += by label."""
    n = cost.shape[0]
    for t in prange(threads):
        hi, lo = 0.0, 0.0
        for i in range(n * t // threads, n * (t + 1) // threads):
            j = label[i]
            rows[t, j] += 1
            if weight.shape[0]:
                hi, e = two_sum(hi, weight[i] * cost[i])
                lo += e
                mass[t, 0, j], e = two_sum(mass[t, 0, j], weight[i])
                mass[t, 1, j] += e
            else:
                hi, e = two_sum(hi, cost[i])
                lo += e
        total[t, 0], total[t, 1] = hi, lo
