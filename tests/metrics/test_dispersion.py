"""Inertia, Davies-Bouldin and Calinski-Harabasz."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import sklearn.metrics
from laws.cases import blobs
from scipy.spatial.distance import cdist

import gpuclust
from gpuclust import KMeans, KMedians, metrics

SCORES = ("davies_bouldin_score", "calinski_harabasz_score")
KINDS = ("euclidean", "manhattan")


@pytest.fixture
def rows(rng):
    X, labels = blobs(rng, 300, 5, np.float64), rng.integers(0, 9, 300) ** 2
    labels[7] = 100
    return X, labels


def by_definition(score, X, labels, metric):
    """Both scores with NumPy's means or medians."""
    middle, name = (np.median, "cityblock") if metric == "manhattan" else (np.mean, "euclidean")
    parts = [X[labels == j] for j in np.unique(labels)]
    centers = np.array([middle(part, axis=0) for part in parts])
    own = [cdist(part, center[None], name) for part, center in zip(parts, centers, strict=True)]
    if score == "davies_bouldin_score":
        away = np.array([each.mean() for each in own])
        between = cdist(centers, centers, name)
        np.fill_diagonal(between, np.inf)
        return ((away[:, None] + away) / between).max(axis=1).mean()
    power = 1 if metric == "manhattan" else 2
    rows, k = np.array([len(part) for part in parts]), len(parts)
    between = rows @ cdist(centers, middle(X, axis=0)[None], name)[:, 0] ** power
    within = sum((each**power).sum() for each in own)
    return between / (k - 1) / (within / (len(X) - k))


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("metric", KINDS)
def test_scores_are_those_of_the_definition(rows, score, metric):
    X, labels = rows
    expected = by_definition(score, X, labels, metric)
    assert getattr(metrics, score)(X, labels, metric=metric) == pytest.approx(expected, rel=1e-12)
    if metric == "euclidean":
        assert getattr(metrics, score)(X, labels) == pytest.approx(getattr(sklearn.metrics, score)(X, labels), rel=1e-12)
    single = getattr(metrics, score)(X.astype(np.float32), labels, metric=metric)
    assert single == pytest.approx(expected, rel=1e-5)


def test_by_hand():
    X, labels = [[0.0], [2.0], [10.0], [14.0], [90.0]], [0, 0, 1, 1, 1]
    means = 1.0, 38.0
    within = 1 + 1 + 28**2 + 24**2 + 52**2
    expected = (2 * (1 - 23.2) ** 2 + 3 * (38 - 23.2) ** 2) / (within / 3)
    assert metrics.calinski_harabasz_score(X, labels) == pytest.approx(expected)
    assert metrics.davies_bouldin_score(X, labels) == pytest.approx((1 + 104 / 3) / (means[1] - means[0]))
    # medians: 1 and 14, of all 10
    assert metrics.davies_bouldin_score(X, labels, metric="manhattan") == pytest.approx((1 + 80 / 3) / 13)
    expected = (2 * 9 + 3 * 4) / ((1 + 1 + 4 + 0 + 76) / 3)
    assert metrics.calinski_harabasz_score(X, labels, metric="manhattan") == pytest.approx(expected)


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("metric", KINDS)
def test_a_constant_and_the_unit_do_not_matter(rows, score, metric):
    X, labels = np.round(rows[0] * 64) / 64, rows[1]
    expected = getattr(metrics, score)(X, labels, metric=metric)
    assert getattr(metrics, score)(X + 2.0**26, labels, metric=metric) == pytest.approx(expected, rel=1e-7)
    assert getattr(metrics, score)(X * 2.0**-40, labels, metric=metric) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("metric", KINDS)
def test_neither_chunks_nor_containers_show(rows, score, metric, tmp_path):
    X, labels = rows
    X = np.where(np.abs(X) < 1, 0, X)
    expected = getattr(metrics, score)(X, labels, metric=metric)
    np.save(tmp_path / "X.npy", X)
    path = str(tmp_path / "X.npy")
    for data in (X, pd.DataFrame(X), path, gpuclust.stream([X[:99], X[99:]])):
        assert getattr(metrics, score)(data, labels.astype(str), metric=metric, chunk_size=40) == expected
    assert getattr(metrics, score)(sp.csr_array(X), labels, metric=metric) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("metric", KINDS)
