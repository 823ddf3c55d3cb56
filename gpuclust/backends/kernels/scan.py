"""Range and sums of a chunk in one pass; sums are double-double (Ogita, Rump and Oishi, "Accurate sum", 2005)."""

import numpy as np
from llvmlite import ir
from numba import njit, prange, types
from numba.core import cgutils
from numba.extending import intrinsic

from . import CACHE
from .sums import two_sum
from .tile import _data

LOW, HIGH, LEAST, SUM, SUM_E = range(5)
FIELDS = 5
STRIP = 8  # features whose accumulators stay in registers
ROWS = 64  # rows of a strip: read once from memory, then from the cache


@intrinsic
def _strip(typingctx, X, start, f, rows, pitch, origin, out, columns):
    """Fold X[start : start + rows, f : f + 8] into out [FIELDS, columns]; all eight columns exist."""
    i = types.intp

    def codegen(context, builder, signature, args):
        kinds = signature.args
        X, start, f, rows, pitch, origin, out, columns = args
        real = context.get_value_type(kinds[0].dtype)
        vec, wide = ir.VectorType(real, STRIP), ir.VectorType(ir.DoubleType(), STRIP)
        size = real.get_abi_size(context.target_data)
        at = builder.add(builder.mul(start, pitch), f)
        data = _data(context, builder, kinds[0], X, at)
        zero = builder.load(builder.bitcast(_data(context, builder, kinds[5], origin, f), wide.as_pointer()), align=8)
        inf = ir.Constant(vec, [float("inf")] * STRIP)
        offsets = [builder.add(builder.mul(columns, ir.Constant(columns.type, r)), f) for r in range(FIELDS)]
        places = [builder.bitcast(_data(context, builder, kinds[6], out, o), wide.as_pointer()) for o in offsets]
        accs = [cgutils.alloca_once(builder, kind) for kind in (vec, vec, vec, wide, wide)]
        for acc, place in zip(accs, places, strict=True):
            value = builder.load(place, align=8)
            kind = acc.type.pointee
            builder.store(value if kind == wide else builder.fptrunc(value, vec), acc)
        with cgutils.for_range(builder, rows) as loop:
            row = builder.gep(data, [builder.mul(loop.index, pitch)])
            x = builder.load(builder.bitcast(row, vec.as_pointer()), align=size)
            low, high, least, total, rest = (builder.load(acc) for acc in accs)
            low = builder.select(builder.fcmp_ordered("<", x, low), x, low)
            high = builder.select(builder.fcmp_ordered(">", x, high), x, high)
            none = ir.Constant(vec, [0.0] * STRIP)
            magnitude = builder.select(builder.fcmp_ordered("<", x, none), builder.fsub(none, x), x)
            magnitude = builder.select(builder.fcmp_ordered("==", x, none), inf, magnitude)
            least = builder.select(builder.fcmp_ordered("<", magnitude, least), magnitude, least)
            r = builder.fsub(x if real == ir.DoubleType() else builder.fpext(x, wide), zero)
            s = builder.fadd(total, r)
            t = builder.fsub(s, total)
            lost = builder.fadd(builder.fsub(total, builder.fsub(s, t)), builder.fsub(r, t))
            for value, acc in zip((low, high, least, s, builder.fadd(rest, lost)), accs, strict=True):
                builder.store(value, acc)
        for acc, place in zip(accs, places, strict=True):
            value = builder.load(acc)
            builder.store(value if value.type == wide else builder.fpext(value, wide), place, align=8)
        return context.get_dummy_value()

    return types.void(X, i, i, i, i, origin, out, i), codegen


@njit
def blank(d):
    out = np.zeros((FIELDS, d))
    out[LOW], out[HIGH], out[LEAST] = np.inf, -np.inf, np.inf
    return out


@njit
def fill(out, values):
    """out <- values, of the same shape. An assignment of arrays is no more than this, but the message of its error is
    more code than most kernels.
    """
    for r in range(values.shape[0]):
        for f in range(values.shape[1]):
            out[r, f] = values[r, f]


@njit
def add_value(x, r, f, out):
    """Fold one value x, r = x - origin, into column f."""
    out[LOW, f] = min(out[LOW, f], x)
    out[HIGH, f] = max(out[HIGH, f], x)
    if x != 0.0 and abs(x) < out[LEAST, f]:
        out[LEAST, f] = abs(x)
    out[SUM, f], lost = two_sum(out[SUM, f], r)
    out[SUM_E, f] += lost


@njit(fastmath={"reassoc", "contract"})
def _square(X, i, origin):
    """Squared distance of row i to the origin; the same instructions for every row."""
    total = 0.0
    for f in range(X.shape[1]):
        r = np.float64(X[i, f]) - origin[f]
        total += r * r
    return total


@njit(parallel=True, cache=CACHE, nogil=True)
def scan_pass(X, origin, out, square, threads):
    """out f64 [threads, FIELDS, d] OUT: range and sums about `origin`; square f64 [threads, 2] OUT: sum of squares."""
    n, d = X.shape
    whole = d // STRIP * STRIP
    for t in prange(threads):
        mine, hi, lo = blank(d), 0.0, 0.0
        for start in range(t * ROWS, n, threads * ROWS):
            rows = min(ROWS, n - start)
            for f in range(0, whole, STRIP):
                _strip(X, start, f, rows, d, origin, mine, d)
            for i in range(start, start + rows):
                for f in range(whole, d):
                    x = np.float64(X[i, f])
                    add_value(x, x - origin[f], f, mine)
                hi, lost = two_sum(hi, _square(X, i, origin))
                lo += lost
        fill(out[t], mine)
        square[t, 0], square[t, 1] = hi, lo
