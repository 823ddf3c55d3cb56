"""Few features: a grid of cells, each with the centres that can be nearest somewhere in it.

A centre is struck from a cell where another is nearer at every point of it: the difference of their squared distances
is linear, so the corner of the cell that is best for the first decides (Kanungo et al., "An efficient k-means
clustering algorithm", TPAMI 2002, section 2). Cells are halved along every axis again and again, each with what its
parent kept. Most end with one centre, whose rows need no distance; the others are decided by the distances of
`nearest_direct`, summed in the same way. Rows outside the grid, or in a crowded cell, are left to be scored.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit

AXES = 3  # features at most
HALVINGS = 12, 8, 5  # at most, by the number of features: 4096, 65536 and 32768 cells
ROWS = 24  # to every cell: more cells cost more to make than they save
BEYOND = 0.3  # what the grid holds beyond the outermost centres, as a share of their range
THIN = 1 / 8  # or of this much of the widest range, along an axis on which centres hardly differ
MANY = 24, 8  # centres in a cell from which on its rows are scored: so many, and so many-th part of all
MOST = 1 << 20  # members of all cells: where centres crowd, cells are not made smaller


class Cells(NamedTuple):
    code: Any  # i32 [cells]: the nearest centre, or -1 - (place in `members`); row-major
    members: Any  # i32: how many centres, then which, ascending
    low: Any  # f64 [d]: where the grid begins
    per: Any  # f64 [d]: cells in a unit of length
    side: Any  # cells along an axis; 0: no grid


NO_CELLS = Cells(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0), np.empty(0), 0)


def halvings(d: int, rows: int) -> int:
    """How often cells are halved for so many rows."""
    return min(HALVINGS[d - 1], (max(1, rows // ROWS).bit_length() - 1) // d)


def cells(centers: np.ndarray, most: int) -> Cells:
    """The grid for centres f64 [k, d], d <= 3, after `most` halvings; none where they are all alike or not finite."""
    low, high = centers.min(axis=0), centers.max(axis=0)
    with np.errstate(over="ignore", invalid="ignore"):
        reach = np.maximum(high - low, (high - low).max() * THIN) * BEYOND
        low, high = low - reach, high + reach
        width = (high - low) / (1 << most)
        pad = 1e-9 * width + 2.0**-48 * np.maximum(np.abs(low), np.abs(high))
        usable = np.all(pad < width / 8) and np.all((high - low) ** 2 < 1e300) and np.all(width**2 > 1e-280)
    if not usable:
        return NO_CELLS
    unequal = np.sort(np.unique(centers, axis=0, return_index=True)[1]).astype(np.int32)  # the lowest of equals wins
    code, members, side = _divide(centers, unequal, low, high, pad, most)
    return Cells(code, members, low, side / (high - low), side)


@njit
def _nearest(centers, members, start, stop, middle):
    best, least = members[start], np.inf
    for at in range(start, stop):
        total, j = 0.0, members[at]
        for f in range(centers.shape[1]):
            total += (centers[j, f] - middle[f]) ** 2
        if total < least:
            best, least = j, total
    return best


@njit
def _filter(centers, members, start, stop, low, high, slack, out, at):
    """out[at:] <- the members that can be nearest in the box; where they end. `slack` covers all rounding."""
    d = centers.shape[1]
    z = _nearest(centers, members, start, stop, (low + high) / 2)
    for p in range(start, stop):
        j, lead = members[p], 0.0  # lead of z over j at the corner that is best for j, in squared distance
        for f in range(d):
            own, other = centers[z, f], centers[j, f]
            corner = high[f] if other > own else low[f]
            lead += (other - own) * ((own - corner) + (other - corner))
        if not lead > slack:
            out[at] = j
            at += 1
    return at


@njit
def _halve(centers, low, high, pad, slack, sides, first, members):
    """One halving along every axis: first [cells + 1], members of the new cells."""
    d, splits = centers.shape[1], np.ones(AXES, np.int64)
    splits[:d] = 2
    new = sides * splits
    starts = np.zeros(new.prod() + 1, np.int64)
    kept = np.empty(2 * len(members) + len(starts), np.int32)
    box_low, box_high, place, at, cell = np.empty(d), np.empty(d), np.empty(AXES, np.int64), 0, 0
    for a in range(new[0]):
        for b in range(new[1]):
            for c in range(new[2]):
                parent = (a // splits[0] * sides[1] + b // splits[1]) * sides[2] + c // splits[2]
                start, stop = first[parent], first[parent + 1]
                if at + stop - start > len(kept):
                    kept = np.append(kept, np.empty(len(kept) + stop - start, np.int32))
                if stop - start == 1:
                    kept[at] = members[start]
                    at += 1
                else:
                    place[0], place[1], place[2] = a, b, c
                    for f in range(d):
                        width = (high[f] - low[f]) / new[f]
                        box_low[f] = low[f] + place[f] * width - pad[f]
                        box_high[f] = low[f] + (place[f] + 1) * width + pad[f]
                    at = _filter(centers, members, start, stop, box_low, box_high, slack, kept, at)
                cell += 1
                starts[cell] = at
    return new, starts, kept[:at]


@njit(cache=True, nogil=True)
def _divide(centers, members, low, high, pad, most):
    """code, members of the finest cells, and how many there are along an axis."""
    slack = 1e-13 * ((high - low) ** 2).sum()
    sides = np.ones(AXES, np.int64)
    first = np.array([0, len(members)])
    for _ in range(most):
        if len(members) << centers.shape[1] > MOST:
            break
        sides, first, members = _halve(centers, low, high, pad, slack, sides, first, members)
    code, lists, at = np.empty(len(first) - 1, np.int32), np.empty(len(members) + len(first), np.int32), 0
    for cell in range(len(code)):
        start, stop = first[cell], first[cell + 1]
        if stop - start == 1:
            code[cell] = members[start]
            continue
        code[cell] = -1 - at
        lists[at] = stop - start
        lists[at + 1 : at + 1 + stop - start] = members[start:stop]
        at += 1 + stop - start
    return code, lists[:at].copy(), sides[0]


@njit
def _nearest_member(values, at, centers, members, place):
    """The nearest of the centres in a list to the row values[at:], as `nearest_direct` finds it; -1: too many."""
    count, d = members[place], centers.shape[1]
    best, least = np.int32(-1), np.inf
    if count >= max(MANY[0], len(centers) // MANY[1]):
        return best
    for p in range(place + 1, place + 1 + count):
        j, total = members[p], 0.0
        for f in range(d):
            diff = np.float64(values[at + f]) - centers[j, f]
            total += diff * diff
        if total < least:
            best, least = j, total
    return best


@njit
def _cells_of(values, m, d, grid, cell, outside):
    """cell [m] <- where each row lies; outside [m] <- below 0 where that is nowhere."""
    side = np.int32(grid.side)
    top = side + 1.0
    cell[:m], outside[:m] = 0, 0
    for f in range(d):
        low, per = grid.low[f], grid.per[f]
        for s in range(m):  # vectorised
            place = (np.float64(values[d * s + f]) - low) * per + 1.0
            place = place if place > 0.0 else 0.0  # also NaN
            column = np.int32(place if place < top else top) - np.int32(1)
            cell[s] = cell[s] * side + column
            outside[s] |= column | (side - np.int32(1) - column)


@njit
def locate(X, start, m, grid, centers, cell, outside, found):
    """found i32 [m] <- nearest centres of rows start .. start + m - 1, -1 where they must be scored.

    cell, outside i32 [m]: scratch.
    """
    d, code, members, open_ = X.shape[1], grid.code, grid.members, 0
    values = X.ravel()[start * d : (start + m) * d]
    _cells_of(values, m, d, grid, cell, outside)
    for s in range(m):
        found[s] = code[cell[s]] if outside[s] >= 0 else np.int32(-1)
        cell[open_] = s
        open_ += (outside[s] >= 0) & (found[s] < 0)
    for p in range(open_):
        s = cell[p]
        found[s] = _nearest_member(values, d * s, centers, members, -1 - found[s])
