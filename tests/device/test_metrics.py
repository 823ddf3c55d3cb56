"""The metrics on a GPU: what the CPU gives."""

from __future__ import annotations

import numpy as np
import pytest
from laws.cases import blobs

from gpuclust import metrics

from .runs import device_array

ROWS = ("euclidean", "manhattan", "sqeuclidean", "cosine")


@pytest.fixture
def rows(rng, dtype):
    """Rows and their labels, of which clusters are unequal and one has a single row."""
    X = blobs(rng, 300, 5, dtype)
    labels = rng.integers(0, 7, 300) // 2
    labels[17] = 9
    return X, labels


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("metric", ROWS)
def test_silhouettes_are_those_of_the_cpu(cuda, rows, metric):
    X, labels = rows
    expected = metrics.silhouette_samples(X, labels, metric=metric, device="cpu")
    np.testing.assert_allclose(metrics.silhouette_samples(X, labels, metric=metric, device="cuda"), expected, atol=1e-12)
    there = metrics.silhouette_samples(device_array(cuda, X), labels, metric=metric, device="cuda")
    assert type(there) is cuda.ndarray
    np.testing.assert_allclose(there.get(), expected, atol=1e-12)
    drawn = {"sample_size": 90, "random_state": 3, "metric": metric}
    score = metrics.silhouette_score(device_array(cuda, X), labels, device="cuda", **drawn)
    assert score == pytest.approx(metrics.silhouette_score(X, labels, device="cpu", **drawn), abs=1e-12)


@pytest.mark.usefixtures("cuda")
@pytest.mark.parametrize("metric", ROWS[:2])
def test_sums_of_distances_have_the_cpus_bits(rows, metric):
    X, labels = rows
    found = [metrics.silhouette_samples(X, labels, metric=metric, device=device) for device in ("cuda", "cpu")]
    np.testing.assert_array_equal(*found)


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("metric", ROWS)
def test_simplified_silhouettes_are_those_of_the_cpu(cuda, rows, metric):
    X, labels = rows
    centers, there = X[:10].astype(np.float64), device_array(cuda, X)
    for given in (None, labels):
        expected = metrics.simplified_silhouette_samples(X, centers, labels=given, metric=metric, device="cpu")
        found = metrics.simplified_silhouette_samples(there, centers, labels=given, metric=metric, device="cuda")
        np.testing.assert_allclose(found.get(), expected, atol=1e-12)


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("metric", ["euclidean", "manhattan"])
@pytest.mark.parametrize("weighted", [False, True])
def test_scores_from_centers_are_those_of_the_cpu(cuda, rng, rows, metric, weighted):
    X, labels = rows
    weight = rng.uniform(0, 3, len(X)) if weighted else None
    there, other = device_array(cuda, X), None if weight is None else device_array(cuda, weight)
    for score in (metrics.davies_bouldin_score, metrics.calinski_harabasz_score):
        expected = score(X, labels, metric=metric, sample_weight=weight, device="cpu")
        assert score(there, labels, metric=metric, sample_weight=other, device="cuda") == pytest.approx(expected, rel=1e-12)
    cost = "manhattan" if metric == "manhattan" else "sqeuclidean"
    for given in (None, labels):
        expected = metrics.inertia(X, X[:10], labels=given, metric=cost, sample_weight=weight, device="cpu")
        found = metrics.inertia(there, X[:10], labels=given, metric=cost, sample_weight=other, device="cuda")
        assert found == expected


def test_labels_on_the_gpu(cuda, rng):
    one, two = rng.integers(0, 5, 400), rng.integers(0, 5, 400)
    there = device_array(cuda, one), device_array(cuda, two)
    assert metrics.adjusted_rand_score(*there) == metrics.adjusted_rand_score(one, two)
    np.testing.assert_array_equal(metrics.contingency_matrix(*there), metrics.contingency_matrix(one, two))


def test_device_rows_that_are_not_finite_are_refused(cuda, rows):
    X, labels = rows
    X[40, 2] = np.nan
    for metric in ROWS:
        with pytest.raises(ValueError, match="NaN or infinity"):
            metrics.silhouette_samples(device_array(cuda, X), labels, metric=metric, device="cuda")
