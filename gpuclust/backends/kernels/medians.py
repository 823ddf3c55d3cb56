"""Exact medians from what a pass told about brackets (`ranks.py`), and where to look next.

A pair (cluster, feature) is settled where the middle ranks lie in its bracket. Where they do not, the pass still told
on which side they lie: the next bracket is cut from what is left possible, so that every pair is settled after a few
passes; after some, the possible range is halved each time.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit, prange

from .sums import add_pieces

LEAST = 16  # ranks to either side of a median that its next bracket holds at least
HURRY = 2  # passes after which a bracket takes all that is possible on one side
HALVE = 5  # passes after which the possible range is halved


class State(NamedTuple):
    """Of every pair, [k * d] in the rows' dtype: its bracket, and where the value that is looked for may still lie."""

    low: Any
    mid: Any
    high: Any
    floor: Any
    ceil: Any
    one: Any  # f64: the lower median, NaN while not known: then both, else the upper alone, are looked for
    two: Any  # f64: the upper median


@njit(parallel=True, cache=True, nogil=True)
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
def _sign(parts, k):
    """The sign of the exact sum of parts[:k]: what is left of the largest after carrying all roundings down."""
    for _ in range(k):
        for b in range(k - 1, 0, -1):
            s = parts[b] + parts[b - 1]
            t = s - parts[b]
            parts[b] = (parts[b] - (s - t)) + (parts[b - 1] - t)
            parts[b - 1] = s
    for b in range(k):
        if parts[b] != 0.0:
            return 1 if parts[b] > 0.0 else -1
    return 0


@njit
def _against_half(cum, total, work):
    """The sign of 2 cum - total, both exact sums in pieces."""
    for b in range(cum.shape[0]):
        work[b] = 2.0 * cum[b] - total[b]
    return _sign(work, cum.shape[0])


@njit
def _select(a, low, high, k):
    """Bring the value of rank k to a[k], smaller ones before it and larger ones after, within a[low : high + 1]."""
    for _ in range(64):
        if high - low < 16:
            break
        x, y, z = a[low], a[(low + high) >> 1], a[high]
        pivot = max(min(x, y), min(max(x, y), z))
        i, j = low, high
        while i <= j:
            while a[i] < pivot:
                i += 1
            while a[j] > pivot:
                j -= 1
            if i <= j:
                a[i], a[j] = a[j], a[i]
                i += 1
                j -= 1
        if k <= j:
            high = j
        elif k >= i:
            low = i
        else:
            return
    a[low : high + 1].sort()  # few values, or an order that the pivots do not fit


@njit
def _value(values, s, at_mid, mid, low, high):
    """The s-th of the values in ascending order, `mid` among them at at_mid (-1: nowhere). It lies in values[low :
    high + 1].
    """
    if at_mid >= 0:
        if s == at_mid:
            return mid
        s -= s > at_mid
    _select(values, max(low, 0), min(high, len(values) - 1), s)
    return values[s]


@njit
def _below(values, x):
    """How many values are less than x."""
    count = 0
    for s in range(len(values)):
        count += values[s] < x
    return count


@njit
def _middle_row(m, at_mid, less, same, total, strict):
    """(place, even, mass below it): the first of m values with which half of the rows is reached (strictly: passed);
    -1 below them all, m above. even: with it, exactly half.
    """
    if 2.0 * less > total or (2.0 * less == total and not strict):
        return -1, False, less
    wanted = np.floor(total / 2.0) + 1.0 if strict else np.ceil(total / 2.0)
    s, below = np.intp(wanted - less) - 1, wanted - 1.0
    if at_mid >= 0 and s >= at_mid:
        s, below = at_mid, less + at_mid
        if below + same < wanted:
            s, below = np.intp(wanted - less - same), wanted - 1.0
        else:
            return s, 2.0 * (below + same) == total, below
    return min(s, m), 2.0 * wanted == total, below


@njit
def _middle_weight(heavy, at_mid, less, same, total, strict, magic, cum, work):
    """The same by weight; the mass is rounded. heavy: the weights of the values but the middle, in their order."""
    cum[:] = less
    least, below, count = (1 if strict else 0), less.sum(), len(heavy) + (at_mid >= 0)
    if _against_half(cum, total, work) >= least:
        return -1, False, below
    for s in range(count):
        below = cum.sum()
        if s == at_mid:
            for b in range(cum.shape[0]):
                cum[b] += same[b]
        else:
            add_pieces(heavy[s - (0 <= at_mid < s)], magic, cum, 0)
        side = _against_half(cum, total, work)
        if side >= least:
            return s, side == 0, below
    return count, False, cum.sum()


