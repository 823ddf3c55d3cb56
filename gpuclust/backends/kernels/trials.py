"""Seeding: what the potential becomes under each of a few trial centres, all in one pass over the rows.

Potentials are integers, floor(weight * cost / grid), so their sums over any set of rows are exact, and so is
the place where the running sum crosses a drawn value. Costs are computed per row in one fixed order, from differences:
nothing is centred, since a mean that one outlier moved away would round the other rows to the same value.
"""

import math
import sys

import numpy as np
from numba import njit, prange

from . import CACHE
from .pack import centre_quad, centre_rows, coming_row, padded, tile_rows
from .tile import LANES, QUAD, TRIALS, WIDE, tile_trials, tile_trials_abs, wide_abs, wide_diff

BLOCK = 1024  # rows whose potentials are summed together; a draw lands in a block, then on a row of it


def grid_of(bound: float) -> float:
    """The power of two of which `bound` is at most 2^53, and more than 2^52; potentials are counted in it."""
    if not bound > 0:
        return 1.0
    share, exponent = math.frexp(min(bound, sys.float_info.max))
    return math.ldexp(1.0, max(exponent - (share == 0.5) - 53, -1023))


@njit
def potential(cost, w, inverse):
    return np.int64(np.floor(w * np.float64(cost) * inverse)) if w > 0.0 else np.int64(0)


@njit
def _wide_costs(X, rows, m, origin, scale, centers, l1, line, out):
    """The same for rows of many features; centers [panels * 3 * padded(d)]."""
    pitch, batch, flat = padded(X.shape[1]), out.shape[1], out.ravel()
    for at in range(0, m, QUAD):
        centre_quad(X, rows, at, m, origin, scale, line)
        for c in range(0, out.shape[0], TRIALS):
            ahead = coming_row(rows, at, m, c // TRIALS, X.shape[1])
            place = c * batch + at
            if l1:
                wide_abs(line, 0, pitch, 2 * pitch, 3 * pitch, centers, c * pitch, pitch, flat, place, batch, X, ahead)
            else:
                wide_diff(line, 0, pitch, 2 * pitch, 3 * pitch, centers, c * pitch, pitch, flat, place, batch, X, ahead)


@njit
def tile_costs(X, start, m, origin, scale, panels, l1, line, chosen, xt, out):
    """out [panels * 3, batch] <- costs of rows start .. start + m at every packed trial centre."""
    d, batch = X.shape[1], out.shape[1]
    for r in range(m):
        chosen[r] = start + r
    if d >= WIDE:
        _wide_costs(X, chosen, m, origin, scale, panels.ravel(), l1, xt, out)
        return
    centre_rows(X, chosen, m, origin, scale, line)
    for r in range(m):
        chosen[r] = r
    tile_rows(line, chosen, m, d, xt)
    coefficients, flat = panels.ravel(), out.ravel()
    for p in range(panels.shape[0]):
        for t in range((m + LANES - 1) // LANES):
            at = p * TRIALS * batch + t * LANES
            if l1:
                tile_trials_abs(xt, t * LANES * d, coefficients, p * TRIALS * d, d, flat, at, batch)
            else:
                tile_trials(xt, t * LANES * d, coefficients, p * TRIALS * d, d, flat, at, batch)


@njit(fastmath={"reassoc"})  # the terms are integers below 2^53: their sum is exact in any order
def _steps(cost, new, inverse):
    total = 0.0
    for r in range(cost.shape[0]):
        total += np.floor(np.float64(min(cost[r], new[r])) * inverse)
    return np.int64(total)


@njit
def _weighted_steps(cost, new, weight, inverse):
    total = np.int64(0)
    for r in range(cost.shape[0]):
        total += potential(min(cost[r], new[r]), weight[r], inverse)
    return total


@njit(fastmath={"reassoc", "nnan", "nsz"})
def _largest(cost, new):
    most = min(cost[0], new[0])
    for r in range(cost.shape[0]):
        left = min(cost[r], new[r])
        most = left if left > most else most
    return most


@njit
def _weighted_largest(cost, new, weight, most):
    for r in range(cost.shape[0]):
        if weight[r] > 0:
            most = max(most, np.float64(min(cost[r], new[r])))
    return most


@njit
def _fold_block(cost, out, low, high, skip, trials, weight, inverse, b, blocks, largest):
    """Rows low .. high of a batch, all of one block: their potentials under each trial centre."""
    for s in range(max(trials, 1)):
        new = out[s + skip, low:high] if trials else cost
        if weight.shape[0]:
            blocks[s, b] += _weighted_steps(cost, new, weight, inverse)
            largest[s] = _weighted_largest(cost, new, weight, largest[s])
        else:
            blocks[s, b] += _steps(cost, new, inverse)
            largest[s] = max(largest[s], _largest(cost, new))


@njit(parallel=True, cache=CACHE, nogil=True)
def trials_pass(
    X, weight, cost, known, shift, scale, panels, l1, trials, inverse, first, blocks, largest, batch, threads
):
    """Fold a known centre into the rows' costs, and the potentials under each trial centre into blocks of rows.

    cost X's dtype [n] IN/OUT: cost <- min(cost, cost at trial centre 0) if `known`: squared
    distances, or Manhattan distances where `l1`. panels [p, d, 3] (wide rows:
    [p, 3, padded(d)]) hold the known centre (if any) and `trials` trial centres; without any, the costs stand as they
    are. blocks i64 [threads, trials, blocks] OUT, block index from global row `first`; largest f64 [threads, trials]
    OUT: the largest cost left to a row of positive weight.
    """
    n, d = X.shape
    skip = 1 if known else 0
    for t in prange(threads):
        line, xt = np.empty((batch, d), X.dtype), np.empty(batch * d, X.dtype)
        chosen, out = np.empty(batch, np.int64), np.empty((panels.shape[0] * TRIALS, batch), X.dtype)
        for start in range(t * batch, n, threads * batch):
            m = min(batch, n - start)
            if panels.shape[0]:
                tile_costs(X, start, m, shift, scale, panels, l1, line, chosen, xt, out)
            if known:
                for r in range(m):
                    cost[start + r] = min(cost[start + r], out[0, r])
            low = 0
            while low < m:
                block = (first + start + low) // BLOCK
                high = min(m, (block + 1) * BLOCK - first - start)
                w = weight[start + low : start + high] if weight.shape[0] else weight
                _fold_block(cost[start + low : start + high], out, low, high, skip, trials, w, inverse,
                            block - first // BLOCK, blocks[t], largest[t])  # fmt: skip
                low = high


@njit(cache=CACHE, nogil=True)
def row_potentials(X, weight, cost, shift, scale, panels, l1, inverse, out):
    """out i64 [n] <- the potential of every row, under trial centre 0 if there is one (the block of a draw)."""
    n, d = X.shape
    batch = (n + LANES - 1) // LANES * LANES
    line, xt, chosen = np.empty((batch, d), X.dtype), np.empty(batch * d, X.dtype), np.empty(batch, np.int64)
    scores = np.empty((max(1, panels.shape[0] * TRIALS), batch), X.dtype)
    scores[0] = np.inf
    if panels.shape[0]:
        tile_costs(X, 0, n, shift, scale, panels, l1, line, chosen, xt, scores)
    for i in range(n):
        w = weight[i] if weight.shape[0] else 1.0
        out[i] = potential(min(cost[i], scores[0, i]), w, inverse)
