"""Law 1, the sums: exact up to 2^-50 of a cluster's own sum of w |x|, in any order, up to 1e9 rows."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from gpuclust.backends.cpu import CPUBackend
from gpuclust.backends.frame import Frame
from gpuclust.backends.statistics import DD, Delta, Scan
from gpuclust.data.array import ArraySource
from gpuclust.objectives.mean import Mean
from gpuclust.solvers.scan import scan

from .cases import KINDS, WEIGHTS, blobs, wide_weights
from .oracle import exact_dot, exact_sums
from .runs import fit, seeds

pytestmark = pytest.mark.usefixtures("one_thread")
BOUND = Fraction(2) ** -50


def assert_within_bound(found, sums):
    """Hold Fraction [k][d + 1] against the exact sums; the mass is the last column."""
    for row, total, size, mass in zip(found, *sums, strict=True):
        for value, exact, own in zip(row, [*total, mass], [*size, mass], strict=True):
            assert abs(value - exact) <= BOUND * own


def read(sums):
    """Return what sums f64 [k, K, d + 1] stand for, without rounding."""
    return [[exact_dot(levels[:, f]) for f in range(levels.shape[1])] for levels in sums]


def first_sums(X, weight, centers):
    """Return the sums after one assignment and its labels."""
    source = ArraySource(X, weight, CPUBackend(), 64)
    objective, params = Mean.start(source, scan(source), centers.astype(np.float64))
    delta = source.fold(objective.partial, objective.begin(source.backend, params))
    return delta.sums, source.rows("label")


@pytest.mark.parametrize("kind", [*KINDS, "far_outlier"])
@pytest.mark.parametrize("weights", WEIGHTS)
def test_error_of_the_sums(rng, kind, weights, dtype):
    X = KINDS[kind if kind in KINDS else "blobs"](rng, 300, 3, dtype)
    weight = WEIGHTS[weights](rng, 300)
    if kind == "far_outlier" and dtype == np.float64:
        X[5] = 1e150
    sums, labels = first_sums(X, weight, X[[5, 100, 200, 250]])
    assert_within_bound(read(sums), exact_sums(X, labels, 4, weight))


def test_unweighted_sums_have_no_error_at_all(rng, dtype):
    for kind in ("blobs", "offset", "outlier", "wide", "integers", "negative_zeros"):
        X = KINDS[kind](rng, 250, 2, dtype)
        sums, labels = first_sums(X, None, X[:3])
        exact = exact_sums(X, labels, 3)
        assert read(sums) == [[*total, mass] for total, mass in zip(exact.total, exact.mass, strict=True)]


def test_outlier_of_another_cluster_leaves_the_means_alone(rng, dtype):
    X = blobs(rng, 400, 3, dtype)
    with_outlier = np.concatenate([X, np.full((1, 3), 1e30, dtype)])
    alone = fit(X, init=X[:4], tol=0)
    model = fit(with_outlier, init=np.concatenate([X[:4], with_outlier[-1:]]), tol=0)
    np.testing.assert_array_equal(model.cluster_centers_[:4], alone.cluster_centers_)
    np.testing.assert_array_equal(model.cluster_centers_[4], with_outlier[-1])
    assert (model.n_iter_, model.inertia_) == (alone.n_iter_, alone.inertia_)


def test_sums_do_not_drift_while_rows_move_back_and_forth(rng, dtype):
    """After many iterations the sums are those of the rows that a cluster holds now, to the bit."""
    X, weight = blobs(rng, 300, 3, dtype), wide_weights(rng, 300)
    source = ArraySource(X, weight, CPUBackend())
    frame = scan(source)
    objective, params = Mean.start(source, frame, X[:6].astype(np.float64))
    for _ in range(12):
        delta = source.fold(objective.partial, objective.begin(source.backend, params))
        params = objective.solve(source, delta, params)
    labels = source.rows("label")
    for j in range(6):
        mine = np.flatnonzero(labels == j)
        np.testing.assert_array_equal(params.sums[j], sums_of(X[mine], weight[mine], frame).sums[0])


def frame_of(dtype, rows, size, least, heaviest=1.0, lightest=1.0):
    """Return the frame of `rows` rows of two features up to `size`, as small as `least`."""
    zero, mass = np.zeros(2), DD(float(rows) * heaviest, 0.0)
    found = Scan(
        rows=rows, mass=mass, heaviest=heaviest, lightest=lightest, low=np.full(2, -size), high=np.full(2, size),
        least=np.full(2, least), total=DD(zero, zero), square=DD(0.0, 0.0),
    )  # fmt: skip
    return Frame.of(found, zero, dtype)


def sums_of(X, weight, frame):
    """Return the Delta of some rows, all in one cluster, on the grids of `frame`."""
    source = ArraySource(X, weight, CPUBackend())
    objective, params = Mean.start(source, frame, np.zeros((1, X.shape[1])))
    return source.fold(objective.partial, objective.begin(source.backend, params))


BILLION = [
    pytest.param(np.float32, 3.0e38, 1.5e-38, 1.0, 1.0, id="f32-whole-range"),
    pytest.param(np.float32, 1.0, 1e-7, 1.0, 1.0, id="f32-unit"),
    pytest.param(np.float32, 1e6, 1e-3, 1e12, 1e-12, id="f32-weights"),
    pytest.param(np.float64, 1e30, 1e-10, 1.0, 1.0, id="f64-outlier"),
    pytest.param(np.float64, 1e3, 1e-8, 1e12, 1e-12, id="f64-weights"),
]


def part_sums(rng, parts, dtype, size, least, heaviest, lightest, frame):
    """Return Deltas of a few rows each between the extremes, and their exact sums."""
    found = []
    for p in range(parts):
        spread = np.exp(rng.uniform(np.log(least), np.log(size), (8, 2)))
        X = np.clip(spread, least, size) * rng.choice([-1.0, 1.0], (8, 2))
        X = np.clip(X.astype(dtype), dtype(-size), dtype(size))
        X[0] = size if p % 2 else -size
        weight = None
        if heaviest > 1:
            weight = np.clip(np.exp(rng.uniform(np.log(lightest), np.log(heaviest), 8)), lightest, heaviest)
        found.append((sums_of(X, weight, frame), exact_sums(X, np.zeros(8), 1, weight)))
    return found


def merged(parts, order, doublings):
    """Return 8 len(order) 2^doublings rows: the parts in this order, then the result with itself."""
    total = parts[order[0]]
    for p in order[1:]:
        total = total.merge(parts[p])
    for _ in range(doublings):
        total = total.merge(total)
    return total


@pytest.mark.parametrize(("dtype", "size", "least", "heaviest", "lightest"), BILLION)
def test_a_billion_simulated_rows(rng, dtype, size, least, heaviest, lightest):
    """1e5 merges in random orders, then doublings up to 1e9 rows: the same bits, and the exact sum."""
    size, least = float(dtype(size)), float(dtype(least))
    merges, doublings = (100_000, 11) if seeds(0, 1) else (10_000, 14)
    rows = 8 * merges * 2**doublings
    assert rows >= 10**9
    frame = frame_of(dtype, rows, size, least, heaviest, lightest)
    known = part_sums(rng, 20, dtype, size, least, heaviest, lightest, frame)
    parts = [delta for delta, _ in known]
    order = rng.integers(20, size=merges)
    totals = [merged(parts, o, doublings) for o in (order, np.sort(order), rng.permutation(order))]
    assert all(t.sums.tobytes() == totals[0].sums.tobytes() and t.moved == rows for t in totals)
    count = np.bincount(order, minlength=20) * 2**doublings
    exact = [Fraction(0)] * 3, [Fraction(0)] * 3
    for c, (_, part) in zip(count, known, strict=True):
        for total, own in zip(exact, ([*part.total[0], part.mass[0]], [*part.size[0], part.mass[0]]), strict=True):
            for f in range(3):
                total[f] += int(c) * own[f]
    for value, total, own in zip(read(totals[0].sums)[0], *exact, strict=True):
        assert abs(value - total) <= BOUND * own


def test_a_billion_rows_of_the_largest_value_do_not_overflow_a_level():
    """The worst case for the first level: all rows at one end."""
    sums = sums_of(np.full((1, 2), 3, np.float32), None, frame_of(np.float32, 10**9, 3.0, 3.0)).sums
    total = Delta(sums * 0, 0)
    for bit in range(30):
        power = Delta(sums * 2.0**bit, 1 << bit)
        total = total.merge(power) if 10**9 >> bit & 1 else total
    assert total.moved == 10**9
    assert read(total.sums)[0] == [3 * 10**9, 3 * 10**9, 10**9]


@pytest.mark.parametrize("kind", ["blobs", "offset", "wide", "outlier", "grid"])
def test_moments_behind_the_tolerance(rng, kind, dtype):
    """The mean variance, unweighted as scikit-learn's, and the mass."""
    X, weight = KINDS[kind](rng, 300, 3, dtype), wide_weights(rng, 300)
    columns = [[Fraction(float(x)) for x in X[:, f]] for f in range(3)]
    spread = [sum(x * x for x in c) / 300 - (sum(c) / 300) ** 2 for c in columns]
    for rows in (300, 37):
        frame = scan(ArraySource(X, weight, CPUBackend(), rows))
        assert frame.variance == pytest.approx(float(sum(spread) / 3), rel=1e-12)
        assert frame.mass == float(exact_dot(weight))


def test_frame_of_centers_alone():
    centers = np.array([[0.0, 5.0], [2.0, 5.0]])
    frame = Frame.around(centers, np.float32)
    np.testing.assert_array_equal(frame.shift, np.array([1.0, 5.0], np.float32))
    assert frame.scale == np.float32(2.0) ** round(np.log2(frame.scale))