def test_weights_are_repetitions(rows, rng, score, metric):
    X, labels = rows
    weight = rng.integers(0, 4, len(X))
    weight[labels == 4] = 0  # a cluster that is not there
    often = np.repeat(np.arange(len(X)), weight)
    expected = getattr(metrics, score)(X[often], labels[often], metric=metric)
    found = getattr(metrics, score)(X, labels, metric=metric, sample_weight=weight)
    assert found == pytest.approx(expected, rel=1e-13)
    assert expected != pytest.approx(getattr(metrics, score)(X, labels, metric=metric), rel=1e-3)


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("metric", KINDS)
def test_edges(score, metric):
    degenerate = 1.0 if score == "calinski_harabasz_score" else 0.0
    assert getattr(metrics, score)(np.full((6, 2), 0.1), [0, 0, 0, 1, 1, 1], metric=metric) == degenerate
    same = [[-1.0, -1], [0.3, 0.3], [1, 1]] * 8
    assert getattr(metrics, score)(same, [0] * 12 + [1] * 12, metric=metric) == 0
    one_each = np.array([[0.0, 1], [2, 2], [7, 3], [9, 9]])
    assert getattr(metrics, score)(one_each, [0, 0, 1, 2], metric=metric) == pytest.approx(
        by_definition(score, one_each, np.array([0, 0, 1, 2]), metric)
    )
    for labels, k in (([0] * 4, 1), ([0, 1, 2, 3], 4)):
        with pytest.raises(ValueError, match=rf"Number of labels is {k}. Valid values are 2 to n_samples - 1 \(inclusive\)"):
            getattr(metrics, score)(one_each, labels, metric=metric)
    with pytest.raises(ValueError, match="Number of labels is 1"):
        getattr(metrics, score)(one_each, [0, 0, 0, 1], metric=metric, sample_weight=[1, 1, 1, 0])
    with pytest.raises(ValueError, match=r"inconsistent numbers of samples: \[4, 3\]"):
        getattr(metrics, score)(one_each, [0, 0, 1], metric=metric)
    with pytest.raises(ValueError, match="is none of 'euclidean', 'manhattan'"):
        getattr(metrics, score)(one_each, [0, 0, 1, 1], metric="cosine")


def test_means_that_only_rounding_sets_apart_are_the_same():
    X = np.array([[0.1], [0.3], [0.2], [0.2]]) + 1e8
    assert X[:2].mean() != X[2:].mean()
    assert metrics.davies_bouldin_score(X, [0, 0, 1, 1]) == 0


def test_weights_that_are_no_repetitions_are_refused():
    with pytest.raises(ValueError, match="sample_weight sums to 1, which is not more than the 2 labels"):
        metrics.calinski_harabasz_score([[0.0], [1.0], [2.0], [3.0]], [0, 0, 1, 1], sample_weight=[0.25] * 4)


def test_distances_of_many_centers_are_taken_in_blocks(rng, monkeypatch):
    from gpuclust.metrics import closed

    X, labels = rng.normal(size=(400, 2)), np.arange(400) // 4
    expected = metrics.davies_bouldin_score(X, labels)
    monkeypatch.setattr(closed, "BLOCK_BYTES", 100)
    assert metrics.davies_bouldin_score(X, labels) == expected == pytest.approx(sklearn.metrics.davies_bouldin_score(X, labels))


# --- inertia ---


@pytest.mark.parametrize("weighted", [False, True])
def test_inertia_is_what_the_estimators_report(rows, rng, weighted, tmp_path):
    X, weight = rows[0], rng.integers(0, 4, 300) if weighted else None
    np.save(tmp_path / "X.npy", X)
    for model, metric in ((KMeans(4, random_state=0), "sqeuclidean"), (KMedians(4, random_state=0), "manhattan")):
        model.fit(X, sample_weight=weight)
        for data in (X, str(tmp_path / "X.npy")):
            for labels in (None, model.labels_):
                found = metrics.inertia(
                    data, model.cluster_centers_, labels=labels, metric=metric, sample_weight=weight, chunk_size=77
                )
                assert found == model.inertia_


def test_inertia_of_given_labels(rng):
    X, centers, labels = rng.normal(size=(50, 3)), rng.normal(size=(4, 3)), rng.integers(0, 4, 50)
    assert metrics.inertia(X, centers, labels=labels) == pytest.approx(((X - centers[labels]) ** 2).sum(), rel=1e-14)
    found = metrics.inertia(X, centers, labels=labels, metric="manhattan")
    assert found == pytest.approx(np.abs(X - centers[labels]).sum(), rel=1e-14)
    with pytest.raises(ValueError, match="is none of 'sqeuclidean', 'manhattan'"):
        metrics.inertia(X, centers, metric="euclidean")


def test_what_is_not_finite_has_no_inertia(rng, tmp_path):
    X, centers = rng.normal(size=(50, 3)), rng.normal(size=(4, 3))
    X[30, 1] = np.nan
    np.save(tmp_path / "X.npy", X)
    for data in (X, str(tmp_path / "X.npy")):
        for labels in (None, np.zeros(50, int)):
            with pytest.raises(ValueError, match="NaN"):
                metrics.inertia(data, centers, labels=labels)


@pytest.mark.parametrize("score", [metrics.davies_bouldin_score, metrics.calinski_harabasz_score])
def test_distances_that_float64_cannot_hold_are_refused(rng, score):
    """Instead of 0, which would be perfect."""
    with np.errstate(over="ignore", invalid="ignore"), pytest.raises(ValueError, match="distances that float64 cannot hold"):
        score(rng.normal(size=(60, 3)) * 1e160, np.arange(60) % 3)


@pytest.mark.parametrize("labels", [None, [0, 0, 1]])
def test_an_inertia_that_float64_cannot_hold_is_refused(labels):
    with pytest.raises(ValueError, match="distances that float64 cannot hold"):
        metrics.inertia([[-1e200], [1e200], [2e200]], [[0.0], [2e200]], labels=labels)
