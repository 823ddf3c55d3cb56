"""Sums that do not depend on their order (Demmel and Nguyen, "Parallel reproducible summation", 2015, section 3).

A value is cut into K pieces, each a multiple of a fixed power of two of its feature, so that every partial sum of
each piece is exact in float64. Exact sums may be added, subtracted and merged in any order: thread, chunk and shard
counts cannot show, and rows that change cluster are subtracted from one and added to the other without any drift.
"""

import numpy as np
from numba import njit

from .tile import fma


@njit
def _cut(value, error, magic, plus, minus, columns):
    """plus += pieces, minus -= pieces. value, error f64 [columns] (destroyed), magic [K, columns]."""
    levels = magic.shape[0]
    for b in range(levels):
        if b == levels - 1:
            for f in range(columns):
                value[f] += error[f]
        anchor, high, low = magic[b], plus[b], minus[b]
        for f in range(columns):
            piece = (value[f] + anchor[f]) - anchor[f]
            value[f] -= piece
            high[f] += piece
            low[f] -= piece


@njit
def move_row(X, i, weight, magic, plus, minus, value, error):
    """Move row i from the sums `minus` to the sums `plus`, both f64 [K, d + 1]; column d is the mass."""
    d = X.shape[1]
    if weight.shape[0] == 0:
        for f in range(d):
            value[f] = X[i, f]
        value[d] = 1.0
    else:
        w = weight[i]
        for f in range(d):
            x = np.float64(X[i, f])
            value[f] = w * x
            error[f] = fma(w, x, -value[f])
        value[d] = w
    _cut(value, error, magic, plus, minus, d + 1)


@njit
def two_sum(a, b):
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


@njit
def add_dd(hi, lo, value):
    """(hi, lo) + value, with hi + lo the unevaluated sum and |lo| below half an ulp of hi."""
    s, e = two_sum(hi, value)
    return s, lo + e
