"""One pass of Lloyd's algorithm over a chunk: nearest centres, certified; rows that moved are re-summed.

Pruning keeps, for every row, an upper bound of the distance to its own centre and a lower bound to every group of
other centres (one group: Hamerly, SDM 2010; more: Ding et al., "Yinyang K-means", ICML 2015). Only rows whose bounds
meet are looked at, and of those only the groups that can hold a nearer centre.

Scores are float32. A label is accepted where the gap between the best two exceeds the rounding error of both (the
bound is derived in `_margin`); the other rows are decided by `nearest_direct`. All distances here are in units of
`frame.scale`.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit, prange

from .bounds import DOWN, FAR, INF, UP, all_rows, least_lower, now_lower, since_lower, since_upper, survivors, unsettled
from .direct import nearest_direct
from .pack import centre_rows, centre_tiles, padded, row_norms, tile_rows
from .sums import move_row
from .tile import LANES, PANEL, QUAD, TRIALS, tile_diff, tile_dot, tile_norm
from .wide import score_wide, score_wide_group

KEEP, MAKE, NONE = range(3)  # bounds: use and renew; make them anew; do without
TINY = np.float32(1e-37)  # above the underflow error of any score, far below any distance that float32 can hold


class PackedCenters(NamedTuple):
    """Centres of one iteration as the kernels read them; groups of centres are whole panels of 6."""

    centers: Any  # f64 [k, d]
    centers_t: Any  # f64 [d, k]
    panels: Any  # f32 [panels * 6 * d]: -2 c (expanded form) or c (difference form), centred and scaled, [d, 6] each
    lines: Any  # f32 [panels * 6 * padded(d)]: -2 c, one after the other, where rows are wide; else [0]
    norms: Any  # f32 [panels * 6]: |c|^2 or 0; +inf for padding
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


class State(NamedTuple):
    """The running best two of a batch of rows over the groups scored so far."""

    one: Any
    two: Any
    best: Any
    runner: Any  # second best inside the group of the best
    scored: Any  # whether the group of the present label was scored
    label: Any


@njit
def _margin(diff, delta, xn, cn, dist):
    """Bound of |score - exact score| for a centre of norm cn at distance dist from a row of norm xn.

    Expanded form |c|^2 - 2 x.c + |x|^2: rounding x and c to float32, d fused steps and |x|^2 itself give at most
    (d + 8) 2^-24 (|x| + |c|)^2. Difference form: the inputs' rounding shifts the distance by eta = 2^-23 (|x| + |c|),
    the sum adds (d + 4) 2^-24 relative. `delta` holds the factor of the form in use, with 5% for its own rounding.
    """
    total = xn + cn
    eta = np.float32(1.3e-7) * total
    if diff:
        return delta * dist * dist + np.float32(2) * dist * eta + eta * eta + TINY
    return delta * total * total + TINY


@njit
def _lower_bounds(m, diff, delta, norm, score, low):
    """low [m] <- lower bounds of the distances to all centres whose score is at least score [m].

    With L = sqrt(score + |x|^2), a centre farther out than |x| + L is at least L away whatever its score's error; for
    the others `_margin` holds with norm |x| + L. Where there is no such centre, or its score overflowed, it is FAR.
    """
    for r in range(m):
        xn = np.sqrt(norm[r])
        square = score[r] + (np.float32(0) if diff else norm[r])
        reach = np.sqrt(max(square, np.float32(0)))
        exact = square - _margin(diff, delta, xn, xn + reach, reach)
        bound = np.sqrt(max(exact, np.float32(0))) * DOWN
        low[r] = min(bound, FAR) if square < INF else FAR


@njit
def _score_panels(xt, tiles, d, diff, cen, start, stop, first, second, index):
    """Best two of the centres in panels start .. stop for every packed row."""
    first[: tiles * LANES] = INF
    second[: tiles * LANES] = INF
    index[: tiles * LANES] = 0
    for p in range(start, stop):
        at, j0 = p * PANEL * d, np.int32(p * PANEL)
        for t in range(tiles):
            x_off, r_off = t * LANES * d, t * LANES
            if diff:
                tile_diff(xt, x_off, cen.panels, at, cen.norms, j0, d, first, second, index, r_off)
            else:
                tile_dot(xt, x_off, cen.panels, at, cen.norms, j0, d, first, second, index, r_off)


@njit
def _merge_group(chosen, m, g, way, rows, diff, delta, room, lowers, one, two, best, runner):
    """Fold one group's best two into the rows' running best two, and renew the rows' bounds to the group."""
    first, second, index, norm, near, low = room.first, room.second, room.index, room.norm, room.reach, room.low
    if lowers.shape[0]:
        for s in range(m):
            near[s] = norm[chosen[s]]
        _lower_bounds(m, diff, delta, near, first, low)
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
def _score_one(X, rows, m, cen, d, diff, room, state):
    """Scores of a batch against all centres at once."""
    if cen.lines.shape[0]:
        score_wide(X, rows, m, cen, room.xt, room, state)
    else:
        centre_tiles(X, rows, m, cen.shift, cen.scale, room.xt)
        tiles = (m + LANES - 1) // LANES
        for t in range(tiles):
            tile_norm(room.xt, t * LANES * d, d, room.norm, t * LANES)
        _score_panels(room.xt, tiles, d, diff, cen, 0, cen.group_start[-1], state.one, state.two, state.best)
    state.runner[:m] = state.two[:m]
    state.scored[:m] = True


