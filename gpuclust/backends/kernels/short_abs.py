"""Manhattan scores in 16-bit integers: a first look, about three times as fast as float32.

A row x becomes q = round(x / unit), a centre p likewise; |q - p| = 2 max(q, p) - q - p, so that v = -floor(sum q / 2) -
floor(sum p / 2) + sum max(q, p) is half their distance, or up to 1 more. Sums may leave 16 bits on the way: v is right
modulo 2^16, and below that as long as neither row nor centre is longer than MOST. What rounding moved the row and any
centre by is counted and subtracted: no score is too high, and the best one is too low by twice that at most. Rows that
this leaves in doubt, and rows that are too long, are scored again in float32: labels do not depend on it.
"""

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from .bounds import DOWN, INF, UP
from .tile import I32, I64, LANES, PANEL, _data, _fabs, _splat

MOST = np.float32(32700)  # units: Manhattan length of a row and of a centre
TYPICAL = 7000.0  # of half of the centres at most
ROUNDED = 2.2  # units by which v, taken twice, may be off from |q - p|, and what float32 adds to it
PAIR = 2 * LANES  # rows of a tile
MAGIC = 1.5 * 2.0**23  # adding it leaves the rounded integer in the low bits
I16 = ir.IntType(16)
SHORTS, WORDS, REALS = (ir.VectorType(kind, LANES) for kind in (I16, I32, ir.FloatType()))


def _place(context, builder, kind, array, at, vector):
    return builder.bitcast(_data(context, builder, kind, array, at), vector.as_pointer())


@intrinsic
def shorten16(typingctx, xt, x_off, d, per_unit, short, s_off, error, half, r_off):
    """short i16 [d, 32] from s_off <- 16 of its 32 lanes: xt f32 [d, 16] from x_off, in units, rounded; error f32, half
    i16 [16] from r_off <- what that moved the rows by, and -floor(sum q / 2).
    """
    i = types.intp

    def codegen(context, builder, signature, args):
        kinds = signature.args
        xt, x_off, d, per_unit, short, s_off, error, half, r_off = args
        rows = _data(context, builder, kinds[0], xt, x_off)
        out = _data(context, builder, kinds[4], short, s_off)
        factor, magic = _splat(builder, per_unit, REALS), ir.Constant(REALS, [MAGIC] * LANES)
        zero = builder.bitcast(magic, WORDS)
        off, total = cgutils.alloca_once(builder, REALS), cgutils.alloca_once(builder, WORDS)
        builder.store(ir.Constant(REALS, [0.0] * LANES), off)
        builder.store(ir.Constant(WORDS, [0] * LANES), total)
        with cgutils.for_range(builder, d) as loop:
            row = builder.gep(rows, [builder.mul(loop.index, ir.Constant(I64, LANES))])
            value = builder.fmul(builder.load(builder.bitcast(row, REALS.as_pointer()), align=4), factor)
            raised = builder.fadd(value, magic)
            away = _fabs(builder, builder.fsub(value, builder.fsub(raised, magic)))
            builder.store(builder.fadd(builder.load(off), away), off)
            whole = builder.sub(builder.bitcast(raised, WORDS), zero)
            builder.store(builder.add(builder.load(total), whole), total)
            place = builder.gep(out, [builder.mul(loop.index, ir.Constant(I64, PAIR))])
            builder.store(builder.trunc(whole, SHORTS), builder.bitcast(place, SHORTS.as_pointer()), align=2)
        builder.store(builder.load(off), _place(context, builder, kinds[6], error, r_off, REALS), align=4)
        floor = builder.ashr(builder.load(total), ir.Constant(WORDS, [1] * LANES))
        place = _place(context, builder, kinds[7], half, r_off, SHORTS)
        builder.store(builder.trunc(builder.neg(floor), SHORTS), place, align=2)
        return context.get_dummy_value()

    return types.void(xt, i, i, types.float32, short, i, error, half, i), codegen


