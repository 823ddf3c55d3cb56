"""Exact medians from what a pass told about brackets (`ranks.py`), and where to look next.

A pair (cluster, feature) is settled where the middle ranks lie in its bracket. Where they do not, the pass still told
on which side they lie: the next bracket is cut from what is left possible, so that every pair is settled after a few
tries; after some, the possible range is cut by single values. Where there is no room for what a bracket holds, a single
value is asked about instead, its probe: that tells the exact rank of the place where the median is thought to lie.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit, prange

from . import CACHE
from .middle import count_below, middle_row, middle_weight, value
from .order import select, sort

LEAST = 16  # ranks to either side of a median that its next bracket holds at least
HURRY = 3  # tries after which a bracket doubles what it takes
HALVE = 12  # tries after which single values are probed, until few are possible
FEW = 64  # as many are then all asked for


class State(NamedTuple):
    """Of every pair, [k * d] in the rows' dtype: its bracket, and where the value that is looked for may still lie."""

    low: Any
    mid: Any
    high: Any
    floor: Any
    ceil: Any
    one: Any  # f64: the lower median, NaN while not known: then both, else the upper alone, are looked for
    two: Any  # f64: the upper median
    under: Any  # f64: mass below the floor, as far as it was met, and above the ceiling
    over: Any
    need: Any  # f64: about how many values the bracket holds
    beside: Any  # f64: about how many lie between floor and ceiling; inf where that is not known
    slope: Any  # f64: width of a rank near the median; 0 where that is not known
    probe: Any  # the rows' dtype: where the median is thought to lie
    tries: Any  # i64: passes of this iteration


@njit(parallel=True, cache=CACHE, nogil=True)
def by_pair(pairs, values, heavy, start, out, out_heavy, threads):
    """Order values (and their weights, if any) by pair; start i64 [k * d + 1] OUT, out, out_heavy OUT."""
    size = start.shape[0] - 1
    for t in prange(threads):
        low, high = size * t // threads, size * (t + 1) // threads
        for at in range(pairs.shape[0]):
            if low <= pairs[at] < high:
                start[pairs[at] + 1] += 1
    for p in range(size):
        start[p + 1] += start[p]
    for t in prange(threads):
        low, high = size * t // threads, size * (t + 1) // threads
        place = start[low:high].copy()
        for at in range(pairs.shape[0]):
            p = pairs[at]
            if low <= p < high:
                to = place[p - low]
                out[to] = values[at]
                if heavy.shape[0]:
                    out_heavy[to] = heavy[at]
                place[p - low] = to + 1


@njit
def _around(values, s, at_mid, median, mid, left, right, down, up):
    """(first, end, held): the next bracket about the median, the s-th value, `down` and `up` ranks to its sides; about
    how many values that are.

    left, right: ranks between half and the ends of the median, if it is the middle: where there are so many ties that
    it will not leave them, nothing else is of interest.
    """
    down, up, last = np.intp(down), np.intp(up), len(values) - 1 + (at_mid >= 0)
    limit, tied = np.float64(np.finfo(values.dtype).max), s == at_mid
    if tied and left >= down:
        down = 0
    if tied and right >= up:
        up = 0
    a, b = max(s - down, 0), min(s + up, last)
    first = median if a == s else value(values, a, at_mid, mid, 0, last if tied else s)
    end = median if b == s else value(values, b, at_mid, mid, 0 if tied else s - 1, last)
    gap = (np.float64(end) - np.float64(first)) / max(b - a, 1)
    if s - a < down:  # not so many are known: as far beyond as they are likely to lie
        first = values.dtype.type(max(-limit, first - (down - (s - a)) * gap))
    if b - s < up:
        end = values.dtype.type(min(limit, end + (up - (b - s)) * gap))
    return first, end, down + up


@njit
def _between(a, b):
    """A value that halves a range: in exponent as long as its ends differ in that, then in value."""
    if a < 0 < b:
        return a * 0
    small, large = min(abs(a), abs(b)), max(abs(a), abs(b))
    if large > 4 * small:
        middle = np.sqrt(max(small, np.finfo(np.float32).tiny * min(large, 1.0))) * np.sqrt(large)
        return -middle if b <= 0 else middle
    return a + (b - a) / 2