@njit
def _score_groups(rows, m, label, lowers, tight, cen, d, diff, delta, room, state):
    """Scores of a batch against the groups that each row's bounds leave open; how many pairs of row and group."""
    one, two, best, runner, scored = state.one, state.two, state.best, state.runner, state.scored
    row_norms(room.line, m, room.norm)
    for r in range(m):
        one[r], two[r], runner[r], best[r] = INF, INF, INF, 0
        scored[r] = tight[r] == INF
    packed, wide, pairs = False, cen.lines.shape[0] > 0, 0
    for g in range(cen.group_start.shape[0] - 1):
        count = _choose(g, cen.group[g], rows, m, label, lowers, tight, cen.group_of, scored, room.chosen)
        if count == 0:
            continue
        pairs += count
        if wide:
            score_wide_group(room.line, room.chosen, count, cen, g, room, room.first, room.second, room.index)
        else:
            if not (packed and count == m):
                tile_rows(room.line, room.chosen, count, d, room.xt)
                packed = count == m
            start, stop, tiles = cen.group_start[g], cen.group_start[g + 1], (count + LANES - 1) // LANES
            _score_panels(room.xt, tiles, d, diff, cen, start, stop, room.first, room.second, room.index)
        _merge_group(room.chosen, count, g, cen.group[g], rows, diff, delta, room, lowers, one, two, best, runner)
    return pairs


@njit
def _score_batch(X, rows, m, label, upper, lower, lowers, tight, cen, diff, delta, room, state):
    """state.label[:m] <- new labels of rows[:m], whose own centres are at most `tight` away (+inf: not known).

    Bounds are renewed where they are kept (upper is not empty). Returns how many pairs of row and group were scored.
    """
    d, pairs = X.shape[1], m
    if cen.group_start.shape[0] == 2 or not upper.shape[0]:
        _score_one(X, rows, m, cen, d, diff, room, state)
    else:
        centre_rows(X, rows, m, cen.shift, cen.scale, room.line)
        pairs = _score_groups(rows, m, label, lowers, tight, cen, d, diff, delta, room, state)
    _certify(m, diff, delta, room.norm, state.one, state.two, room.reach, room.clear)
    if upper.shape[0]:
        _lower_bounds(m, diff, delta, room.norm, state.one, room.low)
        _lower_bounds(m, diff, delta, room.norm, state.runner, room.second)
        _settle_bounded(X, rows, m, label, upper, lower, lowers, tight, cen, room, state)
    else:
        _settle_plain(X, rows, m, cen, room, state)
    return pairs


@njit
def _certify(m, diff, delta, norm, one, two, reach, clear):
    """Whether the best score is the nearest of the scored centres for sure; reach <- upper bound of its distance.

    Its norm is not looked up: |c| <= |x| + distance, and the distance is at most D + sqrt(delta) (|x| + |c|) with
    D the one that the score gives, so |c| <= (1 + s) / (1 - s) (|x| + D), s = sqrt(delta) (plus eta, far smaller).
    """
    s = np.sqrt(delta) + np.float32(1e-6)
    inflate = (np.float32(1) + s) / (np.float32(1) - s)
    for r in range(m):
        xn = np.sqrt(norm[r])
        square = max(one[r] + (np.float32(0) if diff else norm[r]), np.float32(0))
        dist = np.sqrt(square)
        own = _margin(diff, delta, xn, inflate * (xn + dist), dist * inflate)
        far = np.sqrt(square + own)
        clear[r] = far < FAR and two[r] - one[r] > own + _margin(diff, delta, xn, xn + far, far)
        reach[r] = far * UP