@njit
def _around(values, s, at_mid, median, mid, left, right, down, up, low, high):
    """The next bracket about the median, the s-th value: `down` and `up` ranks to its sides.

    left, right: ranks between half and the ends of the median, if it is the middle: where there are so many ties that
    it will not leave them, nothing else is of interest.
    """
    down, up, last = np.intp(down), np.intp(up), len(values) - 1 + (at_mid >= 0)
    gap, limit = (np.float64(high) - np.float64(low)) / (last + 1), np.float64(np.finfo(values.dtype).max)
    tied = s == at_mid
    first, end = median, median
    if not (tied and left >= down):
        if s >= down:
            first = _value(values, s - down, at_mid, mid, 0, last if tied else s)
        else:  # not so many in this bracket: as far beyond it as they are likely to lie
            first = values.dtype.type(max(-limit, low - (down - s) * gap))
    if not (tied and right >= up):
        if last - s >= up:
            end = _value(values, s + up, at_mid, mid, 0 if tied else s - 1, last)
        else:
            end = values.dtype.type(min(limit, high + (up - (last - s)) * gap))
    return first, end


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
def _sought(below, rounds, inside, deficit, low, high, floor, ceil):
    """Where to look for a median that lies below or above the bracket: (low, high) within [floor, ceil].

    `deficit`: the mass between it and the bracket; `inside`: the mass in the bracket.
    """
    width = np.float64(high) - np.float64(low)
    known = inside > 0 and 0 < width < 1e300 and rounds < HURRY
    step = width * max(2.0 * deficit / inside, 0.5) if known else np.inf
    if below:
        return max(np.float64(floor), np.float64(ceil) - step), np.float64(ceil)
    return np.float64(floor), min(np.float64(ceil), np.float64(floor) + step)


@njit
def _sampled(values, at, share):
    """(low, mid, high) from values that are a share of those in the bracket, the median among them likely near `at`."""
    values.sort()
    last = len(values) - 1
    half = np.intp(max(LEAST * share, 1.5 * np.sqrt(len(values)))) + 1
    s = min(max(np.intp(at), 0), last)
    return values[max(s - half, 0)], values[s], values[min(s + half, last)]


@njit
def _reach(rounds, half, begin, smaller, ties, per, reach, likely):
    """Ranks that the next bracket holds below and above a median.

    The old one, `mid`, is `likely` to tell how far and where to the next one moves. reach: what is enough by all means;
    per: ranks to a unit of mass.
    """
    if rounds:
        return reach, reach
    before = begin * per + smaller
    down, up = before - half * per, (half - ties) * per - before
    side = LEAST + likely
    return min(reach, side + 1.5 * max(down, 0.0)), min(reach, side + 1.5 * max(up, 0.0))


@njit
def _miss(p, s, part, half, begin, mass, per, lost, above, most, rounds, state):
    """The next bracket of a pair whose middle lies below it (s < 0), above, or among values that were lost: then at
    most at `most`.
    """
    low, mid, high, floor, ceil = state.low, state.mid, state.high, state.floor, state.ceil
    inf = low.dtype.type(np.inf)
    if s < 0:
        ceil[p] = np.nextafter(low[p], -inf)
    elif above:
        floor[p] = np.nextafter(high[p], inf)
    else:
        floor[p], ceil[p] = max(floor[p], low[p]), min(ceil[p], most)
        if rounds < HALVE and len(part):
            share = len(part) / (len(part) + lost)
            low[p], mid[p], high[p] = _sampled(part, (half - begin) * per * share, share)
            return
    if rounds >= HALVE:
        low[p] = mid[p] = high[p] = _between(floor[p], ceil[p])
        return
    deficit = max(begin - half if s < 0 else half - begin - mass, 0.0)
    at_least, at_most = _sought(s < 0, rounds, mass, deficit, low[p], high[p], floor[p], ceil[p])
    low[p], high[p] = at_least, at_most
    mid[p] = ceil[p] if s < 0 else floor[p]


@njit
def _upper_end(p, s, m, part, at_mid, lost, short, magic, state):
    """(above, most): whether the middle lies above the bracket, else the most that it may be. short: even with all
    that was lost, half is not reached; told without weights only.
    """
    if 0 <= s < m:  # half is reached even without what was lost
        return False, _value(part, s, at_mid, state.mid[p], 0, m)
    if not lost or magic[0] > 0:  # the weights of what was lost are not known
        return not lost, state.ceil[p]
    return short, state.high[p]


