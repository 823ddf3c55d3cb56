"""A sparse row times a table: out += sum over nonzeros of x * table[place], 8 columns to a vector.

LLVM does not keep a run-time number of accumulators in registers, so the loop over nonzeros is emitted as explicit
vector code for strips of 8, 16, 32 and 64 columns. A row goes through the same operations wherever it stands.
"""

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from .tile import I64, _data, _fma, _splat

WIDTH = 8  # columns of a table are padded to whole vectors


def _value(builder, kind, x, scale, real):
    """The nonzero in float64, scaled, rounded to the table's type."""
    if kind.bitwidth == 32:
        x = builder.fpext(x, ir.DoubleType())
    x = builder.fmul(x, scale)
    return builder.fptrunc(x, real) if isinstance(real, ir.FloatType) else x


def _strip(vectors):
    def codegen(context, builder, signature, args):
        kinds = signature.args
        value, place, start, stop, scale, table, pitch, offset, out = args
        real = context.get_value_type(kinds[5].dtype)
        vec, size = ir.VectorType(real, WIDTH), real.get_abi_size(context.target_data)
        target = builder.bitcast(_data(context, builder, kinds[8], out, offset), vec.as_pointer())
        base = _data(context, builder, kinds[5], table, offset)
        lanes = [ir.Constant(I64, c) for c in range(vectors)]
        accs = [cgutils.alloca_once(builder, vec) for _ in lanes]
        for c, acc in zip(lanes, accs, strict=True):
            builder.store(builder.load(builder.gep(target, [c]), align=size), acc)
        with cgutils.for_range(builder, stop, start=start) as loop:
            at = builder.load(_data(context, builder, kinds[1], place, loop.index))
            at = builder.sext(at, I64) if at.type.width < 64 else at
            x = builder.load(_data(context, builder, kinds[0], value, loop.index))
            x = _splat(builder, _value(builder, kinds[0].dtype, x, scale, real), vec)
            row = builder.bitcast(builder.gep(base, [builder.mul(at, pitch)]), vec.as_pointer())
            for c, acc in zip(lanes, accs, strict=True):
                entry = builder.load(builder.gep(row, [c]), align=size)
                builder.store(_fma(builder, entry, x, builder.load(acc)), acc)
        for c, acc in zip(lanes, accs, strict=True):
            builder.store(builder.load(acc), builder.gep(target, [c]), align=size)
        return context.get_dummy_value()

    @intrinsic
    def strip(typingctx, value, place, start, stop, scale, table, pitch, offset, out):
        i = types.intp
        return types.void(value, place, i, i, types.float64, table, i, i, out), codegen

    return strip


_strip1, _strip2, _strip4, _strip8 = _strip(1), _strip(2), _strip(4), _strip(8)


@njit
def add_products(value, place, start, stop, scale, table, out):
    """out [width] += sum over start <= p < stop of scale * value[p] * table[place[p]].

    value f32 or f64, place i32 or i64, table f32 or f64 [places * width] flat, width a multiple of 8.
    """
    width, at = out.shape[0], 0
    while width - at >= 64:
        _strip8(value, place, start, stop, scale, table, width, at, out)
        at += 64
    if width - at >= 32:
        _strip4(value, place, start, stop, scale, table, width, at, out)
        at += 32
    if width - at >= 16:
        _strip2(value, place, start, stop, scale, table, width, at, out)
        at += 16
    if width - at >= 8:
        _strip1(value, place, start, stop, scale, table, width, at, out)


@njit
def square_norm(value, start, stop, scale):
    """Sum of (scale * value)^2, in order."""
    total = 0.0
    for p in range(start, stop):
        x = np.float64(value[p]) * scale
        total += x * x
    return total
