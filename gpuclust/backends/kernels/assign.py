"""One pass of Lloyd's algorithm over a chunk: nearest centres, certified; rows that moved are re-summed.

Where features are few and bounds are not kept, the cell that a row lies in tells most labels (`cells.py`).

Pruning keeps, for every row, an upper bound of the distance to its own centre and a lower bound to every group of
other centres (one group: Hamerly, SDM 2010; more: Ding et al., "Yinyang K-means", ICML 2015). Only rows whose bounds
meet are looked at, and of those only the groups that can hold a nearer centre.

A label is accepted where the gap between the best two scores exceeds the rounding error of both (`margins.py`). Where
there are enough centres and features, scores are first integers (`short.py`); rows that these leave in doubt are scored
in float32, and the last few are decided by `nearest_direct`. All distances are in units of `frame.scale`.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit, prange

from .bounds import DOWN, INF, UP, all_rows, least_lower, now_lower, since_lower, since_upper, survivors, unsettled
from .cells import locate
from .direct import nearest_direct
from .margins import ABSOLUTE, EXPANDED, SQUARED, certify, lower_bounds
from .pack import centre_rows, centre_tiles, padded, row_norms, tile_rows
from .short import lay_short, score_short, short_pitch, short_slack, shorten_rows
from .sums import move_row
from .tile import LANES, PANEL, QUAD, TRIALS, tile_abs, tile_diff, tile_dot, tile_norm, tile_norm_abs
from .wide import score_wide, score_wide_group

KEEP, MAKE, NONE = range(3)  # bounds: use and renew; make them anew; do without
DOUBT = 0.3  # share of rows in doubt from which on a first look in integers costs more than it saves


class PackedCenters(NamedTuple):
    """Centres of one iteration as the kernels read them; groups of centres are whole panels of 6."""

    centers: Any  # f64 [k, d]
    centers_t: Any  # f64 [d, k]
    panels: Any  # f32 [panels * 6 * d]: -2 c (EXPANDED form) or c (others), centred and scaled, [d, 6] each
    lines: Any  # f32 [panels * 6 * padded(d)]: -2 c, one after the other, where rows are wide; else [0]
    short: Any  # i32 [panels * 6 * pairs]: c in integers, two i16 each, [pairs, 6] a panel; [0] without a first look
    lengths: Any  # f32 [panels * 6]: what turns a product with such a centre into its part of a score; or [0]
    norms: Any  # f32 [panels * 6]: |c|^2 (EXPANDED form) or 0; +inf for padding
    astray: Any  # f32: the largest share of its length that this moved a centre by
    order: Any  # i32 [panels * 6]: place in the panels -> index of the centre
    group_start: Any  # i64 [groups + 1]: first panel of each group
    group_of: Any  # i32 [k]
    own: Any  # f32 [k]: how far each centre has gone since the bounds were made (`layout.Drift`)
    other: Any  # f32 [k]: the same of the farthest of the others
    group: Any  # f32 [groups]: the same of the farthest in each group
    apart: Any  # f32 [k]: own + other, rounded up
    shift: Any  # X's dtype [d]
    scale: Any  # X's dtype


class Room(NamedTuple):
    """Scratch of a thread: a batch of rows, as lines and as tiles, and one group's scores."""

    line: Any
    xt: Any
    norm: Any
    chosen: Any
    first: Any
    second: Any
    index: Any
    reach: Any
    clear: Any
    low: Any
    work: Any
    score: Any
    short: Any  # the lines in 16-bit integers, the same memory in pairs of them, each row's factor and error
    pairs: Any
    factor: Any
    error: Any
    laid: Any  # both as they were laid out
    slack: Any


class State(NamedTuple):
    """The running best two of a batch of rows over the groups scored so far."""

    one: Any
    two: Any
    best: Any
    runner: Any  # second best inside the group of the best
    scored: Any  # whether the group of the present label was scored
    label: Any


