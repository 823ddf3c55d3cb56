"""Silhouettes, exact ones from all pairs and from means."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import sklearn.metrics
from laws.cases import blobs

import gpuclust
from gpuclust import DataError, metrics
from gpuclust.metrics import silhouette

METRICS = ("euclidean", "sqeuclidean", "manhattan", "cosine")
CLOSED = ("sqeuclidean", "cosine")


@pytest.fixture
def rows(rng):
    """Rows and labels of unequal clusters, one of a single row."""
    X, labels = blobs(rng, 260, 5, np.float64), rng.integers(0, 9, 260) ** 2
    labels[7] = 100
    return X, labels


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("d", [1, 5, 17])
def test_samples_are_scikit_learns(rng, metric, d):
    X, labels = rng.normal(size=(230, d)) + 0.5, rng.integers(0, 11, 230)
    labels[3] = 55
    expected = sklearn.metrics.silhouette_samples(X, labels, metric=metric)
    np.testing.assert_allclose(metrics.silhouette_samples(X, labels, metric=metric), expected, atol=1e-12)
    single = metrics.silhouette_samples(X.astype(np.float32), labels, metric=metric)
    assert single.dtype == np.float64
    np.testing.assert_allclose(single, expected, atol=2e-6)


def test_by_hand():
    X, labels = [[0.0], [1.0], [4.0], [6.0]], ["a", "a", "b", "b"]
    for metric in ("euclidean", "manhattan"):
        expected = [(5 - 1) / 5, (4 - 1) / 4, (3.5 - 2) / 3.5, (5.5 - 2) / 5.5]
        np.testing.assert_allclose(metrics.silhouette_samples(X, labels, metric=metric), expected, rtol=1e-15)
    squares = [(26 - 1) / 26, (17 - 1) / 17, (12.5 - 4) / 12.5, (30.5 - 4) / 30.5]
    np.testing.assert_allclose(metrics.silhouette_samples(X, labels, metric="sqeuclidean"), squares, rtol=1e-14)
    corner = [[1.0, 0.0], [2.0, 0.0], [0.0, 5.0], [0.0, 1.0]]
    np.testing.assert_allclose(metrics.silhouette_samples(corner, [0, 0, 1, 1], metric="cosine"), 1.0, rtol=1e-15)


@pytest.mark.parametrize("metric", METRICS)
def test_rows_of_zeros_and_twins(metric):
    """By cosine a row of zeros is at distance 1 from every other, of zeros too."""
    X = np.array([[0.0, 0], [0, 0], [1, 2], [1, 2], [3, -1], [0, 0], [4, 4]])
    labels = [0, 0, 0, 1, 1, 1, 1]
    found = metrics.silhouette_samples(X, labels, metric=metric)
    if metric == "cosine":
        distance = sklearn.metrics.pairwise_distances(X, metric="cosine")
        np.fill_diagonal(distance, 0)
        expected = sklearn.metrics.silhouette_samples(distance, labels, metric="precomputed")
    else:
        expected = sklearn.metrics.silhouette_samples(X, labels, metric=metric)
    np.testing.assert_allclose(found, expected, atol=1e-14)
    np.testing.assert_array_equal(metrics.silhouette_samples(np.ones((6, 2)), [0, 0, 0, 1, 1, 1], metric=metric), 0)


@pytest.mark.parametrize("metric", METRICS[:3])
def test_a_constant_costs_no_digits(rows, metric):
    """A power of two far from the data, so that only rounded differences could tell; float32 where pairs are compared."""
    X, labels = np.round(rows[0] * 64) / 64, rows[1]
    expected = metrics.silhouette_samples(X, labels, metric=metric)
    far = X + 2.0**26
    np.testing.assert_allclose(metrics.silhouette_samples(far, labels, metric=metric), expected, atol=1e-9)
    if metric not in CLOSED:
        single = (X + 2.0**14).astype(np.float32)
        np.testing.assert_allclose(metrics.silhouette_samples(single, labels, metric=metric), expected, atol=1e-6)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("power", [-60, 60])
def test_the_unit_does_not_matter(rows, dtype, metric, power):
    """Squares of such float32 values overflow or vanish unless they are scaled."""
    X, labels = rows[0].astype(dtype), rows[1]
    expected = metrics.silhouette_samples(X, labels, metric=metric)
    found = metrics.silhouette_samples(X * dtype(2.0**power), labels, metric=metric)
    np.testing.assert_allclose(found, expected, atol=1e-6 if metric in CLOSED and dtype is np.float32 else 1e-13)


@pytest.mark.parametrize("metric", METRICS)
def test_neither_blocks_nor_threads_nor_the_order_of_rows_show(rows, metric, monkeypatch, pretend_threads, rng):
    from gpuclust.backends import cpu_between
    from gpuclust.metrics import closed

    X, labels = rows
    expected = metrics.silhouette_samples(X, labels, metric=metric)
    for chunk_size, bytes_, width, threads in ((17, 9000, 800, 1), (100, 20_000, 4100, 3)):
        pretend_threads(threads)
        monkeypatch.setattr(closed, "BLOCK_BYTES", bytes_)
        monkeypatch.setattr(silhouette, "ROWS_BYTES", width)
        monkeypatch.setattr(cpu_between, "BLOCK_BYTES", width // 3)
        found = metrics.silhouette_samples(X, labels, metric=metric, chunk_size=chunk_size)
        np.testing.assert_array_equal(found, expected)
    order = rng.permutation(len(X))
    found = metrics.silhouette_samples(X[order], labels[order], metric=metric)
    np.testing.assert_allclose(found, expected[order], atol=1e-13)


@pytest.mark.parametrize("metric", METRICS)
def test_containers(rows, metric, tmp_path):
    X, labels = rows
    X = np.where(np.abs(X) < 1, 0, X)
    expected = metrics.silhouette_samples(X, labels, metric=metric)
    for data in (X.tolist(), np.asfortranarray(X), pd.DataFrame(X), sp.csr_array(X), sp.csc_matrix(X)):
        found = metrics.silhouette_samples(data, pd.Series(labels), metric=metric)
        np.testing.assert_allclose(found, expected, atol=1e-12)
    np.testing.assert_array_equal(metrics.silhouette_samples(X, labels.astype(str), metric=metric) - expected, 0) 
    np.save(tmp_path / "X.npy", X)
    path = str(tmp_path / "X.npy")
    if metric in CLOSED:
        found = metrics.silhouette_samples(gpuclust.stream(path), labels, metric=metric, chunk_size=31)
        np.testing.assert_array_equal(found, expected)
    else:
        with pytest.raises(DataError, match="sample_size"):
            metrics.silhouette_score(path, labels, metric=metric)
    drawn = {"metric": metric, "sample_size": 80, "random_state": 5}
    assert metrics.silhouette_score(path, labels, **drawn) == metrics.silhouette_score(X, labels, **drawn)


@pytest.mark.parametrize("metric", METRICS)
def test_a_sample_is_scikit_learns(rows, metric):
    X, labels = rows
    for drawn in ({}, {"sample_size": 90, "random_state": 3}, {"sample_size": 9999, "random_state": np.random.RandomState(1)}):
        expected = sklearn.metrics.silhouette_score(X, labels, metric=metric, **dict(drawn))
        if isinstance(drawn.get("random_state"), np.random.RandomState):
            drawn["random_state"] = np.random.RandomState(1)
        assert metrics.silhouette_score(X, labels, metric=metric, **drawn) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("metric", METRICS)
def test_what_is_refused(rows, metric):
    X, labels = rows
    with pytest.raises(ValueError, match=r"Number of labels is 1. Valid values are 2 to n_samples - 1 \(inclusive\)"):
        metrics.silhouette_samples(X, np.zeros(len(X), int), metric=metric)
    with pytest.raises(ValueError, match=r"Number of labels is 260. Valid values are 2 to n_samples - 1 \(inclusive\)"):
        metrics.silhouette_score(X, np.arange(len(X)), metric=metric)
    with pytest.raises(ValueError, match=r"inconsistent numbers of samples: \[260, 259\]"):
        metrics.silhouette_samples(X, labels[1:], metric=metric)
    with pytest.raises(ValueError, match="contains NaN.\ngpuclust does not accept missing values"):
        metrics.silhouette_samples(np.where(X == X[5], np.nan, X), labels, metric=metric)
    with pytest.raises(ValueError, match=r"0 sample\(s\)"):
        metrics.silhouette_samples(X[:0], labels[:0], metric=metric)
    with pytest.raises(DataError, match="Silhouettes have no weights"):
        weighted = gpuclust.stream([(X, np.ones(len(X)))])
        metrics.silhouette_score(weighted, labels, metric=metric, sample_size=None if metric in CLOSED else 200)


def test_an_unknown_metric_is_refused(rows):
    with pytest.raises(ValueError, match="metric='chebyshev' is none of 'euclidean', 'sqeuclidean', 'manhattan', 'cosine'"):
        metrics.silhouette_score(*rows, metric="chebyshev")


def test_a_stream_that_is_not_finite_is_refused(rows, tmp_path):
    X, labels = rows
    X[200, 3] = np.inf
    np.save(tmp_path / "X.npy", X)
    for metric in CLOSED:
        with pytest.raises(ValueError, match="NaN or infinity"):
            metrics.silhouette_score(str(tmp_path / "X.npy"), labels, metric=metric, chunk_size=50)


@pytest.mark.parametrize("metric", METRICS)
def test_memory(rng, metric):
    """Nothing of n x n (512 MB here), and no second copy of the rows but in blocks."""
    X, labels = rng.normal(size=(8000, 12)), rng.integers(0, 50, 8000)
    metrics.silhouette_samples(X[:200], labels[:200], metric=metric)
    tracemalloc.start()
    metrics.silhouette_samples(X, labels, metric=metric)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 24 << 20


def test_memory_of_many_clusters_is_bounded(rng, monkeypatch):
    """Sums by cluster are held for some rows at a time."""
    from gpuclust.metrics import closed

    monkeypatch.setattr(closed, "BLOCK_BYTES", 1 << 20)
    X, labels = rng.normal(size=(3000, 2)), np.arange(3000) // 2
    for metric in METRICS:
        metrics.silhouette_samples(X[:20], labels[:20], metric=metric)
        tracemalloc.start()
        metrics.silhouette_samples(X, labels, metric=metric)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 12 << 20  # n x k: 36 MB
