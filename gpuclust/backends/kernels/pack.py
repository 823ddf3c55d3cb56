"""Rows into tiles: centred, scaled, rounded (labels: float32), and transposed to [d, 16] blocks for the cache."""

import numpy as np
from numba import njit

from .margins import ABSOLUTE
from .tile import LANES, QUAD, centre8, transpose8


@njit
def centre_rows(X, rows, m, shift, scale, line):
    """line [m, >= d] <- (X[rows[:m]] - shift) * scale in line's dtype, then zeros."""
    d = X.shape[1]
    for r in range(m):
        i, out = rows[r], line[r]
        for f in range(d):
            out[f] = (X[i, f] - shift[f]) * scale
        for f in range(d, out.shape[0]):
            out[f] = 0


@njit(fastmath={"reassoc", "contract"})
def row_norms(line, m, norm, form):
    """norm [m] <- norms of the centred rows: Manhattan for an ABSOLUTE form, else squared."""
    for r in range(m):
        total, row = np.float32(0), line[r]
        if form == ABSOLUTE:
            for f in range(row.shape[0]):
                total += abs(row[f])
        else:
            for f in range(row.shape[0]):
                total += row[f] * row[f]
        norm[r] = total


@njit
def padded(d):
    """d, rounded up to whole vectors."""
    return (d + 7) // 8 * 8


@njit
def centre_quad(X, rows, at, m, shift, scale, line):
    """line [4 * padded(d)] <- (X[rows[at : at + 4]] - shift) * scale in line's dtype; past m the last row again."""
    d = X.shape[1]
    pitch = padded(d)
    for q in range(QUAD):
        i, out = rows[min(at + q, m - 1)], line[q * pitch : (q + 1) * pitch]
        for f in range(d):
            out[f] = (X[i, f] - shift[f]) * scale
        for f in range(d, pitch):
            out[f] = 0


@njit
def coming_row(rows, at, m, call, d):
    """Where the row starts that the `call`-th wide tile of rows[at : at + 4] asks for: one of the next four."""
    return rows[min(at + QUAD + min(call, QUAD - 1), m - 1)] * d


@njit
def tile_rows(line, chosen, m, d, xt):
    """xt [tiles, d, 16] <- line[chosen[:m], :d], transposed; lanes past m repeat the last row."""
    pitch = line.shape[1]
    whole = d // 8 * 8
    flat = line.ravel()
    for t in range((m + LANES - 1) // LANES):
        base = t * LANES * d
        for half in range(0, LANES, 8):
            at = t * LANES + half
            for f in range(0, whole, 8):
                transpose8(flat, f, chosen, at, m - 1, pitch, xt, base + f * LANES + half)
        for f in range(whole, d):
            for lane in range(LANES):
                xt[base + f * LANES + lane] = line[chosen[min(t * LANES + lane, m - 1)], f]


@njit
def centre_tiles(X, rows, m, shift, scale, xt):
    """xt [tiles, d, 16] <- (X[rows[:m]] - shift) * scale in float32, transposed; lanes past m repeat the last row."""
    d = X.shape[1]
    whole = d // 8 * 8
    for t in range((m + LANES - 1) // LANES):
        base = t * LANES * d
        for half in range(0, LANES, 8):
            for f in range(0, whole, 8):
                centre8(X, f, rows, t * LANES + half, m - 1, d, shift, scale, xt, base + f * LANES + half)
        for lane in range(LANES):
            i = rows[min(t * LANES + lane, m - 1)]
            for f in range(whole, d):
                xt[base + f * LANES + lane] = np.float32((X[i, f] - shift[f]) * scale)
