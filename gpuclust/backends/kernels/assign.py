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

from .direct import distance_estimate, nearest_direct
from .pack import centre_rows, centre_tiles, row_norms, tile_rows
from .sums import move_row
from .tile import LANES, PANEL, tile_diff, tile_dot, tile_norm

KEEP, MAKE, NONE = range(3)  # bounds: use and renew; make them anew; do without
UP, DOWN = np.float32(1 + 2**-20), np.float32(1 - 2**-20)  # outward rounding of float32 bounds
TINY = np.float32(1e-37)  # above the underflow error of any score, far below any distance that float32 can hold
INF = np.float32(np.inf)


class PackedCenters(NamedTuple):
    """Centres of one iteration as the kernels read them; groups of centres are whole panels of 6."""

    centers: Any  # f64 [k, d]
    centers_t: Any  # f64 [d, k]
    panels: Any  # f32 [panels * 6 * d]: -2 c (expanded form) or c (difference form), centred and scaled, [d, 6] each
    norms: Any  # f32 [panels * 6]: |c|^2 or 0; +inf for padding
    order: Any  # i32 [panels * 6]: place in the panels -> index of the centre
    group_start: Any  # i64 [groups + 1]: first panel of each group
    group_of: Any  # i32 [k]
    drift: Any  # f32 [k]: how far each centre moved since the bounds were made, scaled, rounded up
    group_drift: Any  # f32 [groups]: the largest drift of the group
    group_second: Any  # f32 [groups]: the largest but the leader's
    group_lead: Any  # i32 [groups]: who moved most
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


class State(NamedTuple):
    """The running best two of a batch of rows over the groups scored so far."""

    one: Any
    two: Any
    best: Any
    runner: Any  # second best inside the group of the best
    scored: Any  # whether the group of the present label was scored
    label: Any


@njit
def _age_one(start, stop, label, upper, lower, drift, most, second, lead, least):
    """Loosen the bounds of rows start .. stop by how far the centres moved; least[i - start] <- least lower bound."""
    for i in range(start, stop):
        a = label[i]
        upper[i] = (upper[i] + drift[a]) * UP
        bound = lower[i, 0] - (second[0] if lead[0] == a else most[0])
        bound = bound * DOWN if bound > 0 else np.float32(0)
        lower[i, 0] = bound
        least[i - start] = bound


@njit
def _age_groups(start, stop, label, upper, lower, drift, most, second, lead, least):
    """The same for several groups."""
    for i in range(start, stop):
        a = label[i]
        upper[i] = (upper[i] + drift[a]) * UP
        low = INF
        for g in range(most.shape[0]):
            moved = second[g] if lead[g] == a else most[g]
            bound = lower[i, g] - moved
            bound = bound * DOWN if bound > 0 else np.float32(0)
            lower[i, g] = bound
            low = min(low, bound)
        least[i - start] = low


@njit
def _all_rows(start, stop, upper, active):
    """Every row of a window, without bounds."""
    for i in range(start, stop):
        active[i - start] = i
    if upper.shape[0]:
        upper[start:stop] = INF
    return stop - start