@njit
def _seek_upper(p, s, m, part, at_mid, middle, rounds, state):
    """The lower median, exactly half of the mass, is known: the next bracket for the upper one."""
    low, mid, high, floor, ceil = state.low, state.mid, state.high, state.floor, state.ceil
    floor[p] = np.nextafter(low.dtype.type(state.one[p]), low.dtype.type(np.inf))
    ceil[p] = np.finfo(low.dtype).max
    if rounds >= HALVE:
        low[p] = mid[p] = high[p] = _between(floor[p], ceil[p])
    elif s + 1 < m:  # values that were lost may lie before this one
        low[p] = floor[p]
        mid[p] = high[p] = _value(part, s + 1, at_mid, middle, 0 if s == at_mid else s - 1, m)
    else:
        at_least, at_most = _sought(False, rounds, 1.0 * m, 0.0, low[p], high[p], floor[p], ceil[p])
        low[p], high[p] = at_least, at_most
        mid[p] = floor[p]


@njit
def _settle_one(p, part, weights, less, same, lost, total, per, magic, rounds, reach, likely, state, cum, work):
    """Whether pair p is settled; see `settle`. Only the sums in pieces decide: `mass` is for the next bracket."""
    strict, middle = not np.isnan(state.one[p]), state.mid[p]
    half, begin, ties, smaller = total.sum() / 2, less.sum(), same.sum(), _below(part, middle)
    at_mid = smaller if ties > 0 else -1
    m, mass = len(part) + (ties > 0), len(part) + ties + lost
    if magic[0] > 0:
        order = np.argsort(part)
        part[:], weights[:] = part[order], weights[order]
        s, even, below = _middle_weight(weights, at_mid, less, same, total, strict, magic, cum, work)
        mass = weights.sum() + ties + lost / per
    else:
        s, even, below = _middle_row(m, at_mid, less[0], same[0], total[0], strict)
    certain = lost == 0 or (s == 0 == at_mid and middle == state.low[p])
    if s < 0 or s >= m or not certain:
        above, most = _upper_end(p, s, m, part, at_mid, lost, 2.0 * (half - begin - mass) + strict > 0, magic, state)
        _miss(p, s, part, half, begin, mass, per, lost, above, most, rounds, state)
        return False
    median = _value(part, s, at_mid, middle, 0, m)
    if not strict:
        state.one[p] = median
        if even and (s + 1 == m or lost > 0):
            _seek_upper(p, s, m, part, at_mid, middle, rounds, state)
            return False
    known = 0 if s == at_mid else s - 1
    state.two[p] = _value(part, s + 1, at_mid, middle, known, m) if even and not strict else median
    down, up = _reach(rounds, half, begin, smaller, ties, per, reach, likely)
    low, high, left, right = state.low[p], state.high[p], (half - below) * per, (below + ties - half) * per
    low, high = _around(part, s, at_mid, median, middle, left, right, down, up, low, high)
    state.low[p], state.mid[p], state.high[p] = low, median, high
    return True


@njit(parallel=True, cache=True, nogil=True)
def settle(
    open_, start, values, heavy, less, same, lost, total, per, magic, rounds, reach, likely, state, found, threads
):
    """Settle the pairs open_ i64 [u] where their brackets hold the middle values, and choose all next brackets.

    start i64 [k * d + 1], values, heavy IN, changed: what lies inside, by pair; less, same f64 [k * d, K], lost i64
    [k * d], total f64 [k, K], magic f64 [K] (0: no weights) IN. rounds: passes before this one; per, reach, likely f64
    [k]: see `_reach`. found bool [u] OUT.
    """
    d = state.low.shape[0] // total.shape[0]
    for t in prange(threads):
        cum, work = np.empty(total.shape[1]), np.empty(total.shape[1])
        for u in range(t, open_.shape[0], threads):
            p = open_[u]
            j, inside = p // d, values[start[p] : start[p + 1]]
            weights = heavy[start[p] : start[p + 1]] if heavy.shape[0] else heavy
            found[u] = _settle_one(
                p, inside, weights, less[p], same[p], lost[p], total[j], per[j], magic, rounds, reach[j],
                likely[j], state, cum, work,
            )  # fmt: skip
