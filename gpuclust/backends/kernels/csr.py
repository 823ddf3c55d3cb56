"""Sparse rows against dense centres: range and moments, exact sums, costs and distances.

A row touches only its nonzeros; the zeros enter through |c|^2. Where that would cancel, the part of a centre outside a
row's support is the difference of two double-double sums, so a row that equals its centre costs exactly 0.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit, prange

from . import CACHE
from .scan import add_value, blank, fill
from .sums import two_sum
from .tile import fma

SORTED, UNSORTED, BROKEN = range(3)
CLOSE = 2.0**-40  # relative error of a squared distance that needs no double-double


class Rows(NamedTuple):
    """CSR rows: indices ascend inside a row, none twice."""

    data: Any  # f32 or f64 [nnz]
    indices: Any  # i32 or i64 [nnz]
    indptr: Any  # the same, [n + 1]


@njit(cache=CACHE, nogil=True)
def form(indices, indptr, d):
    """SORTED: strictly ascending indices in every row; UNSORTED; BROKEN: an index or a pointer out of range."""
    state = SORTED
    if indptr[0] != 0 or indptr[-1] > indices.shape[0]:
        return BROKEN
    for i in range(indptr.shape[0] - 1):
        if indptr[i + 1] < indptr[i]:
            return BROKEN
        last = -1
        for p in range(indptr[i], indptr[i + 1]):
            f = indices[p]
            if f < 0 or f >= d:
                return BROKEN
            if f <= last:
                state = UNSORTED
            last = f
    return state


@njit(parallel=True, cache=CACHE, nogil=True)
def scan_pass(rows, out, square, threads):
    """out f64 [threads, FIELDS, d] OUT: range and sums about zero; square f64 [threads, 2] OUT: sum of squares."""
    n, d = rows.indptr.shape[0] - 1, out.shape[2]
    for t in prange(threads):
        mine, filled = blank(d), np.zeros(d, np.int64)
        start, stop, hi, lo = n * t // threads, n * (t + 1) // threads, 0.0, 0.0
        for i in range(start, stop):
            for p in range(rows.indptr[i], rows.indptr[i + 1]):
                f, x = rows.indices[p], np.float64(rows.data[p])
                filled[f] += 1
                add_value(x, x, f, mine)
                hi, lost = two_sum(hi, x * x)
                lo += lost
        for f in range(d):
            if filled[f] < stop - start:
                add_value(0.0, 0.0, f, mine)
        fill(out[t], mine)
        square[t, 0], square[t, 1] = hi, lo


@njit
def _move_value(value, f, magic, plus, minus):
    """The pieces of one value to `plus` from `minus`, both [K, d + 1], as `sums._cut` makes them."""
    for b in range(magic.shape[0]):
        piece = (value + magic[b, f]) - magic[b, f]
        value -= piece
        plus[b, f] += piece
        minus[b, f] -= piece


@njit
def _first(indices, start, stop, f):
    """The first place of a row whose feature is f or more."""
    while start < stop:
        middle = (start + stop) // 2
        if indices[middle] < f:
            start = middle + 1
        else:
            stop = middle
    return start


@njit
def _move_part(rows, i, weight, low, high, magic, plus, minus):
    """Move the features low .. high of row i; feature d is the mass."""
    d = magic.shape[1] - 1
    start, stop = rows.indptr[i], rows.indptr[i + 1]
    if low > 0:
        start = _first(rows.indices, start, stop, low)
    if high < d:
        stop = _first(rows.indices, start, stop, high)
    if weight.shape[0] == 0:
        for p in range(start, stop):
            _move_value(np.float64(rows.data[p]), rows.indices[p], magic, plus, minus)
    else:
        for p in range(start, stop):
            f, x = rows.indices[p], np.float64(rows.data[p])
            product = weight[i] * x
            _move_value(product, f, magic, plus, minus)
            _move_value(fma(weight[i], x, -product), f, magic, plus, minus)
    if high > d:
        _move_value(weight[i] if weight.shape[0] else 1.0, d, magic, plus, minus)


@njit(parallel=True, cache=CACHE, nogil=True)
def move_rows(rows, weight, label, fresh, magic, sums, threads):
    """Move every row from the sums of cluster label[i] to those of fresh[i].

    sums f64 [k + 1, K, d + 1] IN/OUT; row k takes what had no cluster. Each thread writes the features that it owns,
    so no thread needs sums of its own: k x d of them are more than the rows themselves where d is large.
    """
    columns, none = magic.shape[1], sums.shape[0] - 1
    for t in prange(threads):
        low, high = columns * t // threads, columns * (t + 1) // threads
        for i in range(label.shape[0]):
            if label[i] != fresh[i]:
                old = label[i] if label[i] >= 0 else none
                _move_part(rows, i, weight, low, high, magic, sums[fresh[i]], sums[old])


@njit
def centre_square(c):
    """|c|^2 as an unevaluated hi + lo, features in order."""
    hi, lo = 0.0, 0.0
    for f in range(c.shape[0]):
        square = c[f] * c[f]
        hi, e = two_sum(hi, square)
        lo += e + fma(c[f], c[f], -square)
    return hi, lo


@njit
def pair_cost(rows, i, c, hi, lo):
    """|x - c|^2 to about (m + 4) 2^-53, m nonzeros; hi, lo: `centre_square` of c. 0 where the row is the centre.

    The sums over c run as in `centre_square`: where the row covers the centre they agree to the bit.
    """
    if not hi < np.inf:
        return np.inf
    inside, part, part_lo = 0.0, 0.0, 0.0
    for p in range(rows.indptr[i], rows.indptr[i + 1]):
        v = c[rows.indices[p]]
        diff = np.float64(rows.data[p]) - v
        inside += diff * diff
        square = v * v
        part, e = two_sum(part, square)
        part_lo += e + fma(v, v, -square)
    outside = (hi - part) + (lo - part_lo)
    return inside + outside if outside > 0 else inside


@njit
def direct_cost(rows, i, c):
    """|x - c|^2 summed over all features in order, zeros included: the arithmetic that defines a label."""
    total, f = 0.0, 0
    for p in range(rows.indptr[i], rows.indptr[i + 1]):
        for g in range(f, rows.indices[p]):
            total += c[g] * c[g]
        f = rows.indices[p]
        diff = np.float64(rows.data[p]) - c[f]
        total += diff * diff
        f += 1
    for g in range(f, c.shape[0]):
        total += c[g] * c[g]
    return total


@njit(parallel=True, cache=CACHE, nogil=True)
def squares(centers, hi, lo, threads):
    """hi, lo f64 [k] OUT <- |c|^2 of every centre."""
    for t in prange(threads):
        for j in range(t, centers.shape[0], threads):
            hi[j], lo[j] = centre_square(centers[j])


@njit(parallel=True, cache=CACHE, nogil=True)
def row_costs(rows, centers, hi, lo, label, direct, cost, threads):
    """cost f64 [n] OUT <- squared distance of every row to its own centre; `direct`: summed as labels are defined."""
    n = label.shape[0]
    for t in prange(threads):
        for i in range(n * t // threads, n * (t + 1) // threads):
            j = label[i]
            if direct:
                cost[i] = direct_cost(rows, i, centers[j])
            else:
                cost[i] = pair_cost(rows, i, centers[j], hi[j], lo[j])


@njit
def row_parts(rows, i, scale, centers_t, inside, part):
    """inside, part f64 [width] <- sums of (scale x - c)^2 and c^2 over the row's nonzeros."""
    width = centers_t.shape[1]
    for s in range(width):
        inside[s] = 0.0
        part[s] = 0.0
    for p in range(rows.indptr[i], rows.indptr[i + 1]):
        x, c = np.float64(rows.data[p]) * scale, centers_t[rows.indices[p]]
        for s in range(width):
            diff = x - c[s]
            inside[s] += diff * diff
            part[s] += c[s] * c[s]


@njit(parallel=True, cache=CACHE, nogil=True)
def distances(rows, centers, centers_t, hi, lo, out, threads):
    """out [n, k] OUT <- Euclidean distances, in double-double where the plain sums would cancel."""
    n, k = out.shape
    for t in prange(threads):
        inside, part = np.empty(k), np.empty(k)
        for i in range(n * t // threads, n * (t + 1) // threads):
            row_parts(rows, i, 1.0, centers_t, inside, part)
            lost = (rows.indptr[i + 1] - rows.indptr[i] + 4) * 2.0**-53
            for j in range(k):
                cost = inside[j] + max(hi[j] - part[j], 0.0)
                if not lost * hi[j] <= CLOSE * cost:
                    cost = pair_cost(rows, i, centers[j], hi[j], lo[j])
                out[i, j] = np.sqrt(cost)