@intrinsic
def tile_short_abs(typingctx, short, s_off, panel, p_off, base, half, j0, d, one, two, index, r_off):
    """Best two of 32 rows against 6 centres, all 16 bits: short [d, 32] from s_off, panel i32 [d, 6] from p_off (each
    number twice), base i32 from j0; half, one, two, index [32] from r_off.
    """
    i = types.intp

    def codegen(context, builder, signature, args):
        kinds = signature.args
        short, s_off, panel, p_off, base, half, j0, d, one, two, index, r_off = args
        rows = _data(context, builder, kinds[0], short, s_off)
        centres = _data(context, builder, kinds[2], panel, p_off)
        starts = _data(context, builder, kinds[4], base, builder.sext(j0, I64))
        places = [builder.add(r_off, ir.Constant(I64, at)) for at in range(0, PAIR, LANES)]
        own = [builder.load(_place(context, builder, kinds[5], half, at, SHORTS), align=2) for at in places]
        accs = [[cgutils.alloca_once(builder, SHORTS) for _ in own] for _ in range(PANEL)]
        for c, some in enumerate(accs):
            start = _twice(builder, starts, ir.Constant(I64, c))
            for acc, add in zip(some, own, strict=True):
                builder.store(builder.add(start, add), acc)
        with cgutils.for_range(builder, d) as loop:
            at = builder.mul(loop.index, ir.Constant(I64, PAIR))
            lines = [builder.gep(rows, [builder.add(at, ir.Constant(I64, lane))]) for lane in range(0, PAIR, LANES)]
            xs = [builder.load(builder.bitcast(line, SHORTS.as_pointer()), align=2) for line in lines]
            at = builder.mul(loop.index, ir.Constant(I64, PANEL))
            for c, some in enumerate(accs):
                coef = _twice(builder, centres, builder.add(at, ir.Constant(I64, c)))
                for x, acc in zip(xs, some, strict=True):
                    larger = builder.select(builder.icmp_signed(">", x, coef), x, coef)
                    builder.store(builder.add(builder.load(acc), larger), acc)
        for v, at in enumerate(places):
            arrays = [_place(context, builder, kinds[8 + n], a, at, SHORTS) for n, a in enumerate((one, two, index))]
            _keep_least(builder, [builder.load(some[v]) for some in accs], j0, arrays)
        return context.get_dummy_value()

    return types.void(short, i, panel, i, base, half, types.int32, i, one, two, index, i), codegen


def _twice(builder, table, at):
    """A number that stands twice in 32 bits, in all lanes."""
    whole = builder.load(builder.gep(table, [at]))
    return builder.bitcast(_splat(builder, whole, ir.VectorType(I32, LANES // 2)), SHORTS)


def _keep_least(builder, scores, j0, places):
    """`tile._keep_two` for unsigned integers."""
    one, two, index = (builder.load(place, align=2) for place in places)
    first = builder.trunc(j0, I16)
    for c, v in enumerate(scores):
        less = builder.icmp_unsigned("<", v, one)
        loser = builder.select(less, one, v)
        two = builder.select(builder.icmp_unsigned("<", loser, two), loser, two)
        one = builder.select(less, v, one)
        index = builder.select(less, _splat(builder, builder.add(first, ir.Constant(I16, c)), SHORTS), index)
    for value, place in zip((one, two, index), places, strict=True):
        builder.store(value, place, align=2)


@njit
def score_short_abs(room, tiles, d, cen, start, stop):
    """room.least [3] <- the best two of the centres in panels start .. stop, in half units, and the best's index, for
    every row of room.xt [tiles, d, 16]; room.laid[0] <- what rounding moved the rows by, in units.
    """
    pairs, least, half = (tiles + 1) // 2, room.least, room.least[3].view(np.int16)
    for t in range(2 * pairs):
        x_off, s_off = min(t, tiles - 1) * LANES * d, t // 2 * PAIR * d + t % 2 * LANES
        shorten16(room.xt, x_off, d, cen.per_unit, room.halves, s_off, room.laid[0], half, t * LANES)
    least[:2, : pairs * PAIR], least[2, : pairs * PAIR] = 65535, 0
    for p in range(start, stop):
        at, j0 = p * PANEL * d, np.int32(p * PANEL)
        for t in range(pairs):
            tile_short_abs(
                room.halves, t * PAIR * d, cen.short, at, cen.base, half, j0, d, least[0], least[1], least[2], t * PAIR
            )  # fmt: skip


@njit
def least_scores(room, m, norm, cen, first, second, index, error):
    """first, second <- lower bounds of the best two distances that `score_short_abs` found for m rows of norms `norm`;
    index; error <- half of what the best may be too low by: +inf for a row that was too long to be scored, and where
    one of the centres that are too long, which are no nearer than beyond - |x|, may be the nearest.
    """
    unit, laid, one, best = np.float32(1) / cen.per_unit, room.laid[0], room.least[0], room.least[2]
    for s in range(m):  # a few arrays a loop: with more LLVM does not see that they are apart, and uses no vectors
        sure = norm[s] * cen.per_unit < MOST and _distance(one[s], unit) < (cen.beyond - norm[s] * UP) * DOWN
        error[s] = (laid[s] * np.float32(1.01) + cen.astray) * unit if sure else INF
    for s in range(m):
        first[s] = max(_distance(one[s], unit) - error[s], np.float32(0))
    two = room.least[1]
    for s in range(m):
        far = (cen.beyond - norm[s] * UP) * DOWN
        second[s] = max(min(_distance(two[s], unit) - error[s], far), np.float32(0))
    for s in range(m):
        index[s] = np.int32(best[s])


@njit
def _distance(halves, unit):
    return np.float32(2 * np.int32(halves)) * unit


@njit
def slack_abs(m, cen, best, error, slack):
    """slack [m] <- how much too low the scores of the best centres may be."""
    for r in range(m):
        slack[r] = np.float32(2) * error[r] + cen.lengths[np.uintp(best[r])]
