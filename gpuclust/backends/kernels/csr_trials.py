"""Seeding over sparse rows: the costs under a few trial centres, in one pass over the nonzeros (see `trials`)."""

import numpy as np
from numba import njit, prange

from .csr import row_parts
from .trials import BLOCK, potential


@njit(cache=True, nogil=True)
def plain_squares(centers_t):
    """|c|^2 f64 [width], summed over the features in order, as `row_parts` sums it over a row's nonzeros."""
    d, width = centers_t.shape
    total = np.zeros(width)
    for f in range(d):
        for s in range(width):
            total[s] += centers_t[f, s] * centers_t[f, s]
    return total


@njit
def _row_costs(rows, i, scale, centers_t, square, inside, part, out):
    """out [width] <- squared distances, scaled, in out's dtype; exactly 0 where the row is the centre."""
    row_parts(rows, i, scale, centers_t, inside, part)
    for s in range(square.shape[0]):
        out[s] = inside[s] + max(square[s] - part[s], 0.0)


@njit(parallel=True, cache=True, nogil=True)
def trials_pass(rows, weight, cost, known, scale, centers_t, square, trials, inverse, first, blocks, largest, threads):
    """As `trials.trials_pass`; centers_t f64 [d, width], scaled, hold the known centre (if any), then the trial centres."""
    n, width = cost.shape[0], square.shape[0]
    base, skip = first // BLOCK, 1 if known else 0
    for t in prange(threads):
        inside, part, out = np.empty(width), np.empty(width), np.empty(width, cost.dtype)
        for i in range(n * t // threads, n * (t + 1) // threads):
            if width:
                _row_costs(rows, i, scale, centers_t, square, inside, part, out)
            if known:
                cost[i] = min(cost[i], out[0])
            w = weight[i] if weight.shape[0] else 1.0
            block = (first + i) // BLOCK - base
            for s in range(max(trials, 1)):
                left = min(cost[i], out[s + skip]) if trials else cost[i]
                blocks[t, s, block] += potential(left, w, inverse)
                if w > 0 and left > largest[t, s]:
                    largest[t, s] = left


@njit(cache=True, nogil=True)
def row_potentials(rows, weight, cost, scale, centers_t, square, inverse, out):
    """out i64 [n] <- the potential of every row, under centre 0 of centers_t if there is one (the block of a draw)."""
    width = square.shape[0]
    inside, part, new = np.empty(width), np.empty(width), np.empty(width, cost.dtype)
    for i in range(cost.shape[0]):
        left = cost[i]
        if width:
            _row_costs(rows, i, scale, centers_t, square, inside, part, new)
            left = min(left, new[0])
        out[i] = potential(left, weight[i] if weight.shape[0] else 1.0, inverse)
