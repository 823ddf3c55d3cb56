"""Silhouettes from distances to centres."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from laws.cases import blobs
from sklearn.metrics import pairwise_distances

from gpuclust import metrics

METRICS = ("euclidean", "sqeuclidean", "manhattan", "cosine")


def by_definition(X, centers, labels, metric):
    distance = pairwise_distances(X, centers, metric=metric)
    out = np.zeros(len(X))
    for i, own in enumerate(distance.argmin(axis=1) if labels is None else labels):
        a, b = distance[i, own], np.delete(distance[i], own).min()
        out[i] = (b - a) / max(a, b) if max(a, b) else 0
    return out


@pytest.fixture
def rows(rng):
    X = blobs(rng, 300, 4, np.float64)
    X[11] = 0
    centers = X[[0, 40, 80, 120, 160]] + 0.1
    centers[3] = 0
    return X, centers, rng.integers(0, 5, 300)


@pytest.mark.parametrize("metric", METRICS)
def test_silhouettes_are_those_of_the_definition(rows, metric, monkeypatch, tmp_path):
    from gpuclust.metrics import closed

    X, centers, labels = rows
    np.save(tmp_path / "X.npy", X)
    for given in (None, labels):
        expected = by_definition(X, centers, given, metric)
        found = metrics.simplified_silhouette_samples(X, centers, labels=given, metric=metric)
        np.testing.assert_allclose(found, expected, atol=1e-13)
        assert metrics.simplified_silhouette_score(X, centers, labels=given, metric=metric) == pytest.approx(expected.mean())
        monkeypatch.setattr(closed, "BLOCK_BYTES", 2000)
        for data in (X, str(tmp_path / "X.npy")):
            other = metrics.simplified_silhouette_samples(data, centers, labels=given, metric=metric, chunk_size=37)
            np.testing.assert_array_equal(other, found)
        sparse = metrics.simplified_silhouette_samples(sp.csr_array(X), centers, labels=given, metric=metric)
        np.testing.assert_allclose(sparse, expected, atol=1e-12)
        single = metrics.simplified_silhouette_samples(X.astype(np.float32), centers, labels=given, metric=metric)
        np.testing.assert_allclose(single, expected, atol=1e-5)


def test_what_is_refused(rows):
    X, centers, labels = rows
    with pytest.raises(ValueError, match="Number of centers is 1: a silhouette needs 2 at least"):
        metrics.simplified_silhouette_score(X, centers[:1])
    with pytest.raises(ValueError, match="X has 4 features, but the centers have 3"):
        metrics.simplified_silhouette_score(X, centers[:, :3])
    for wrong in (labels + 1, labels - 1, labels.astype(str)):
        with pytest.raises(ValueError, match="labels must be indices of centers, integers from 0 to 4"):
            metrics.simplified_silhouette_score(X, centers, labels=wrong)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        metrics.simplified_silhouette_score(X, centers, labels=labels[1:])
    with pytest.raises(ValueError, match="is none of"):
        metrics.simplified_silhouette_score(X, centers, metric="precomputed")
