"""Scores of a batch of rows against the centres: the best two, by whichever form and precision suits (`margins.py`)."""

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from .bounds import INF, UP, now_lower, since_lower
from .margins import ABSOLUTE, SQUARED, lower_bounds
from .pack import centre_rows, centre_tiles, padded, row_norms, tile_rows
from .short import lay_short, score_short, short_pitch, short_slack, shorten_rows
from .short_abs import least_scores, score_short_abs, slack_abs
from .tile import LANES, PANEL, QUAD, TRIALS, tile_diff, tile_dot, tile_half, tile_max, tile_norm, tile_norm_abs
from .wide import score_wide, score_wide_group


class PackedCenters(NamedTuple):
    """Centres of one iteration as the kernels read them; groups of centres are whole panels of 6."""

    centers: Any  # f64 [k, d]
    centers_t: Any  # f64 [d, k]
    panels: Any  # f32 [panels * 6 * d]: -2 c (EXPANDED form) or c (others), centred and scaled, [d, 6] each
    lines: Any  # f32 [panels * 6 * padded(d)]: -2 c, one after the other, where rows are wide; else [0]
    short: Any  # i32 [panels * 6 * pairs]: c in integers, two i16 each, [pairs, 6] a panel (ABSOLUTE: every one twice,
    # [d, 6]); [0] without a first look
    lengths: Any  # f32 [panels * 6]: what turns a product with such a centre into its part of a score (ABSOLUTE: 0, or
    # +inf for a stand-in); or [0]
    norms: Any  # f32 [panels * 6]: |c|^2 (EXPANDED), 0 (SQUARED) or -sum c / 2 (ABSOLUTE form); +inf for padding
    astray: Any  # f32: the largest share of its length that this moved a centre by (ABSOLUTE: in units, and rounding)
    base: Any  # i32 [panels * 6]: -floor(sum c / 2) of the integers, twice (ABSOLUTE)
    per_unit: Any  # f32: units of the integers in one of the scaled coordinates (ABSOLUTE)
    beyond: Any  # f32: Manhattan norm of the nearest centre that is too long for integers; +inf: none
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
    half: Any  # minus half the sum of a row's coordinates
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
    laid: Any  # factor and error as they were laid out (ABSOLUTE: the error, in units)
    slack: Any
    halves: Any  # ABSOLUTE: tiles of 32 rows in 16-bit integers
    least: Any  # ABSOLUTE: u16 [4, places]: their best two and the index of the best; minus half their sums


class State(NamedTuple):
    """The running best two of a batch of rows over the groups scored so far."""

    one: Any
    two: Any
    best: Any
    runner: Any  # second best inside the group of the best
    scored: Any  # whether the group of the present label was scored
    label: Any


