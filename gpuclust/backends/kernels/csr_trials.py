"""Seeding over sparse rows: the costs under a few trial centres, in one pass over the nonzeros (see `trials`).

The centres are rows themselves, so few features matter: `place` leads from a feature to its line of a small table of
the centres' values, and from all other features to line 0, of zeros.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit, prange

from . import CACHE
from .gather import add_products
from .trials import BLOCK, potential

CANCELLED = 2.0**-20  # |x|^2 - 2 x.c + |c|^2 below this share of |x|^2 + |c|^2 is summed without cancellation


class Trials(NamedTuple):
    """The known centre (if any), then the trial centres, scaled."""

    place: Any  # i32 [d]
    table: Any  # f64 [lines * width], line by line; width a multiple of 8
    square: Any  # f64 [centres]: |c|^2
    scale: Any  # f64


class Room(NamedTuple):
    """Scratch of a thread."""

    place: Any
    value: Any
    dot: Any
    cost: Any


@njit(cache=CACHE, nogil=True)
def squares(table, width, square):
    """square f64 [centres] OUT <- |c|^2, summed line by line."""
    for s in range(square.shape[0]):
        total = 0.0
        for line in range(table.shape[0] // width):
            total += table[line * width + s] * table[line * width + s]
        square[s] = total


@njit
def _close_cost(rows, i, cen, s, width):
    """|x - c|^2 of one pair as sums of squares: exactly 0 where the row is the centre."""
    inside, part = 0.0, 0.0
    for p in range(rows.indptr[i], rows.indptr[i + 1]):
        c = cen.table[cen.place[rows.indices[p]] * width + s]
        diff = np.float64(rows.data[p]) * cen.scale - c
        inside += diff * diff
        part += c * c
    return inside + max(cen.square[s] - part, 0.0)


@njit
def _shared(rows, i, cen, room):
    """The nonzeros of row i that any centre has too into room.place, room.value: their number, and |x|^2."""
    count, square = 0, 0.0
    for p in range(rows.indptr[i], rows.indptr[i + 1]):
        x = np.float64(rows.data[p]) * cen.scale
        place = cen.place[rows.indices[p]]
        room.place[count] = place
        room.value[count] = x
        count += 1 if place else 0
        square += x * x
    return count, square


@njit
def _row_costs(rows, i, cen, room):
    """room.cost [centres] <- squared distances of row i, scaled, in the costs' dtype."""
    count, square = _shared(rows, i, cen, room)
    room.dot[:] = 0.0
    add_products(room.value, room.place, 0, count, 1.0, cen.table, room.dot)
    for s in range(cen.square.shape[0]):
        total = square + cen.square[s]
        cost = total - 2.0 * room.dot[s]
        if cost < CANCELLED * total:
            cost = _close_cost(rows, i, cen, s, room.dot.shape[0])
        room.cost[s] = cost


@njit
def _room(cen, dtype):
    width = (cen.square.shape[0] + 7) // 8 * 8
    d, centres = cen.place.shape[0], cen.square.shape[0]
    return Room(np.empty(d + 1, np.int32), np.empty(d + 1), np.empty(width), np.empty(centres, dtype))


@njit(parallel=True, cache=CACHE, nogil=True)
def trials_pass(rows, weight, cost, known, cen, trials, inverse, first, blocks, largest, threads):
    """As `trials.trials_pass`, over sparse rows."""
    n = cost.shape[0]
    base, skip = first // BLOCK, 1 if known else 0
    for t in prange(threads):
        room = _room(cen, cost.dtype)
        for i in range(n * t // threads, n * (t + 1) // threads):
            _row_costs(rows, i, cen, room)
            if known:
                cost[i] = min(cost[i], room.cost[0])
            w = weight[i] if weight.shape[0] else 1.0
            block = (first + i) // BLOCK - base
            for s in range(max(trials, 1)):
                left = min(cost[i], room.cost[s + skip]) if trials else cost[i]
                blocks[t, s, block] += potential(left, w, inverse)
                if w > 0 and left > largest[t, s]:
                    largest[t, s] = left


@njit(cache=CACHE, nogil=True)
def row_potentials(rows, weight, cost, cen, inverse, out):
    """out i64 [n] <- the potential of every row, under centre 0 of `cen` if there is one (the block of a draw)."""
    room = _room(cen, cost.dtype)
    for i in range(cost.shape[0]):
        left = cost[i]
        if room.cost.shape[0]:
            _row_costs(rows, i, cen, room)
            left = min(left, room.cost[0])
        out[i] = potential(left, weight[i] if weight.shape[0] else 1.0, inverse)