@njit
def _likely(p, half, per, state):
    """Where a median lies by linear interpolation of the ranks of floor and ceiling; each third time, and as long as
    one of them was not met, in the middle.
    """
    floor, ceil, rank = state.floor[p], state.ceil[p], per * (half - state.under[p])
    between = per * (2.0 * half - state.under[p] - state.over[p])
    if state.under[p] == 0.0 or state.over[p] == 0.0 or not 1.0 <= rank <= between - 1.0 or state.tries[p] % 3 == 2:
        return _between(floor, ceil)
    share = rank / between
    return min(max(floor * (1.0 - share) + ceil * share, np.float64(floor)), np.float64(ceil))


@njit
def _halve(p, half, per, state):
    """A bracket of one value, where the median is likely to lie; once few values are possible, of all of them."""
    middle = _likely(p, half, per, state)
    state.low[p] = state.mid[p] = state.high[p] = state.probe[p] = middle
    state.need[p] = 0.0
    if state.beside[p] <= FEW:
        state.low[p], state.high[p], state.need[p] = state.floor[p], state.ceil[p], state.beside[p]
    state.beside[p] = np.inf


@njit
def _sampled(values, at, share):
    """(low, mid, high, held) from values that are a share of those in the bracket, the median among them likely near
    `at`.
    """
    last = len(values) - 1
    half = np.intp(max(LEAST * share, 1.5 * np.sqrt(len(values)))) + 1
    s = min(max(np.intp(at), 0), last)
    first, end = max(s - half, 0), min(s + half, last)
    select(values, 0, last, s)
    select(values, 0, s, first)
    select(values, s, last, end)
    return values[first], values[s], values[end], (2 * half + 1) / share


@njit
def _reach(tries, half, begin, smaller, ties, per, reach, likely):
    """Ranks that the next bracket holds below and above a median.

    The old one, `mid`, is `likely` to tell how far and where to the next one moves. reach: what is enough by all means;
    per: ranks to a unit of mass.
    """
    if tries:
        return reach, reach
    before = begin * per + smaller
    down, up = before - half * per, (half - ties) * per - before
    side = LEAST + likely
    return min(reach, side + 1.5 * max(down, 0.0)), min(reach, side + 1.5 * max(up, 0.0))


@njit
def _again(p, part, half, begin, mass, per, lost, most, limit, state):
    """The next bracket of a pair some of whose values were lost: the same, if it may hold so many, else cut by those
    that were not. Its middle is `most` at most.
    """
    low, mid, high, floor, ceil = state.low, state.mid, state.high, state.floor, state.ceil
    if low[p] >= floor[p]:
        floor[p], state.under[p] = low[p], begin
    if most == high[p]:
        state.over[p] = 2.0 * half - begin - mass
    ceil[p] = min(ceil[p], most)
    held, state.beside[p] = len(part) + lost, np.inf
    state.need[p] = held
    if state.tries[p] >= HALVE or len(part) == 0:  # one value is not lost
        _halve(p, half, per, state)
        return
    first, middle, last, count = _sampled(part, (half - begin) * per * len(part) / held, len(part) / held)
    state.probe[p] = min(max(middle, floor[p]), ceil[p])
    if held > limit or state.tries[p] > 0:
        low[p], mid[p], high[p], state.need[p] = first, middle, last, count
    else:
        low[p], high[p] = floor[p], min(high[p], ceil[p])
        mid[p] = min(max(mid[p], low[p]), high[p])


@njit
def _measure(p, below, begin, mass, total, per, state):
    """Cut the possible range after a miss: below the bracket or above it; renew the slope."""
    low, high, floor, ceil = state.low, state.high, state.floor, state.ceil
    inf = low.dtype.type(np.inf)
    span, gained = np.float64(high[p]) - np.float64(low[p]), mass
    if below:
        if span == 0.0 and state.over[p] > 0.0:
            span, gained = np.float64(ceil[p]) - np.float64(low[p]), total - begin - state.over[p]
        ceil[p], state.over[p] = np.nextafter(low[p], -inf), total - begin
    else:
        if span == 0.0 and state.under[p] > 0.0:
            span, gained = np.float64(high[p]) - np.float64(floor[p]), begin + mass - state.under[p]
        floor[p], state.under[p] = np.nextafter(high[p], inf), begin + mass
    ranks = per * gained
    if 0.0 < span < 1e300 and ranks > 0.0:
        state.slope[p] = span / ranks
    state.beside[p] = max(per * (total - state.under[p] - state.over[p]), 0.0)


