"""Law 3: centres are float64 inside the loop, rounded once; labels and inertia belong to the reported centres."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest

from .cases import KINDS, WEIGHTS, blobs
from .oracle import direct_costs, direct_labels, lloyd
from .runs import fit

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(
    ("given", "reported"),
    [("f4", "f4"), ("f8", "f8"), ("f2", "f8"), ("i4", "f8"), ("u1", "f8"), ("i8", "f8"), ("?", "f8"), (">f4", "f8")],
)
def test_reported_dtype(rng, given, reported):
    X = (rng.uniform(size=(60, 3)) * 100).astype(given)
    model = fit(X, n_clusters=3 if given != "?" else 1)
    assert model.cluster_centers_.dtype == np.dtype(reported)
    assert model.labels_.dtype == np.int32
    assert model.inertia_history_.dtype == np.float64
    assert type(model.inertia_) is float and type(model.n_iter_) is int


def test_centers_are_not_rounded_between_iterations(rng):
    """At 1e6 float32 keeps four bits after the point: rounding in the loop would stop it early, and elsewhere."""
    X = (1e6 + blobs(rng, 800, 2, np.float64)).astype(np.float32)
    single, double = (fit(x, init=X[:6], tol=0) for x in (X, X.astype(np.float64)))
    assert single.n_iter_ == double.n_iter_ > 5
    np.testing.assert_allclose(single.inertia_history_, double.inertia_history_, rtol=1e-12)
    np.testing.assert_array_equal(single.cluster_centers_, double.cluster_centers_.astype(np.float32))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("weights", WEIGHTS)
def test_labels_and_inertia_belong_to_the_reported_centers(rng, kind, weights, dtype):
    X, weight = KINDS[kind](rng, 300, 3, dtype), WEIGHTS[weights](rng, 300)
    for limit in (1, 2, 300):
        model = fit(X, weight, n_clusters=9, max_iter=limit)
        np.testing.assert_array_equal(model.labels_, model.predict(X))
        np.testing.assert_array_equal(model.labels_, direct_labels(X, model.cluster_centers_))
        cost = direct_costs(X, model.cluster_centers_)[np.arange(300), model.labels_]
        assert model.inertia_ == math.fsum(cost if weight is None else weight * cost)
        assert model.score(X, sample_weight=weight) == -model.inertia_


def test_converged_and_iteration_limit(rng, dtype):
    X = blobs(rng, 500, 3, dtype)
    full = fit(X, init=X[:8], tol=0)
    cut = fit(X, init=X[:8], tol=0, max_iter=full.n_iter_ - 1)
    assert full.converged_ and not cut.converged_
    assert len(full.inertia_history_) == full.n_iter_ == cut.n_iter_ + 1
    np.testing.assert_allclose(full.inertia_history_[:-1], cut.inertia_history_, rtol=1e-12)


@pytest.mark.parametrize("scale", [0, 1e-4, 1e-2, 1.0])
def test_tolerance_is_relative_to_the_mean_variance(rng, scale, dtype):
    X = (blobs(rng, 400, 3, np.float64) * [1, 10, 100] + [0, 50, -1e3]).astype(dtype)
    start, steps = X[:7], lloyd(X, X[:7], 60)
    bound = scale * np.var(X.astype(np.float64), axis=0).mean()
    before = [start.astype(np.float64), *(s.centers for s in steps)]
    moves = [((b - a) ** 2).sum() for a, b in zip(before, before[1:], strict=False)]
    expected = next((i + 1 for i, move in enumerate(moves) if move <= bound), len(steps))
    model = fit(X, init=start, tol=scale)
    assert model.n_iter_ == min(expected, len(steps))


def test_labels_survive_pickling(rng, dtype):
    X = blobs(rng, 100, 3, dtype)
    model = fit(X, n_clusters=4)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X), model.labels_)
