"""Register tiles: 16 rows against a few centres, nothing of n x k stored.

LLVM does not keep a block of accumulators in registers by itself, so the innermost loops are emitted as explicit
vector code: one vector of 16 rows and one broadcast coefficient feed each fused multiply-add (6 centres x 16 rows are
twelve 256-bit registers). Every row goes through the same operations in the same order wherever it stands in the
data: a score never depends on the chunk or the thread that the row came in.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 16  # rows of a tile
PANEL = 6  # centres of an assignment tile
TRIALS = 3  # centres of a seeding tile: sub + fma per pair fill the ports with three
WIDE = 256  # features from which rows are taken as they lie, four at a time: transposing them costs more than it saves
QUAD = 4  # rows of a wide tile, against TRIALS centres
I32, I64 = ir.IntType(32), ir.IntType(64)


def _data(context, builder, array_type, array, offset):
    return builder.gep(context.make_array(array_type)(context, builder, array).data, [offset])


def _splat(builder, scalar, vector):
    undefined = ir.Constant(vector, ir.Undefined)
    one = builder.insert_element(undefined, scalar, ir.Constant(I32, 0))
    mask = ir.Constant(ir.VectorType(I32, vector.count), [0] * vector.count)
    return builder.shuffle_vector(one, undefined, mask)


def _fma(builder, a, b, c):
    name = f"llvm.fma.v{a.type.count}{a.type.element.intrinsic_name}"
    kind = ir.FunctionType(a.type, [a.type] * 3)
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [a, b, c])


def _fabs(builder, a):
    name = f"llvm.fabs.v{a.type.count}{a.type.element.intrinsic_name}"
    kind = ir.FunctionType(a.type, [a.type])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [a])


def _term(builder, op, x, c, acc):
    if op == "dot":
        return _fma(builder, x, c, acc)
    if op == "max":
        return builder.fadd(acc, builder.select(builder.fcmp_ordered(">", x, c), x, c))
    diff = builder.fsub(x, c)
    return builder.fadd(acc, _fabs(builder, diff)) if op == "abs" else _fma(builder, diff, diff, acc)


def _scores(context, builder, op, width, xt, panel, start, d, vec, own=None):
    """Accumulators of `width` centres after all features: start[c] (+ own) + sum over f of term(x_f, c_f)."""
    size = vec.element.get_abi_size(context.target_data)
    accs = [cgutils.alloca_once(builder, vec) for _ in range(width)]
    for c, acc in enumerate(accs):
        first = builder.load(builder.gep(start, [ir.Constant(I64, c)])) if start else ir.Constant(vec.element, 0.0)
        first = _splat(builder, first, vec)
        builder.store(first if own is None else builder.fadd(first, own), acc)
    with cgutils.for_range(builder, d) as loop:
        row = builder.mul(loop.index, ir.Constant(loop.index.type, LANES))
        x = builder.load(builder.bitcast(builder.gep(xt, [row]), vec.as_pointer()), align=size)
        at = builder.mul(loop.index, ir.Constant(loop.index.type, width))
        for c, acc in enumerate(accs):
            coef = builder.load(builder.gep(panel, [builder.add(at, ir.Constant(at.type, c))]))
            builder.store(_term(builder, op, x, _splat(builder, coef, vec), builder.load(acc)), acc)
    return [builder.load(acc) for acc in accs]


def _keep_two(context, builder, scores, j0, arrays, at):
    """Fold scores of centres j0, j0 + 1, ... into the best two, and the best's index, that arrays keep from `at`."""
    kinds = (scores[0].type, scores[0].type, ir.VectorType(I32, scores[0].type.count))
    places = [
        builder.bitcast(_data(context, builder, numba_type, array, at), kind.as_pointer())
        for (numba_type, array), kind in zip(arrays, kinds, strict=True)
    ]
    one, two, index = (builder.load(place, align=4) for place in places)
    for c, v in enumerate(scores):
        less = builder.fcmp_ordered("<", v, one)
        loser = builder.select(less, one, v)
        two = builder.select(builder.fcmp_ordered("<", loser, two), loser, two)
        one = builder.select(less, v, one)
        index = builder.select(less, _splat(builder, builder.add(j0, ir.Constant(I32, c)), kinds[2]), index)
    for value, place in zip((one, two, index), places, strict=True):
        builder.store(value, place, align=4)


