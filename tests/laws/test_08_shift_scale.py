"""Law 8: a constant added to a feature, or a power of two, changes no label that float64 would not change."""

from __future__ import annotations

import numpy as np
import pytest

from .cases import KINDS, blobs
from .runs import differences, fit, seeds

pytestmark = pytest.mark.usefixtures("one_thread")


def assert_scaled(X, power, **how):
    """Every result of X * 2^power is that of X, times a power of two where it has a unit."""
    factor = X.dtype.type(2.0**power)
    model, scaled = fit(X, **how), fit(X * factor, **how | ({"init": how["init"] * factor} if "n_clusters" not in how else {}))
    scaled.cluster_centers_ = scaled.cluster_centers_ / factor
    scaled.inertia_ = scaled.inertia_ / float(factor) / float(factor)
    scaled.inertia_history_ = scaled.inertia_history_ / float(factor) / float(factor)
    assert differences(scaled, model) == []


@pytest.mark.parametrize("init", ["array", "k-means++", "k-means||", "random"])
@pytest.mark.parametrize("power", [-60, -7, 1, 20, 50])
def test_powers_of_two_change_no_bit(rng, init, power, dtype):
    X = blobs(rng, 400, 3, dtype)
    assert_scaled(X, power, **({"init": X[:9]} if init == "array" else {"n_clusters": 9, "init": init, "n_init": 1}))


@pytest.mark.parametrize("power", [-400, 300])
def test_large_powers_of_two_in_float64(rng, power):
    X = blobs(rng, 400, 12, np.float64)
    assert_scaled(X, power, init=X[:9])
    assert_scaled(X, power, n_clusters=9)


@pytest.mark.parametrize("seed", seeds(15, 300))
def test_fuzz_scale(seed):
    rng = np.random.default_rng(seed)
    X = KINDS[rng.choice(["blobs", "grid", "offset", "scales", "integers"])](rng, 200, int(rng.integers(1, 12)), np.float64)
    assert_scaled(X, int(rng.integers(-100, 100)), n_clusters=6, random_state=seed)


@pytest.mark.parametrize("offset", [1e3, 1e6, 3e7])
@pytest.mark.parametrize("d", [2, 9])
def test_float32_far_from_zero_is_clustered_as_float64_would(rng, offset, d):
    stored = (offset + blobs(rng, 700, d, np.float64)).astype(np.float32)
    for how in ({"init": stored[:8]}, {"n_clusters": 8, "init": "random", "n_init": 1}):
        single, double = (fit(x, tol=0, **how) for x in (stored, stored.astype(np.float64)))
        assert single.n_iter_ == double.n_iter_
        np.testing.assert_allclose(single.inertia_history_, double.inertia_history_, rtol=1e-12)
        np.testing.assert_array_equal(single.cluster_centers_, double.cluster_centers_.astype(np.float32))


def test_exact_shift_changes_nothing(rng, dtype):
    """Integers and an integer offset: nothing is rounded, so labels and costs are the same to the bit."""
    X = rng.integers(-50, 50, (500, 3)).astype(dtype)
    model, moved = fit(X, init=X[:7], tol=0), fit(X + dtype(2**20), init=X[:7] + dtype(2**20), tol=0)
    np.testing.assert_array_equal(model.labels_, moved.labels_)
    assert model.n_iter_ == moved.n_iter_
    np.testing.assert_allclose(model.inertia_history_, moved.inertia_history_, rtol=1e-12)


def test_seeding_far_from_zero(rng):
    """Seeding draws the same rows: costs are measured between rows, not from zero."""
    X = rng.integers(-50, 50, (500, 3)).astype(np.float32)
    near, far = fit(X, n_clusters=7, tol=0), fit(X + np.float32(2**20), n_clusters=7, tol=0)
    np.testing.assert_array_equal(near.labels_, far.labels_)
