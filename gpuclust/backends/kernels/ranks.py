"""Where the rows of a cluster lie about a bracket around its median, feature by feature.

For every open pair of cluster and feature: how much lies below the bracket, how much equals its middle (ties), and the
values in between. That tells the median exactly where it lies in the bracket (`medians.py`). Counts and sums of weights
are exact, so they do not depend on the order of the rows.
"""

import numpy as np
from llvmlite import ir
from numba import njit, prange, types
from numba.extending import intrinsic

from . import CACHE
from .sums import add_pieces
from .tile import I32, _data

STRIP = 8  # features at once
FEATURES, ROWS = 16, 512  # whose buckets are counted together


@intrinsic
def _rank_strip(typingctx, X, at, low, mid, high, place, less, same):
    """less[place:] += x < low, same[place:] += x == mid for 8 values x of X from `at`; the others in the bracket, as
    bits. low, mid, high X's dtype, less, same i32, all from `place`.
    """
    i = types.intp

    def codegen(context, builder, signature, args):
        kinds = signature.args
        X, at, low, mid, high, place, less, same = args
        vec = ir.VectorType(context.get_value_type(kinds[0].dtype), STRIP)
        counts = ir.VectorType(I32, STRIP)

        def pointer(which, array, offset, vector):
            return builder.bitcast(_data(context, builder, kinds[which], array, offset), vector.as_pointer())

        x = builder.load(pointer(0, X, at, vec), align=4)
        bounds = ((2, low), (3, mid), (4, high))
        lows, mids, highs = (builder.load(pointer(which, table, place, vec), align=4) for which, table in bounds)
        below, equal = builder.fcmp_ordered("<", x, lows), builder.fcmp_ordered("==", x, mids)
        for which, table, found in ((6, less, below), (7, same, equal)):
            target = pointer(which, table, place, counts)
            builder.store(builder.sub(builder.load(target, align=4), builder.sext(found, counts)), target, align=4)
        inside = builder.and_(builder.fcmp_ordered(">=", x, lows), builder.fcmp_ordered("<=", x, highs))
        inside = builder.and_(inside, builder.not_(equal))
        return builder.zext(builder.bitcast(inside, ir.IntType(STRIP)), I32)

    return types.int32(X, i, low, mid, high, i, less, same), codegen


@njit(inline="always")
def _keep(pair, value, w, at, pairs, values, heavy, lost):
    """One more value inside a bracket; the place of the next. Where there is no room, it is counted as lost."""
    if at == pairs.shape[0]:
        lost[pair] += 1
        return at
    pairs[at], values[at] = pair, value
    if heavy.shape[0]:
        heavy[at] = w
    return at + 1


