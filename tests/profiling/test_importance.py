"""Which features matter, and tests on rows that were held out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from scipy import stats
from sklearn.datasets import make_blobs
from sklearn.metrics import adjusted_rand_score, silhouette_score

import gpuclust
from gpuclust import DataError, KMeans, KMedians
from gpuclust.profiling import (
    ablation_importance,
    permutation_importance,
    rows,
    separation,
    separation_held_out,
)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def X(rng):
    """Three blobs in two features, one of them twice as wide, and noise."""
    X = make_blobs(600, centers=[[0, 0], [0, 9], [18, 0]], random_state=0)[0]
    return pd.DataFrame({"noise": rng.normal(size=600), "narrow": X[:, 1], "wide": X[:, 0]})


def model(X, estimator=KMeans, k=3):
    return estimator(k, random_state=0, n_init=3, device="cpu").fit(X)


@pytest.mark.parametrize("estimator", [KMeans, KMedians])
def test_permutation_by_hand(X, estimator):
    fitted = model(X, estimator)
    found = permutation_importance(fitted, X, n_repeats=2, random_state=3)
    assert found.index[2] == "noise" and found["loss_increase"].is_monotonic_decreasing
    random_state = np.random.RandomState(3)
    for name in X:
        losses, moved = [], []
        for _ in range(2):
            shuffled = X.assign(**{name: X[name].to_numpy()[random_state.permutation(600)]})
            losses.append(fitted.score(X) - fitted.score(shuffled))
            moved.append((fitted.predict(shuffled) != fitted.labels_).mean())
        wanted = [np.mean(losses), np.std(losses), np.mean(losses) / fitted.inertia_, np.mean(moved), np.std(moved)]
        np.testing.assert_allclose(found.loc[name], wanted, rtol=1e-9, atol=1e-9)
    assert found.loc["noise", "label_change"] < 0.01


def test_permutation_of_any_source_and_chunks(X, monkeypatch):
    data = X.to_numpy()
    fitted = model(data)
    whole = permutation_importance(fitted, data, random_state=0)
    for sparse in (sp.csr_matrix(data), gpuclust.stream([data])):
        pd.testing.assert_frame_equal(permutation_importance(fitted, sparse, random_state=0), whole, rtol=1e-12)
    monkeypatch.setattr(rows, "BLOCK_BYTES", 8 * 3 * 70)
    monkeypatch.setattr(rows, "COLUMN_BYTES", 0)
    fitted.set_params(chunk_size=101)
    for same in (data, gpuclust.stream([data[:9], data[9:]])):
        before = data.copy()
        pd.testing.assert_frame_equal(permutation_importance(fitted, same, random_state=0), whole, check_exact=True)
        np.testing.assert_array_equal(data, before)


def test_ablation_by_hand(X):
    estimator = KMeans(3, n_init=2, device="cpu")
    found = ablation_importance(estimator, X, n_repeats=2, random_state=1)
    assert set(found.index[:2]) == {"narrow", "wide"}
    assert found.loc["noise", "ari_loss"] < 0.02 < 0.3 < found.loc["wide", "ari_loss"]
    assert found.loc["wide", "silhouette_change"] < -0.2
    random_state, ari, change = np.random.RandomState(1), [], []
    for seed in [random_state.randint(np.iinfo(np.int32).max) for _ in range(2)]:
        every, without = (
            estimator.set_params(random_state=seed).fit_predict(part.to_numpy())
            for part in (X, X[["noise", "wide"]])
        )
        ari.append(1 - adjusted_rand_score(every, without))
        change.append(silhouette_score(X, without) - silhouette_score(X, every))
    row = found.loc["narrow"].tolist()
    assert row == pytest.approx([np.mean(ari), np.std(ari), np.mean(change), np.std(change)], rel=1e-9)


def test_ablation_with_given_centres_and_samples(X):
    data = X.to_numpy(np.float32)
    given = KMedians(3, init=data[:3], n_init=1, device="cpu")
    found = ablation_importance(given, data, n_repeats=2, random_state=0, sample_size=200)
    assert found["ari_loss_std"].eq(0).all() and found["silhouette_change_std"].ne(0).any()
    pd.testing.assert_frame_equal(found, ablation_importance(given, data, n_repeats=2, random_state=0, sample_size=200))
    one = ablation_importance(KMeans(1, device="cpu"), data, random_state=0)
    assert one["ari_loss"].eq(0).all() and one["silhouette_change"].isna().all()


def test_held_out_rows_and_blind_tests(rng):
    """Noise without clusters: every p-value is tiny on the rows that made the clusters, and on held-out rows too; those
    of blind tests are as they should be."""
    X = rng.normal(size=(800, 4))
    estimator = KMeans(4, random_state=0, device="cpu")
    made = separation(X, estimator.fit_predict(X))
    seeing = separation_held_out(estimator, X, random_state=0, blind=False)
    assert made["F_p"].max() < 1e-10 and seeing["F_p"].max() < 1e-10
    names = ["F_p", "welch_p", "H_p"]
    table = separation_held_out(estimator, X, random_state=0)
    for name in ("F", "welch", "H"):
        wanted = stats.false_discovery_control(table[f"{name}_p"])
        np.testing.assert_array_equal(table[f"{name}_p_adjusted"], wanted)
    blind = pd.concat(separation_held_out(estimator, X, random_state=seed)[names] for seed in range(5))
    assert blind.min().min() > 1e-3 and blind.min().max() < 0.5


def test_blind_tests_find_what_the_other_features_see(X):
    data = X.assign(echo=X["wide"] + 5 * np.random.default_rng(0).normal(size=600))
    found = separation_held_out(KMeans(3, random_state=0, device="cpu"), data, random_state=0)
    assert found.loc["echo", "H_p_adjusted"] < 1e-20 and found.loc["noise", "H_p_adjusted"] > 0.01
    assert sorted(found.index) == sorted(data.columns)
    assert found.index[0] == found["eta_squared"].idxmax()


def test_a_feature_without_which_there_is_one_cluster():
    X = np.zeros((40, 2))
    X[::2, 0] = 1
    found = separation_held_out(KMeans(2, random_state=0, device="cpu"), X, random_state=0)
    assert found.loc["x0"].isna().all()


def test_bad_input_is_refused(X):
    for held in (ablation_importance, separation_held_out):
        with pytest.raises(DataError, match="rows in memory"):
            held(KMeans(3, device="cpu"), gpuclust.stream([X.to_numpy()]))
        with pytest.raises(ValueError, match="X has a single feature"):
            held(KMeans(3, device="cpu"), X[["wide"]])
    for importance in (ablation_importance, permutation_importance):
        with pytest.raises(ValueError, match="n_repeats=0"):
            importance(model(X), X, n_repeats=0)