@njit
def make_room(batch, d, k, form, short):
    """Scratch of one thread."""
    f32, some, places = np.float32, 0, 0
    if short and form == ABSOLUTE:
        places = batch + LANES  # tiles of 32
    elif short:
        some = batch
    pairs = np.empty((some, short_pitch(d) // 2), f32)
    return Room(
        np.empty((batch, padded(d)), f32), np.empty(batch * d, f32), np.empty(batch, f32), np.empty(batch, f32),
        np.empty(batch, np.int64),
        np.empty(batch, f32), np.empty(batch, f32), np.empty(batch, np.int32), np.empty(batch, f32),
        np.empty(batch, np.bool_), np.empty(batch, f32), np.empty(k), np.empty(TRIALS * QUAD, f32),
        pairs.view(np.int16), pairs, np.empty(some, f32), np.empty(some + places, f32),
        np.empty((2, some + places), f32), np.empty(batch, f32), np.empty(places * d, np.int16),
        np.empty((4, places), np.uint16),
    ), State(
        np.empty(batch, f32), np.empty(batch, f32), np.empty(batch, np.int32), np.empty(batch, f32),
        np.empty(batch, np.bool_), np.empty(batch, np.int32),
    )  # fmt: skip


@njit
def _score_panels(xt, tiles, d, form, cen, start, stop, half, first, second, index):
    """Best two of the centres in panels start .. stop for every packed row."""
    if form == ABSOLUTE:
        for t in range(tiles):
            tile_half(xt, t * LANES * d, d, half, t * LANES)
    first[: tiles * LANES] = INF
    second[: tiles * LANES] = INF
    index[: tiles * LANES] = 0
    for p in range(start, stop):
        at, j0 = p * PANEL * d, np.int32(p * PANEL)
        for t in range(tiles):
            x_off, r_off = t * LANES * d, t * LANES
            if form == ABSOLUTE:
                tile_max(xt, x_off, cen.panels, at, cen.norms, half, j0, d, first, second, index, r_off)
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
def take_rows(X, rows, m, cen, form, short, room):
    """The rows of a batch, centred and scaled, as lines; their norms; and as integers where those are scored."""
    centre_rows(X, rows, m, cen.shift, cen.scale, room.line)
    row_norms(room.line, m, room.norm, form)
    if short and form != ABSOLUTE:
        shorten_rows(room.line, m, room.norm, cen.astray, room.short, room.factor, room.error)


@njit
def slack_left(m, cen, form, best, room):
    """room.slack [m] <- how much too low the scores in integers of the best centres may be."""
    if form == ABSOLUTE:
        slack_abs(m, cen, best, room.error, room.slack)
    else:
        short_slack(m, cen, best, room.error, room.slack)


@njit
def score_one(X, rows, m, cen, d, form, short, room, state):
    """Scores of a batch against all centres at once."""
    if short and form != ABSOLUTE:
        take_rows(X, rows, m, cen, form, short, room)
        for r in range(m):
            room.chosen[r] = r
        lay_short(room, room.chosen, m, d)
        score_short(room, m, d, cen, cen.group_start[0], cen.group_start[-1], state.one, state.two, state.best)
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
        start, stop = cen.group_start[0], cen.group_start[-1]
        if short:
            score_short_abs(room, tiles, d, cen, start, stop)
            least_scores(room, m, room.norm, cen, state.one, state.two, state.best, room.error)
        else:
            _score_panels(room.xt, tiles, d, form, cen, start, stop, room.half, state.one, state.two, state.best)
    for r in range(m):
        state.runner[r], state.scored[r] = state.two[r], True


@njit
def _least_of_group(room, m, cen):
    """Scores of the rows room.chosen[:m] from what `score_short_abs` found in a group."""
    norm, error = room.reach, room.low
    for s in range(m):
        norm[s] = room.norm[room.chosen[s]]
    least_scores(room, m, norm, cen, room.first, room.second, room.index, error)
    for s in range(m):
        room.error[room.chosen[s]] = error[s]


@njit
def score_groups(rows, m, label, lowers, tight, cen, d, form, delta, short, room, state):
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
            if short and form != ABSOLUTE:
                lay_short(room, room.chosen, count, d)
            else:
                tile_rows(room.line, room.chosen, count, d, room.xt)
            packed = count == m
        start, stop, tiles = cen.group_start[g], cen.group_start[g + 1], (count + LANES - 1) // LANES
        if short and form == ABSOLUTE:
            score_short_abs(room, tiles, d, cen, start, stop)
            _least_of_group(room, count, cen)
        elif short:
            score_short(room, count, d, cen, start, stop, room.first, room.second, room.index)
        elif wide:
            score_wide_group(room.line, room.chosen, count, cen, g, room, room.first, room.second, room.index)
        else:
            _score_panels(room.xt, tiles, d, form, cen, start, stop, room.half, room.first, room.second, room.index)
        _merge_group(room.chosen, count, g, cen.group[g], rows, form, delta, room, lowers, one, two, best, runner)
    return pairs
