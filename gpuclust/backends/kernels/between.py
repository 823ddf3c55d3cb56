"""Sums of the distances from rows to all rows of a cluster: tiles of 16 rows against a few at a time.

Differences are taken directly, in the rows' own precision, so that a constant added to a feature costs no digits; the
distances are added up in float64, one row after the other: no sum depends on where tiles, blocks or threads begin.
"""

import numpy as np
from llvmlite import ir
from numba import njit, prange, types
from numba.core import cgutils
from numba.extending import intrinsic

from . import CACHE
from .tile import LANES, _data, _fma, _scores, _splat

WIDTH = 4  # rows that a tile is compared with at once


def _root(builder, v):
    kind = ir.FunctionType(v.type, [v.type])
    name = f"llvm.sqrt.v{v.type.count}{v.type.element.intrinsic_name}"
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [v])


def _totals(op):
    def codegen(context, builder, signature, args):
        kinds = signature.args
        xt, panel, p_off, real_rows, r_off, d, total = args
        real = context.get_value_type(kinds[0].dtype)
        vec, wide = ir.VectorType(real, LANES), ir.VectorType(ir.DoubleType(), LANES)
        zero = ir.Constant(ir.IntType(64), 0)
        scores = _scores(
            context, builder, op, WIDTH, _data(context, builder, kinds[0], xt, zero),
            _data(context, builder, kinds[1], panel, p_off), None, d, vec,
        )  # fmt: skip
        place = builder.bitcast(_data(context, builder, kinds[6], total, zero), wide.as_pointer())
        found = builder.load(place, align=8)
        base = _data(context, builder, kinds[3], real_rows, r_off)
        for c, v in enumerate(scores):
            v = _root(builder, v) if op == "diff" else v
            v = v if vec == wide else builder.fpext(v, wide)
            counts = builder.load(builder.gep(base, [ir.Constant(ir.IntType(64), c)]))
            found = _fma(builder, v, _splat(builder, counts, wide), found)
        builder.store(found, place, align=8)
        return context.get_dummy_value()

    def typed(typingctx, xt, panel, p_off, real_rows, r_off, d, total):
        i = types.intp
        return types.void(xt, panel, i, real_rows, i, i, total), codegen

    return typed


# (xt, panel, p_off, real, r_off, d, total): xt [d, 16], panel [d, WIDTH] from p_off, real f64 [WIDTH] from r_off (1, or
# 0 for padding); total f64 [16] += the distances to the panel's rows, one after the other.
_tile_l2 = intrinsic(_totals("diff"))
_tile_l1 = intrinsic(_totals("abs"))


@njit(parallel=True, cache=CACHE, nogil=True)
def add_pass(X, scale, panels, real, start, first, out, l1, threads):
    """out f64 [n, k] IN OUT: out[i, first + c] += sum of the distances of X's row i to panels start[c] .. start[c + 1].

    Panels [P * d * WIDTH] are scaled already; real f64 [P * WIDTH] is 0 for their padding and 1 for rows.
    """
    n, d = X.shape
    tiles = (n + LANES - 1) // LANES
    for t in prange(threads):
        xt, total = np.empty(d * LANES, X.dtype), np.empty(LANES)
        for tile in range(tiles * t // threads, tiles * (t + 1) // threads):
            row0 = tile * LANES
            for lane in range(LANES):
                row = X[min(row0 + lane, n - 1)]
                for f in range(d):
                    xt[f * LANES + lane] = row[f] * scale
            lanes = min(LANES, n - row0)
            for c in range(start.shape[0] - 1):
                for lane in range(LANES):
                    total[lane] = out[min(row0 + lane, n - 1), first + c]
                for p in range(start[c], start[c + 1]):
                    if l1:
                        _tile_l1(xt, panels, p * d * WIDTH, real, p * WIDTH, d, total)
                    else:
                        _tile_l2(xt, panels, p * d * WIDTH, real, p * WIDTH, d, total)
                for lane in range(lanes):
                    out[row0 + lane, first + c] = total[lane]
