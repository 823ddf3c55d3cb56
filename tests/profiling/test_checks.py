"""Checks of data and of clusters: the numbers, and the sentences."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import gpuclust
from gpuclust import KMeans, KMedians
from gpuclust.profiling import check_clusters, check_data, rows, search

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def frame(rng):
    """Return 400 rows with one of each fault."""
    normal = rng.normal(size=400)
    frame = pd.DataFrame({"plain": rng.normal(size=400), "wide": 1e4 * rng.normal(size=400), "one": normal})
    frame["other"] = -2 * normal + 1e-3 * rng.normal(size=400)
    frame["tails"] = rng.standard_cauchy(400)
    frame["gaps"] = np.where(np.arange(400) % 10, rng.normal(size=400), np.nan)
    frame.loc[3, "gaps"] = np.inf
    frame["constant"] = np.where(np.arange(400) < 1, 5.0, 4.0)
    frame["empty"] = np.nan
    return frame


def test_numbers_of_a_table(frame):
    found = check_data(frame).table
    assert found["missing"].tolist() == [0, 0, 0, 0, 0, 40, 0, 400]
    assert found["infinite"].tolist() == [0, 0, 0, 0, 0, 1, 0, 0]
    clean = frame.replace(np.inf, np.nan)
    for name, theirs in (("mean", clean.mean()), ("std", clean.std()), ("min", clean.min()), ("max", clean.max())):
        np.testing.assert_allclose(found[name], theirs, rtol=1e-12)
    for q in (25, 75):
        np.testing.assert_allclose(found[f"q{q}"], clean.quantile(q / 100), rtol=1e-15)
    low, high = clean.quantile(0.25), clean.quantile(0.75)
    outside = (clean < low - 1.5 * (high - low)) | (clean > high + 1.5 * (high - low))
    wanted = (outside.sum() / clean.count()).where(high > low)
    np.testing.assert_allclose(found["outlier_share"], wanted, rtol=1e-12)
    assert found["near_constant"].tolist() == [False] * 6 + [True] * 2
    assert found.loc["one", "twin"] == "other" and found.loc["other", "twin"] == "one"
    assert found.loc["one", "correlation"] == pytest.approx(clean["one"].corr(clean["other"]), abs=1e-6)
    assert pd.isna(found.loc["empty", "twin"]) and np.isnan(found.loc["empty", "correlation"])


def test_sentences_about_data(frame):
    said = check_data(frame).warnings
    starts = [
        "440 missing values in gaps, empty:",
        "1 infinite values in gaps:",
        "Nearly all values are the same in constant, empty:",
        "More than 5% of the values are outliers in tails:",
        "wide has ",
        "Nearly the same (correlation 0.99 or more): one and other.",
    ]
    assert len(said) == len(starts)
    assert all(sentence.startswith(start) for sentence, start in zip(said, starts, strict=True))
    assert "KMedians" in said[3] and "StandardScaler" in said[4]


def test_clean_data_get_no_warnings(rng):
    assert check_data(rng.normal(size=(400, 3))).warnings == []


def test_few_rows_and_rows_that_repeat(rng):
    X = rng.normal(size=(15, 2))
    X[5:10], X[0, 0], X[1] = X[:5], 0.0, [-0.0, X[0, 1]]
    found = check_data(X)
    assert found.n_rows == 15 and found.duplicate_share == pytest.approx(4 / 15)
    few, repeated = found.warnings[-2:]
    assert few.startswith("There are 15 rows for 2 features")
    assert repeated.startswith("26.7% of the rows repeat an earlier one") and "sample_weight" in repeated


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_data_from_any_source_and_chunks(frame, dtype, monkeypatch):
    X = frame.to_numpy(dtype)
    whole = check_data(X)
    for sparse in (sp.csr_matrix(np.nan_to_num(X)), np.nan_to_num(X)):
        assert check_data(sparse).table.equals(check_data(np.nan_to_num(X)).table)
    monkeypatch.setattr(rows, "BLOCK_BYTES", 8 * 8 * 60)
    monkeypatch.setattr(rows, "COLUMN_BYTES", 0)
    monkeypatch.setattr(search, "ROOM", 100)
    for data in (X, gpuclust.stream([X[:11], X[11:]])):
        found = check_data(data, chunk_size=90)
        pd.testing.assert_frame_equal(found.table, whole.table, check_exact=True)
        assert found.warnings == whole.warnings and found.duplicate_share == whole.duplicate_share


def test_one_feature_and_too_many_for_correlations(rng, monkeypatch):
    assert check_data(rng.normal(size=(50, 1))).table["twin"].tolist() == [None]
    monkeypatch.setattr("gpuclust.profiling.data_checks.CORRELATED", 2)
    assert check_data(rng.normal(size=(50, 3))).table["correlation"].isna().all()


def given(centers, estimator=KMeans):
    """Return a model with these centres."""
    centers = np.asarray(centers, np.float64)
    return estimator(len(centers), init=centers, n_init=1, max_iter=1, device="cpu").fit(centers)


@pytest.mark.parametrize("estimator", [KMeans, KMedians])
def test_numbers_of_clusters(rng, estimator):
    centers = np.array([[0.0, 0, 0], [9, 0, 0], [0, 30, 0]])
    X = centers[rng.integers(0, 2, 500)] + rng.normal(size=(500, 3)) * [1, 2, 4]
    model, held = given(centers, estimator), X[:50] * 1.5
    found = check_clusters(model, X, X_held_out=held)
    label, distance = model.predict(X), model.transform(X)
    own = distance.min(axis=1)
    assert found.table["rows"].tolist() == np.bincount(label, minlength=3).tolist()
    for j in range(2):
        row, inside = found.table.loc[j], label == j
        assert row["own_distance"] == pytest.approx(own[inside].mean(), rel=1e-12)
        assert row["next_distance"] == pytest.approx(np.sort(distance[inside], axis=1)[:, 1].mean(), rel=1e-12)
        axes = np.linalg.eigvalsh(np.cov(X[inside].T))
        assert row["axis_ratio"] == pytest.approx(np.sqrt(axes[-1] / axes[0]), rel=1e-5)
        cost = own[inside] if estimator is KMedians else own[inside] ** 2
        assert row["loss_per_row"] == pytest.approx(cost.mean(), rel=1e-12)
    assert found.table.loc[2].isna().sum() == 5
    assert found.loss_per_row == pytest.approx(-model.score(X) / 500, rel=1e-12)
    assert found.held_out_loss_per_row == pytest.approx(-model.score(held) / 50, rel=1e-12)
    assert found.table["held_out_rows"].tolist() == np.bincount(model.predict(held), minlength=3).tolist()
    assert "held_out_rows" not in check_clusters(model, X).table


def test_sentences_about_clusters(rng):
    centers = np.array([[0.0, 0], [100, 0], [0, 100], [100, 100], [100.3, 100], [900, 900]])
    sizes = np.array([2000, 5, 300, 100, 100, 0])
    X = np.repeat(centers, sizes, axis=0) + rng.normal(size=(sizes.sum(), 2))
    X[2005:2305, 1] += 8 * rng.normal(size=300)
    X[2305:, 1] += rng.normal(size=200)
    found = check_clusters(given(centers), X, X_held_out=X + 3)
    starts = [
        "Cluster 5: no row belongs there.",
        "Cluster 1: less than a tenth of an even share of the rows",
        "Cluster 0: 80% of the rows.",
        "Cluster 2: more than 5 times as long as wide",
        "Clusters 3, 4: rows are nearly as far from their own centre as from the next",
        "Held-out rows lie farther from the centres",
    ]
    assert [said[: len(start)] for said, start in zip(found.warnings, starts, strict=True)] == starts
    lifted = np.column_stack([X, 5.5 * rng.normal(size=len(X))])  # of three features, one may be a little longer
    assert not any("long as wide" in said for said in check_clusters(given(np.eye(3)[:1]), lifted[:2000]).warnings)


def test_good_clusters_get_no_warnings(rng):
    centers = np.array([[0.0, 0], [20, 0]])
    X = centers[rng.integers(0, 2, 600)] + rng.normal(size=(600, 2))
    assert check_clusters(given(centers), X[:300], X_held_out=X[300:]).warnings == []


def test_flat_clusters_and_a_single_one(rng):
    X = rng.normal(size=(30, 2)) @ [[1.0, 1.0], [2.0, 2.0]]
    found = check_clusters(given([[0.0, 0.0]]), X).table
    assert found["axis_ratio"].tolist() == [np.inf] and found["next_distance"].isna().all()
    assert check_clusters(given([[0.0, 0.0]]), X[:2]).table["axis_ratio"].isna().all()
    assert check_clusters(given([[0.0, 0.0]]), np.ones((5, 2))).table["axis_ratio"].isna().all()


def test_clusters_of_any_source_and_chunks(rng, monkeypatch):
    X = rng.normal(size=(500, 4)).astype(np.float32)
    model = KMeans(5, random_state=0, device="cpu").fit(X)
    whole = check_clusters(model, X)
    pd.testing.assert_frame_equal(check_clusters(model, sp.csr_matrix(X)).table, whole.table, rtol=1e-9)
    monkeypatch.setattr(rows, "BLOCK_BYTES", 8 * 5 * 40)
    model.set_params(chunk_size=101)
    for data in (X, gpuclust.stream([X[:7], X[7:]])):
        found = check_clusters(model, data)
        pd.testing.assert_frame_equal(found.table, whole.table, check_exact=True)
        assert found.warnings == whole.warnings and found.loss_per_row == whole.loss_per_row
    monkeypatch.setattr("gpuclust.profiling.cluster_checks.AXES", 3)
    assert check_clusters(model, X).table["axis_ratio"].isna().all()


def test_losses_whose_squares_float64_cannot_hold(rng):
    """Nothing can be said for sure, and nothing fails."""
    X = rng.normal(size=(60, 2)) * 1e100
    model = KMeans(2, random_state=0).fit(X)
    found = check_clusters(model, X, X_held_out=1.5 * X)
    assert not any("Held-out" in sentence for sentence in found.warnings)
    assert found.held_out_loss_per_row > found.loss_per_row > 1e199


def test_features_that_do_not_vary_within_a_cluster_make_none_long(rng):
    """Of round clusters told apart by a flag as well."""
    X = np.concatenate([rng.normal(size=(60, 3)), rng.normal(size=(60, 3)) + 20])
    flagged = np.c_[X, X[:, 0] > 10, np.full(120, 7.0)]
    for data in (X, flagged):
        found = check_clusters(KMeans(2, random_state=0).fit(data), data)
        assert found.table["axis_ratio"].max() < 2 and not any("as long as wide" in each for each in found.warnings)