@njit
def _miss(p, s, part, at_mid, half, begin, mass, per, state):
    """The next bracket of a pair whose middle lies below it (s < 0), or above."""
    low, mid, high, floor, ceil = state.low, state.mid, state.high, state.floor, state.ceil
    lowest = high[p]
    if s < 0 and len(part) + (at_mid >= 0):
        lowest = value(part, 0, at_mid, mid[p], 0, len(part))
    _measure(p, s < 0, begin, mass, 2.0 * half, per, state)
    if state.tries[p] >= HALVE:
        _halve(p, half, per, state)
        return
    deficit = per * max(begin - half if s < 0 else half - begin - mass, 0.0)
    wanted, slope = 3.0 * deficit + per * mass / 2 + LEAST, state.slope[p]
    wanted *= 2.0 ** max(state.tries[p] - HURRY, 0)
    if slope == 0.0:
        wanted, slope = np.inf, np.inf
    step, state.need[p] = slope * wanted, min(wanted, state.beside[p])
    if s < 0 and begin == half and not len(part) and at_mid < 0:  # the upper median is above the bracket
        rows, limit = 2.0 * half * per, np.float64(np.finfo(low.dtype).max)
        step = slope * LEAST if rows > 16 * LEAST else np.inf
        low[p], high[p] = max(np.float64(floor[p]), np.float64(ceil[p]) - step), min(limit, high[p] + step)
        mid[p], state.beside[p] = ceil[p], np.inf
        state.need[p] = rows if step == np.inf else 2.0 * LEAST
    elif s < 0:  # with the next value above, which may be the upper median
        up = max(lowest, ceil[p])
        low[p], mid[p], high[p] = max(np.float64(floor[p]), np.float64(ceil[p]) - step), up, up
    else:
        low[p], mid[p], high[p] = floor[p], floor[p], min(np.float64(ceil[p]), np.float64(floor[p]) + step)
    if slope == np.inf:
        state.probe[p] = _likely(p, half, per, state)
    else:
        likely = np.float64(ceil[p]) - slope * deficit if s < 0 else np.float64(floor[p]) + slope * deficit
        state.probe[p] = min(max(likely, np.float64(floor[p])), np.float64(ceil[p]))


@njit
def _upper_end(p, s, m, part, at_mid, lost, short, magic, state):
    """(above, most): whether the middle lies above the bracket, else the most that it may be. short: even with all
    that was lost, half is not reached; told without weights only.
    """
    if 0 <= s < m:  # half is reached even without what was lost
        return False, value(part, s, at_mid, state.mid[p], 0, m)
    if not lost or magic[0] > 0:  # the weights of what was lost are not known
        return not lost, state.ceil[p]
    return short, state.high[p]


@njit
def _seek_upper(p, s, m, part, at_mid, middle, half, per, beyond, lost, state):
    """The lower median, exactly half of the mass, is known: the next bracket for the upper one. beyond: about how many
    values lie above the bracket.
    """
    low, mid, high, floor, ceil = state.low, state.mid, state.high, state.floor, state.ceil
    floor[p] = np.nextafter(low.dtype.type(state.one[p]), low.dtype.type(np.inf))
    ceil[p], state.under[p], state.over[p] = np.finfo(low.dtype).max, half, 0.0
    state.beside[p] = beyond + lost
    if state.tries[p] >= HALVE:
        _halve(p, half, per, state)
    elif s + 1 < m:  # values that were lost may lie before this one
        low[p], state.need[p] = floor[p], lost
        mid[p] = high[p] = state.probe[p] = value(part, s + 1, at_mid, middle, 0 if s == at_mid else s - 1, m)
    else:
        step = LEAST * state.slope[p] if state.slope[p] > 0.0 else np.inf
        state.need[p] = state.beside[p] if step == np.inf else min(state.beside[p], 1.0 * LEAST)
        low[p], mid[p], high[p] = floor[p], floor[p], min(np.float64(ceil[p]), np.float64(floor[p]) + step)
        state.probe[p] = _between(floor[p], high[p])


