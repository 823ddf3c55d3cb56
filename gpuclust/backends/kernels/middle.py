"""Ranks within a bracket: the value of a rank, and the rank at which half of the mass is reached."""

import numpy as np
from numba import njit

from .order import select
from .sums import add_pieces


@njit
def _sign(parts, k):
    """The sign of the exact sum of parts[:k]: what is left of the largest after carrying all roundings down."""
    for _ in range(k):
        for b in range(k - 1, 0, -1):
            s = parts[b] + parts[b - 1]
            t = s - parts[b]
            parts[b] = (parts[b] - (s - t)) + (parts[b - 1] - t)
            parts[b - 1] = s
    for b in range(k):
        if parts[b] != 0.0:
            return 1 if parts[b] > 0.0 else -1
    return 0


@njit
def _against_half(cum, total, work):
    """The sign of 2 cum - total, both exact sums in pieces."""
    for b in range(cum.shape[0]):
        work[b] = 2.0 * cum[b] - total[b]
    return _sign(work, cum.shape[0])


@njit
def value(values, s, at_mid, mid, low, high):
    """The s-th of the values in ascending order, `mid` among them at at_mid (-1: nowhere). It lies in values[low :
    high + 1].
    """
    if at_mid >= 0:
        if s == at_mid:
            return mid
        s -= s > at_mid
    select(values, max(low, 0), min(high, len(values) - 1), s)
    return values[s]


@njit
def count_below(values, x):
    """How many values are less than x."""
    count = 0
    for s in range(len(values)):
        count += values[s] < x
    return count


@njit
def middle_row(m, at_mid, less, same, total, strict):
    """(place, even, mass below it): the first of m values with which half of the rows is reached (strictly: passed);
    -1 below them all, m above. even: with it, exactly half.
    """
    if 2.0 * less > total or (2.0 * less == total and not strict):
        return -1, False, less
    wanted = np.floor(total / 2.0) + 1.0 if strict else np.ceil(total / 2.0)
    s, below = np.intp(wanted - less) - 1, wanted - 1.0
    if at_mid >= 0 and s >= at_mid:
        s, below = at_mid, less + at_mid
        if below + same < wanted:
            s, below = np.intp(wanted - less - same), wanted - 1.0
        else:
            return s, 2.0 * (below + same) == total, below
    return min(s, m), 2.0 * wanted == total, below


@njit
def middle_weight(heavy, at_mid, less, same, total, strict, magic, cum, work):
    """The same by weight; the mass is rounded. heavy: the weights of the values but the middle, in their order."""
    for b in range(cum.shape[0]):
        cum[b] = less[b]
    least, below, count = (1 if strict else 0), less.sum(), len(heavy) + (at_mid >= 0)
    if _against_half(cum, total, work) >= least:
        return -1, False, below
    for s in range(count):
        below = cum.sum()
        if s == at_mid:
            for b in range(cum.shape[0]):
                cum[b] += same[b]
        else:
            add_pieces(heavy[s - (0 <= at_mid < s)], magic, cum, 0)
        side = _against_half(cum, total, work)
        if side >= least:
            return s, side == 0, below
    return count, False, cum.sum()
