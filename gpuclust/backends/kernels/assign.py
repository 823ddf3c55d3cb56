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
from .pack import centre_rows, row_norms, tile_rows
from .sums import move_row
from .tile import LANES, PANEL, tile_diff, tile_dot

WINDOW = 4096  # rows whose bounds are tested together; the survivors are gathered into full tiles
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
    center_norms: Any  # f32 [k]: upper bounds of |c|, centred and scaled
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
def _age_bounds(i, label, upper, lower, drift, group_drift, group_second, group_lead):
    """Loosen the bounds of row i by how far the centres moved; returns the least lower bound."""
    a = label[i]
    upper[i] = (upper[i] + drift[a]) * UP
    least = INF
    for g in range(group_drift.shape[0]):
        moved = group_second[g] if group_lead[g] == a else group_drift[g]
        bound = lower[i, g] - moved
        bound = bound * DOWN if bound > 0 else np.float32(0)
        lower[i, g] = bound
        least = min(least, bound)
    return least


@njit
def _survivors(X, start, stop, label, upper, lower, cen, scale, active):
    """Indices of the rows of a window whose bounds do not settle the label; their upper bounds are made tight."""
    count = 0
    for i in range(start, stop):
        a = label[i]
        if a < 0:
            upper[i] = INF
            active[count] = i
            count += 1
            continue
        least = _age_bounds(i, label, upper, lower, cen.drift, cen.group_drift, cen.group_second, cen.group_lead)
        if upper[i] * UP >= least:
            upper[i] = np.float32(distance_estimate(X, i, cen.centers, a) * scale) * UP
            if not upper[i] * UP < least:
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
    if diff:
        eta = np.float32(1.3e-7) * total
        return delta * dist * dist + np.float32(2) * dist * eta + eta * eta + TINY
    return delta * total * total + TINY


@njit
def _lower_bound(diff, delta, xn, square):
    """Lower bound of the distance to every centre whose score is at least square - |x|^2.

    A centre farther out than |x| + L, L = sqrt(square), is at least L away whatever its score's error; for the others
    `_margin` holds with norm |x| + L.
    """
    if square == INF:
        return INF
    reach = np.sqrt(max(square, np.float32(0)))
    exact = square - _margin(diff, delta, xn, xn + reach, reach)
    return np.sqrt(exact) * DOWN if exact > 0 else np.float32(0)


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
def _settle(i, old, own_scored, X, cen, diff, delta, base, xn, own_bound, one, two, best, work):
    """Label of a scored row, exact where the scores cannot tell, and an upper bound of its distance.

    `old` is the present label, at a distance just below `own_bound`; where its group was not scored it still competes.
    """
    j = cen.order[best]
    square = max(one + base, np.float32(0))
    own = _margin(diff, delta, xn, cen.center_norms[j], np.sqrt(square))
    reach = np.sqrt(square + own)
    clear = two - one > own + _margin(diff, delta, xn, xn + reach, reach)
    if own_scored:
        if clear:
            return j, reach * UP
    elif own_bound * UP < _lower_bound(diff, delta, xn, square):
        return old, own_bound
    elif clear and reach * UP < own_bound * DOWN * DOWN * DOWN:
        return j, reach * UP
    j = nearest_direct(X, i, cen.centers_t, work)
    return j, np.float32(np.sqrt(work[j]) * cen.scale) * UP


@njit
def _merge_group(chosen, m, g, rows, cen, diff, delta, norm, first, second, index, lower, state):
    """Fold one group's best two into the rows' running best two, and renew the rows' bounds to the group."""
    one, two, best, runner = state.one, state.two, state.best, state.runner
    for s in range(m):
        r = chosen[s]
        xn = np.sqrt(norm[r])
        base = np.float32(0) if diff else norm[r]
        if lower.shape[0]:
            lower[rows[r], g] = _lower_bound(diff, delta, xn, first[s] + base)
        if first[s] < one[r]:
            two[r] = min(one[r], second[s])
            one[r] = first[s]
            best[r] = index[s]
            runner[r] = second[s]
        else:
            two[r] = min(two[r], first[s])


@njit
def _choose(g, rows, m, label, upper, lower, cen, state, chosen):
    """Rows of the batch that group g may still win."""
    count = 0
    for r in range(m):
        i = rows[r]
        if not upper.shape[0] or label[i] < 0 or not upper[i] * UP < lower[i, g]:
            chosen[count] = r
            count += 1
            if upper.shape[0] and label[i] >= 0 and cen.group_of[label[i]] == g:
                state.scored[r] = True
    return count


