"""Typical and odd rows."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn.cluster
from sklearn.exceptions import NotFittedError

import gpuclust
from gpuclust import KMeans, KMedians
from gpuclust.profiling import anomaly_scores, rows, typical_rows

pytestmark = pytest.mark.usefixtures("one_thread")


def line(estimator=KMeans):
    """Return a model with centres 0 and 10 on a line."""
    return estimator(2, init=np.array([[0.0], [10.0]]), n_init=1, max_iter=1, device="cpu").fit([[-1.0], [1.0], [10.0]])


@pytest.mark.parametrize("estimator", [KMeans, KMedians])
def test_nearest_rows_by_hand(estimator):
    found = typical_rows(line(estimator), [[3.0], [9.0], [-1.0], [1.0], [0.5], [20.0]], n_rows=3)
    assert found.index.tolist() == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]
    assert found["row"].tolist() == [4, 2, 3, 1, 5]
    assert found["distance"].tolist() == [0.5, 1, 1, 1, 10]


def test_scores_by_hand():
    X = [[-1.0], [1.0], [2.0], [-4.0], [10.0], [10.0], [10.0], [12.0]]
    found = anomaly_scores(line(), X, quantile=0.75)
    assert found.typical.tolist() == [1.5, 0.5]  # median of 1 1 2 4; of 0 0 0 2 the mean
    np.testing.assert_allclose(found.scores, [1 / 1.5, 1 / 1.5, 2 / 1.5, 4 / 1.5, 0, 0, 0, 4])
    assert found.threshold == np.quantile(found.scores, 0.75)
    assert found.flags.tolist() == [False, False, False, True, False, False, False, True]
    more = found.apply([[0.0], [100.0]])
    assert more.scores.tolist() == [0, 180] and more.flags.tolist() == [False, True]
    assert more.threshold == found.threshold and more.labels.tolist() == [0, 1]


def test_clusters_without_rows_or_without_extent_have_a_typical_distance():
    found = anomaly_scores(line(), [[10.0], [10.0]])
    assert found.typical.tolist() == [1, 1] and not found.flags.any()
    assert found.apply([[5.5], [1.0]]).scores.tolist() == [4.5, 1]
    assert anomaly_scores(line(), [[2.0], [3.0]]).typical.tolist() == [2.5, 2.5]


@pytest.mark.parametrize("estimator", [KMeans, KMedians])
def test_any_source_and_chunks_give_the_same(rng, estimator, monkeypatch):
    X = rng.normal(size=(700, 4)).astype(np.float32)
    model = estimator(5, random_state=0, device="cpu").fit(X)
    whole, typical = anomaly_scores(model, X), typical_rows(model, X)
    monkeypatch.setattr(rows, "BLOCK_BYTES", 8 * 4 * 50)
    model.set_params(chunk_size=90)
    for data in (X, gpuclust.stream([X[:3], X[3:]])):
        found = anomaly_scores(model, data)
        np.testing.assert_array_equal(found.scores, whole.scores)
        assert found.threshold == whole.threshold
        assert typical_rows(model, data).equals(typical)
    np.testing.assert_allclose(anomaly_scores(model, sp.csr_matrix(X)).scores, whole.scores, rtol=1e-12)
    distance = model.transform(X.astype(np.float64)).min(axis=1)
    for j in range(5):
        own = np.flatnonzero(model.labels_ == j)
        order = own[np.argsort(distance[own])]
        assert typical.loc[j, "row"].tolist() == order[:5].tolist()
        assert np.all(np.diff(whole.scores[order]) >= 0)
    assert whole.flags.sum() == 7


def test_models_of_scikit_learn_work_too(rng):
    X = rng.normal(size=(200, 3))
    model = sklearn.cluster.KMeans(3, n_init=1, random_state=0).fit(X)
    assert (anomaly_scores(model, X).labels == model.labels_).all()


def test_bad_input_is_refused(rng):
    model = line()
    with pytest.raises(NotFittedError):
        typical_rows(KMeans(), [[0.0]])
    with pytest.raises(ValueError, match="n_rows=0"):
        typical_rows(model, [[0.0]], 0)
    with pytest.raises(ValueError, match="n_rows=2.5 must be a whole number"):
        typical_rows(model, [[0.0]], 2.5)
    with pytest.raises(ValueError, match=r"quantile=2 must lie in \[0, 1\]"):
        anomaly_scores(model, [[0.0]], quantile=2)
    with pytest.raises(ValueError, match="2 features"):
        anomaly_scores(model, [[0.0, 1.0]])
    for data in ([[np.nan]], gpuclust.stream([[[np.nan]]])):
        with pytest.raises(ValueError, match="NaN"):
            anomaly_scores(model, data)