@njit
def _settle_plain(X, rows, m, cen, room, state):
    order, best, clear, label = cen.order, state.best, room.clear, state.label
    for r in range(m):
        label[r] = order[best[r]] if clear[r] else nearest_direct(X, rows[r], cen.centers_t, room.work)


@njit
def _settle_bounded(X, rows, m, label, upper, lower, lowers, tight, cen, room, state):
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
        if not sure:
            j = np.int32(nearest_direct(X, i, cen.centers_t, work))
            bound = np.float32(np.sqrt(work[j]) * cen.scale) * UP
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
def _room(batch, d, k):
    """Scratch of one thread."""
    f32 = np.float32
    return Room(
        np.empty((batch, padded(d)), f32), np.empty(batch * d, f32), np.empty(batch, f32), np.empty(batch, np.int64),
        np.empty(batch, f32), np.empty(batch, f32), np.empty(batch, np.int32), np.empty(batch, f32),
        np.empty(batch, np.bool_), np.empty(batch, f32), np.empty(k), np.empty(TRIALS * QUAD, f32),
    ), State(
        np.empty(batch, f32), np.empty(batch, f32), np.empty(batch, np.int32), np.empty(batch, f32),
        np.empty(batch, np.bool_), np.empty(batch, np.int32),
    )  # fmt: skip


@njit(parallel=True, cache=True, nogil=True)
def lloyd_pass(
    X, weight, label, upper, lower, lowers, cen, diff, delta, magic, sums, moved, mode, batch, window, threads
):
    """Assign every row, keep the bounds as `mode` says, and add what moved to `sums`.

    X [n, d] IN, weight f64 [n] or [0] IN; label i32 [n], upper, lower f32 [n], lowers f32 [n, groups] (one group: [n,
    0]) IN/OUT; magic f64 [K, d + 1] IN; sums f64 [threads, (k + 1) K (d + 1)] OUT (row k takes what had no cluster);
    moved i64 [threads, 2] OUT: rows that moved, pairs of row and group that were scored. The bounds of `window` rows
    are tested together, the survivors gathered into batches; both stay in the cache.
    """
    n, d = X.shape
    k, width = cen.centers.shape[0], magic.shape[0] * (d + 1)
    for t in prange(threads):
        room, state = _room(batch, d, k)
        active, tight = np.empty(window, np.int64), np.empty(window, np.float32)
        open_, kept = np.empty(window, np.bool_), 0 if mode == NONE else n
        above, below, belows = upper[:kept], lower[:kept], lowers[:kept]
        mine, count, scored = sums[t], 0, 0
        for start in range(t * window, n, threads * window):
            stop = min(start + window, n)
            if mode == KEEP:
                left = unsettled(start, stop, label, upper, lower, cen.apart, active, open_)
                left = survivors(X, left, label, upper, lower, lowers, cen, active, tight)
            else:
                left = all_rows(start, stop, active, tight)
            for at in range(0, left, batch):
                rows, m = active[at:], min(batch, left - at)
                scored += _score_batch(
                    X, rows, m, label, above, below, belows, tight[at:], cen, diff, delta, room, state
                )
                for r in range(m):
                    i, new = rows[r], state.label[r]
                    if new != label[i]:
                        old = label[i] if label[i] >= 0 else k
                        move_row(X, i, weight, magic, mine, new * width, old * width)
                        label[i] = new
                        count += 1
        moved[t, 0], moved[t, 1] = count, scored


@njit(parallel=True, cache=True, nogil=True)
def nearest_pass(X, label, cen, diff, delta, batch, threads):
    """label i32 [n] OUT <- nearest centre of every row, -1 where a value is not finite; no bounds are kept."""
    n, d = X.shape
    none, nones = np.empty(0, np.float32), np.empty((0, 0), np.float32)
    for t in prange(threads):
        room, state = _room(batch, d, cen.centers.shape[0])
        rows, tight = np.empty(batch, np.int64), np.full(batch, INF)
        for start in range(t * batch, n, threads * batch):
            m = min(batch, n - start)
            for r in range(m):
                rows[r] = start + r
            _score_batch(X, rows, m, label, none, none, nones, tight, cen, diff, delta, room, state)
            for r in range(m):
                finite = room.norm[r] < INF or _finite(X, start + r)
                label[start + r] = state.label[r] if finite else -1