@njit
def _score_batch(X, rows, m, label, upper, lower, cen, diff, delta, room, state):
    """state.label[:m] <- new labels of rows[:m]; bounds renewed where they are kept (upper is not empty)."""
    d = X.shape[1]
    centre_rows(X, rows, m, cen.shift, cen.scale, room.line)
    row_norms(room.line, m, room.norm)
    for r in range(m):
        state.one[r], state.two[r], state.runner[r] = INF, INF, INF
        state.best[r] = 0
        state.scored[r] = not upper.shape[0] or label[rows[r]] < 0
    packed = False
    for g in range(cen.group_start.shape[0] - 1):
        count = _choose(g, rows, m, label, upper, lower, cen, state, room.chosen)
        if count == 0:
            continue
        if not (packed and count == m):
            tile_rows(room.line, room.chosen, count, room.xt)
            packed = count == m
        tiles = (count + LANES - 1) // LANES
        _score_group(room.xt, tiles, d, diff, cen, g, room.first, room.second, room.index)
        _merge_group(room.chosen, count, g, rows, cen, diff, delta, room.norm,
                     room.first, room.second, room.index, lower, state)  # fmt: skip
    _settle_batch(X, rows, m, label, upper, lower, cen, diff, delta, room, state)


@njit
def _settle_batch(X, rows, m, label, upper, lower, cen, diff, delta, room, state):
    bounded = upper.shape[0] > 0
    for r in range(m):
        i = rows[r]
        old = label[i] if bounded else np.int32(-1)
        own_bound = upper[i] if bounded else INF
        xn = np.sqrt(room.norm[r])
        base = np.float32(0) if diff else room.norm[r]
        j, bound = _settle(i, old, state.scored[r], X, cen, diff, delta, base, xn, own_bound,
                           state.one[r], state.two[r], state.best[r], room.work)  # fmt: skip
        state.label[r] = j
        if bounded:
            upper[i] = bound
            if cen.order[state.best[r]] == j and state.one[r] < INF:
                lower[i, cen.group_of[j]] = _lower_bound(diff, delta, xn, state.runner[r] + base)
            if j != old and not state.scored[r]:
                g = cen.group_of[old]
                lower[i, g] = min(lower[i, g], own_bound * DOWN * DOWN * DOWN)


@njit
def _room(batch, d, k):
    """Scratch of one thread."""
    f32 = np.float32
    return Room(
        np.empty((batch, d), f32), np.empty(batch * d, f32), np.empty(batch, f32), np.empty(batch, np.int64),
        np.empty(batch, f32), np.empty(batch, f32), np.empty(batch, np.int32), np.empty(k),
    ), State(
        np.empty(batch, f32), np.empty(batch, f32), np.empty(batch, np.int32), np.empty(batch, f32),
        np.empty(batch, np.bool_), np.empty(batch, np.int32),
    )  # fmt: skip


@njit(parallel=True, cache=True, nogil=True)
def lloyd_pass(X, weight, label, upper, lower, cen, diff, delta, magic, sums, moved, batch, threads):
    """Assign every row, keep the bounds, and add what moved to `sums`.

    X [n, d] IN, weight f64 [n] or [0] IN; label i32 [n], upper f32 [n], lower f32 [n, groups] IN/OUT; magic f64
    [K, d + 1] IN; sums f64 [threads, k + 1, K, d + 1] OUT (row k takes what had no cluster); moved i64 [threads] OUT.
    """
    n, d = X.shape
    k = cen.centers.shape[0]
    for t in prange(threads):
        room, state = _room(batch, d, k)
        active = np.empty(WINDOW, np.int64)
        value, error = np.empty(d + 1), np.zeros(d + 1)
        mine, count = sums[t], 0
        for start in range(t * WINDOW, n, threads * WINDOW):
            stop = min(start + WINDOW, n)
            left = _survivors(X, start, stop, label, upper, lower, cen, cen.scale, active)
            for at in range(0, left, batch):
                rows, m = active[at:], min(batch, left - at)
                _score_batch(X, rows, m, label, upper, lower, cen, diff, delta, room, state)
                for r in range(m):
                    i, new = rows[r], state.label[r]
                    if new != label[i]:
                        old = label[i] if label[i] >= 0 else k
                        move_row(X, i, weight, magic, mine[new], mine[old], value, error)
                        label[i] = new
                        count += 1
        moved[t] = count


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
