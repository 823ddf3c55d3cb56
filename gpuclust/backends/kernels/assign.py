"""One pass of Lloyd's algorithm over a chunk: nearest centres, certified; rows that moved are re-summed.

Where features are few and bounds are not kept, the cell that a row lies in tells most labels (`cells.py`).

Pruning keeps, for every row, an upper bound of the distance to its own centre and a lower bound to every group of
other centres (one group: Hamerly, SDM 2010; more: Ding et al., "Yinyang K-means", ICML 2015). Only rows whose bounds
meet are looked at, and of those only the groups that can hold a nearer centre.

A label is accepted where the gap between the best two scores exceeds the rounding error of both (`margins.py`). Where
there are enough centres and features, scores are first integers (`short.py`, `short_abs.py`); rows that these leave in
doubt are scored in float32, and the last few are decided by `nearest_direct`. All distances are in units of
`frame.scale`.
"""

import numpy as np
from numba import njit, prange

from . import CACHE
from .bounds import DOWN, INF, UP, all_rows, least_lower, since_lower, since_upper, survivors, unsettled
from .cells import locate
from .direct import nearest_direct
from .margins import ABSOLUTE, certify, lower_bounds
from .scores import make_room, score_groups, score_one, slack_left, take_rows
from .sums import move_row

KEEP, MAKE, NONE = range(3)  # bounds: use and renew; make them anew; do without
DOUBT = 0.3  # share of rows in doubt from which on a first look in integers costs more than it saves


@njit
def _score_batch(X, rows, m, label, upper, lower, lowers, tight, cen, form, delta, short, room, state):
    """state.label[:m] <- new labels of rows[:m], whose own centres are at most `tight` away (+inf: not known).

    Bounds are renewed where they are kept (upper is not empty). Scores in integers (`short`) leave some rows in doubt:
    their label is -1. Returns how many pairs of row and group were scored.
    """
    d, pairs = X.shape[1], m
    room.slack[:m] = 0
    if cen.group_start.shape[0] == 2 or not upper.shape[0]:
        score_one(X, rows, m, cen, d, form, short, room, state)
    else:
        take_rows(X, rows, m, cen, form, short, room)
        pairs = score_groups(rows, m, label, lowers, tight, cen, d, form, delta, short, room, state)
    if short:
        slack_left(m, cen, form, state.best, room)
    certify(m, form, delta, room.norm, state.one, state.two, room.slack, room.reach, room.clear)
    if upper.shape[0]:
        lower_bounds(m, form, delta, room.norm, state.one, room.low)
        lower_bounds(m, form, delta, room.norm, state.runner, room.second)
        _settle_bounded(X, rows, m, label, upper, lower, lowers, tight, cen, form, short, room, state)
    else:
        _settle_plain(X, rows, m, cen, form, short, room, state)
    return pairs


@njit
def _settle_plain(X, rows, m, cen, form, short, room, state):
    order, best, clear, label = cen.order, state.best, room.clear, state.label
    for r in range(m):
        label[r] = order[np.uintp(best[r])] if clear[r] else np.int32(-1)
    if not short:
        for r in range(m):
            if not clear[r]:
                label[r] = nearest_direct(X, rows[r], cen.centers_t, room.work, form == ABSOLUTE)


@njit
def _settle_bounded(X, rows, m, label, upper, lower, lowers, tight, cen, form, short, room, state):
    """Labels, exact where the scores cannot tell, and bounds.

    room.low, room.second: lower bounds of the distance to the best scored centre and to the others of its group. The
    present label, at a distance just below tight[r], still competes where its group was not scored.
    """
    order, group_of, group, work = cen.order, cen.group_of, cen.group, room.work
    reach, clear, low, others = room.reach, room.clear, room.low, room.second
    best, scored, out = state.best, state.scored, state.label
    for r in range(m):
        i, ahead, own = rows[r], order[best[r]], tight[r]
        old, j, bound, sure = label[i], ahead, reach[r], clear[r]
        if not scored[r]:
            if own * UP < low[r]:
                sure, j, bound = True, old, own
            else:  # the true distance to the present centre is above own * DOWN^3
                sure = sure and bound * UP < own * DOWN * DOWN * DOWN
        if not sure and short:
            out[r] = -1
            continue
        if not sure:
            j = np.int32(nearest_direct(X, i, cen.centers_t, work, form == ABSOLUTE))
            far = work[j] if form == ABSOLUTE else np.sqrt(work[j])
            bound = np.float32(far * cen.scale) * UP
        known = ahead == j and (scored[r] or j != old)  # padding that scored best goes by the name of centre 0
        least = others[r] if known else low[r]
        if group.shape[0] > 1:
            if known:
                g = group_of[j]
                lowers[i, g] = since_lower(others[r], group[g])
            if j != old and not scored[r]:
                g = group_of[old]
                lowers[i, g] = min(lowers[i, g], since_lower(own * DOWN * DOWN * DOWN, group[g]))
            least = least_lower(lowers, i, group)
        out[r] = j
        upper[i], lower[i] = since_upper(bound, cen.own[j]), since_lower(least, cen.other[j])