def _best_two(op):
    def codegen(context, builder, signature, args):
        kinds = signature.args
        xt, x_off, panel, p_off, norm, j0, d, first, second, index, r_off = args
        real = context.get_value_type(kinds[0].dtype)
        vec = ir.VectorType(real, LANES)
        j64 = builder.sext(j0, I64)
        scores = _scores(
            context, builder, op, PANEL,
            _data(context, builder, kinds[0], xt, x_off), _data(context, builder, kinds[2], panel, p_off),
            _data(context, builder, kinds[4], norm, j64), d, vec,
        )  # fmt: skip
        _keep_two(context, builder, scores, j0, zip(kinds[7:10], (first, second, index), strict=True), r_off)
        return context.get_dummy_value()

    return codegen


def _tile(op):
    def typed(typingctx, xt, x_off, panel, p_off, norm, j0, d, first, second, index, r_off):
        i = types.intp
        return types.void(xt, i, panel, i, norm, types.int32, i, first, second, index, i), _best_two(op)

    return typed


# (xt, x_off, panel, p_off, norm, j0, d, first, second, index, r_off): xt [d, 16] from x_off, panel [d, 6] from p_off,
# norm [6] from j0; first, second, index [16] from r_off are updated with centres j0 .. j0 + 5.
tile_dot = intrinsic(_tile("dot"))  # score = norm - 2 x.c (the -2 is in the panel)
tile_diff = intrinsic(_tile("diff"))  # score = norm + sum (x - c)^2


@intrinsic
def tile_max(typingctx, xt, x_off, panel, p_off, norm, half, j0, d, first, second, index, r_off):
    """`tile_diff` for Manhattan distances: score = 2 (norm + half + sum max(x, c)), half [16] from r_off.

    |x - c| = 2 max(x, c) - x - c, so that with norm = -sum c / 2 and half = -sum x / 2 this is the distance: two
    operations a pair where a difference, its size and a sum are three.
    """
    i = types.intp

    def codegen(context, builder, signature, args):
        kinds = signature.args
        xt, x_off, panel, p_off, norm, half, j0, d, first, second, index, r_off = args
        vec = ir.VectorType(context.get_value_type(kinds[0].dtype), LANES)
        own = builder.bitcast(_data(context, builder, kinds[5], half, r_off), vec.as_pointer())
        scores = _scores(
            context, builder, "max", PANEL,
            _data(context, builder, kinds[0], xt, x_off), _data(context, builder, kinds[2], panel, p_off),
            _data(context, builder, kinds[4], norm, builder.sext(j0, I64)), d, vec, builder.load(own, align=4),
        )  # fmt: skip
        scores = [builder.fadd(score, score) for score in scores]
        _keep_two(context, builder, scores, j0, zip(kinds[8:11], (first, second, index), strict=True), r_off)
        return context.get_dummy_value()

    return types.void(xt, i, panel, i, norm, half, types.int32, i, first, second, index, i), codegen


def _trials(op):
    def codegen(context, builder, signature, args):
        kinds = signature.args
        xt, x_off, panel, p_off, d, out, o_off, pitch = args
        vec = ir.VectorType(context.get_value_type(kinds[0].dtype), LANES)
        scores = _scores(
            context, builder, op, TRIALS,
            _data(context, builder, kinds[0], xt, x_off), _data(context, builder, kinds[2], panel, p_off),
            None, d, vec,
        )  # fmt: skip
        base = _data(context, builder, kinds[5], out, o_off)
        for c, v in enumerate(scores):
            place = builder.gep(base, [builder.mul(pitch, ir.Constant(I64, c))])
            builder.store(v, builder.bitcast(place, vec.as_pointer()), align=4)
        return context.get_dummy_value()

    def typed(typingctx, xt, x_off, panel, p_off, d, out, o_off, pitch):
        i = types.intp
        return types.void(xt, i, panel, i, i, out, i, i), codegen

    return typed


# (xt, x_off, panel, p_off, d, out, o_off, pitch): costs of 16 rows at 3 centres, out [3, 16] from o_off, `pitch` apart;
# xt [d, 16], panel [d, 3].
tile_trials = intrinsic(_trials("diff"))
tile_trials_abs = intrinsic(_trials("abs"))