@njit
def _score_panels(xt, tiles, d, form, cen, start, stop, first, second, index):
    """Best two of the centres in panels start .. stop for every packed row."""
    first[: tiles * LANES] = INF
    second[: tiles * LANES] = INF
    index[: tiles * LANES] = 0
    for p in range(start, stop):
        at, j0 = p * PANEL * d, np.int32(p * PANEL)
        for t in range(tiles):
            x_off, r_off = t * LANES * d, t * LANES
            if form == ABSOLUTE:
                tile_abs(xt, x_off, cen.panels, at, cen.norms, j0, d, first, second, index, r_off)
            elif form == SQUARED:
                tile_diff(xt, x_off, cen.panels, at, cen.norms, j0, d, first, second, index, r_off)
            else:
                tile_dot(xt, x_off, cen.panels, at, cen.norms, j0, d, first, second, index, r_off)


@njit
def _merge_group(chosen, m, g, way, rows, form, delta, room, lowers, one, two, best, runner):
    """Fold one group's best two into the rows' running best two, and renew the rows' bounds to the group."""
    first, second, index, norm, near, low = room.first, room.second, room.index, room.norm, room.reach, room.low
    if lowers.shape[0]:
        for s in range(m):
            near[s] = norm[chosen[s]]
        lower_bounds(m, form, delta, near, first, low)
        for s in range(m):
            lowers[rows[chosen[s]], g] = since_lower(low[s], way)
    for s in range(m):
        r = chosen[s]
        if first[s] < one[r]:
            two[r] = min(one[r], second[s])
            one[r] = first[s]
            best[r] = index[s]
            runner[r] = second[s]
        else:
            two[r] = min(two[r], first[s])


@njit
def _choose(g, way, rows, m, label, lowers, tight, group_of, scored, chosen):
    """Rows of the batch that group g may still win."""
    count = 0
    for r in range(m):
        i = rows[r]
        if tight[r] == INF or not tight[r] * UP < now_lower(lowers[i, g], way):
            chosen[count] = r
            count += 1
            if not scored[r] and group_of[label[i]] == g:
                scored[r] = True
    return count


@njit
def _score_one(X, rows, m, cen, d, form, short, room, state):
    """Scores of a batch against all centres at once."""
    if short:
        _take_short(X, rows, m, cen, room)
        for r in range(m):
            room.chosen[r] = r
        lay_short(room, room.chosen, m, d)
        score_short(room, m, d, cen, 0, cen.group_start[-1], state.one, state.two, state.best)
    elif cen.lines.shape[0]:
        score_wide(X, rows, m, cen, room.xt, room, state)
    else:
        centre_tiles(X, rows, m, cen.shift, cen.scale, room.xt)
        tiles = (m + LANES - 1) // LANES
        for t in range(tiles):
            if form == ABSOLUTE:
                tile_norm_abs(room.xt, t * LANES * d, d, room.norm, t * LANES)
            else:
                tile_norm(room.xt, t * LANES * d, d, room.norm, t * LANES)
        _score_panels(room.xt, tiles, d, form, cen, 0, cen.group_start[-1], state.one, state.two, state.best)
    state.runner[:m] = state.two[:m]
    state.scored[:m] = True


@njit
def _take_short(X, rows, m, cen, room):
    """The rows of a batch in integers."""
    centre_rows(X, rows, m, cen.shift, cen.scale, room.line)
    row_norms(room.line, m, room.norm, EXPANDED)
    shorten_rows(room.line, m, room.norm, cen.astray, room.short, room.factor, room.error)