@njit
def _finite(X, i):
    for f in range(X.shape[1]):
        if not np.isfinite(X[i, f]):
            return False
    return True


@njit
def _keep_doubts(rows, new, m, tight, active, own, left):
    """active[left:], own[left:] <- the rows that were left in doubt (label -1); how many there are by now."""
    for r in range(m):
        if new[r] < 0:
            active[left], own[left] = rows[r], tight[r]
            left += 1
    return left


@njit
def _refuse(X, rows, m, norm, new):
    """new[:m] <- -1 for rows[:m] in which a value is not finite."""
    usual = 0
    for r in range(m):
        usual += norm[r] < INF
    if usual < m:
        for r in range(m):
            if not norm[r] < INF and not _finite(X, rows[r]):
                new[r] = -1


@njit
def _move(X, rows, new, m, label, weight, magic, sums):
    """Give rows[:m] the labels new[:m], but for -1, and their sums, if any, to the new clusters; how many moved."""
    width, count = magic.size, 0
    if sums.shape[0] == 0:
        for r in range(m):
            i, j = np.uintp(rows[r]), new[r]
            count += j != label[i] and j >= 0
            label[i] = j if j >= 0 else label[i]
        return count
    for r in range(m):
        i, j = rows[r], new[r]
        if j != label[i] and j >= 0:
            move_row(X, i, weight, magic, sums, j * width, label[i] * width)
            label[i] = j
            count += 1
    return count


@njit(parallel=True, cache=CACHE, nogil=True)
def lloyd_pass(
    X, weight, label, upper, lower, lowers, cen, grid, form, delta, magic, sums, moved, mode, batch, window, threads
):
    """Assign every row, keep the bounds as `mode` says, and add what moved to `sums`.

    X [n, d] IN, weight f64 [n] or [0] IN; label i32 [n], upper, lower f32 [n], lowers f32 [n, groups] (one group: [n,
    0]) IN/OUT; grid: used where mode is NONE; magic f64 [K, d + 1] IN; sums f64 [threads, (k + 1) K (d + 1)] OUT (row k
    takes what had no cluster) or [threads, 0]: labels only, rows with a value that is not finite keep theirs; moved i64
    [threads, 2] OUT: rows that moved, pairs of row and group that were scored. The bounds of `window` rows are tested
    together, the survivors gathered into batches; both stay in the cache.
    """
    n, d = X.shape
    for t in prange(threads):
        # wide rows that got past their bounds have few groups left to score: not worth a first look
        first_look = cen.short.shape[0] > 0 and (mode != KEEP or cen.lines.shape[0] == 0)
        room, state = make_room(batch, d, cen.centers.shape[0], form, first_look)
        active, tight = np.empty(window, np.int64), np.empty(window, np.float32)
        open_, found = np.empty(window, np.bool_), np.empty(window, np.int32)
        cell, outside = np.empty(window, np.int32), np.empty(window, np.int32)
        kept = 0 if mode == NONE else n
        above, below, belows = upper[:kept], lower[:kept], lowers[:kept]
        mine, count, scored, seen, doubted = sums[t], 0, 0, 0, 0
        for start in range(t * window, n, threads * window):
            stop = min(start + window, n)
            if mode == KEEP:
                left = unsettled(start, stop, label, upper, lower, cen.apart, active, open_)
                left = survivors(X, left, label, upper, lower, lowers, cen, form == ABSOLUTE, active, tight)
            else:
                left = all_rows(start, stop, active, tight)
                if mode == NONE and grid.side > 0:
                    locate(X, start, left, grid, cen.centers, form == ABSOLUTE, cell, outside, found)
                    count += _move(X, active, found, left, label, weight, magic, mine)
                    left = _keep_doubts(active, found, left, tight, active, tight, 0)
            for look in range(1 if first_look else 0, -1, -1):
                doubts = 0
                for at in range(0, left, batch):
                    rows, own, m = active[at:], tight[at:], min(batch, left - at)
                    pairs = _score_batch(
                        X, rows, m, label, above, below, belows, own, cen, form, delta, look == 1, room, state
                    )
                    _refuse(X, rows, m, room.norm, state.label)
                    scored += pairs if look or not first_look else 0
                    count += _move(X, rows, state.label, m, label, weight, magic, mine)
                    if look:
                        doubts = _keep_doubts(rows, state.label, m, own, active, tight, doubts)
                if look:
                    seen, doubted, left = seen + left, doubted + doubts, doubts
            first_look = first_look and doubted <= DOUBT * seen
        moved[t, 0], moved[t, 1] = count, scored
