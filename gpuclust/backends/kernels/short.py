"""Scores in 16-bit integers: a first look, about one and a half times as fast as float32.

A row x becomes round(x LENGTH / |x|), a centre likewise, so that no partial sum of their products leaves 32 bits
(Cauchy-Schwarz); |c|^2 - 2 x.c follows from the integer product and the two lengths. What rounding moved the row and
any centre by, as shares of their lengths, are counted; e, twice their sum, times |x||c| bounds the error, and is
subtracted. So no score is too high, and the best one is at most 2 e |x||c| too low. Rows that this leaves in doubt are
scored again in float32: labels do not depend on it.
"""

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from .bounds import INF
from .pack import tile_rows
from .tile import I32, I64, LANES, PANEL, _data, _fma, _keep_two, _splat

LENGTH = 32700.0  # of a row and of a centre in integers
LEAST = np.float32(1e-15)  # rows that are shorter are taken as this long: `TINY` of the margin covers their error
MAGIC = np.float32(1.5 * 2**23)  # adding it leaves the rounded integer in the low bits
WORD = 8  # products of pairs in one vector
I16 = ir.IntType(16)


@intrinsic
def _low_bits(typingctx, value):
    """The low 16 bits of a float32."""

    def codegen(context, builder, signature, args):
        return builder.trunc(builder.bitcast(args[0], I32), I16)

    return types.int16(types.float32), codegen


@njit
def short_pitch(d):
    """d, rounded up to whole vectors of 16 integers."""
    return (d + 15) // 16 * 16


@njit(fastmath={"reassoc", "contract"})
def _shorten(row, scale, out):
    """out i16 <- row * scale, rounded; the sum of the squares that this rounded off."""
    lost = np.float32(0)
    for f in range(row.shape[0]):
        value = row[f] * scale
        whole = _low_bits(value + MAGIC)
        off = value - np.float32(whole)
        lost += off * off
        out[f] = whole
    for f in range(row.shape[0], out.shape[0]):
        out[f] = 0
    return lost


@njit
def shorten_rows(line, m, norm, astray, short, factor, error):
    """short i16 [m, pitch] <- the rows of `line` in integers; factor [m] <- what turns each back; error [m] <- of its
    products with any centre, in the same units. `astray`: the largest share of its length that a centre was moved by.
    """
    for r in range(m):
        length = max(np.sqrt(norm[r]), LEAST)
        factor[r] = length * np.float32(1.0 / LENGTH)
        lost = np.sqrt(_shorten(line[r], np.float32(LENGTH) / length, short[r]))
        error[r] = length * np.float32(1.05) * (lost + astray * np.float32(LENGTH))


@njit
def lay_short(room, chosen, m, d):
    """Lay rows chosen[:m] out as tiles for `score_short`."""
    tile_rows(room.pairs, chosen, m, (d + 1) // 2, room.xt)
    for s in range((m + LANES - 1) // LANES * LANES):
        r = chosen[min(s, m - 1)]
        room.laid[0, s], room.laid[1, s] = room.factor[r], room.error[r]


@njit
def score_short(room, m, d, cen, start, stop, first, second, index):
    """Best two of the centres in panels start .. stop for the m rows that were laid out."""
    places, pairs = (m + LANES - 1) // LANES * LANES, (d + 1) // 2
    first[:places], second[:places], index[:places] = INF, INF, 0
    factor, error = room.laid[0], room.laid[1]
    for p in range(start, stop):
        at, j0 = p * PANEL * pairs, np.int32(p * PANEL)
        for t in range(0, places, LANES):
            tile_short(
                room.xt, t * pairs, cen.short, at, cen.lengths, cen.norms, j0, pairs, factor, error, first, second,
                index, t,
            )  # fmt: skip


@njit
def short_slack(m, cen, best, error, slack):
    """slack [m] <- how much too low the scores of the best centres may be."""
    for r in range(m):
        slack[r] = np.float32(-2) * cen.lengths[best[r]] * error[r]


def _add_products(builder, acc, x, c):
    """acc i32 [8] + x_0 c_0 + x_1 c_1 of every pair of x and c, i16 [16]."""
    both, half = ir.VectorType(I32, 2 * WORD), ir.VectorType(I32, WORD)
    product = builder.mul(builder.sext(x, both), builder.sext(c, both))
    parts = (
        builder.shuffle_vector(product, product, ir.Constant(half, list(range(odd, 2 * WORD, 2)))) for odd in (0, 1)
    )
    return builder.add(acc, builder.add(*parts))


def _load(builder, base, at, vector):
    return builder.load(builder.bitcast(builder.gep(base, [at]), vector.as_pointer()), align=4)


@intrinsic
def tile_short(
    typingctx, xt, x_off, short, p_off, lengths, norms, j0, pairs, factor, error, first, second, index, r_off
):
    """Best two of 16 rows against 6 centres: xt [pairs, 16] from x_off, short i32 [pairs, 6] from p_off, two i16 each;
    lengths, norms from j0; factor, error, first, second, index from r_off.
    """
    i = types.intp

    def codegen(context, builder, signature, args):
        kinds = signature.args
        xt, x_off, short, p_off, lengths, norms, j0, pairs, factor, error, first, second, index, r_off = args
        pair, word = ir.VectorType(I16, 2 * WORD), ir.VectorType(I32, WORD)
        real = ir.VectorType(ir.FloatType(), WORD)
        accs = [[cgutils.alloca_once(builder, word) for _ in range(LANES // WORD)] for _ in range(PANEL)]
        for acc in (acc for some in accs for acc in some):
            builder.store(ir.Constant(word, [0] * WORD), acc)
        rows = _data(context, builder, kinds[0], xt, x_off)
        panel = _data(context, builder, kinds[2], short, p_off)
        with cgutils.for_range(builder, pairs) as loop:
            row = builder.mul(loop.index, ir.Constant(I64, LANES))
            xs = [_load(builder, rows, builder.add(row, ir.Constant(I64, at)), pair) for at in range(0, LANES, WORD)]
            at = builder.mul(loop.index, ir.Constant(I64, PANEL))
            for c, some in enumerate(accs):
                coef = builder.load(builder.gep(panel, [builder.add(at, ir.Constant(I64, c))]))
                coef = builder.bitcast(_splat(builder, coef, word), pair)
                for x, acc in zip(xs, some, strict=True):
                    builder.store(_add_products(builder, builder.load(acc), x, coef), acc)
        j64 = builder.sext(j0, I64)
        length, norm = (_data(context, builder, kinds[at], array, j64) for at, array in ((4, lengths), (5, norms)))
        for half in range(LANES // WORD):
            at, scores = builder.add(r_off, ir.Constant(I64, half * WORD)), []
            back, wrong = (
                _load(builder, _data(context, builder, kinds[which], array, at), ir.Constant(I64, 0), real)
                for which, array in ((8, factor), (9, error))
            )
            for c, some in enumerate(accs):
                own, base = (
                    _splat(builder, builder.load(builder.gep(table, [ir.Constant(I64, c)])), real)
                    for table in (length, norm)
                )
                product = _fma(builder, builder.sitofp(builder.load(some[half]), real), back, wrong)
                scores.append(_fma(builder, product, own, base))
            _keep_two(context, builder, scores, j0, zip(kinds[10:13], (first, second, index), strict=True), at)
        return context.get_dummy_value()

    return types.void(xt, i, short, i, lengths, norms, types.int32, i, factor, error, first, second, index, i), codegen