@njit
def _score_groups(rows, m, label, lowers, tight, cen, d, form, delta, short, room, state):
    """Scores of a batch against the groups that each row's bounds leave open; how many pairs of row and group."""
    one, two, best, runner, scored = state.one, state.two, state.best, state.runner, state.scored
    for r in range(m):
        one[r], two[r], runner[r], best[r] = INF, INF, INF, 0
        scored[r] = tight[r] == INF
    packed, wide, pairs = False, cen.lines.shape[0] > 0, 0
    for g in range(cen.group_start.shape[0] - 1):
        count = _choose(g, cen.group[g], rows, m, label, lowers, tight, cen.group_of, scored, room.chosen)
        if count == 0:
            continue
        pairs += count
        if (short or not wide) and not (packed and count == m):
            if short:
                lay_short(room, room.chosen, count, d)
            else:
                tile_rows(room.line, room.chosen, count, d, room.xt)
            packed = count == m
        start, stop, tiles = cen.group_start[g], cen.group_start[g + 1], (count + LANES - 1) // LANES
        if short:
            score_short(room, count, d, cen, start, stop, room.first, room.second, room.index)
        elif wide:
            score_wide_group(room.line, room.chosen, count, cen, g, room, room.first, room.second, room.index)
        else:
            _score_panels(room.xt, tiles, d, form, cen, start, stop, room.first, room.second, room.index)
        _merge_group(room.chosen, count, g, cen.group[g], rows, form, delta, room, lowers, one, two, best, runner)
    return pairs


@njit
def _score_batch(X, rows, m, label, upper, lower, lowers, tight, cen, form, delta, short, room, state):
    """state.label[:m] <- new labels of rows[:m], whose own centres are at most `tight` away (+inf: not known).

    Bounds are renewed where they are kept (upper is not empty). Scores in integers (`short`) leave some rows in doubt:
    their label is -1. Returns how many pairs of row and group were scored.
    """
    d, pairs = X.shape[1], m
    room.slack[:m] = 0
    if cen.group_start.shape[0] == 2 or not upper.shape[0]:
        _score_one(X, rows, m, cen, d, form, short, room, state)
    else:
        if short:
            _take_short(X, rows, m, cen, room)
        else:
            centre_rows(X, rows, m, cen.shift, cen.scale, room.line)
            row_norms(room.line, m, room.norm, form)
        pairs = _score_groups(rows, m, label, lowers, tight, cen, d, form, delta, short, room, state)
    if short:
        short_slack(m, cen, state.best, room.error, room.slack)
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
        if clear[r]:
            label[r] = order[best[r]]
        else:
            label[r] = -1 if short else nearest_direct(X, rows[r], cen.centers_t, room.work, form == ABSOLUTE)


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
        least = others[r] if ahead == j else low[r]
        if group.shape[0] > 1:
            if ahead == j:
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
def _room(batch, d, k, short):
    """Scratch of one thread."""
    f32, some = np.float32, batch if short else 0
    pairs = np.empty((some, short_pitch(d) // 2), f32)
    return Room(
        np.empty((batch, padded(d)), f32), np.empty(batch * d, f32), np.empty(batch, f32), np.empty(batch, np.int64),
        np.empty(batch, f32), np.empty(batch, f32), np.empty(batch, np.int32), np.empty(batch, f32),
        np.empty(batch, np.bool_), np.empty(batch, f32), np.empty(k), np.empty(TRIALS * QUAD, f32),
        pairs.view(np.int16), pairs, np.empty(some, f32), np.empty(some, f32), np.empty((2, some), f32),
        np.empty(batch, f32),
    ), State(
        np.empty(batch, f32), np.empty(batch, f32), np.empty(batch, np.int32), np.empty(batch, f32),
        np.empty(batch, np.bool_), np.empty(batch, np.int32),
    )  # fmt: skip


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
    for r in range(m):
        if not norm[r] < INF and not _finite(X, rows[r]):
            new[r] = -1


@njit
def _move(X, rows, new, m, label, weight, magic, sums):
    """Give rows[:m] the labels new[:m], but for -1, and their sums, if any, to the new clusters; how many moved."""
    width, count, summed = magic.size, 0, sums.shape[0] > 0
    for r in range(m):
        i, j = rows[r], new[r]
        if j != label[i] and j >= 0:
            if summed:
                move_row(X, i, weight, magic, sums, j * width, label[i] * width)
            label[i] = j
            count += 1
    return count


@njit(parallel=True, cache=True, nogil=True)
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
        room, state = _room(batch, d, cen.centers.shape[0], first_look)
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