@njit
def _survivors(X, start, stop, label, upper, lower, cen, least, active):
    """Indices of the rows of a window whose bounds do not settle the label; their upper bounds are made tight."""
    centers, scale = cen.centers, cen.scale
    most, second, lead = cen.group_drift, cen.group_second, cen.group_lead
    if most.shape[0] == 1:
        _age_one(start, stop, label, upper, lower, cen.drift, most, second, lead, least)
    else:
        _age_groups(start, stop, label, upper, lower, cen.drift, most, second, lead, least)
    count = 0
    for i in range(start, stop):
        if upper[i] * UP >= least[i - start]:
            bound = np.float32(distance_estimate(X, i, centers, label[i]) * scale) * UP
            upper[i] = bound
            if not bound * UP < least[i - start]:
                active[count] = i
                count += 1
    return count


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
    the others `_margin` holds with norm |x| + L. An infinite score (no such centre) gives +inf.
    """
    for r in range(m):
        xn = np.sqrt(norm[r])
        square = score[r] + (np.float32(0) if diff else norm[r])
        reach = np.sqrt(max(square, np.float32(0)))
        exact = square - _margin(diff, delta, xn, xn + reach, reach)
        bound = np.sqrt(max(exact, np.float32(0))) * DOWN
        low[r] = INF if square == INF else bound


@njit
def _score_group(xt, tiles, d, diff, cen, g, first, second, index):
    """Best two of one group for every packed row."""
    first[: tiles * LANES] = INF
    second[: tiles * LANES] = INF
    index[: tiles * LANES] = 0
    for p in range(cen.group_start[g], cen.group_start[g + 1]):
        at, j0 = p * PANEL * d, np.int32(p * PANEL)
        for t in range(tiles):
            x_off, r_off = t * LANES * d, t * LANES
            if diff:
                tile_diff(xt, x_off, cen.panels, at, cen.norms, j0, d, first, second, index, r_off)
            else:
                tile_dot(xt, x_off, cen.panels, at, cen.norms, j0, d, first, second, index, r_off)


@njit
def _merge_group(chosen, m, g, rows, diff, delta, room, lower, one, two, best, runner):
    """Fold one group's best two into the rows' running best two, and renew the rows' bounds to the group."""
    first, second, index, norm, near, low = room.first, room.second, room.index, room.norm, room.reach, room.low
    if lower.shape[0]:
        for s in range(m):
            near[s] = norm[chosen[s]]
        _lower_bounds(m, diff, delta, near, first, low)
        for s in range(m):
            lower[rows[chosen[s]], g] = low[s]
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
def _choose(g, rows, m, label, upper, lower, group_of, scored, chosen):
    """Rows of the batch that group g may still win."""
    bounded, count = upper.shape[0] > 0, 0
    for r in range(m):
        i = rows[r]
        if not bounded or not upper[i] * UP < lower[i, g]:
            chosen[count] = r
            count += 1
            if bounded and not scored[r] and group_of[label[i]] == g:
                scored[r] = True
    return count


@njit
def _score_one(X, rows, m, cen, d, diff, room, state):
    """Scores of a batch where all centres are one group."""
    centre_tiles(X, rows, m, cen.shift, cen.scale, room.xt)
    tiles = (m + LANES - 1) // LANES
    for t in range(tiles):
        tile_norm(room.xt, t * LANES * d, d, room.norm, t * LANES)
    _score_group(room.xt, tiles, d, diff, cen, 0, state.one, state.two, state.best)
    state.runner[:m] = state.two[:m]
    state.scored[:m] = True


