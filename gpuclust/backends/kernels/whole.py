"""The two middle values of every cluster and feature, where all rows are in memory.

Two values of a sample, to either side of its median, are likely to have the middle values of all between them: what
lies there is kept and cut again in the same way, the rest is counted (Floyd and Rivest, "Expected time bounds for
selection", CACM 18, 1975). The rows of a cluster are gathered block by block, some columns at a time.
"""

import numpy as np
from llvmlite import ir
from numba import njit, prange, types
from numba.core import cgutils
from numba.extending import intrinsic

from . import CACHE
from .middle import value
from .tile import I32, I64, _data, _prefetch, _splat

FEW = 24  # values that are sorted
TRIED = 16  # values of a sample, where they are at hand
NEAR = 2.4  # places in it that its ends are from the median's
SAMPLE, SPREAD = 4096, 1.2  # values of the sample of a large cluster at most; and its ends, in roots of its size
LANES = 8  # values compared at once
BLOCK = 4096  # rows gathered at once
PITCH = BLOCK + 16  # of a column of them: so columns do not share places in the cache
COLUMNS = 64  # features at once
ROOM = 1 << 18  # values of several columns that are kept
NARROW = 2  # columns up to which one is gathered after the other
AHEAD = 16  # rows that are asked for before they are read


@njit(parallel=True, cache=CACHE, nogil=True)
def by_cluster(label, wanted, start, order, threads):
    """Order rows by cluster, else as they lie: label i32 [n], wanted bool [k] IN; start i64 [k + 1], order u32 [n] OUT.
    Rows of other clusters are left out.
    """
    n, k = label.shape[0], wanted.shape[0]
    place = np.zeros((threads, k + 16), np.int64)  # no thread writes near another's
    for t in prange(threads):
        mine = place[t]
        for i in range(n * t // threads, n * (t + 1) // threads):
            mine[np.uintp(label[i])] += 1
    at = 0
    for j in range(k):
        start[j] = at
        for t in range(threads):
            count = place[t, j] if wanted[j] else 0
            place[t, j] = at
            at += count
    start[k] = at
    for t in prange(threads):
        mine, last, at = place[t], np.uintp(0), place[t, 0]
        for i in range(n * t // threads, n * (t + 1) // threads):
            j = np.uintp(label[i])
            if j != last:  # of rows that follow each other in a cluster, the place stays in a register
                mine[last], at, last = at, mine[j], j
            if wanted[j]:
                order[np.uintp(at)] = i
                at += 1


@intrinsic
def _ask(typingctx, X, at):
    """Have X[at] on its way to the cache."""

    def codegen(context, builder, signature, args):
        _prefetch(builder, _data(context, builder, signature.args[0], *args))
        return context.get_dummy_value()

    return types.void(X, types.intp), codegen


@njit(inline="always")
def _gather(X, rows, first, last, f, columns, out):
    """out[c] <- feature f + c of the rows[first : last]."""
    d, flat, line = X.shape[1], X.ravel(), 64 // X.itemsize
    if columns <= NARROW:
        for c in range(columns):
            column = out[c]
            for i in range(first, last):
                column[np.uintp(i - first)] = flat[np.uintp(rows[i] * d + f + c)]
        return
    for i in range(first, last):
        coming = rows[min(i + AHEAD, len(rows) - 1)] * d + f
        for c in range(0, columns, line):
            _ask(flat, coming + c)
        place = np.uintp(rows[i] * d + f)
        for c in range(columns):
            out[np.uintp(c), np.uintp(i - first)] = flat[place + np.uintp(c)]


@intrinsic
def _cut_vectors(typingctx, a, vectors, low, high, out, at, counts):
    """`_cut` for `vectors` times LANES values."""
    i = types.intp

    def codegen(context, builder, signature, args):
        kinds = signature.args
        a, vectors, low, high, out, at, counts = args
        real = context.get_value_type(kinds[0].dtype)
        vec, count = ir.VectorType(real, LANES), ir.VectorType(I64 if real == ir.DoubleType() else I32, LANES)
        lows, highs = _splat(builder, low, vec), _splat(builder, high, vec)
        totals = [cgutils.alloca_once_value(builder, ir.Constant(count, [0] * LANES)) for _ in range(3)]
        place = cgutils.alloca_once_value(builder, at)
        target = _data(context, builder, kinds[4], out, ir.Constant(I64, 0))
        with cgutils.for_range(builder, vectors) as loop:
            source = _data(context, builder, kinds[0], a, builder.mul(loop.index, ir.Constant(I64, LANES)))
            x = builder.load(builder.bitcast(source, vec.as_pointer()), align=4)
            upto, within = builder.fcmp_ordered("<=", x, lows), builder.fcmp_ordered("<=", x, highs)
            for total, mask in zip(totals, (builder.fcmp_ordered("<", x, lows), upto, within), strict=True):
                builder.store(builder.sub(builder.load(total), builder.sext(mask, count)), total)
            inside = builder.and_(builder.fcmp_ordered("<", x, highs), builder.not_(upto))
            bits = builder.zext(builder.bitcast(inside, ir.IntType(LANES)), I64)
            to = builder.load(place)
            for lane in range(LANES):  # all are written, those outside are written over: no branch is guessed
                builder.store(builder.extract_element(x, ir.Constant(I32, lane)), builder.gep(target, [to]))
                bit = builder.lshr(bits, ir.Constant(I64, lane))
                to = builder.add(to, builder.and_(bit, ir.Constant(I64, 1)))
            builder.store(to, place)
        for c, total in enumerate(totals):
            address, found = _data(context, builder, kinds[6], counts, ir.Constant(I64, c)), builder.load(total)
            parts = [builder.extract_element(found, ir.Constant(I32, lane)) for lane in range(LANES)]
            for part in parts:
                more = builder.sext(part, I64) if part.type.width < 64 else part
                builder.store(builder.add(builder.load(address), more), address)
        return builder.load(place)

    return types.intp(a, i, low, high, out, i, counts), codegen


@njit(inline="always")
def _cut(a, m, low, high, out, at, counts):
    """out[at:] <- what of a[:m] lies strictly between, in order; the place after it. counts i64 [3] += values below
    `low`, up to it, up to `high`. `out` has room for LANES more; it may be `a`, up to what was read.
    """
    vectors = m // LANES
    at = _cut_vectors(a, vectors, low, high, out, at, counts)
    for i in range(vectors * LANES, m):
        x = a[np.uintp(i)]
        out[np.uintp(at)] = x
        at += (x > low) & (x < high)
        counts[0] += x < low
        counts[1] += x <= low
        counts[2] += x <= high
    return at


@njit(inline="always")
def _sort(a, m):
    """Sort a[:m], few values."""
    for i in range(1, m):
        x, to = a[i], i
        while to > 0 and a[to - 1] > x:
            a[to] = a[to - 1]
            to -= 1
        a[to] = x


@njit
def _next(a, m, end, above):
    """The least of a[:m] above `end`, or the greatest below."""
    limit = a.dtype.type(np.inf if above else -np.inf)
    found = limit
    for i in range(m):
        x = a[i]
        if (end < x < found) if above else (found < x < end):
            found = x
    return found


@njit
def _straddling(a, m, s, end, first):
    """The values of ranks s - 1 and s, one of which is `end`, whose first rank is `first`."""
    if s == first:
        return _next(a, m, end, False), end
    return end, _next(a, m, end, True)


@njit
def _two(a, m, r, s, other, sample, counts):
    """Values of ranks r and s, r <= s <= r + 1, of a[:m]. a and other [m + LANES] are changed; sample [TRIED], counts
    [3]: to work in.
    """
    inf = a.dtype.type(np.inf)
    while m > FEW:
        for i in range(TRIED):
            sample[i] = a[i * m // TRIED]
        _sort(sample, TRIED)
        middle = (r + 0.5) * TRIED / m
        low, high = sample[max(np.intp(middle - NEAR), 0)], sample[min(np.intp(middle + NEAR), TRIED - 1)]
        counts[:] = 0
        inside = _cut(a, m, low, high, other, 0, counts)
        under, upto, within = counts[0], counts[1], counts[2]
        below = upto + inside
        if r >= under and s < upto:
            return low, low
        if r >= below and s < within:
            return high, high
        if s < under:
            inside, upto = _cut(a, m, -inf, low, other, 0, counts), 0
        elif r >= within:
            inside, upto = _cut(a, m, high, inf, other, 0, counts), within
        elif r < upto or s >= below:
            return _straddling(a, m, s, low, under) if r < upto else _straddling(a, m, s, high, below)
        a, other = other, a
        m, r, s = inside, r - upto, s - upto
    _sort(a, m)
    return a[r], a[s]


@njit
def _capacity(m):
    """Values of one of m rows' columns that are kept at most, and room for a block: likely are 1.2 m ** 0.75."""
    return PITCH + m // 8


@njit
def _ends(X, rows, f, columns, block, other, tools, ends):
    """ends [columns, 2] OUT: of each column, two values that are likely to have the middle ones between them."""
    m = len(rows)
    size = min(np.intp(4.0 * np.sqrt(m)), SAMPLE)
    picked, part = np.empty(size, rows.dtype), np.empty(size + LANES, X.dtype)
    for i in range(size):
        picked[i] = rows[i * m // size]
    _gather(X, picked, 0, size, f, columns, block)
    away = np.intp(SPREAD * np.sqrt(size))
    for c in range(columns):
        for end in range(2):
            for i in range(size):
                part[i] = block[c, i]
            rank = size // 2 + (2 * end - 1) * away
            ends[c, end] = _two(part, size, rank, rank, other, *tools)[0]


@njit
def _large(X, rows, f, columns, block, kept, other, tools, one, two):
    """As `_strip`, for more rows than a block holds; kept [columns * capacity]: to work in."""
    m, room = len(rows), _capacity(len(rows))
    ends, counts, at = np.empty((columns, 2), X.dtype), np.zeros((columns, 3), np.int64), np.zeros(columns, np.int64)
    _ends(X, rows, f, columns, block, other, tools, ends)
    for first in range(0, m, BLOCK):
        size = min(BLOCK, m - first)
        _gather(X, rows, first, first + size, f, columns, block)
        for c in range(columns):
            if at[c] + size + LANES > room:  # misled by the sample: nothing more is kept
                at[c] = room
                continue
            mine = kept[c * room : (c + 1) * room]
            at[c] = _cut(block[c], size, ends[c, 0], ends[c, 1], mine, at[c], counts[c])
    for c in range(columns):
        r, s, low, high, (under, upto, within) = (m - 1) // 2, m // 2, ends[c, 0], ends[c, 1], counts[c]
        below, told = upto + at[c], at[c] < room
        if told and r >= upto and s < below:
            mine = kept[c * room : (c + 1) * room]
            one[f + c], two[f + c] = _two(mine, at[c], r - upto, s - upto, other, *tools)
        elif told and r >= under and s < upto:
            one[f + c] = two[f + c] = low
        elif told and r >= below and s < within:
            one[f + c] = two[f + c] = high
        else:  # misled, or one of the two is an end
            column = np.empty((1, m), X.dtype)
            _gather(X, rows, 0, m, f + c, 1, column)
            one[f + c] = value(column[0], r, -1, low, 0, m - 1)
            two[f + c] = value(column[0], s, -1, low, r, m - 1)


@njit
def _strip(X, rows, f, columns, block, kept, other, tools, one, two):
    """The middle values of features f, f + 1, ... of the rows; one, two [d] OUT."""
    m = len(rows)
    if m > BLOCK:
        _large(X, rows, f, columns, block, kept, other, tools, one, two)
        return
    _gather(X, rows, 0, m, f, columns, block)
    for c in range(columns):
        one[f + c], two[f + c] = _two(block[c], m, (m - 1) // 2, m // 2, other, *tools)


@njit(parallel=True, cache=CACHE, nogil=True)
def select_pass(X, order, start, one, two, threads):
    """X [n, d], order u32 [n], start i64 [k + 1] IN; one, two [k, d] OUT: the values in the middle of each cluster.
    Clusters without rows are left alone.
    """
    (k, d), work = one.shape, start[-1] * one.shape[1]
    for t in prange(threads):
        block, tools = np.empty((min(COLUMNS, d), PITCH), X.dtype), (np.empty(TRIED, X.dtype), np.empty(3, np.int64))
        kept, other, done = np.empty(0, X.dtype), np.empty(PITCH, X.dtype), 0
        for j in range(k):
            rows = order[start[j] : start[j + 1]]
            m = len(rows)
            room = _capacity(m)
            columns = max(1, min(COLUMNS, d, ROOM // room))
            if m > BLOCK and len(kept) < columns * room:
                kept = np.empty(columns * room, X.dtype)
            if m > BLOCK and len(other) < room:
                other = np.empty(room, X.dtype)
            for f in range(0, d if m else 0, columns):
                if work * t <= done * threads < work * (t + 1):
                    _strip(X, rows, f, min(columns, d - f), block, kept, other, tools, one[j], two[j])
                done += m * min(columns, d - f)