def _wide(op):
    def codegen(context, builder, signature, args):
        kinds = signature.args
        line, *starts, centers, c_off, pitch, out, o_off, stride, X, x_off = args
        real = context.get_value_type(kinds[0].dtype)
        lanes = 32 // real.get_abi_size(context.target_data)
        vec, size = ir.VectorType(real, lanes), real.get_abi_size(context.target_data)
        rows = [_data(context, builder, kinds[0], line, start) for start in starts]
        table = _data(context, builder, kinds[5], centers, c_off)
        centres = [builder.gep(table, [builder.mul(pitch, ir.Constant(I64, c))]) for c in range(TRIALS)]
        accs = [[cgutils.alloca_once(builder, vec) for _ in range(QUAD)] for _ in range(TRIALS)]
        for acc in (acc for some in accs for acc in some):
            builder.store(ir.Constant(vec, [0.0] * lanes), acc)

        def load(base, f):
            return builder.load(builder.bitcast(builder.gep(base, [f]), vec.as_pointer()), align=size)

        coming = _data(context, builder, kinds[11], X, x_off)
        with cgutils.for_range(builder, builder.udiv(pitch, ir.Constant(I64, lanes))) as loop:
            f = builder.mul(loop.index, ir.Constant(I64, lanes))
            _prefetch(builder, builder.gep(coming, [f]))
            coefs = [load(centre, f) for centre in centres]
            for r in range(QUAD):
                x = load(rows[r], f)
                for c, coef in enumerate(coefs):
                    builder.store(_term(builder, op, x, coef, builder.load(accs[c][r])), accs[c][r])
        base = _data(context, builder, kinds[8], out, o_off)
        for c in range(TRIALS):
            for r in range(QUAD):
                at = builder.add(builder.mul(stride, ir.Constant(I64, c)), ir.Constant(I64, r))
                builder.store(_lane_sum(builder, builder.load(accs[c][r])), builder.gep(base, [at]))
        return context.get_dummy_value()

    return codegen


def _prefetch(builder, place):
    byte = ir.IntType(8).as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [byte, I32, I32, I32])
    ask = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
    builder.call(ask, [builder.bitcast(place, byte), *(ir.Constant(I32, n) for n in (0, 2, 1))])


def _lane_sum(builder, v):
    """Sum of a vector's lanes, halves first: the same order for every row."""
    while v.type.count > 1:
        half = v.type.count // 2
        low, high = (
            builder.shuffle_vector(v, v, ir.Constant(ir.VectorType(I32, half), list(range(at, at + half))))
            for at in (0, half)
        )
        v = builder.fadd(low, high)
    return builder.extract_element(v, ir.Constant(I32, 0))


def _wide_tile(op):
    def typed(typingctx, line, r0, r1, r2, r3, centers, c_off, pitch, out, o_off, stride, X, x_off):
        i = types.intp
        return types.void(line, i, i, i, i, centers, i, i, out, i, i, X, i), _wide(op)

    return typed


# (line, r0, r1, r2, r3, centers, c_off, pitch, out, o_off, stride, X, x_off): four rows of length pitch from line[r0]
# ... line[r3], and three centres, centers [3, pitch] from c_off; pitch is a multiple of 8. out[c * stride + r]
# from o_off <- the sum over the features. Meanwhile the memory is asked for the row at X[x_off:].
wide_dot = intrinsic(_wide_tile("dot"))
wide_diff = intrinsic(_wide_tile("diff"))
wide_abs = intrinsic(_wide_tile("abs"))


def _size(builder, op, x):
    return _fabs(builder, x) if op == "abs" else builder.fmul(x, ir.Constant(x.type, [-0.5] * LANES))


def _norm(op):
    def codegen(context, builder, signature, args):
        kinds = signature.args
        xt, x_off, d, out, o_off = args
        vec = ir.VectorType(context.get_value_type(kinds[0].dtype), LANES)
        base = _data(context, builder, kinds[0], xt, x_off)
        acc = cgutils.alloca_once(builder, vec)
        builder.store(ir.Constant(vec, [0.0] * LANES), acc)
        with cgutils.for_range(builder, d) as loop:
            row = builder.mul(loop.index, ir.Constant(loop.index.type, LANES))
            x = builder.load(builder.bitcast(builder.gep(base, [row]), vec.as_pointer()), align=4)
            total = builder.load(acc)
            total = _fma(builder, x, x, total) if op == "dot" else builder.fadd(total, _size(builder, op, x))
            builder.store(total, acc)
        target = builder.bitcast(_data(context, builder, kinds[3], out, o_off), vec.as_pointer())
        builder.store(builder.load(acc), target, align=4)
        return context.get_dummy_value()

    def typed(typingctx, xt, x_off, d, out, o_off):
        i = types.intp
        return types.void(xt, i, i, out, i), codegen

    return typed


