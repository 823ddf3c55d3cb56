"""Law 2 where a first look at the labels is taken in 16-bit integers."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from gpuclust import KMeans, KMedians
from gpuclust.backends import layout, packing
from gpuclust.backends.frame import Frame
from gpuclust.backends.kernels import short_abs
from gpuclust.backends.kernels.scores import centre_tiles, make_room, tile_norm_abs
from gpuclust.backends.kernels.tile import LANES
from gpuclust.backends.metric import Metric
from gpuclust.backends.packing import SHORT_ABS, SHORT_FEATURES, SHORT_FROM, pack_centers, rounding

from .cases import KINDS
from .certified import assert_certified, assert_follows_plain_lloyd, assert_predicts, halfway, rounded
from .oracle import direct_costs, direct_labels, lloyd_medians
from .runs import assert_same_bits, fit, seeds

pytestmark = pytest.mark.usefixtures("one_thread")
WIDTHS = [SHORT_FEATURES[0], 33, 70, 300]
WIDTHS_ABS = [SHORT_ABS[1], 7, 16, SHORT_ABS[2]]
BOTH = [(KMeans, SHORT_FROM, d) for d in WIDTHS] + [(KMedians, SHORT_ABS[0], d) for d in WIDTHS_ABS]


@pytest.mark.parametrize(("estimator", "least", "d"), BOTH)
class TestFirstLook:
    @pytest.mark.parametrize("kind", KINDS)
    def test_labels_are_the_direct_argmin(self, rng, kind, estimator, least, d, dtype):
        X = KINDS[kind](rng, 700, d, dtype)
        for k in (least, 61, 250):
            assert_certified(fit(X, None, estimator, init=X[rng.choice(700, k, replace=False)], max_iter=4), X)

    def test_rows_halfway_between_centers(self, rng, estimator, least, d, dtype):
        assert_predicts(*halfway(rng, 1500, 50, d, dtype), estimator)

    def test_one_feature_outweighs_all(self, rng, estimator, least, d, dtype):
        """The integers of all other features are zero."""
        C, X = rng.normal(size=(40, d)), rng.normal(size=(600, d))
        C[:, 3], X[:, 3] = 1e5, 1e5 * rng.choice([-1, 1], 600)
        C, X = C.astype(dtype), X.astype(dtype)
        assert_predicts(X, C, estimator)

    def test_rows_of_all_lengths(self, rng, estimator, least, d, dtype):
        """Also a row and a centre at the origin of the frame, and lengths that only just have a square."""
        C = (rng.normal(size=(40, d)) * 10.0 ** rng.uniform(-18, 2, (40, 1))).astype(dtype)
        X = (rng.normal(size=(600, d)) * 10.0 ** rng.uniform(-25, 15, (600, 1))).astype(dtype)
        C[0] = X[0] = 0
        assert_predicts(X, C, estimator)

    def test_rows_and_centers_about_as_long_as_integers_reach(self, rng, estimator, least, d, dtype):
        C = (rng.normal(size=(40, d)) * rng.uniform(1, 12, (40, 1))).astype(dtype)
        X = (rng.normal(size=(900, d)) * rng.uniform(1, 40, (900, 1))).astype(dtype)
        X[:400] = C[rng.integers(40, size=400)] + 0.1 * X[:400]
        assert_predicts(X, C, estimator)

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_a_value_that_is_not_finite_is_found(self, rng, estimator, least, d, dtype, value):
        X = rng.normal(size=(500, d)).astype(dtype)
        model = fit(X, None, estimator, init=X[:40], max_iter=2)
        X[123, d - 1] = value
        with pytest.raises(ValueError, match=r"NaN|infinity"):
            model.predict(X)


@pytest.mark.parametrize("d", WIDTHS)
@pytest.mark.parametrize("k", [40, 260])
def test_iterations_equal_plain_lloyd(rng, d, k, dtype):
    X = rounded((rng.normal(size=(30, d))[rng.integers(30, size=600)] * 2 + rng.normal(size=(600, d))).astype(dtype))
    assert_follows_plain_lloyd(X, X[rng.choice(600, k, replace=False)], 5)


@pytest.mark.parametrize("d", WIDTHS_ABS)
@pytest.mark.parametrize("k", [8, 40, 260])
def test_iterations_equal_plain_medians(rng, d, k, dtype):
    X = (rng.normal(size=(30, d))[rng.integers(30, size=600)] * 2 + rng.normal(size=(600, d))).astype(dtype)
    start = X[rng.choice(600, k, replace=False)]
    model = fit(X, None, KMedians, init=start, max_iter=4, tol=0)
    step = lloyd_medians(X, start, 4)[model.n_iter_ - 1]
    np.testing.assert_array_equal(model.cluster_centers_, step.centers.astype(dtype))


@numba.njit
def first_look(X, rows, cen, d, room, state):
    """What `score_one` and `slack_left` do with medians in integers; to compile all that they can do takes long."""
    m, tiles = len(rows), (len(rows) + LANES - 1) // LANES
    centre_tiles(X, rows, m, cen.shift, cen.scale, room.xt)
    for t in range(tiles):
        tile_norm_abs(room.xt, t * LANES * d, d, room.norm, t * LANES)
    short_abs.score_short_abs(room, tiles, d, cen, 0, cen.group_start[-1])
    short_abs.least_scores(room, m, room.norm, cen, state.one, state.two, state.best, room.error)
    short_abs.slack_abs(m, cen, state.best, room.error, room.slack)


def integer_scores(X, C):
    """Return the lower bounds of the best two distances, the upper bound of the best, and its centre, of each row."""
    d, n = X.shape[1], len(X)
    frame = Frame.around(C, X.dtype, Metric.MANHATTAN)
    plan = layout.Layout.build(C, 1)
    cen = pack_centers(C, frame, plan, layout.Drift.none(plan))
    assert len(cen.short)
    form, _ = rounding(d, Metric.MANHATTAN)
    room, state = make_room(-(-n // LANES) * LANES, d, len(C), form, True)
    first_look(X, np.arange(n), cen, d, room, state)
    scale = float(frame.scale)
    one, two = state.one[:n].astype(float), state.two[:n].astype(float)
    return one / scale, two / scale, (one + room.slack[:n]) / scale, plan.order[state.best[:n]]


def assert_bounds(X, C):
    """No score is too high; none of the best is too low by more than it says."""
    one, two, most, best = integer_scores(X, C)
    exact = direct_costs(X, C, True)
    rows, nearest = np.arange(len(X)), exact.min(axis=1)
    blur = 1e-5 * (np.abs(X - C.mean(axis=0)).sum(axis=1) + nearest)  # of float32: `certify` has its own margin for it
    assert (one <= nearest + blur).all()
    assert (exact[rows, best] <= most + blur).all()
    exact[rows, best] = np.inf
    assert (two <= exact.min(axis=1) + blur).all()
    return most


@pytest.mark.parametrize("seed", seeds(30, 600))
def test_integer_scores_bound_manhattan_distances(seed):
    rng = np.random.default_rng(seed)
    d, k, n = int(rng.integers(4, 65)), int(rng.integers(8, 90)), int(rng.integers(1, 300))
    dtype = [np.float32, np.float64][rng.integers(2)]
    C, X = rng.normal(size=(k, d)), rng.normal(size=(n, d))
    if rng.uniform() < 0.5:
        C *= 10.0 ** rng.uniform(0, rng.choice([0.5, 2, 20]), (k, 1))
        X *= 10.0 ** rng.uniform(-1, rng.choice([0.5, 2, 20]), (n, 1))
    if rng.uniform() < 0.3:
        C, X = np.rint(4 * C), np.rint(4 * X)
    assert_bounds(X.astype(dtype), C.astype(dtype).astype(float))


def whole_units(rng, d):
    """Return centres f64 [20, d], centred, that are whole units already."""
    C = np.rint(rng.normal(size=(10, d)) * short_abs.TYPICAL / d)
    C[:, 0] = np.sign(C[:, 0]) * (short_abs.TYPICAL - np.abs(C[:, 1:]).sum(axis=1))
    return np.concatenate([C, -C])


@pytest.mark.parametrize("way", [-0.49, 0.49])
@pytest.mark.parametrize("d", WIDTHS_ABS)
def test_rounding_that_moves_rows_to_a_centre_or_away(rng, d, way):
    """All features one way: the distance in integers is off by 0.49 d."""
    C = whole_units(rng, d)
    own = C[rng.integers(20, size=300)]
    X = own + np.rint(rng.normal(size=(300, d)) * 200)
    assert np.isfinite(assert_bounds((X + way * np.sign(X - own)).astype(np.float32), C)).all()


@pytest.mark.parametrize("d", WIDTHS_ABS)
def test_rounding_that_moves_centers(rng, d):
    C = whole_units(rng, d)
    X = C[rng.integers(20, size=300)] + np.rint(rng.normal(size=(300, d)) * 200)
    for way in (-0.49, 0.49):
        moved = np.concatenate([C[:10] + way, C[10:] - way])
        assert np.isfinite(assert_bounds(X.astype(np.float32), moved)).all()


@pytest.mark.parametrize("d", WIDTHS_ABS)
def test_centers_too_long_for_integers(rng, d):
    """Rows that can be scored lie nearer to them than to any other."""
    C = whole_units(rng, d)
    C[:2] *= 1.01 * short_abs.MOST / short_abs.TYPICAL
    C[10:12] = -C[:2]
    X = C[rng.integers(2, size=300)] * rng.uniform(0.4, 1.0, (300, 1))
    most = assert_bounds(X.astype(np.float32), C)
    assert 0 < np.isfinite(most).sum() < 300


def test_integers_decide_most_rows(rng):
    X = rng.normal(size=(2000, 16)).astype(np.float32)
    _, two, most, _ = integer_scores(X, X[:32].astype(float))
    assert np.mean(most < two) > 0.9


def test_medians_are_the_same_with_integers_and_without(rng, monkeypatch, dtype):
    X = rng.normal(size=(3000, 9)).astype(dtype)
    quick = fit(X, None, KMedians, init=X[:30], max_iter=12, tol=0)
    monkeypatch.setattr(packing, "SHORT_ABS", (31, 4, 64))
    assert_same_bits(fit(X, None, KMedians, init=X[:30], max_iter=12, tol=0), quick)


@pytest.mark.parametrize("size", [0.0, 1e-45, 1e-37, 1e-31, 1e-29, 1e18, 1e30])
def test_a_centre_of_any_length_leaves_the_others_their_integers(rng, size):
    """Its factor would overflow; an error that is not a number would make infinite bounds to every group."""
    C = rng.normal(size=(40, 64))
    C[5] = size / 8
    frame = Frame(np.zeros(64, np.float32), np.float32(1), np.ones((2, 65)), 1.0, 1.0, 1.0)
    plan = layout.Layout.build(C, 1)
    packed = pack_centers(C, frame, plan, layout.Drift.none(plan))
    assert len(packed.short) == 42 * 32
    assert 0 < packed.astray < 1e-3
    assert np.isfinite(packed.lengths).all()


def test_finite_rows_that_float32_cannot_hold_are_labelled(rng):
    X = rng.normal(size=(500, 40))
    model = fit(X, init=X[:40], max_iter=2)
    X[7] *= 1e150
    np.testing.assert_array_equal(model.predict(X), direct_labels(X, model.cluster_centers_))


def test_more_centers_than_16_bits_can_name(rng):
    X = rng.normal(size=(65_600, 4)).astype(np.float32)
    rows = np.concatenate([X[:50], X[-50:]]) + np.float32(1e-3)
    assert_predicts(rows, X, KMedians)
