"""Law 5: the loss never rises from one iteration to the next (1e-12 relative)."""

from __future__ import annotations

import math

import numpy as np
import pytest

from .cases import KINDS, WEIGHTS, blobs
from .oracle import direct_costs, lloyd
from .runs import fit, seeds

pytestmark = pytest.mark.usefixtures("one_thread")


def assert_never_rises(history):
    assert np.all(np.isfinite(history)) and np.all(history >= 0)
    assert np.all(history[1:] <= history[:-1] * (1 + 1e-12))


@pytest.mark.parametrize("seed", seeds(60, 1500))
def test_fuzz(seed):
    rng = np.random.default_rng(seed)
    kind, dtype = rng.choice(["blobs", "uniform", "grid", "offset", "integers", "negative_zeros", "denormals"]), seed % 2
    n, d, k = int(rng.integers(30, 600)), int(rng.choice([1, 2, 3, 8, 9, 20])), int(rng.integers(1, 25))
    X = KINDS[kind](rng, n, d, [np.float32, np.float64][dtype])
    weight = WEIGHTS[rng.choice(["none", "integer"])](rng, n)
    k = k if weight is None else min(k, np.count_nonzero(weight))
    model = fit(X, weight, n_clusters=k, init=str(rng.choice(["k-means++", "random"])), n_init=1, tol=0, random_state=seed)
    assert_never_rises(model.inertia_history_)
    assert len(model.inertia_history_) == model.n_iter_


@pytest.mark.parametrize("kind", ["blobs", "offset", "integers", "scales"])
@pytest.mark.parametrize("weights", ["none", "integer"])
def test_history_is_the_cost_of_each_assignment(rng, kind, weights, dtype):
    X, weight = KINDS[kind](rng, 250, 4, dtype), WEIGHTS[weights](rng, 250)
    model = fit(X, weight, init=X[:9], tol=0)
    costs = [step.cost for step in lloyd(X, X[:9], 300, weight)]
    np.testing.assert_allclose(model.inertia_history_, costs, rtol=1e-12)


def test_first_cost_is_that_of_the_given_centers(dtype):
    X = np.array([[0.0], [1.0], [5.0], [9.0]], dtype)
    model = fit(X, init=np.array([[0.0], [6.0]], dtype), tol=0)
    np.testing.assert_array_equal(model.inertia_history_, [0 + 1 + 1 + 9, 8.5])
    assert model.inertia_ == 8.5


def assert_history_of(X, start, weight=None):
    model = fit(X, weight, init=start, tol=0)
    steps = lloyd(X, start, 300, weight)[: model.n_iter_]
    np.testing.assert_allclose(model.inertia_history_, [s.cost for s in steps], rtol=1e-12)
    assert_never_rises(model.inertia_history_)


@pytest.mark.parametrize("far", [1e8, 1e10, 1e15, 1e30])
def test_history_with_an_outlier_in_its_own_cluster(rng, far, dtype):
    """The outlier costs nothing; the square of its distance from the others must not show."""
    X = blobs(rng, 300, 3, dtype)
    X[17] = far
    assert_history_of(X, X[[17, 0, 1, 2]])


def test_history_where_most_first_centers_lie_far_outside(rng, dtype):
    X = blobs(rng, 300, 3, dtype)
    assert_history_of(X, np.concatenate([X[:2], np.full((4, 3), 1e20, dtype)]))


def test_history_where_the_cost_becomes_zero(rng, dtype):
    X = rng.normal(size=(6, 9)).astype(dtype)[rng.integers(6, size=90)]
    weight = 10.0 ** rng.uniform(-12, 12, 90)
    start = np.unique(X, axis=0) * dtype(1.01)
    model = fit(X, weight, init=start, tol=0)
    assert_never_rises(model.inertia_history_)
    assert model.inertia_history_[-1] <= 1e-25 * model.inertia_history_[0]


def test_relocation_lowers_the_loss(rng, dtype):
    X = blobs(rng, 400, 2, dtype)
    start = np.concatenate([X[:3], np.full((5, 2), 1e4, dtype)])
    model = fit(X, init=start, tol=0)
    assert_never_rises(model.inertia_history_)
    assert len(np.unique(model.labels_)) == 8
    first = direct_costs(X, start).min(axis=1)
    assert model.inertia_history_[0] == pytest.approx(math.fsum(first), rel=1e-12)


def test_reported_inertia_is_the_last_cost_up_to_the_rounding_of_the_centers(rng, dtype):
    X = blobs(rng, 500, 3, dtype)
    model = fit(X, init=X[:6], tol=0)
    assert model.converged_
    assert model.inertia_ == pytest.approx(model.inertia_history_[-1], rel=1e-12 if dtype == np.float64 else 1e-6)