# (xt, x_off, d, out, o_off): of 16 packed rows the squared norms, the Manhattan norms, or minus half the sums; out [16]
# from o_off.
tile_norm = intrinsic(_norm("dot"))
tile_norm_abs = intrinsic(_norm("abs"))
tile_half = intrinsic(_norm("half"))


@intrinsic
def transpose8(typingctx, src, s_off, chosen, at, last, pitch, dst, d_off):
    """dst[f, l] (pitch 16) = src[chosen[min(at + l, last)], s_off + f] (pitch `pitch`) for an 8 x 8 float32 block."""
    i = types.intp

    def codegen(context, builder, signature, args):
        kinds = signature.args
        src, s_off, chosen, at, last, pitch, dst, d_off = args
        vec = ir.VectorType(context.get_value_type(kinds[0].dtype), 8)
        base = _data(context, builder, kinds[0], src, s_off)
        rows = []
        for lane in range(8):
            place = builder.add(at, ir.Constant(I64, lane))
            place = builder.select(builder.icmp_signed("<", place, last), place, last)
            row = builder.load(_data(context, builder, kinds[2], chosen, place))
            start = builder.gep(base, [builder.mul(row, pitch)])
            rows.append(builder.load(builder.bitcast(start, vec.as_pointer()), align=4))
        for step in (4, 2, 1):
            rows = _butterfly(builder, rows, step)
        out = _data(context, builder, kinds[6], dst, d_off)
        for f, row in enumerate(rows):
            target = builder.gep(out, [ir.Constant(I64, f * LANES)])
            builder.store(row, builder.bitcast(target, vec.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.void(src, i, chosen, i, i, i, dst, i), codegen


@intrinsic
def centre8(typingctx, X, f, rows, at, last, pitch, shift, scale, dst, d_off):
    """dst[g, l] (pitch 16) = (X[rows[min(at + l, last)], f + g] - shift[f + g]) * scale, an 8 x 8 block in float32."""
    i = types.intp

    def codegen(context, builder, signature, args):
        kinds = signature.args
        X, f, rows, at, last, pitch, shift, scale, dst, d_off = args
        real = context.get_value_type(kinds[0].dtype)
        vec, narrow, size = ir.VectorType(real, 8), ir.VectorType(ir.FloatType(), 8), 4
        middle = builder.bitcast(_data(context, builder, kinds[6], shift, f), vec.as_pointer())
        middle = builder.load(middle, align=size)
        factor, block = _splat(builder, scale, vec), []
        for lane in range(8):
            place = builder.add(at, ir.Constant(I64, lane))
            place = builder.select(builder.icmp_signed("<", place, last), place, last)
            row = builder.load(_data(context, builder, kinds[2], rows, place))
            start = _data(context, builder, kinds[0], X, builder.add(builder.mul(row, pitch), f))
            value = builder.load(builder.bitcast(start, vec.as_pointer()), align=size)
            value = builder.fmul(builder.fsub(value, middle), factor)
            block.append(value if real == ir.FloatType() else builder.fptrunc(value, narrow))
        for step in (4, 2, 1):
            block = _butterfly(builder, block, step)
        out = _data(context, builder, kinds[8], dst, d_off)
        for g, row in enumerate(block):
            target = builder.gep(out, [ir.Constant(I64, g * LANES)])
            builder.store(row, builder.bitcast(target, narrow.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.void(X, i, rows, i, i, i, shift, scale, dst, i), codegen


def _butterfly(builder, rows, step):
    """Exchange the off-diagonal step x step blocks of rows l and l + step."""
    out = list(rows)
    for low in range(8):
        if low & step:
            continue
        a, b = rows[low], rows[low + step]
        keep = [e if not e & step else 8 + e - step for e in range(8)]
        swap = [e + step if not e & step else 8 + e for e in range(8)]
        out[low] = builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(I32, 8), keep))
        out[low + step] = builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(I32, 8), swap))
    return out


@intrinsic
def fma(typingctx, a, b, c):
    """a * b + c rounded once; the error of a product is fma(a, b, -(a * b))."""

    def codegen(context, builder, signature, args):
        return builder.fma(*args)

    return types.float64(types.float64, types.float64, types.float64), codegen