@njit(parallel=True, cache=CACHE, nogil=True)
def rank_pass(X, label, low, mid, high, start, feature, less, same, pairs, values, heavy, filled, lost, threads):
    """X [n, d], label i32 [n], low, mid, high [k * d] of X's dtype IN; start i64 [k + 1], feature i64: the features of
    each cluster that are open. less, same i32 [threads, k * d] OUT += rows; pairs i32, values [threads, room] OUT: what
    lies inside, and filled i64 [threads] OUT: how much; heavy [threads, 0]; lost i32 [threads, k * d] OUT += what had
    no room. Closed pairs of a cluster whose features are all listed count without a meaning.
    """
    n, d = X.shape
    strips = d // STRIP
    flat = X.ravel()
    for t in prange(threads):
        mine, ties, at, loss = less[t], same[t], 0, lost[t]
        pair, value, none, room = pairs[t], values[t], heavy[t], pairs.shape[1]
        for i in range(n * t // threads, n * (t + 1) // threads):
            j = label[i]
            first, last = start[j], start[j + 1]
            base, begin = j * d, first
            if last - first == d:
                begin = first + strips * STRIP
                for s in range(strips):
                    f = s * STRIP
                    bits = _rank_strip(flat, i * d + f, low, mid, high, base + f, mine, ties)
                    if bits == 0:
                        continue
                    if at + STRIP <= room:  # all are written, those outside are written over: no branch is guessed
                        for g in range(STRIP):
                            value[np.uintp(at)] = flat[np.uintp(i * d + f + g)]
                            pair[np.uintp(at)] = base + f + g
                            at += (bits >> g) & 1
                    else:
                        for g in range(STRIP):
                            if bits >> g & 1:
                                at = _keep(base + f + g, X[i, f + g], 1.0, at, pair, value, none, loss)
            for p in range(begin, last):
                f = feature[p]
                x, place = X[i, f], np.uintp(base + f)
                if x < low[place]:
                    mine[place] += 1
                elif x == mid[place]:
                    ties[place] += 1
                elif x <= high[place]:
                    at = _keep(base + f, x, 1.0, at, pair, value, none, loss)
        filled[t] = at


@njit(parallel=True, cache=CACHE, nogil=True)
def weighted_rank_pass(
    X, weight, magic, label, low, mid, high, start, feature, less, same, total, pairs, values, heavy, filled, lost,
    threads,
):  # fmt: skip
    """The same with weights f64 [n]; rows of weight 0 count for nothing. magic f64 [K]: the grids of exact sums of
    weights; less, same f64 [threads, k * d, K], total f64 [threads, k, K] OUT += weights; heavy f64 [threads, room]
    OUT: the weights of `values`.
    """
    (n, d), levels = X.shape, magic.shape[0]
    for t in prange(threads):
        mine, ties, every, at, loss = less[t].ravel(), same[t].ravel(), total[t].ravel(), 0, lost[t]
        pair, value, load = pairs[t], values[t], heavy[t]
        for i in range(n * t // threads, n * (t + 1) // threads):
            w = weight[i]
            if not w > 0.0:
                continue
            base = label[i] * d
            add_pieces(w, magic, every, label[i] * levels)
            for p in range(start[label[i]], start[label[i] + 1]):
                f = feature[p]
                x, place = X[i, f], np.uintp(base + f)
                if x < low[place]:
                    add_pieces(w, magic, mine, (base + f) * levels)
                elif x == mid[place]:
                    add_pieces(w, magic, ties, (base + f) * levels)
                elif x <= high[place]:
                    at = _keep(base + f, x, w, at, pair, value, load, loss)
        filled[t] = at


@njit
def _buckets_of(row, mid, per, half, slot):
    """slot <- the bucket of each value; see `brackets.Fine`."""
    for g in range(slot.shape[0]):
        u = min(max((np.float64(row[g]) - mid[g]) * per[g], -1e300), 1e300)
        slot[g] = np.int32(min((1.0 + u / (1.0 + abs(u))) * half, 2.0 * half - 1.0))


@njit(parallel=True, cache=CACHE, nogil=True)
def fine_pass(X, label, place, mid, per, counts, threads):
    """Count the values of pairs in buckets (`brackets.Fine`): place i32, mid, per f64 [k * d] IN; counts i32 [threads,
    u, buckets] OUT +=. A few features of some rows at a time: their counts and the rows stay in the cache.
    """
    n, d = X.shape
    width = np.uintp(counts.shape[2])
    for t in prange(threads):
        mine, slots = counts[t].ravel(), np.empty(FEATURES, np.int32)
        begin, end = n * t // threads, n * (t + 1) // threads
        for start in range(begin, end, ROWS):
            for first in range(0, d, FEATURES):
                slot = slots[: min(FEATURES, d - first)]
                for i in range(start, min(start + ROWS, end)):
                    at = label[i] * d + first
                    _buckets_of(X[i, first:], mid[at:], per[at:], width / 2, slot)
                    for g in range(slot.shape[0]):
                        q = place[np.uintp(at + g)]
                        if q >= 0:
                            mine[np.uintp(q) * width + np.uintp(slot[g])] += 1