@njit
def _settle_one(p, part, weights, less, same, lost, total, per, magic, reach, likely, limit, state, cum, work):
    """Whether pair p is settled; see `settle`. Only the sums in pieces decide: `mass` is for the next bracket."""
    strict, middle = not np.isnan(state.one[p]), state.mid[p]
    half, begin, ties, smaller = total.sum() / 2, less.sum(), same.sum(), count_below(part, middle)
    at_mid = smaller if ties > 0 else -1
    m, mass = len(part) + (ties > 0), len(part) + ties + lost
    if magic[0] > 0:
        sort(part, weights)
        s, even, below = middle_weight(weights, at_mid, less, same, total, strict, magic, cum, work)
        mass = weights.sum() + ties + lost / per
    else:
        s, even, below = middle_row(m, at_mid, less[0], same[0], total[0], strict)
    certain = lost == 0 or (s == 0 == at_mid and middle == state.low[p])
    if s < 0 or s >= m or not certain:
        above, most = _upper_end(p, s, m, part, at_mid, lost, 2.0 * (half - begin - mass) + strict > 0, magic, state)
        if s < 0 or above:
            _miss(p, s, part, at_mid, half, begin, mass, per, state)
        else:
            _again(p, part, half, begin, mass, per, lost, most, limit, state)
        return False
    median = value(part, s, at_mid, middle, 0, m)
    if not strict:
        state.one[p] = median
        if even and (s + 1 == m or lost > 0):
            beyond = per * (2.0 * half - begin - mass)
            _seek_upper(p, s, m, part, at_mid, middle, half, per, beyond, lost, state)
            return False
    known = 0 if s == at_mid else s - 1
    state.two[p] = value(part, s + 1, at_mid, middle, known, m) if even and not strict else median
    down, up = _reach(state.tries[p], half, begin, smaller, ties, per, reach, likely)
    left, right = (half - below) * per, (below + ties - half) * per
    low, high, state.need[p] = _around(part, s, at_mid, median, middle, left, right, down, up)
    state.low[p], state.mid[p], state.high[p], state.probe[p] = low, median, high, median
    state.beside[p] = np.inf
    if state.need[p] > 0.0 and high > low:
        state.slope[p] = (np.float64(high) - np.float64(low)) / state.need[p]
    return True


@njit
def _count(tries, p):
    """One more; in the parallel loop itself Numba takes the addition for a reduction, and loses it."""
    tries[p] += 1


@njit(parallel=True, cache=CACHE, nogil=True)
def settle(
    open_, start, values, heavy, less, same, lost, total, per, magic, reach, likely, limit, state, found, threads
):
    """Settle the pairs open_ i64 [u] where their brackets hold the middle values, and choose all next brackets.

    start i64 [k * d + 1], values, heavy IN, changed: what lies inside, by pair; less, same f64 [k * d, K], lost i64
    [k * d], total f64 [k, K], magic f64 [K] (0: no weights) IN. per, reach, likely f64 [k]: see `_reach`; limit: values
    of one pair at most. found bool [u] OUT.
    """
    d = state.low.shape[0] // total.shape[0]
    for t in prange(threads):
        cum, work = np.empty(total.shape[1]), np.empty(total.shape[1])
        for u in range(t, open_.shape[0], threads):
            p = open_[u]
            j, inside = p // d, values[start[p] : start[p + 1]]
            weights = heavy[start[p] : start[p + 1]] if heavy.shape[0] else heavy
            found[u] = _settle_one(
                p, inside, weights, less[p], same[p], lost[p], total[j], per[j], magic, reach[j], likely[j], limit,
                state, cum, work,
            )  # fmt: skip
            _count(state.tries, p)