@njit
def _score_groups(rows, m, label, upper, lower, cen, d, diff, delta, room, state):
    """Scores of a batch against the groups that each row's bounds leave open."""
    bounded = upper.shape[0] > 0
    one, two, best, runner, scored = state.one, state.two, state.best, state.runner, state.scored
    row_norms(room.line, m, room.norm)
    for r in range(m):
        one[r], two[r], runner[r], best[r] = INF, INF, INF, 0
        scored[r] = not bounded or upper[rows[r]] == INF
    packed = False
    for g in range(cen.group_start.shape[0] - 1):
        count = _choose(g, rows, m, label, upper, lower, cen.group_of, scored, room.chosen)
        if count == 0:
            continue
        if not (packed and count == m):
            tile_rows(room.line, room.chosen, count, room.xt)
            packed = count == m
        _score_group(room.xt, (count + LANES - 1) // LANES, d, diff, cen, g, room.first, room.second, room.index)
        _merge_group(room.chosen, count, g, rows, diff, delta, room, lower, one, two, best, runner)


@njit
def _score_batch(X, rows, m, label, upper, lower, cen, diff, delta, room, state):
    """state.label[:m] <- new labels of rows[:m]; bounds renewed where they are kept (upper is not empty)."""
    d = X.shape[1]
    if cen.group_start.shape[0] == 2:
        _score_one(X, rows, m, cen, d, diff, room, state)
    else:
        centre_rows(X, rows, m, cen.shift, cen.scale, room.line)
        _score_groups(rows, m, label, upper, lower, cen, d, diff, delta, room, state)
    _certify(m, diff, delta, room.norm, state.one, state.two, room.reach, room.clear)
    if upper.shape[0]:
        _lower_bounds(m, diff, delta, room.norm, state.one, room.low)
        _lower_bounds(m, diff, delta, room.norm, state.runner, room.second)
        _settle_bounded(X, rows, m, label, upper, lower, cen, room, state)
    else:
        _settle_plain(X, rows, m, cen, room, state)


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
        clear[r] = two[r] - one[r] > own + _margin(diff, delta, xn, xn + far, far)
        reach[r] = far * UP


@njit
def _settle_plain(X, rows, m, cen, room, state):
    order, best, clear, label = cen.order, state.best, room.clear, state.label
    for r in range(m):
        label[r] = order[best[r]] if clear[r] else nearest_direct(X, rows[r], cen.centers_t, room.work)


@njit
def _settle_bounded(X, rows, m, label, upper, lower, cen, room, state):
    """Labels, exact where the scores cannot tell, and bounds.

    room.low, room.second: lower bounds of the distance to the best scored centre and to the others of its group. The
    present label, at a distance just below upper[i], still competes where its group was not scored.
    """
    order, group_of, scale, work = cen.order, cen.group_of, cen.scale, room.work
    reach, clear, low, others, single = room.reach, room.clear, room.low, room.second, cen.group_start.shape[0] == 2
    best, scored, out = state.best, state.scored, state.label
    for r in range(m):
        i, ahead = rows[r], order[best[r]]
        old, own_bound, j, bound, sure = label[i], upper[i], ahead, reach[r], clear[r]
        if not scored[r]:
            if own_bound * UP < low[r]:
                sure, j, bound = True, old, own_bound
            else:  # the true distance to the present centre is above own_bound * DOWN^3
                sure = sure and bound * UP < own_bound * DOWN * DOWN * DOWN
        if not sure:
            j = np.int32(nearest_direct(X, i, cen.centers_t, work))
            bound = np.float32(np.sqrt(work[j]) * scale) * UP
        if ahead == j:
            lower[i, group_of[j]] = others[r]
        elif single:
            lower[i, 0] = low[r]
        if j != old and not scored[r]:
            lower[i, group_of[old]] = min(lower[i, group_of[old]], own_bound * DOWN * DOWN * DOWN)
        out[r], upper[i] = j, bound


@njit
def _room(batch, d, k):
    """Scratch of one thread."""
    f32 = np.float32
    return Room(
        np.empty((batch, d), f32), np.empty(batch * d, f32), np.empty(batch, f32), np.empty(batch, np.int64),
        np.empty(batch, f32), np.empty(batch, f32), np.empty(batch, np.int32), np.empty(batch, f32),
        np.empty(batch, np.bool_), np.empty(batch, f32), np.empty(k),
    ), State(
        np.empty(batch, f32), np.empty(batch, f32), np.empty(batch, np.int32), np.empty(batch, f32),
        np.empty(batch, np.bool_), np.empty(batch, np.int32),
    )  # fmt: skip


@njit(parallel=True, cache=True, nogil=True)
def lloyd_pass(X, weight, label, upper, lower, cen, diff, delta, magic, sums, moved, mode, batch, window, threads):
    """Assign every row, keep the bounds as `mode` says, and add what moved to `sums`.

    X [n, d] IN, weight f64 [n] or [0] IN; label i32 [n], upper f32 [n], lower f32 [n, groups] IN/OUT; magic f64
    [K, d + 1] IN; sums f64 [threads, (k + 1) K (d + 1)] OUT (row k takes what had no cluster); moved i64 [threads, 2]
    OUT: rows that moved, rows that were scored. The bounds of `window` rows are tested together, the survivors gathered
    into batches; both stay in the cache.
    """
    n, d = X.shape
    k, width = cen.centers.shape[0], magic.shape[0] * (d + 1)
    for t in prange(threads):
        room, state = _room(batch, d, k)
        active, least = np.empty(window, np.int64), np.empty(window, np.float32)
        above, below = (upper[:0], lower[:0]) if mode == NONE else (upper, lower)
        mine, count, scored = sums[t], 0, 0
        for start in range(t * window, n, threads * window):
            stop = min(start + window, n)
            if mode == KEEP:
                left = _survivors(X, start, stop, label, upper, lower, cen, least, active)
            else:
                left = _all_rows(start, stop, above, active)
            scored += left
            for at in range(0, left, batch):
                rows, m = active[at:], min(batch, left - at)
                _score_batch(X, rows, m, label, above, below, cen, diff, delta, room, state)
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
    """label i32 [n] OUT <- nearest centre of every row; no bounds are kept."""
    n, d = X.shape
    no_upper = np.empty(0, np.float32)
    no_lower = np.empty((0, 1), np.float32)
    for t in prange(threads):
        room, state = _room(batch, d, cen.centers.shape[0])
        rows = np.empty(batch, np.int64)
        for start in range(t * batch, n, threads * batch):
            m = min(batch, n - start)
            for r in range(m):
                rows[r] = start + r
            _score_batch(X, rows, m, label, no_upper, no_lower, cen, diff, delta, room, state)
            for r in range(m):
                label[start + r] = state.label[r]
