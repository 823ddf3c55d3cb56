"""Sums that do not depend on their order (Demmel and Nguyen, "Parallel reproducible summation", 2015, section 3).

A value is cut into K pieces, each a multiple of a fixed power of two of its feature, so that every partial sum of
each piece is exact in float64. Exact sums may be added, subtracted and merged in any order: thread, chunk and shard
counts cannot show, and rows that change cluster are subtracted from one and added to the other without any drift.
"""

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from .tile import _data, fma

STRIP = 8  # columns that are cut at once


@intrinsic
def _cut_strips(typingctx, X, at, strips, magic, sums, plus, minus, columns, levels):
    """sums[plus:] += pieces, sums[minus:] -= pieces of 8 * strips values X[at:]; magic, sums [levels, columns]."""
    i = types.intp

    def codegen(context, builder, signature, args):
        kinds = signature.args
        X, at, strips, magic, sums, plus, minus, columns, levels = args
        real = context.get_value_type(kinds[0].dtype)
        vec, wide = ir.VectorType(real, STRIP), ir.VectorType(ir.DoubleType(), STRIP)
        size = real.get_abi_size(context.target_data)
        rest = cgutils.alloca_once(builder, wide)

        def pointer(kind, array, offset, vector):
            return builder.bitcast(_data(context, builder, kind, array, offset), vector.as_pointer())

        with cgutils.for_range(builder, strips) as strip:
            f = builder.mul(strip.index, ir.Constant(strip.index.type, STRIP))
            x = builder.load(pointer(kinds[0], X, builder.add(at, f), vec), align=size)
            builder.store(x if real == ir.DoubleType() else builder.fpext(x, wide), rest)
            with cgutils.for_range(builder, levels) as level:
                place = builder.add(builder.mul(level.index, columns), f)
                anchor = builder.load(pointer(kinds[3], magic, place, wide), align=8)
                value = builder.load(rest)
                piece = builder.fsub(builder.fadd(value, anchor), anchor)
                builder.store(builder.fsub(value, piece), rest)
                high, low = (pointer(kinds[4], sums, builder.add(side, place), wide) for side in (plus, minus))
                builder.store(builder.fadd(builder.load(high, align=8), piece), high, align=8)
                builder.store(builder.fsub(builder.load(low, align=8), piece), low, align=8)
        return context.get_dummy_value()

    return types.void(X, i, i, magic, sums, i, i, i, i), codegen


@njit(inline="always")
def _cut(value, f, magic, sums, plus, minus):
    """The pieces of a value of column f, into sums[plus:] and out of sums[minus:], where there is such a cluster."""
    levels, columns = magic.shape
    for b in range(levels):
        anchor, at = magic[b, f], b * columns + f
        piece = (value + anchor) - anchor
        value -= piece
        sums[np.uintp(plus + at)] += piece
        if minus >= 0:
            sums[np.uintp(minus + at)] -= piece


@njit(inline="always")
def move_row(X, i, weight, magic, sums, plus, minus):
    """Move row i from the sums at offset `minus` (or from nowhere, below 0) to those at `plus`, both [K, d + 1].

    Column d is the mass. The last [K, d + 1] of `sums` takes what comes from nowhere, or is left alone.
    """
    d = X.shape[1]
    if weight.shape[0] == 0:
        strips = d // STRIP
        if strips:
            source = minus if minus >= 0 else sums.shape[0] - magic.size
            _cut_strips(X, i * d, strips, magic, sums, plus, source, d + 1, magic.shape[0])
        for f in range(strips * STRIP, d):
            _cut(np.float64(X[i, f]), f, magic, sums, plus, minus)
        sums[plus + d] += 1.0
        if minus >= 0:
            sums[minus + d] -= 1.0
        return
    w = weight[i]
    for f in range(d):
        x = np.float64(X[i, f])
        product = w * x
        _cut(product, f, magic, sums, plus, minus)
        _cut(fma(w, x, -product), f, magic, sums, plus, minus)
    _cut(w, d, magic, sums, plus, minus)


@njit(inline="always")
def add_pieces(w, magic, sums, at):
    """sums[at : at + K] += the exact pieces of a weight; magic f64 [K]."""
    for b in range(magic.shape[0]):
        piece = (w + magic[b]) - magic[b]
        w -= piece
        sums[at + b] += piece


@njit
def two_sum(a, b):
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)
