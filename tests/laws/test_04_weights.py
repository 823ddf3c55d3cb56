"""Law 4: a weight is a number of repetitions; weight 0 never counts; powers of two change no bit."""

from __future__ import annotations

import numpy as np
import pytest

from gpuclust.backends.cpu import CPUBackend
from gpuclust.data.array import ArraySource
from gpuclust.solvers.scan import scan
from gpuclust.solvers.seeding import plus_plus, random_rows

from .cases import KINDS, blobs, wide_weights
from .oracle import direct_labels, lloyd
from .runs import differences, fit, seeds

pytestmark = pytest.mark.usefixtures("one_thread")


def assert_repetition(X, weight, **how):
    """Compare weights with rows repeated. tol=0: the tolerance is scikit-learn's, which ignores weights."""
    weighted = fit(X, weight, tol=0, **how)
    repeated = fit(np.repeat(X, weight.astype(int), axis=0), tol=0, **how)
    np.testing.assert_array_equal(weighted.cluster_centers_, repeated.cluster_centers_)
    np.testing.assert_array_equal(np.repeat(weighted.labels_, weight.astype(int)), repeated.labels_)
    assert weighted.n_iter_ == repeated.n_iter_
    np.testing.assert_allclose(weighted.inertia_, repeated.inertia_, rtol=1e-13)
    np.testing.assert_allclose(weighted.inertia_history_, repeated.inertia_history_, rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"outlier", "wide", "duplicates"}))
def test_integer_weights_repeat_rows_given_centers(rng, kind, dtype):
    X = KINDS[kind](rng, 200, 3, dtype)
    weight = rng.integers(1, 6, 200).astype(float)
    assert_repetition(X, weight, init=X[[0, 50, 100, 150]])


@pytest.mark.parametrize("d", [1, 3, 12])
@pytest.mark.parametrize("kind", ["blobs", "uniform", "offset", "integers"])
def test_integer_weights_repeat_rows_with_seeding(rng, kind, d, dtype):
    X = KINDS[kind](rng, 150, d, dtype)
    weight = rng.integers(0, 6, 150).astype(float)
    for seed in range(5):
        assert_repetition(X, weight, n_clusters=6, init="k-means++", random_state=seed)


def test_seeding_of_a_grid_with_weights(rng, dtype):
    """Trial totals tie exactly; the mean about which rows are centred must not depend on how they are written."""
    X = rng.integers(0, 3, (120, 2)).astype(dtype) * dtype(0.1)
    weight = rng.integers(1, 4, 120).astype(float)
    for seed in range(20):
        assert_repetition(X, weight, n_clusters=5, init="k-means++", random_state=seed)


@pytest.mark.parametrize("init", ["array", "k-means++"])
@pytest.mark.parametrize("value", [0.0, 1e4, 1e15, 1e30])
def test_rows_of_weight_zero_never_count(rng, init, value, dtype):
    X = blobs(rng, 200, 3, dtype)
    extra = np.full((40, 3), value, dtype)
    how = {"init": X[:5]} if init == "array" else {"n_clusters": 5, "init": init}
    alone = fit(X, np.ones(200), tol=0, **how)
    for order in (np.arange(240), np.roll(np.arange(240), 40)):
        both = np.concatenate([X, extra])[order]
        model = fit(both, (order < 200).astype(float), tol=0, **how)
        np.testing.assert_array_equal(model.cluster_centers_, alone.cluster_centers_)
        assert model.inertia_ == alone.inertia_
        np.testing.assert_array_equal(model.labels_, direct_labels(both, model.cluster_centers_))


def test_rows_of_weight_zero_are_no_relocation_targets(dtype):
    X = np.array([[0.0], [1.0], [2.0], [3.0], [1000.0], [900.0]], dtype)
    weight = np.array([1.0, 1, 1, 1, 0, 0])
    model = fit(X, weight, init=np.array([[1.5], [500000.0]], dtype), tol=0)
    np.testing.assert_array_equal(model.cluster_centers_, [[2], [0]])
    np.testing.assert_array_equal(model.labels_, [1, 0, 0, 0, 0, 0])
    assert model.inertia_ == 2.0


def test_seeding_never_draws_a_row_of_weight_zero(rng, dtype):
    X = blobs(rng, 100, 2, dtype)
    weight = (np.arange(100) % 3 == 0).astype(float)
    kept = {tuple(row) for row in X[weight > 0]}
    source = ArraySource(X, weight, CPUBackend())
    for seed in range(10):
        state = np.random.RandomState(seed)
        centers, index = plus_plus(source, scan(source), 20, state)
        np.testing.assert_array_equal(X[index], centers)
        assert {tuple(row) for row in centers} <= kept
        assert {tuple(row) for row in random_rows(source, 20, state)} <= kept


@pytest.mark.parametrize("init", ["array", "k-means++", "k-means||", "random"])
@pytest.mark.parametrize("weights", ["ones", "integer", "wide"])
@pytest.mark.parametrize("power", [-70, -40, -1, 1, 10, 40, 61, 80])
def test_power_of_two_changes_no_bit(rng, init, weights, power, dtype):
    X = blobs(rng, 400, 3, dtype)
    weight = {"ones": np.ones(400), "integer": rng.integers(0, 4, 400) * 1.0, "wide": wide_weights(rng, 400)}[weights]
    how = {"init": X[:15]} if init == "array" else {"n_clusters": 15, "init": init, "n_init": 1}
    model, scaled = fit(X, weight, **how), fit(X, weight * 2.0**power, **how)
    scaled.inertia_ /= 2.0**power
    scaled.inertia_history_ /= 2.0**power
    assert differences(scaled, model) == []


def test_unit_weights_are_no_weights(rng, dtype):
    X = blobs(rng, 300, 4, dtype)
    for init in ("k-means++", "k-means||", "random"):
        assert differences(fit(X, np.ones(300), n_clusters=6, init=init), fit(X, n_clusters=6, init=init)) == []


def test_fewer_rows_of_positive_weight_than_clusters(rng, dtype):
    X = rng.normal(size=(9, 2)).astype(dtype)
    with pytest.raises(ValueError, match=r"n_clusters=3 .* only 2 have one: lower n_clusters"):
        fit(X, np.r_[1.0, 2.0, np.zeros(7)], n_clusters=3, init="random", n_init=1)


@pytest.mark.parametrize("seed", seeds(15, 400))
def test_fuzz_repetition(seed):
    rng = np.random.default_rng(seed)
    dtype, d = [np.float32, np.float64][rng.integers(2)], int(rng.integers(1, 12))
    X = KINDS[rng.choice(["blobs", "uniform", "offset", "integers", "negative_zeros"])](rng, 120, d, dtype)
    weight = rng.integers(1, 9, 120).astype(float)
    how = {"n_clusters": 4, "init": "k-means++", "random_state": seed}
    if seed % 2:
        first = np.sort(np.unique(X, axis=0, return_index=True)[1])[:4]
        how = {"init": X[first]}
        if any(len(np.unique(step.labels)) < len(first) for step in lloyd(X, X[first], 300, weight)):
            pytest.skip("an empty cluster is given one row, whatever its weight: relocation is exempt from the law")
    assert_repetition(X, weight, **how)
