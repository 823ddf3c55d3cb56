"""Seeding: what the potential becomes under each of a few trial centres, all in one pass over the rows.

Potentials are integers, floor(cost / grid) times the weight, so their sums over any set of rows are exact, and so is
the place where the running sum crosses a drawn value. Costs are computed per row in one fixed order.
"""

import numpy as np
from numba import njit, prange

from .pack import centre_rows, tile_rows
from .tile import LANES, TRIALS, tile_trials

BLOCK = 1024  # rows whose potentials are summed together; a draw lands in a block, then on a row of it


@njit
def potential(cost, w, inverse):
    return np.int64(w * np.floor(np.float64(cost) * inverse))


@njit
def tile_costs(X, start, m, shift, scale, panels, line, chosen, xt, out):
    """out [tiles, panels * 3, 16] <- squared distances of rows start .. start + m to every packed trial centre."""
    d = X.shape[1]
    count = panels.shape[0]
    rows = chosen
    for r in range(m):
        rows[r] = start + r
    centre_rows(X, rows, m, shift, scale, line)
    for r in range(m):
        rows[r] = r
    tile_rows(line, rows, m, xt)
    flat = panels.ravel()
    for t in range((m + LANES - 1) // LANES):
        for p in range(count):
            tile_trials(xt, t * LANES * d, flat, p * TRIALS * d, d, out, (t * count + p) * TRIALS * LANES)


@njit(parallel=True, cache=True, nogil=True)
def trials_pass(X, weight, cost, known, shift, scale, panels, trials, inverse, first, blocks, largest, batch, threads):
    """Fold a known centre into the rows' costs, and the potentials under each trial centre into blocks of rows.

    cost X's dtype [n] IN/OUT: cost <- min(cost, distance^2 to trial centre 0) if `known`. panels [p, d, 3] hold the
    known centre (if any) and `trials` trial centres; without any, the costs stand as they are. blocks i64 [threads, trials, nblocks] OUT, block index from global
    row `first`; largest f64 [threads, trials] OUT: the largest weighted cost left.
    """
    n, d = X.shape
    width = panels.shape[0] * TRIALS
    base = first // BLOCK
    skip = 1 if known else 0
    for t in prange(threads):
        line = np.empty((batch, d), X.dtype)
        xt = np.empty(batch * d, X.dtype)
        chosen = np.empty(batch, np.int64)
        out = np.empty(batch * width, X.dtype)
        for start in range(t * batch, n, threads * batch):
            m = min(batch, n - start)
            if width:
                tile_costs(X, start, m, shift, scale, panels, line, chosen, xt, out)
            for r in range(m):
                i = start + r
                at = (r // LANES) * width * LANES + r % LANES
                if known:
                    cost[i] = min(cost[i], out[at])
                w = weight[i] if weight.shape[0] else 1.0
                block = (first + i) // BLOCK - base
                for s in range(max(trials, 1)):
                    left = min(cost[i], out[at + (s + skip) * LANES]) if trials else cost[i]
                    blocks[t, s, block] += potential(left, w, inverse)
                    if w > 0 and left > largest[t, s]:
                        largest[t, s] = left


@njit(cache=True, nogil=True)
def row_potentials(X, weight, cost, shift, scale, panels, inverse, out):
    """out i64 [n] <- the potential of every row, under trial centre 0 if there is one (the block of a draw)."""
    n, d = X.shape
    width = panels.shape[0] * TRIALS
    line, xt = np.empty((n, d), X.dtype), np.empty((n + LANES) * d, X.dtype)
    chosen, scores = np.empty(n + LANES, np.int64), np.empty((n + LANES) * width, X.dtype)
    if width:
        tile_costs(X, 0, n, shift, scale, panels, line, chosen, xt, scores)
    for i in range(n):
        at = (i // LANES) * width * LANES + i % LANES
        w = weight[i] if weight.shape[0] else 1.0
        out[i] = potential(min(cost[i], scores[at]) if width else cost[i], w, inverse)
