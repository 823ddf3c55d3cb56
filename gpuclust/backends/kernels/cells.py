"""Few features: a grid of cells, each with the centres that can be nearest somewhere in it.

A centre is struck from a cell where another is nearer at every point of it: the difference of their costs, squared or
Manhattan distances, is monotone along every axis, so the corner of the cell that is best for the first decides (Kanungo
et al., "An efficient k-means clustering algorithm", TPAMI 2002, section 2, for the former). Cells are halved along
every axis again and again, each with what its parent kept. Most end with one centre, whose rows need no distance; the
others are decided by the distances of `nearest_direct`, summed in the same way. Rows outside the grid, or in a crowded
cell, are left to be scored.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from . import CACHE

AXES = 3  # features at most
HALVINGS = 12, 9, 6  # at most, by the number of features: 4096 cells, or 262144
ROWS = 6  # to every cell: more cells cost more to make than they save
BEYOND = 0.3  # what the grid holds beyond the outermost centres, as a share of their range
THIN = 1 / 8  # or of this much of the widest range, along an axis on which centres hardly differ
MANY = 24, 8  # centres in a cell from which on its rows are scored: so many, and so many-th part of all
MOST = 1 << 20  # members of all lists
WORTH = 256  # looks at a member in a box, to every finest cell: where centres crowd, more look than are spared
CROWDED, LISTED = np.int32(-1), np.int32(-2)  # codes of cells whose rows are scored, and of the list at place 0


class Cells(NamedTuple):
    code: Any  # i32 [cells]: the nearest centre, CROWDED, or LISTED - (place in `members`); row-major
    members: Any  # i32: how many centres, then which, ascending
    low: Any  # [d], the rows' dtype: where the grid begins
    per: Any  # [d], the same: cells in a unit of length
    side: Any  # cells along an axis; 0: no grid


def no_cells(dtype: Any) -> Cells:
    nothing = np.empty(0, dtype)
    return Cells(np.empty(0, np.int32), np.empty(0, np.int32), nothing, nothing, 0)


def halvings(d: int, rows: int) -> int:
    """How often cells are halved for so many rows."""
    return min(HALVINGS[d - 1], (max(1, rows // ROWS).bit_length() - 1) // d)


def cells(centers: np.ndarray, most: int, dtype: Any, l1: bool) -> Cells:
    """The grid for centres f64 [k, d], d <= 3, after `most` halvings, and rows of this dtype. l1: Manhattan distances.

    None where centres are all alike, or too far apart or from zero. A row's place is off by 2 (side + 2) eps cells at
    most: boxes are wider than cells by that and more.
    """
    least, greatest, side = centers.min(axis=0), centers.max(axis=0), 1 << most
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        reach = np.maximum(greatest - least, (greatest - least).max() * THIN) * BEYOND
        low = (least - reach).astype(dtype)
        per = (side / (greatest - least + 2 * reach)).astype(dtype)
        start, width = low.astype(np.float64), 1.0 / per
        pad = 4 * (side + 2) * np.finfo(dtype).eps * width + 2.0**-48 * (np.abs(start) + side * width)
        usable = np.isfinite(low) & np.isfinite(per) & (width > 1e-140) & (width < 1e140) & (pad < width / 8)
    if not usable.all():
        return no_cells(dtype)
    unequal = np.sort(np.unique(centers, axis=0, return_index=True)[1]).astype(np.int32)  # the lowest of equals wins
    code, members = _divide(centers, unequal, start, start + side * width, pad, most, l1)
    return Cells(code, members, low, per, side)


@njit(inline="always")
def _lead(own, other, x, l1):
    """By how much one centre is nearer to x than another, in their costs along an axis."""
    return abs(other - x) - abs(own - x) if l1 else (other - own) * ((own - x) + (other - x))


@njit(inline="always")
def _cost(diff, l1):
    return abs(diff) if l1 else diff * diff


@njit
def _nearest(centers, members, start, stop, low, high, l1):
    """The member nearest to the middle of a box."""
    best, least = members[start], np.inf
    for at in range(start, stop):
        total, j = 0.0, members[at]
        for f in range(centers.shape[1]):
            total += _cost(centers[j, f] - 0.5 * (low[f] + high[f]), l1)
        if total < least:
            best, least = j, total
    return best


@njit
def _filter_two(centers, i, j, low, high, slack, l1, out, at):
    """`_filter` of two members: most boxes that are not decided have no more."""
    least, most = 0.0, 0.0  # lead of i over j in the box
    for f in range(low.shape[0]):
        own, other = centers[i, f], centers[j, f]
        at_low, at_high = _lead(own, other, low[f], l1), _lead(own, other, high[f], l1)
        least += min(at_low, at_high)
        most += max(at_low, at_high)
    out[at] = i if most >= -slack else j
    out[at + 1] = j
    return at + 2 if most >= -slack and not least > slack else at + 1


@njit
def _filter(centers, members, start, stop, low, high, slack, l1, out, at):
    """out[at:] <- the members that can be nearest in the box; where they end. `slack` covers all rounding."""
    z = _nearest(centers, members, start, stop, low, high, l1)
    for p in range(start, stop):
        j, least = members[p], 0.0  # lead of z over j at the corner that is best for j
        for f in range(low.shape[0]):
            own, other = centers[z, f], centers[j, f]
            least += _lead(own, other, high[f] if other > own else low[f], l1)
        if not least > slack:
            out[at] = j
            at += 1
    return at


@njit
def _fill(code, side, d, place, extent, value):
    """Give all finest cells of a box their code: it is the place[3 - d :]-th box of so many of them along an axis."""
    for a in range(extent if d > 2 else 1):
        for b in range(extent if d > 1 else 1):
            start = ((place[0] * extent + a) * side + place[1] * extent + b) * side + place[2] * extent
            for cell in range(start, start + extent):
                code[cell] = value


@njit
def _listed(lists, at, members):
    """lists <- with `members` and their number from `at` on."""
    stop = at + 1 + len(members)
    if stop > len(lists):
        longer = np.empty(len(lists) + stop, np.int32)
        for p in range(at):
            longer[p] = lists[p]
        lists = longer
    lists[at] = len(members)
    for p in range(len(members)):
        lists[at + 1 + p] = members[p]
    return lists


@njit
def _box(low, high, pad, place, share, box_low, box_high):
    """The corners of the place[3 - d :]-th box of such a share of every axis, a little wider than it is."""
    d = low.shape[0]
    for f in range(d):
        width, at = (high[f] - low[f]) * share, place[AXES - d + f]
        box_low[f] = low[f] + at * width - pad[f]
        box_high[f] = low[f] + (at + 1) * width + pad[f]


@njit(cache=CACHE, nogil=True)
def _divide(centers, members, low, high, pad, most, l1):
    """code, members of the finest cells: boxes that wait lie on a stack, each with its members at the end of `pool`."""
    k, d = centers.shape
    side, halves, slack = 1 << most, 1 << d, 0.0
    for f in range(d):
        slack += _cost(high[f] - low[f], l1)
    slack *= 1e-13
    many, work = max(MANY[0], k // MANY[1]), WORTH << d * most
    code, lists, listed = np.empty(side**d, np.int32), np.empty(1024, np.int32), 0
    pool = np.empty((most * halves + 1) * len(members), np.int32)
    for p in range(len(members)):
        pool[p] = members[p]
    boxes = np.zeros((most * halves + 1, 3 + AXES), np.int64)  # level, start, stop, place
    place, inner, box_low, box_high = np.empty(AXES, np.int64), np.empty(AXES, np.int64), np.empty(d), np.empty(d)
    boxes[0, 2], waiting = len(members), 1
    while waiting:
        waiting -= 1
        level, start, stop = boxes[waiting, 0], boxes[waiting, 1], boxes[waiting, 2]
        for a in range(AXES):
            place[a] = boxes[waiting, 3 + a]
        if stop - start == 1:
            _fill(code, side, d, place, side >> level, pool[start])
        elif work < 0 or (level == most and (stop - start >= many or listed > MOST)):
            _fill(code, side, d, place, side >> level, CROWDED)
        elif level == most:
            _fill(code, side, d, place, 1, LISTED - listed)
            lists = _listed(lists, listed, pool[start:stop])
            listed += 1 + stop - start
        else:
            top, work, share = stop, work - halves * (stop - start), 0.5 / (1 << level)
            for half in range(halves):
                for a in range(AXES):
                    inner[a] = 2 * place[a] + (half >> (AXES - 1 - a) & 1)
                    boxes[waiting, 3 + a] = inner[a]
                _box(low, high, pad, inner, share, box_low, box_high)
                boxes[waiting, 0], boxes[waiting, 1] = level + 1, top
                if stop - start == 2:
                    top = _filter_two(centers, pool[start], pool[start + 1], box_low, box_high, slack, l1, pool, top)
                else:
                    top = _filter(centers, pool, start, stop, box_low, box_high, slack, l1, pool, top)
                boxes[waiting, 2] = top
                waiting += 1
    return code, lists[:listed].copy()


@njit
def _nearest_member(values, at, centers, members, place, l1):
    """The nearest of the centres in a list to the row values[at:], as `nearest_direct` finds it."""
    count, d = members[place], centers.shape[1]
    best, least = np.int32(-1), np.inf
    for p in range(place + 1, place + 1 + count):
        j, total = members[p], 0.0
        for f in range(d):
            total += _cost(np.float64(values[np.uintp(at + f)]) - centers[np.uintp(j), f], l1)
        if total < least:
            best, least = j, total
    return best


@njit
def _nearer(values, at, centers, i, j, l1):
    """The same of two."""
    one, two = 0.0, 0.0
    for f in range(centers.shape[1]):
        x = np.float64(values[np.uintp(at + f)])
        one += _cost(x - centers[np.uintp(i), f], l1)
        two += _cost(x - centers[np.uintp(j), f], l1)
    return j if two < one else i


@njit
def _columns(values, stride, f, m, low, per, side, cell, outside):
    """Fold the column of feature f into `cell` and `outside`. Vectorised where the stride is a constant."""
    one, top = values.dtype.type(1), values.dtype.type(side + 1)
    for s in range(m):
        place = (values[np.uintp(stride * s + f)] - low) * per + one
        place = place if place > 0 else one - one  # also NaN
        column = np.int32(place if place < top else top) - np.int32(1)
        cell[s] = cell[s] * side + column
        outside[s] |= column | (side - np.int32(1) - column)


@njit
def _cells_of(values, m, d, grid, cell, outside):
    """cell [m] <- where each row lies; outside [m] <- below 0 where that is nowhere."""
    side = np.int32(grid.side)
    cell[:m], outside[:m] = 0, 0
    for f in range(d):
        low, per = grid.low[f], grid.per[f]
        if d == 1:
            _columns(values, 1, f, m, low, per, side, cell, outside)
        elif d == 2:
            _columns(values, 2, f, m, low, per, side, cell, outside)
        else:
            _columns(values, 3, f, m, low, per, side, cell, outside)


@njit
def locate(X, start, m, grid, centers, l1, cell, outside, found):
    """found i32 [m] <- nearest centres of rows start .. start + m - 1, -1 where they must be scored.

    cell, outside i32 [m]: scratch.
    """
    d, code, members, open_ = X.shape[1], grid.code, grid.members, 0
    values = X.ravel()[start * d : (start + m) * d]
    _cells_of(values, m, d, grid, cell, outside)
    for s in range(m):
        found[s] = code[np.uintp(cell[s])] if outside[s] >= 0 else CROWDED
        cell[open_] = s
        open_ += found[s] <= LISTED
    for p in range(open_):
        s = cell[p]
        place = np.uintp(LISTED - found[s])
        if members[place] == 2:  # most of them
            found[s] = _nearer(values, d * s, centers, members[place + 1], members[place + 2], l1)
        else:
            found[s] = _nearest_member(values, d * s, centers, members, place, l1)
