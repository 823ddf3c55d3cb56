"""How labels are held against law 2, and the centres and rows that are hardest for it."""

from __future__ import annotations

import numpy as np

from gpuclust import KMeans, KMedians

from .oracle import direct_labels, lloyd
from .runs import fit

EXACT = ["blobs", "uniform", "grid", "duplicates", "integers", "negative_zeros", "offset"]


def model_with(centers, estimator=KMeans):
    """Return a model whose centres are exactly these."""
    model = fit(centers, estimator=estimator, init=centers, max_iter=1)
    model.cluster_centers_ = centers
    return model


def assert_certified(model, X):
    l1 = isinstance(model, KMedians)
    np.testing.assert_array_equal(model.labels_, direct_labels(X, model.cluster_centers_, l1))


def assert_predicts(X, centers, estimator=KMeans):
    labels = direct_labels(X, centers, estimator is KMedians)
    np.testing.assert_array_equal(model_with(centers, estimator).predict(X), labels)


def halfway(rng, n, k, d, dtype):
    """Return rows (and their centres) with a gap of zero or a rounding error: no rounded score can tell."""
    C = rng.normal(size=(k, d)).astype(dtype)
    a, b = rng.integers(k, size=(2, n))
    X = ((C[a].astype(np.float64) + C[b]) / 2).astype(dtype)
    up = rng.uniform(size=len(X)) < 0.5
    X[up] = np.nextafter(X[up], np.inf, dtype=dtype)
    return X, C


def ties(rng, d, dtype):
    """Return rows and centres on a coarse grid: equal distances, and equal centres."""
    return rng.integers(0, 5, (1000, d)).astype(dtype), (rng.integers(0, 9, (25, d)) / 2).astype(dtype)


def last_bits(rng, d, dtype, far):
    """Return rows and centres that differ in the last bits, far from zero."""
    C = (far * (1 + rng.integers(-8, 8, (20, d)) * np.finfo(dtype).eps)).astype(dtype)
    return (far * (1 + rng.normal(size=(800, d)) * 8 * np.finfo(dtype).eps)).astype(dtype), C


def outside(rng, d, dtype, most):
    """Return rows up to 10^most times as far out as their centres."""
    size = 10.0 ** rng.uniform(0, most, (700, 1))
    C = rng.normal(size=(12, d)).astype(dtype)
    return (rng.normal(size=(700, d)) * size).astype(dtype), C


def rounded(X):
    """Return the rows on a grid of 2^-20: every mean is exact up to its one rounding, in any arithmetic."""
    return (np.round(X.astype(np.float64) * 2**20) / 2**20).astype(X.dtype)


def assert_follows_plain_lloyd(X, start, steps, weight=None):
    """Hold the labels and centres after 1, 2, 3, ... iterations against every row x every centre, without bounds."""
    reference = lloyd(X, start, steps, weight)
    for m in range(1, steps + 1):
        step = reference[min(m, len(reference)) - 1]
        model = fit(X, weight, init=start, max_iter=m, tol=0)
        reported = step.centers.astype(X.dtype)
        assert model.n_iter_ == min(m, len(reference))
        np.testing.assert_array_equal(model.cluster_centers_, reported, err_msg=f"after {m}")
        np.testing.assert_array_equal(model.labels_, direct_labels(X, reported), err_msg=f"after {m}")
        costs = [s.cost for s in reference[: model.n_iter_]]
        np.testing.assert_allclose(model.inertia_history_, costs, rtol=1e-12, atol=1e-12 * costs[0])
