"""The kernels against the definitions: on a GPU, and their own sources under the emulator, memory fenced, where faults
planted in them are found."""

from __future__ import annotations

import re
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from laws.oracle import direct_costs, direct_labels
from laws.runs import FULL

from gpuclust.backends.frame import Frame
from gpuclust.backends.metric import Metric

from . import emulator
from .middles import check_middles, exercise_medians, limited
from .runs import with_square
from .seeds import check_choice, check_seeds, exercise_seeds, rows_to_seed

METRICS = [Metric.EUCLIDEAN, Metric.MANHATTAN]
SHAPES = [(1, 1, 1), (127, 127, 15), (128, 128, 16), (129, 129, 17), (261, 131, 33), (70, 3, 2), (67, 257, 5), (40, 7, 97)]


@pytest.fixture
def hopper(schedule):
    """A GPU of the Hopper generation, or the emulator, which has the instructions of them all."""
    from gpuclust.backends import cuda_kernels

    if cuda_kernels.target(0) != "sm_90a":
        pytest.skip("not a Hopper GPU")


def rows_and_centers(rng, kind, n, k, d, dtype):
    """Rows, and centres f64, for which labels are hard to tell."""
    centers = rng.normal(size=(k, d))
    X = rng.normal(size=(n, d))
    if kind == "ties":
        X, centers = rng.integers(-2, 3, (n, d)), rng.integers(-2, 3, (k, d)) / 2
    elif kind == "far":
        X, centers = X + 1e6, centers + 1e6
    elif kind == "last bits":
        centers = centers[:1] + np.spacing(np.abs(centers[:1])) * rng.integers(-9, 10, (k, d))
    elif kind == "bundles":  # far smaller apart than they are long
        base = rng.normal(size=(3, d))
        X = base[rng.integers(0, 3, n)] + 1e-6 * X
        centers = base[rng.integers(0, 3, k)] + 1e-6 * centers
    elif kind == "twins" and k >= 16:  # hardly apart, and scored by the same thread
        centers[8:16] = centers[:8] * (1 + 1e-8 * rng.normal(size=(8, d)))
        X = centers[rng.integers(0, 16, n)] + 0.1 * X
    elif kind == "near zero":  # that fp16 has a bit or two of them left, between centres of the same length
        signs = rng.choice([-1.0, 1.0], ((k + 1) // 2, d))
        X, centers = 5e-10 * X, np.concatenate([signs, -signs])[:k]
    elif kind == "huge":
        X, centers = X * 1e37, centers * 1e37
    elif kind == "outside":
        X = X * 10.0 ** rng.integers(-30, 30, (n, 1))
    return X.astype(dtype), centers.astype(np.float64)


KINDS = ("normal", "ties", "far", "last bits", "bundles", "twins", "near zero", "huge", "outside")


def labels_of(X, centers, metric, frame=None):
    """Labels by the kernels."""
    from gpuclust.backends import cuda_labels, cuda_memory

    packed = cuda_labels.pack(cuda_memory.send(centers), frame or Frame.around(centers, X.dtype, metric))
    return cuda_labels.nearest(cuda_memory.send(X), packed).get()


def check_labels(X, centers, metric):
    np.testing.assert_array_equal(labels_of(X, centers, metric), direct_labels(X, centers, metric.l1))


@pytest.mark.usefixtures("schedule")
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_labels_are_those_of_the_definition(rng, shape, metric, dtype):
    for kind in KINDS:
        check_labels(*rows_and_centers(rng, kind, *shape, dtype), metric)


def check_far_centers(rng):
    """Some of them too far away for half precision in the rows' coordinates."""
    X = rng.normal(size=(300, 40)).astype(np.float32)
    centers = rng.normal(size=(9, 40))
    centers /= np.linalg.norm(centers, axis=1, keepdims=True)
    centers *= 640 * (1 + 1e-3 * rng.normal(size=(9, 1)))
    labels = labels_of(X, centers, Metric.EUCLIDEAN, Frame.around(X.astype(np.float64), X.dtype))
    np.testing.assert_array_equal(labels, direct_labels(X, centers, False))


@pytest.mark.usefixtures("schedule")
def test_centers_far_from_all_rows(rng):
    check_far_centers(rng)


@pytest.mark.usefixtures("schedule")
@pytest.mark.parametrize("kilobytes", [64, 99, 163, 227])
def test_tiles_of_half_precision_suit_the_multiprocessor(rng, kilobytes, monkeypatch):
    """Where they stay in shared memory and where they do not, the labels are the same."""
    from gpuclust.backends import cuda_tensor

    made = cuda_tensor.plan
    monkeypatch.setattr(cuda_tensor, "plan", lambda d, shared, arch: made(d, min(shared, kilobytes << 10), "sm_80"))
    for d in (16, 17, 64, 65, 129, 300):
        assert 2 * cuda_tensor.plan(d, 227 << 10, "").shared <= kilobytes << 10 or kilobytes == 64
        for kind in ("normal", "ties"):
            check_labels(*rows_and_centers(rng, kind, 130, 200, d, np.float32), Metric.EUCLIDEAN)


@pytest.mark.usefixtures("device")
def test_half_precision_decides_most_rows(rng):
    """Wrong products need not make a wrong label, since what they leave undecided is looked at again."""
    from gpuclust.backends import cuda_labels, cuda_memory, cuda_tensor

    for d in (16, 32, 64, 200, 385):
        X, centers = rows_and_centers(rng, "normal", 300, 20, d, np.float32)
        packed = cuda_labels.pack(cuda_memory.send(centers), Frame.around(centers, X.dtype, Metric.EUCLIDEAN))
        there, label = cuda_memory.send(X), cuda_memory.send(np.zeros(len(X), np.int32))
        image = cuda_tensor.image(there, packed.halves.plan, packed.shift, packed.scale)
        rest = cuda_tensor.label(image, len(X), packed.halves, len(centers), label)
        assert rest.count.get()[0] < 0.1 * len(X)


@pytest.mark.usefixtures("hopper")
def test_hopper_has_its_own_kernel():
    from gpuclust.backends import cuda_kernels, cuda_tensor

    assert cuda_kernels.registers("hopper.score") == cuda_tensor.HOPPER_REGISTERS
    assert cuda_tensor.here(64).hopper


@pytest.mark.usefixtures("hopper")
@pytest.mark.parametrize("shape", [(1, 1, 33), (257, 129, 64), (700, 300, 65), (300, 260, 200), (300, 140, 385)], ids=str)
def test_labels_by_wgmma(rng, shape):
    """Rows stay in two places, in one, or come with the centres; blocks take several tiles."""
    for kind in ("normal", "ties", "bundles", "outside"):
        check_labels(*rows_and_centers(rng, kind, *shape, np.float32), Metric.EUCLIDEAN)


def check_bounds(rng, n, k, d, dtype):
    """Labels while the centres move; rows that bounds settle are not scored. How many were, step by step."""
    from gpuclust.backends import cuda_labels, cuda_memory
    from gpuclust.backends.base import Bounds, Centers, Chunk
    from gpuclust.backends.layout import Drift, Layout

    centers = rng.normal(size=(k, d)) + 8 * rng.integers(0, 3, (k, 1))
    near = centers[rng.integers(0, k, n)] + rng.exponential(size=(n, 1)) * rng.normal(size=(n, d))
    centers[1] = centers[0] + 0.01 * rng.normal(size=d)
    if n > 1:
        near[-1] = centers[:2].mean(axis=0)  # a step is enough for its label to change
    X, frame = near.astype(dtype), Frame.around(centers, dtype, Metric.MANHATTAN)
    layout, scored = Layout.build(centers, 1), []
    rows = {"label": np.full(n, -1, np.int32), "upper": np.zeros(n, np.float32), "lower": np.zeros(n, np.float32)}
    chunk = Chunk(cuda_memory.send(X), None, 0, {name: cuda_memory.send(column) for name, column in rows.items()})
    drift, bounds = Drift.none(layout), Bounds.MAKE
    for way in (0, 0, 1e-7, 0.01, 0.01, 0.05, 0.05, 0.3, 0):  # the last bounds of a row may be some steps old
        moved = centers + way * rng.normal(size=(k, d)) * rng.integers(0, 2, (k, 1))
        drift, centers = drift.after(centers, moved, float(frame.scale), layout, Metric.MANHATTAN), moved
        given = cuda_memory.send(centers)
        label, count = cuda_labels.assign(chunk, Centers(given, cuda_labels.pack(given, frame, drift), frame, layout, bounds))
        np.testing.assert_array_equal(label.get(), direct_labels(X, centers, True))
        chunk.rows["label"][:] = label
        scored.append(count.item())
        bounds = Bounds.KEEP
    return scored


@pytest.mark.usefixtures("schedule")
@pytest.mark.parametrize("shape", [(1, 65, 1), (700, 70, 3), (300, 140, 33), (129, 200, 70)], ids=str)
def test_bounds_settle_rows_of_centers_that_move(rng, shape, dtype):
    scored = check_bounds(rng, *shape, dtype)
    assert scored[0] == shape[0] and scored[1] <= 0.1 * shape[0] and sum(scored[1:4]) < 0.5 * 3 * shape[0]


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("metric", METRICS)
def test_rows_that_are_not_finite_have_no_label(rng, metric, dtype):
    X, centers = rows_and_centers(rng, "normal", 40, 3, 35, dtype)
    X[3, 34], X[7, 0], X[9, 2] = np.nan, np.inf, -np.inf
    expected = direct_labels(np.nan_to_num(X, posinf=0, neginf=0), centers, metric.l1)
    expected[[3, 7, 9]] = -1
    np.testing.assert_array_equal(labels_of(X, centers, metric), expected)


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("metric", METRICS)
def test_costs_and_distances_are_direct_sums(rng, metric, dtype):
    for n, k, d in SHAPES:
        X, centers = rows_and_centers(rng, "normal", n, k, d, dtype)
        check_costs(X, centers, rng.integers(0, k, n).astype(np.int32), metric)


def check_costs(X, centers, label, metric):
    from gpuclust.backends import cuda_labels, cuda_memory

    there, every = cuda_memory.send(X), direct_costs(X, centers, metric.l1)
    own = cuda_labels.costs(there, centers, cuda_memory.send(label), metric).get()
    np.testing.assert_array_equal(own, every[np.arange(len(X)), label])
    for out in (np.float32, np.float64):
        found = cuda_labels.distances(there, centers, out, metric).get()
        np.testing.assert_array_equal(found, (every if metric.l1 else np.sqrt(every)).astype(out))


def sums_of(X, weight, new, old, k, magic):
    """What rows that move bring and take, and how many enter and leave each cluster."""
    from gpuclust.backends import cuda_memory, cuda_moves

    delta = cuda_memory.send(np.zeros((k, *magic.shape)))
    there, heavy = cuda_memory.send(X), None if weight is None else cuda_memory.send(weight)
    groups = cuda_moves.group(cuda_memory.send(new), cuda_memory.send(old), k)
    cuda_moves.add_sums(groups, there, heavy, cuda_memory.send(magic), delta)
    return delta.get(), groups.counts.get()


def moved_sums(X, weight, new, old, k, magic):
    """The same row by row, each value cut level by level in Python's floats."""
    d, out = X.shape[1], np.zeros((k, *magic.shape))
    for i in np.flatnonzero(new != old):
        w = 1.0 if weight is None else float(weight[i])
        products = [Fraction(w) * Fraction(float(x)) for x in X[i]] + [Fraction(w)]
        for f in range(d + 1):
            value = float(products[f])
            for rest in (value, float(products[f] - Fraction(value))):
                for b, anchor in enumerate(magic[:, f]):
                    piece = (rest + anchor) - anchor
                    rest -= piece
                    out[new[i], b, f] += piece
                    if old[i] >= 0:
                        out[old[i], b, f] -= piece
    return out


def check_sums(X, weight, new, old, k, levels, step):
    magic = 1.5 * np.exp2(np.full((levels, X.shape[1] + 1), 40.0) - step * np.arange(levels)[:, None])
    found, counts = sums_of(X, weight, new, old, k, magic)
    np.testing.assert_array_equal(found, moved_sums(X, weight, new, old, k, magic))
    entered = np.bincount(new[new != old], minlength=k)
    left = np.bincount(old[(new != old) & (old >= 0)], minlength=k)
    np.testing.assert_array_equal(counts, [*entered, *left, 0])


@pytest.mark.usefixtures("schedule")
@pytest.mark.parametrize("levels", [1, 2, 4, 5, 9])
@pytest.mark.parametrize("weighted", [False, True])
def test_sums_of_rows_that_move(rng, levels, weighted, dtype):
    for n, k, d in ((1, 1, 1), (130, 3, 31), (65, 7, 32), (300, 2, 5)):
        X = (rng.normal(size=(n, d)) * 10.0 ** rng.integers(-6, 6, (n, d))).astype(dtype)
        weight = rng.uniform(0, 3, n) if weighted else None
        old, new = rng.integers(-1, k, n).astype(np.int32), rng.integers(0, k, n).astype(np.int32)
        check_sums(X, weight, new, old, k, levels, step=20.0)


@pytest.mark.usefixtures("schedule")
@pytest.mark.parametrize("k", [3, 8000])
def test_groups_hold_each_row_once(rng, k):
    """Whether a block's counts fit its shared memory or not."""
    from gpuclust.backends import cuda_memory, cuda_moves

    n = 5000
    old, new = rng.integers(-1, k, n).astype(np.int32), rng.integers(-1, k, n).astype(np.int32)
    new[::3] = old[::3]
    groups = cuda_moves.group(cuda_memory.send(new), cuda_memory.send(old), k)
    row, group, ends = groups.row.get(), groups.group.get(), groups.ends.get()
    moves = (new != old) & (new >= 0)
    expected = [np.flatnonzero(moves & (new == j)) for j in range(k)] + [np.flatnonzero(moves & (old == j)) for j in range(k)]
    assert groups.counts.get().tolist() == [*map(len, expected), int((new < 0).sum())]
    for g, (rows, end) in enumerate(zip(expected, ends, strict=False)):
        assert sorted(row[end - len(rows) : end].tolist()) == rows.tolist()
        assert (group[end - len(rows) : end] == g).all()


@pytest.mark.usefixtures("schedule")
def test_totals_keep_twice_the_digits(rng):
    check_total(rng, 1)
    check_total(rng, 70_000)


def check_scan(rng, n, d, dtype):
    """Range and sums of every feature; one of zeros, one that is far away, one of both signs."""
    from gpuclust.backends import cuda_memory, cuda_sums

    X = rng.normal(size=(n, d)).astype(dtype)
    X[:, 0], X[:, d // 2] = 0, X[:, d // 2] + dtype(1e6)
    X[:, d - 1] *= dtype(10.0) ** rng.integers(-9, 9, n).astype(dtype)
    origin = X[0].astype(np.float64)
    found = cuda_sums.scan(cuda_memory.send(X), None, origin)
    wide = X.astype(np.float64)
    np.testing.assert_array_equal(found.low, wide.min(axis=0))
    np.testing.assert_array_equal(found.high, wide.max(axis=0))
    np.testing.assert_array_equal(found.least, np.where(wide != 0, np.abs(wide), np.inf).min(axis=0))
    away = wide - origin
    for hi, lo, column in zip(*(each.tolist() for each in found.total), away.T.tolist(), strict=True):
        off = Fraction(hi) + Fraction(lo) - sum(map(Fraction, column), Fraction(0))
        assert abs(off) <= Fraction(sum(map(abs, column))) / 2**95
    square = float(sum(map(Fraction, (away**2).ravel().tolist()), Fraction(0)))
    assert found.square.value() == square and found.rows == n


@pytest.mark.usefixtures("schedule")
@pytest.mark.parametrize("shape", [(1, 1), (7, 33), (300, 5), (2100, 32)], ids=str)
def test_range_and_sums(rng, shape, dtype):
    check_scan(rng, *shape, dtype)


def check_total(rng, n):
    from gpuclust.backends import cuda_memory, cuda_sums

    value, weight = rng.normal(size=n) * 10.0 ** rng.integers(-12, 12, n), rng.uniform(0, 3, n)
    for heavy in (None, weight):
        products = value if heavy is None else heavy * value
        exact = sum(map(Fraction, products.tolist()))
        parts = cuda_memory.send(np.full((cuda_sums.MOST_PARTS, 2), np.nan))
        cuda_sums.total_parts(cuda_memory.send(value), None if heavy is None else cuda_memory.send(heavy), parts)
        found = cuda_sums.total_of(parts.get())
        assert np.isfinite(found.hi)
        error = abs(Fraction(found.hi) + Fraction(found.lo) - exact)
        assert error <= Fraction(2) ** -100 * sum(abs(Fraction(p)) for p in products.tolist())


def check_masses(rng, n, k):
    """Sums of weights of any size are exact before they are rounded to two pieces."""
    from gpuclust.backends import cuda_memory, cuda_sums

    label = rng.integers(-1, k, n).astype(np.int32)
    weight = rng.uniform(0, 1, n) * 2.0 ** rng.integers(-40, 40, n) * rng.integers(0, 3, n)
    weight[::7] = rng.choice([5e-324, 1.0, 2.0**52 + 1, 1e300, 2.0**31], len(weight[::7]))
    weight[1::7], label[1::7] = 1 - 2.0**-53, 0  # digits carry
    if k > 1:
        weight[label == 1] = rng.choice([5e-324, 3e-310, 2.0**-1022, 3e-308], n)[label == 1]
    mass = cuda_memory.send(np.full((k, 2), np.nan))
    cuda_sums.add_masses(cuda_memory.send(weight), cuda_memory.send(label), mass)
    for j, found in enumerate(mass.get()):
        exact = sum(map(Fraction, weight[label == j].tolist()), Fraction(0))
        assert abs(sum(map(Fraction, found)) - exact) <= Fraction(2) ** -100 * exact


@pytest.mark.usefixtures("schedule")
@pytest.mark.parametrize("shape", [(1, 1), (700, 3), (600, 40)], ids=str)
def test_masses_are_exact_sums(rng, shape):
    check_masses(rng, *shape)


def check_ranks(X, weight, label, k, room):
    """Against plain comparisons; what is kept, in whatever order; what has no room is told."""
    from gpuclust.backends import cuda_memory, cuda_ranks
    from gpuclust.backends.brackets import Brackets, Fine

    n, d = X.shape
    pick = np.sort(X[np.random.default_rng(1).integers(0, n, (3, k * d)), np.tile(np.arange(d), k)], axis=0)
    low, mid, high = (np.ascontiguousarray(row) for row in pick)
    closed = np.arange(k * d) % 5 == 4
    low[closed], mid[closed], high[closed] = np.inf, np.nan, -np.inf
    pair = np.flatnonzero(np.arange(k * d) % 3 == 0)
    place, middle = np.full(k * d, -1, np.int32), np.where(np.isfinite(mid), mid, 0).astype(np.float64)
    place[pair] = np.arange(len(pair))
    fine = Fine(pair, place, middle, np.full(k * d, 0.5), 8)
    start, feature = np.arange(k + 1) * d, np.tile(np.arange(d), k)
    magic = np.array([1.5 * 2.0**40, 1.5 * 2.0**10])
    brackets = Brackets(low, mid, high, start, feature, magic, room, fine)
    heavy = None if weight is None else cuda_memory.send(weight)
    found = cuda_ranks.rank(cuda_memory.send(X), heavy, cuda_memory.send(label), brackets)
    load = np.ones(n) if weight is None else weight
    real = (label >= 0) & (load > 0)
    pairs = np.maximum(label, 0)[:, None] * d + np.arange(d)
    open_ = real[:, None] & ~closed[pairs]
    below, equal = open_ & (X < low[pairs]), open_ & (X == mid[pairs])
    inside = open_ & ~below & ~equal & (X <= high[pairs])
    heavy = np.broadcast_to(load[:, None], X.shape)
    for ours, which in ((found.less, below), (found.same, equal)):
        np.testing.assert_array_equal(ours.sum(axis=1), np.bincount(pairs[which], heavy[which], k * d))
    np.testing.assert_array_equal(found.total.sum(axis=1), np.bincount(label[real], load[real], k))
    kept, value, loads = (np.concatenate(column) for column in zip(*found.inside, strict=True))
    expected = np.bincount(pairs[inside], minlength=k * d)
    np.testing.assert_array_equal(np.bincount(kept, minlength=k * d) + found.lost, expected)
    assert found.lost.sum() == max(0, inside.sum() - min(int(n * room) + 1024, n * d))
    if not found.lost.any():
        order, theirs = np.lexsort((value, kept)), np.lexsort((X[inside], pairs[inside]))
        np.testing.assert_array_equal(value[order], X[inside][theirs])
        if weight is not None:
            np.testing.assert_array_equal(np.sort(loads), np.sort(heavy[inside]))
    u = (X.astype(np.float64) - middle[pairs]) * 0.5
    bucket = np.minimum((1 + u / (1 + np.abs(u))) * 4, 7).astype(int)
    counted = (label >= 0)[:, None] & (place[pairs] >= 0)
    every = np.bincount((place[pairs] * 8 + bucket)[counted], minlength=8 * len(pair))
    np.testing.assert_array_equal(found.fine, every.reshape(-1, 8))


def exercise_ranks(rng, n, d, k, dtype):
    X = np.round(rng.normal(size=(n, d)), 1).astype(dtype)
    X[: n // 99], X[n // 99 : n // 50] = 1e30, -1e30  # the outermost buckets
    label = rng.integers(-1, k, n).astype(np.int32)
    for weight in (None, rng.integers(0, 3, n) + 2.0**-20 * rng.integers(0, 3, n)):
        for room in (d, 0.01):
            check_ranks(X, weight, label, k, room)


@pytest.mark.usefixtures("schedule")
@pytest.mark.parametrize("shape", [(2000, 5, 3), (700, 40, 7)], ids=str)
def test_ranks_are_plain_comparisons(rng, shape, dtype, monkeypatch):
    """In shared memory, and where the counts do not fit there; threads take a value each, or several."""
    from gpuclust.backends import cuda_kernels, cuda_ranks

    exercise_ranks(rng, *shape, dtype)
    monkeypatch.setattr(cuda_kernels, "MOST_BLOCKS", 2)
    monkeypatch.setattr(cuda_ranks, "UNASKED_SHARED", 0)
    exercise_ranks(rng, 900, 9, 4, dtype)


@pytest.mark.usefixtures("device")
def test_rows_without_a_label_are_told(rng):
    from gpuclust.backends import cuda_memory, cuda_moves

    new, old = np.array([0, -1, 1, -1], np.int32), np.array([-1, 1, 1, -1], np.int32)
    counts = cuda_moves.count(cuda_memory.send(new), cuda_memory.send(old), 2)
    assert counts.get().tolist() == [1, 0, 0, 0, 2]
    with pytest.raises(ValueError, match="2 rows hold NaN or infinity that was not there at the first read"):
        cuda_moves.flow(counts.get())


def check_means(rng, k, levels, d):
    """Means on the device are those of the CPU, bit for bit; some clusters have no mass."""
    from gpuclust.backends import cuda_memory, cuda_solve
    from gpuclust.backends.cpu import CPUBackend
    from gpuclust.backends.statistics import Delta

    scale = 2.0 ** -(20.0 * np.arange(levels))[:, None]
    sums, delta = (rng.normal(size=(k, levels, d + 1)) * scale for _ in range(2))
    sums[:, 0, d] = 3 + rng.random(k)
    sums[::3, :, d], delta[::3, :, d] = 0, 0
    old, origin = rng.normal(size=(k, d)), rng.normal(size=d)
    counts = rng.integers(0, 99, 2 * k + 1)
    counts[-1] = 0
    there = [cuda_memory.send(each) for each in (sums, old, delta, counts)]
    for given, moved in ((Delta(delta, 0), int(counts[:k].sum())), (None, 0)):
        expected = CPUBackend().means(sums, old, origin, given)
        found = cuda_solve.means(*there[:2], origin, given and Delta(there[2], there[3]))
        for mine, theirs in zip((found.sums.get(), found.centers.get(), *found[2:5]), expected[:5], strict=True):
            np.testing.assert_array_equal(mine, theirs)
        assert found.moved == moved
    assert np.isfinite(expected.centers).all() and (expected.centers[::3] == old[::3]).all()


@pytest.mark.usefixtures("schedule")
@pytest.mark.parametrize("shape", [(1, 1, 1), (9, 2, 31), (5, 3, 32), (3, 4, 97)], ids=str)
def test_means_are_those_of_the_cpu(rng, shape):
    check_means(rng, *shape)


def trials_of(X, weight, cost, known, trial, frame, grid, start):
    """Potentials by block, the largest costs, the costs left, and the first rows' potentials."""
    from gpuclust.backends import cuda_memory, cuda_seeding
    from gpuclust.backends.base import Chunk

    cost = cuda_memory.send(cost)
    heavy = None if weight is None else cuda_memory.send(weight)
    chunk = Chunk(cuda_memory.send(X), heavy, start, {"cost": cost})
    rows = cuda_seeding.potentials(chunk, frame, known, grid)
    found = cuda_seeding.trials(chunk, frame, known, trial, grid)
    (blocks,) = found.blocks.values()
    return cost.get(), blocks, found.largest, rows


def check_trials(X, weight, centers, metric, start=1000):
    """Against plain NumPy in the rows' own precision, features in order."""
    dtype = X.dtype
    frame = replace(Frame.around(centers, dtype, metric), scale=dtype.type(0.25))
    trial, reach = centers[1:].astype(dtype), np.zeros((len(centers), len(X)), dtype)
    for f in range(X.shape[1]):
        diff = X[:, f] * frame.scale - centers[:, f, None].astype(dtype) * frame.scale
        reach = reach + np.abs(diff) if metric.l1 else with_square(reach, diff)
    largest = float(reach.max())
    assert 0 < largest < 1e37
    old = np.linspace(0.1, 1, len(X)).astype(dtype) * dtype.type(largest)
    for known in (None, centers[0].astype(dtype)):
        cost = old if known is None else np.minimum(old, reach[0])
        left = np.minimum(reach[1:], cost) if len(trial) else cost[None]
        grid = 2.0 ** (np.ceil(np.log2(largest * 3 * len(X))) - 53)
        heavy = np.ones(len(X)) if weight is None else weight
        shares = np.floor(left.astype(np.float64) * heavy * (1 / grid)).astype(np.int64)
        one = np.floor(cost.astype(np.float64) * heavy * (1 / grid)).astype(np.int64)
        edges = np.arange(start, start + len(X)) // 1024 - start // 1024
        blocks = [[share[edges == b].sum() for b in range(edges[-1] + 1)] for share in shares]
        found = trials_of(X, weight, old, known, trial, frame, grid, start)
        most = np.where(heavy > 0, left, 0).max(axis=1)
        for ours, theirs in zip(found, (cost, blocks, most, one), strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.usefixtures("schedule")
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("weighted", [False, True])
def test_trials_are_plain_sums(rng, metric, weighted, dtype):
    for n, m, d in ((1, 1, 1), (300, 3, 16), (257, 4, 17), (40, 5, 33), (1100, 14, 2), (300, 25, 3)):
        X, centers = rows_and_centers(rng, "normal", n, m, d, dtype)
        weight = rng.integers(0, 3, n) * rng.uniform(0, 2, n) if weighted else None
        check_trials(X, weight, centers, metric)


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", ["normal", "groups", "few", "outlier"])
def test_seeds_are_those_of_the_cpu(rng, kind, metric, dtype):
    for n, d, k, trials in ((1, 1, 2, 2), (40, 17, 40, 5), (1500, 3, 12, 3), (300, 33, 5, 12), (130, 2, 4, 25)):
        for weighted in (False, True):
            X = rows_to_seed(rng, kind, n, d, dtype)
            check_seeds(rng, X, k, trials, metric, weighted and n > 1)


@pytest.mark.usefixtures("schedule")
def test_the_best_trial_is_chosen(rng):
    for columns, count in ((1, 1), (1, 33), (5, 511), (3, 5000)):
        check_choice(rng, columns, count)


def check_distance_sums(X, Y, label, metric, first, scale=0.25):
    """Against plain sums in the rows' own precision: features in order, squares added with one rounding, then rows in
    order in float64. Rows of Y lie in the order of their labels."""
    from gpuclust.backends import cuda_memory, cuda_silhouette

    dtype, k = X.dtype.type, int(label.max()) + 1
    label = np.sort(label)
    start = np.searchsorted(label, np.arange(first, k + 1))
    rows = np.arange(start[0], len(Y))
    out = np.linspace(0, 1, len(X) * (k + 1)).reshape(len(X), k + 1)
    expected, part = out.copy(), np.zeros((len(X), len(Y)), X.dtype)
    for f in range(X.shape[1]):
        t = X[:, f, None] * dtype(scale) - Y[:, f] * dtype(scale)
        part = part + np.abs(t) if metric.l1 else with_square(part, t)
    reach = (part if metric.l1 else np.sqrt(part)).astype(np.float64)
    for j in rows:
        expected[:, label[j]] += reach[:, j]
    found = cuda_memory.send(out)
    there = cuda_memory.send(np.ascontiguousarray(Y[rows]))
    cuda_silhouette.add_distance_sums(cuda_memory.send(X), there, start - start[0], first, scale, metric, found)
    np.testing.assert_array_equal(found.get(), expected)


@pytest.mark.usefixtures("schedule")
@pytest.mark.parametrize("metric", METRICS)
def test_sums_of_distances_by_cluster(rng, metric, dtype):
    for n, m, d, k in ((1, 1, 1, 1), (257, 9, 17, 3), (100, 70, 16, 6), (40, 33, 33, 30)):
        X, Y = (rng.normal(size=(rows, d)).astype(dtype) for rows in (n, m))
        check_distance_sums(X, Y, rng.integers(0, k, m), metric, k // 3)


def test_sums_of_distances_in_launches_of_some_rows(rng, fenced, monkeypatch):
    from gpuclust.backends import cuda_silhouette

    monkeypatch.setattr(cuda_silhouette, "MOST_WORK", 1)
    X, Y = (rng.normal(size=(rows, 3)).astype(np.float32) for rows in (600, 40))
    check_distance_sums(X, Y, rng.integers(0, 4, 40), Metric.EUCLIDEAN, 1)
    assert fenced.launches == ["add_l2_f32"] * 3


def test_more_features_than_a_grid_has_blocks(rng, fenced, monkeypatch):
    """Blocks take several groups of features; no launch asks for more than CUDA allows."""
    from gpuclust.backends import cuda_kernels, cuda_medians, cuda_moves

    for module in (cuda_moves, cuda_medians):
        assert module.MOST_GROUPS == cuda_kernels.MOST_GROUPS == 65_535
        monkeypatch.setattr(module, "MOST_GROUPS", 2)
    label = rng.integers(0, 3, 60).astype(np.int32)
    for d in (64, 161):
        X = rng.normal(size=(60, d)).astype(np.float32)
        check_sums(X, None, label, np.full_like(label, -1), 3, 2, 12.0)
        limited(sample=20, room=60)
        check_middles(X, label, np.ones(3, bool))
        check_scan(rng, 60, d, np.float32)
    names = {"sum_moves_f32", "guess_f32", "collect_f32", "count_digits_f32", "find_next_f32"}
    shared = [grid for name, grid in zip(fenced.launches, fenced.grids, strict=True) if name in names]
    assert len(shared) > 9 and max(grid[1] for grid in shared) == 2


@pytest.mark.usefixtures("machine")
def test_launches_of_more_than_two_million_features(monkeypatch):
    """Without the work that they would do."""
    from gpuclust.backends import cuda_later, cuda_medians, cuda_memory, cuda_moves, cuda_sums

    grids, d = {}, 2_200_000
    for module in (cuda_moves, cuda_medians, cuda_sums):
        monkeypatch.setattr(module, "launch", lambda name, grid, *args, **how: grids.setdefault(name, grid))
    monkeypatch.setattr(cuda_later.Record, "tell", lambda *args: None)
    monkeypatch.setattr(cuda_medians, "BINS", 1)  # less memory
    X, ones = cuda_memory.send(np.zeros((1, d), np.float32)), cuda_memory.send(np.ones(3, np.int32))
    sums = cuda_memory.send(np.zeros((1, 1, d + 1)))
    cuda_moves.add_sums(cuda_moves.Groups(ones, ones, ones, ones), X, None, sums[0], sums)
    cuda_sums.scan(X, None, np.zeros(d))
    monkeypatch.setattr(cuda_medians, "LANES", 32)
    rows, plan = cuda_medians.Slots(ones, ones, ones, ones), cuda_medians.Plan(0, 0, 1, 1, 1)
    wide = cuda_medians.Features(0, -(-d // 32), None, 0, 32)
    cuda_medians._select(X, rows, plan, wide, 0, cuda_memory.send(np.zeros((2, 1, d))))
    names = ("samples.guess", "samples.collect", "medians.count_digits", "medians.find_next")
    assert {"moves.sum_moves_f32", "scan.scan_f32", *(f"{name}_f32" for name in names)} <= set(grids)
    assert all(grid[1] <= 65_535 for grid in grids.values() if isinstance(grid, tuple))


# --- planted faults ---

FAULTS = {
    "scores of rows that have not arrived": ("nearest", "            copies_done_but<0>();\n", ""),
    "a step begins before others have loaded it": (
        "nearest",
        "copies_done_but<0>();\n            __syncthreads();",
        "copies_done_but<0>();",
    ),
    "shared memory used again too early": (
        "nearest",
        "    __syncthreads();\n#pragma unroll\n    for (int i = 0; i < 8; i++) {\n        float best",
        "#pragma unroll\n    for (int i = 0; i < 8; i++) {\n        float best",
    ),
    "the upper centres' best read too early": (
        "nearest",
        "    __syncthreads();\n    if (!(warp & 1)",
        "    if (!(warp & 1)",
    ),
    "a barrier that half of the warps reach": (
        "nearest",
        "if ((warp & 1) && (lane & 7) == 0) {\n",
        "if ((warp & 1) && (lane & 7) == 0) {\n __syncthreads();\n",
    ),
    "centres behind the last one": ("nearest", "there < k ? sum[i][j] : INFINITY", "sum[i][j]"),
    "lanes left out": ("nearest", "step < 8; step <<= 1", "step < 4; step <<= 1"),
    "rows behind the last one": ("nearest", "row0 + r < list.size()", "row0 + r < list.size() + (list.row ? 0 : TILE)"),
    "no room for rounding": ("bounds.cuh", "near && next > best", "near && (L1 ? two : sqrtf(two)) > (L1 ? one : sqrtf(one))"),
    "rounding of the rows forgotten": ("bounds.cuh", "#define SHIFTED 1.3e-7f", "#define SHIFTED 0.0f"),
    "candidates left out": ("nearest", "size, slack) > limit) continue", "size, slack) > 0.999f * limit) continue"),
    "ties to any centre": ("nearest", "(other == best && there < at)", "false"),
    "features behind the last one": ("nearest", "f + q < d ? centred", "true ? centred"),
    "the second best forgotten": ("nearest", "two = fminf(fmaxf(one, other), fminf(two, second));", "two = fminf(two, second);"),
    "the best of a thread is no second": ("nearest", "second = less ? best : fminf(second, value);", "second = less ? second : fminf(second, value);"),
    "values that are not finite": ("nearest", "!good ? -1", "false ? -1"),
    "products of rows that have not arrived": ("products.cuh", "copies_done_but<STAGES - 2>();", "copies_done_but<STAGES - 1>();"),
    "a tile loaded over one in use": ("products.cuh", "copies_done_but<STAGES - 2>();\n        __syncthreads();", "copies_done_but<STAGES - 2>();"),
    "tiles in use overwritten by the best": ("products.cuh", "copies_done_but<0>();\n    __syncthreads();", "copies_done_but<0>();"),
    "the other warps' best read too early": ("tensor", "    __syncthreads();\n    if (threadIdx.x >= TILE", "    if (threadIdx.x >= TILE"),
    "no room for the rounding of halves": ("tensor.cuh", "INFINITY : twice", "INFINITY : 0.0f"),
    "bounds below zero": ("tensor.cuh", "norm * norm * (1.0f + 0x1p-8f) + more", "norm * norm"),
    "the second smallest bound forgotten": ("tensor.cuh", "here.two = min(max(here.one, one), min(here.two, two));", "here.two = min(here.two, two);"),
    "the smallest bound of a thread is no second": ("tensor", "two = min(min(two, max(a, b)), max(one, low));", "two = min(two, max(a, b));"),
    "lanes that share a row left out": ("tensor.cuh", "step < 4; step <<= 1", "step < 2; step <<= 1"),
    "warps that share a row left out": ("tensor", "w < 4; w++", "w < 3; w++"),
    "padded centres": ("tensor", "pairs[j] = j < k ?", "pairs[j] = true ?"),
    "padded rows": ("tensor", "if (threadIdx.x >= TILE || row0 + threadIdx.x >= n) return;", "if (threadIdx.x >= TILE) return;"),
    "norms behind the last one": ("tensor", "row0 + threadIdx.x < n ? row0 + threadIdx.x : n - 1", "row0 + threadIdx.x"),
    "centres that halves cannot hold": ("tensor", "if (!close) *far = 1;", ""),
    "halves of features behind the last one": ("tensor", "const T y = f0 + q < d ?", "const T y = true ?"),
    "a later tile's centres": ("products.cuh", "t / chunks * TILE + center", "center"),
    "bounds without their width": ("tensor.cuh", "+ 2.0f * edge.x * size)", ")"),
    "candidates of other rows": ("candidates", "part = threadIdx.x % PARTS, i = row[r];", "part = threadIdx.x % PARTS, i = row[r ^ 1];"),
    "candidates beyond those listed": ("candidates", "found == 0 || found > MOST", "found == 0"),
    "candidates by the wrong number": ("candidates", "center + 8 * j + side", "center + 8 * j"),
    "candidates next to the last": ("candidates", "slot / TILE >= found", "slot / TILE + 1 >= found"),
    "candidates of lists not yet there": ("candidates", "        lists->found[r] = 0;\n    }\n    __syncthreads();", "        lists->found[r] = 0;\n    }"),
    "the least candidate not yet known": ("candidates", "(unsigned long long)best->cost[slot]);\n    }\n    __syncthreads();", "(unsigned long long)best->cost[slot]);\n    }"),
    "the least candidate cleared late": ("candidates", "0x7fffffff;\n    __syncthreads();", "0x7fffffff;"),
    "of equal candidates any": ("candidates", "atomicMin(best->center + r, lists->center[slot]);", "best->center[r] = lists->center[slot];"),
    "candidates of the first tile only": ("candidates", "first += (int64_t)gridDim.x * TILE", "first += 1ll << 40"),
    "scores of the next tile too soon": ("nearest", "            __syncthreads();        ", "                    "),
    "scores of the first tile only": ("nearest", "row0 += (int64_t)gridDim.x * TILE", "row0 += 1ll << 40"),
    "candidates of rows behind the last one": ("candidates", "if (r >= count) return;", "if (r >= TILE) return;"),
    "tiles of centres multiplied before they are there": ("hopper", "barrier_wait(barriers->full + stage.at, stage.phase);", ""),
    "tiles of rows multiplied before they are there": ("hopper", "barrier_wait(barriers->rows_full + place.at, place.phase);", ";"),
    "tiles of centres given back in use": ("hopper", "                    products_done_but<1>();\n", ""),
    "tiles of rows overwritten in use": ("hopper", "barrier_wait(barriers->rows_empty + place.at, place.phase ^ 1);", ""),
    "tiles of centres overwritten in use": ("hopper", "barrier_wait(barriers->empty + stage.at, stage.phase ^ 1);", ""),
    "products folded before they are there": ("hopper", "products_done_but<0>();\n", ""),
    "a tile never given back": ("hopper", "if (speaks) barrier_arrive(barriers->rows_empty + place.at);", ""),
    "rounds without phases": ("hopper", "phase ^= at == 0;", ""),
    "the wrong rows of a tile": ("hopper", "x + BYTES / 2 + 32 * step", "x + 32 * step"),
    "the wrong features of a tile": ("hopper", "c + 32 * step, chunk || step);\n                    multiply_add(high", "c + 16 * step, chunk || step);\n                    multiply_add(high"),
    "sums of the tile before": ("hopper", "c + 32 * step, chunk || step);\n                    multiply_add(high", "c + 32 * step, true);\n                    multiply_add(high"),
    "rows of a group behind the last one": ("hopper", "if ((lane & 3) == 0 && row < n)", "if ((lane & 3) == 0)"),
    "the number of a centre": ("hopper", "(one[h] & 30u) << 2", "(one[h] & 14u) << 2"),
    "the rows listed": ("bounds.cuh", "label[list[i]] = at;", "label[i] = at;"),
    "the rows listed, read": ("nearest", "(i < count ? list[i] : 0)", "(i < count ? i : 0)"),
    "few centres, and one behind the last": ("few", "first + j < k ? sum[j] : INFINITY", "sum[j]"),
    "few centres: rows not yet staged": ("few", "                    });\n                __syncthreads();\n", "                    });\n"),
    "few centres: rows staged over others": ("few", "                __syncthreads();\n                if (d", "                if (d"),
    "few centres: the second best forgotten": ("few", "two = less ? one : fminf(two, value);", "two = less ? two : fminf(two, value);"),
    "few centres: the number of a later one": ("few", "at = less ? first + j : at;", "at = less ? j : at;"),
    "few centres: rows staged once": ("few", "if (d > DEPTH || first == 0)", "if (first == 0)"),
    "features of the next row": ("staged.cuh", "put(e / width, e % width)", "put(e / width, e % DEPTH)"),
    "costs of rows not yet staged": ("costs", "            });\n            __syncthreads();\n", "            });\n"),
    "costs of rows staged over others": ("costs", "            __syncthreads();\n            stage_rows", "            stage_rows"),
    "bounds that are worn": ("settled", "> apart[own]", "> 0.0f"),
    "ways of others forgotten": ("bounds.cuh", "fmaxf(kept - way * UP, 0.0f)", "fmaxf(kept, 0.0f)"),
    "ways of others counted twice": ("bounds.cuh", "(fmaxf(bound, 0.0f) + way * DOWN)", "(fmaxf(bound, 0.0f) + 3.0f * way)"),
    "lower bounds of the nearest": ("bounds.cuh", "since_lower(next, kept.other[at])", "since_lower(1.2f * next, kept.other[at])"),
    "distances of some lanes": ("settled", "int step = 16; step; step >>= 1", "int step = 8; step; step >>= 1"),
    "open rows in one place": ("settled", "__popc(those & ((1u << lane) - 1))", "0"),
    "the last open rows": ("settled", "const bool open = i < n &&", "const bool open = i + 1 < n &&"),
    "a term fused": (
        "common.cuh", "cost += term<L1>((double)x[f], center[f * stride]);",
        "cost = L1 ? cost + fabs(x[f] - center[f * stride]) : fma(x[f] - center[f * stride], x[f] - center[f * stride], cost);",
    ),
    "costs of the first centre": ("costs", "label[row] > 0 ? label[row] : 0", "0"),
    "costs at the first of features": ("costs", "* d + f]", "* d + f0]"),
    "rows that stay": ("moves", "return now != before && now >= 0;", "return now >= 0;"),
    "a block's first place": ("moves", "entered[r] + (room ? own[now[i]] : 0)", "entered[r]"),
    "counts of a block not yet complete": ("moves", "        }\n        __syncthreads();\n        for (int64_t g = threadIdx.x; g < room; g += blockDim.x)\n            if (own[g]) own", "        }\n        for (int64_t g = threadIdx.x; g < room; g += blockDim.x)\n            if (own[g]) own"),
    "counts of a block cleared in use": ("moves", "            group[there] = old;\n        }\n        __syncthreads();", "            group[there] = old;\n        }"),
    "errors of additions forgotten": ("common.cuh", "sum = added(sum, other.high);", "sum.high += other.high;"),
    "warps left out of a scan": ("scan", "warp < warps", "warp < warps - 1"),
    "a scan of warps that are not done": ("scan", "    __syncthreads();\n", ""),
    "zeros are the least": ("scan", "size > 0.0 ? fmin(mine.least, size) : mine.least", "fmin(mine.least, size)"),
    "sums about another origin": ("scan", "r = x - zero", "r = x"),
    "features of another lane": ("scan", "const double zero = origin[f];", "const double zero = origin[0];"),
    "the mean of a cluster without mass": ("solve", "out[j * d + f] = mass.high > 0.0 ? mean : before;", "out[j * d + f] = mean;"),
    "a mean rounded twice": ("solve", "q + (fma(-q, mass.high, sum.high) + (sum.low - q * mass.low)) / mass.high", "q"),
    "the way of a cluster without mass": ("solve", "step = mass.high > 0.0 ? mean - before : 0.0;", "step = mean - before;"),
    "sums read before they are there": ("solve", "        __syncwarp();\n", ""),
    "terms of features behind the last one": ("solve", "d - first < 32 ? (int)(d - first) : 32", "d - first < 32 ? (int)(d - first) - 1 : 32"),
    "the lower pieces of the terms": ("solve", "low += s.low + error;", "low += s.low;"),
    "the cost about another origin": ("solve", "const Pair c = sum_of(center, -origin)", "const Pair c = sum_of(center, 0.0)"),
    "a count of another cluster": ("solve", "(double)counts[j]", "(double)counts[k + j]"),
    "the last warp's share": ("totals", "warp < 8", "warp < 7"),
    "shares not yet there": ("totals", "    __syncthreads();\n    if (threadIdx.x) return;", "    if (threadIdx.x) return;"),
    "digits that reach a third limb": ("totals", "if (top) atomicAdd(to + 2, top);", ""),
    "limbs of subnormal weights": ("totals", "power ? (int)power - 1 : 0", "(int)power - 1"),
    "the leading digit": ("totals", "(power ? 1ull << 52 : 0)", "0"),
    "carries": ("totals", "carry >>= 32;", "carry = 0;"),
    "copies of masses": ("totals", "copy < copies", "copy < 1"),
    "masses of rows without a label": ("totals", "label[i] < 0 || !(weight[i] > 0.0)", "!(weight[i] > 0.0)"),
    "counts of ranks not yet cleared": ("ranks", "below[p] = 0;\n    __syncthreads();", "below[p] = 0;"),
    "counts of ranks not yet complete": ("ranks", "    __syncthreads();\n    for (int64_t p = threadIdx.x; p < own_pairs", "    for (int64_t p = threadIdx.x; p < own_pairs"),
    "values behind the room": ("ranks", "if (at >= room) {", "if (at > room) {"),
    "brackets that are closed": ("ranks", "if (!(low <= high)) continue;\n        const T x = X[value.i * d + value.f];\n        if (x < low) count_one", "const T x = X[value.i * d + value.f];\n        if (x < low) count_one"),
    "a block's rows": ("ranks", "if (rows[j]) atomicAdd(total + j, rows[j]);", ";"),
    "the upper end of a bracket": ("ranks", "else if (x <= high) keep(inside, p, x, 1.0);", "else if (x < high) keep(inside, p, x, 1.0);"),
    "ranks of rows of no weight": ("ranks", "if (j < 0 || !(w > 0.0)) continue;", "if (j < 0) continue;"),
    "ranks of rows without a label": ("ranks", "if (j < 0) continue;  // it is refused later", ""),
    "the rest of a weight": ("ranks", "w -= piece;", ""),
    "a thread's later features": ("ranks", "        f -= d;\n        i++;", "        f -= d;"),
    "the last bucket": ("ranks", "(double)(buckets - 1));", "(double)buckets);"),
    "rows that leave": ("moves", "leaves ? -sum[b] : sum[b]", "sum[b]"),
    "the end of a group": ("moves", "if (of[q + 1] == of[q]) continue;", "if (of[q + 1] >= 0) continue;"),
    "the group after those read at once": ("moves", "of[AHEAD] = batch + AHEAD < last ? group[batch + AHEAD] : -1;", "of[AHEAD] = of[AHEAD - 1];"),
    "groups behind the last one": ("moves", "of[q] = batch + q < last ? group[e] : -1;", "of[q] = group[e];"),
    "lanes of another span": ("moves", "(thread_id() >> bits) * SPAN; first", "warp_id() * SPAN; first"),
    "entries behind the last one": ("moves", "first + SPAN < entries ? first + SPAN : entries", "first + SPAN"),
    "higher levels": ("moves", "low + b == 0)", "b == 0)"),
    "columns behind the last one": ("moves", "if (column > d) return;", "if (column > d + 31) return;"),
    "counts not yet complete": ("medians", "        __syncthreads();\n        uint32_t* all", "        uint32_t* all"),
    "the upper middle": ("medians", "if (key > low && key < least)", "if (key >= low && key < least)"),
    "items of the digit before": ("medians", "if (threadIdx.x == 0) open[1 + place] = 0;", ""),
    "the last item to count": ("medians", "own[BINS * LANES] + 1 == item.parts", "own[BINS * LANES] == 0"),
    "values that were kept": ("medians", "slab ? slab[e * pitch] : ", ""),
    "negative values": ("medians.cuh", "return bits & 0x80000000u ? ~bits : bits | 0x80000000u;", "return bits;"),
    "items of clusters before the first slot": ("medians.cuh", "number += s.from ? s.items[s.from - 1] : 0;", ""),
    "a cluster's later items": ("medians.cuh", "(number - before) * size", "number * 0"),
    "samples: counts not yet complete": ("samples", "        }\n        __syncthreads();\n#pragma unroll 1\n        for (int part", "        }\n#pragma unroll 1\n        for (int part"),
    "samples: sums not yet complete": ("samples", "        }\n        __syncthreads();\n        int part = 0", "        }\n        int part = 0"),
    "samples: the only one left": ("samples", "        __syncthreads();\n        found.key", "        found.key"),
    "samples: the upper middle": ("samples", "if (found.rank + 1 >= found.same) other = least;", ""),
    "samples: brackets that miss": ("samples", "one < below || two >= within", "two >= within"),
    "samples: values for which there was no room": ("samples", "!where.missed && kept <= room", "!where.missed"),
    "samples: values equal to the ends": ("samples", "above += value > low;", "above += value >= low;"),
    "samples: items of the same rows": ("samples", "item.parts + item.number) * AHEAD", "item.parts) * AHEAD"),
    "samples: the next rows": ("samples", "const uint32_t later = first + step + lane;", "const uint32_t later = first + AHEAD + lane;"),
    "samples: an item not yet read": ("samples", "        __syncthreads();\n        const uint32_t kept", "        const uint32_t kept"),
    "samples: the rank among what is kept": ("samples", "job.rank()[pair] = (count - 1) / 2 - upto;", "job.rank()[pair] = (count - 1) / 2;"),
    "rows not yet staged": ("trials.cuh", "x * scale; });\n        __syncthreads();\n", "x * scale; });\n"),
    "rows staged over others": ("trials.cuh", "        __syncthreads();\n        stage_rows", "        stage_rows"),
    "rows of two blocks": ("trials.cuh", "if (same) share += other;", "share += other;"),
    "rows of no weight": ("trials.cuh", "!weight || weight[i] > 0.0", "true"),
    "staged rows behind the last one": ("staged.cuh", "if (row0 + r < n) stage", "stage"),
    "sums of distances: rows not yet staged": ("silhouette", "                __syncthreads();\n#pragma", "#pragma"),
    "sums of distances: rows staged over others": ("silhouette", "                __syncthreads();\n                if (d", "                if (d"),
    "sums of distances: rows staged once": ("silhouette", "if (d > DEPTH || first == start[c])", "if (first == start[c])"),
    "sums of distances: others behind the last one": ("silhouette", "if (first + j < last) sum", "sum"),
    "sums of distances: features behind the last one": ("silhouette", "if (f < deep && first + r < last)", "if (first + r < last)"),
    "sums of distances: what was there": ("silhouette", "i < n ? out[i * k + c] : 0.0", "0.0"),
    "sums of distances: the first cluster": ("silhouette", "out + first, k);", "out, k);"),
    "the known centre among the trials": ("trials.cuh", "trials ? t - offset : t;", "t;"),
    "seeds: the worst trial": ("seeds", "all < total", "all > total"),
    "seeds: other warps' sums": ("seeds", "if (w < warp) before += memory[w];", ""),
    "seeds: sums that are not there yet": ("seeds", "    if (lane == 31) memory[warp] = sum;\n    __syncthreads();", "    if (lane == 31) memory[warp] = sum;"),
    "seeds: sums overwritten in use": ("seeds", "    __syncthreads();\n    if (lane == 31)", "    if (lane == 31)"),
    "seeds: sums left over": ("seeds", "blocks[e] = 0;", ";"),
    "seeds: the largest cost left over": ("seeds", "largest[c] = 0.0;", ";"),
    "seeds: cleared before they are read": ("seeds", "    const double most = largest[best];\n    __syncthreads();", "    const double most = largest[best];"),
    "seeds: a grid too coarse": ("seeds", "!again && total < COARSE", "false && total < COARSE"),
    "seeds: a power of two": ("seeds", "((bits & 0xfffffffffffffll) != 0 && exponent < 1024)", "1"),
    "seeds: the centre chosen last not counted": ("seeds", "once && state->known", "false"),
    "seeds: the centre chosen last not seen": ("seeds", "state->known && sum[0]", "false && sum[0]"),
    "seeds: blocks of rows before": ("seeds", "low ? running[low - 1] : 0", "0"),
    "seeds: rows before": ("seeds", "            so_far += all;\n        }\n    }\n    __syncthreads();", "        }\n    }\n    __syncthreads();"),
    "seeds: a row not yet found": ("seeds", "    __syncthreads();\n    const int64_t row", "    const int64_t row"),
    "seeds: trials of the second part": ("seeds", "t / (M - 1) * d * M", "0"),
    "seeds: a finer grid unused": ("seeds", "state->per_grid = state->next_grid;", "state->per_grid = 1.0;"),
}  # fmt: skip


GPUS = [("86", 64), ("80", 227), ("90", 227), ("75", 64)]  # generation, and kilobytes of shared memory of a block
CASES = [(130, 127, 70), (61, 300, 65), (261, 257, 150), (300, 97, 2)]
HALVES = ("tensor", "tensor.cuh", "products.cuh", "candidates", "hopper")
FEW = [(130, 47, 40), (300, 5, 33), (261, 33, 70), (300, 47, 2)]  # centres


def exercise(machine, rng, where, times=4, kinds=("normal", "ties", "last bits", "bundles", "twins")):
    """What the kernels of a file do, in a few shapes, each under another schedule and on another GPU."""
    from gpuclust.backends import cuda_kernels

    cases = FEW if where in ("few", "staged.cuh") else CASES
    for machine.schedule, (n, k, d), gpu in [*zip(emulator.SCHEDULES, cases, GPUS, strict=True)][:times]:
        if where == "hopper" and gpu[0] != "90":
            continue
        machine.compute_capability, machine.shared = gpu[0], gpu[1] << 10
        if where in ("moves", "ranks", "nearest", "candidates"):
            cuda_kernels.MOST_BLOCKS = 1  # a block takes rows, then others
        for cached in (cuda_kernels.attribute, cuda_kernels.target, cuda_kernels._function):
            cached.cache_clear()
        label, old = rng.integers(0, k, n).astype(np.int32), rng.integers(-1, k, n).astype(np.int32)
        for kind in kinds:
            X, centers = rows_and_centers(rng, kind, n, k, d, np.float32)
            if where in HALVES:
                check_labels(X, centers, Metric.EUCLIDEAN)
                continue
            for metric in METRICS:
                if where in ("nearest", "few", "bounds.cuh", "staged.cuh"):
                    check_labels(X, centers, metric)
                elif where in ("trials", "trials.cuh"):
                    check_trials(X, rng.integers(0, 2, n) * rng.uniform(0, 3, n), centers[:6], metric)
                elif where in ("common.cuh", "costs"):
                    check_costs(X, centers, label, metric)
        if where in ("settled", "bounds.cuh"):
            check_bounds(rng, n, max(k, 65), d, np.float32)
        if where in HALVES:
            check_far_centers(rng)
        elif where == "scan":
            check_scan(rng, 9 * n, d, np.float32)
        elif where == "solve":
            check_means(rng, 9, 4, d)
        elif where in ("totals", "common.cuh"):
            check_total(rng, 1000 * d)
            check_masses(rng, 20 * d, 3)
        elif where == "ranks":
            exercise_ranks(rng, 4 * n, 9, 5, np.float32)
            exercise_ranks(rng, 300, 300, 25, np.float32)  # counts that do not fit shared memory
        elif where == "moves":
            now = rng.integers(0, 2, 5000).astype(np.int32)
            check_sums(rng.normal(size=(5000, 1)).astype(np.float32), None, now, np.full_like(now, -1), 2, 1, 0.0)
            check_sums(X, rng.uniform(0, 3, n), label, old, k, levels=6, step=12.0)
        elif where in ("medians", "medians.cuh", "samples"):
            exercise_medians(rng, d)
        elif where == "seeds":
            exercise_seeds(rng, METRICS[:1])
        elif where == "silhouette":
            for metric in METRICS:
                check_distance_sums(X, centers.astype(np.float32), rng.integers(0, 5, k), metric, 2)
        elif where == "nearest":
            X[n // 2, d - 1] = np.nan
            assert labels_of(X, centers, Metric.EUCLIDEAN)[n // 2] == -1


@pytest.mark.parametrize("where", sorted({where for where, _, _ in FAULTS.values()}))
def test_sound_kernels_pass(fenced, rng, where):
    exercise(fenced, rng, where)


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_faults_are_found(fenced, rng, monkeypatch, fault):
    where = plant(monkeypatch, *FAULTS[fault])
    with pytest.raises((AssertionError, emulator.EmulatorError)):
        exercise(fenced, rng, where)


def plant(monkeypatch, where, right, wrong):
    """Put a fault into a file."""
    from gpuclust.backends import cuda_kernels

    sound = cuda_kernels.source
    files = {"common": "costs", "tensor": "hopper", "products": "tensor", "bounds": "few", "medians": "medians", "trials": "trials", "staged": "few"}
    assert right in sound(files[where.removesuffix(".cuh")] if where.endswith("cuh") else where)

    def broken(file):
        return sound(file).replace(right, wrong) if where == file or where.endswith("cuh") else sound(file)

    monkeypatch.setattr(cuda_kernels, "source", broken)
    files, types = [path.stem for path in cuda_kernels.SOURCES.glob("*.cu")], ("f32", "f64")
    changed = {of(broken(file), dtype) for of in [cuda_kernels.of_type] for file in files for dtype in types}
    monkeypatch.setattr(emulator, "brief", changed - {cuda_kernels.of_type(sound(file), dtype) for file in files for dtype in types})
    return where


def test_values_that_are_not_aligned_are_found(fenced, rng, monkeypatch):
    monkeypatch.setattr(emulator, "aligned", True)
    where = plant(monkeypatch, "few", "SHARED(float, centers);", "SHARED(float, centers);\n    centers++;")
    with pytest.raises(emulator.EmulatorError, match="memory that is not aligned for its type"):
        exercise(fenced, rng, where)


@pytest.mark.usefixtures("fenced")
def test_a_fence_keeps_the_shape():
    assert [emulator.fenced(np.ones(shape)).shape for shape in ((), (1,), (2, 0), (2, 3))] == [(), (1,), (2, 0), (2, 3)]


# --- races, which no result may show ---

RACES = {
    "counts told before they are there": ("medians", "            __threadfence();\n", ""),
    "modes changed before all have read them": ("samples", "        __syncthreads();  // all warps have read what the first one writes\n", ""),
    "sums that other lanes write": ("solve", "        __syncwarp();\n", ""),
    "a largest cost that others raise": ("trials.cuh", "*(volatile double*)most", "*most"),
}  # fmt: skip
if not FULL:  # what a fence orders, and a warp
    RACES = {fault: RACES[fault] for fault in ("counts told before they are there", "sums that other lanes write")}
WATCHED = sorted({where for where, _, _ in FAULTS.values()} - {"hopper"}) if FULL else ["medians", "solve"]


def exercise_once(machine, rng, where):
    """In one shape, since all that threads touch is watched."""
    if "clang" in emulator.compiler():
        pytest.skip("races are watched through g++'s callbacks")
    machine.races = True
    exercise(machine, rng, where, 1, ["ties"])


@pytest.mark.parametrize("where", WATCHED)
def test_no_threads_race(fenced, rng, where):
    """`hopper.cu` orders its threads by barriers that are not known to `races.h`."""
    exercise_once(fenced, rng, where)


@pytest.mark.parametrize("fault", RACES)
def test_planted_races_are_found(fenced, rng, monkeypatch, fault):
    where = plant(monkeypatch, *RACES[fault])
    with pytest.raises(emulator.EmulatorError, match="a race: "):
        exercise_once(fenced, rng, where)


def test_sizes_are_the_same_in_both_languages(machine):
    from gpuclust.backends import (
        cuda_kernels,
        cuda_labels,
        cuda_medians,
        cuda_moves,
        cuda_seeding,
        cuda_silhouette,
        cuda_sums,
        cuda_tensor,
    )
    from gpuclust.backends.kernels import trials
    from gpuclust.solvers import seeding

    defined = {}
    for path in cuda_kernels.SOURCES.glob("*.cu*"):
        for name, value in re.findall(r"^#define (\w+) +(\d+)(?= *(?://.*)?$)", path.read_text(), re.MULTILINE):
            defined[path.stem, name] = int(value)
    for name in (("seeds", "EACH"), ("moves", "LEVELS"), ("medians", "AHEAD"), ("samples", "PARTS")):  # of no concern to the host
        del defined[name]
    ours = {
        ("nearest", "TILE"): cuda_labels.TILE,
        ("nearest", "DEEP"): cuda_labels.DEEP,
        ("moves", "SPAN"): cuda_moves.SPAN,
        ("moves", "ROWS"): cuda_moves.ROWS,
        ("medians", "BINS"): cuda_medians.BINS,
        ("medians", "LANES"): cuda_medians.LANES,
        ("samples", "WORK"): cuda_medians.WORK,
        ("samples", "GUESSERS"): cuda_medians.GUESSERS,
        ("samples", "COLLECTORS"): cuda_medians.COLLECTORS,
        ("scan", "LANES"): cuda_sums.LANES,
        ("scan", "FIELDS"): cuda_sums.FIELDS,
        ("totals", "LIMBS"): cuda_sums.LIMBS,
        ("tensor", "TILE"): cuda_tensor.TILE,
        ("products", "STAGES"): cuda_tensor.STAGES,
        ("candidates", "MOST"): cuda_tensor.MOST,
        ("hopper", "STAGES"): cuda_tensor.HOPPER_STAGES,
        ("hopper", "GROUP"): cuda_tensor.TILE,
        ("staged", "ROWS"): cuda_labels.ROWS,
        ("staged", "DEPTH"): cuda_labels.DEPTH,
        ("silhouette", "WIDTH"): cuda_silhouette.WIDTH,
        ("few", "WIDTH"): cuda_labels.WIDTH,
        ("trials", "BLOCK"): trials.BLOCK,
        ("seeds", "CHOOSERS"): cuda_seeding.CHOOSERS,
        ("seeds", "COARSE"): seeding.COARSE,
    }
    assert defined == ours
    state = re.search(r"^struct State \{.*?^\};", (cuda_kernels.SOURCES / "seeds.cu").read_text(), re.DOTALL | re.MULTILINE)
    kinds, names = zip(*re.findall(r"^    (\w+) (\w+);", state[0], re.MULTILINE), strict=True)
    assert kinds == ("int64_t",) * 4 + ("double",) * 3 and len(kinds) == cuda_seeding.STATE
    assert (names[1], names[-1]) == ("row", "next_grid")  # what the host begins with
    assert cuda_labels.STAGES == 2 * 2 * cuda_labels.TILE * (cuda_labels.DEEP + 4) * 4
