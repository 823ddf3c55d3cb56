"""Models that are fitted again: where their clusters go, and what is told of it."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.utils.fixes import parse_version

import gpuclust
from gpuclust import DataError, KMeans, KMedians, MiniBatchKMeans, MiniBatchKMedians
from gpuclust.monitoring import refit, summarize
from gpuclust.preprocessing import SimpleImputer, StandardScaler

pytestmark = pytest.mark.usefixtures("one_thread")
MEANS = np.array([[0.0, 0], [20, 0], [0, 20], [20, 20]])


def draw(rng, n, by=(0.0, 0.0)):
    return MEANS[rng.integers(4, size=n)] + rng.normal(size=(n, 2)) + by


def test_a_refit_by_hand():
    old = KMeans(2, init=np.array([[0.0, 0], [10, 0]]), n_init=1, device="cpu").fit([[0.0, 0], [2, 0], [10, 0], [12, 0]])
    report = refit(old, np.array([[3.0, 0], [5, 0], [7, 0], [16, 0], [18, 0]]))
    np.testing.assert_array_equal(report.model.cluster_centers_, [[5, 0], [17, 0]])
    table = report.table
    assert table["shift"].tolist() == [4, 6]  # the old centres are 1 and 11
    assert report.spread == 4 and table["shift_in_spreads"].tolist() == [1, 1.5]  # distances 2, 4, 4, 5, 7
    assert table["share_before"].tolist() == [0.4, 0.6] and table["share_after"].tolist() == [0.6, 0.4]
    assert table["left"].tolist() == [0, 1] and table["joined"].tolist() == [1, 0]
    assert (report.n_changed, report.n_rows, report.empty) == (1, 5, [])
    np.testing.assert_array_equal(report.moves, [[4, 0], [6, 0]])
    np.testing.assert_array_equal(report.labels, report.model.labels_)
    assert old.cluster_centers_.tolist() == [[1, 0], [11, 0]]


@pytest.mark.parametrize("kind", [KMeans, KMedians, MiniBatchKMeans, MiniBatchKMedians])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_clusters_keep_their_numbers_and_parameters_their_values(rng, kind, dtype):
    old = kind(4, random_state=0, n_init=5, device="cpu").fit(draw(rng, 600).astype(dtype))
    report = refit(old, draw(rng, 600, (3, -3)).astype(dtype))
    new = report.model
    assert type(new) is kind and new.get_params() == old.get_params() and new.cluster_centers_.dtype == dtype
    if kind in (KMeans, KMedians):
        np.testing.assert_allclose(new.cluster_centers_ - old.cluster_centers_, [[3, -3]] * 4, atol=0.5)
    away = np.abs(new.cluster_centers_[:, None] - old.cluster_centers_).sum(axis=2)
    assert away.argmin(axis=1).tolist() == [0, 1, 2, 3] and report.n_changed == 0
    assert json.dumps(report.as_dict(), allow_nan=False)


def test_mini_batches_place_no_centre_anew(rng, monkeypatch):
    old, seen, fit = MiniBatchKMeans(4, random_state=0, device="cpu").fit(draw(rng, 400)), [], MiniBatchKMeans.fit
    monkeypatch.setattr(MiniBatchKMeans, "fit", lambda self, *a, **k: seen.append(self.get_params()) or fit(self, *a, **k))
    assert refit(old, draw(rng, 400)).model.reassignment_ratio == old.reassignment_ratio > 0
    assert seen[0]["reassignment_ratio"] == 0 and seen[0]["n_init"] == 1


def test_a_refit_to_the_same_rows_moves_nothing(rng):
    X = draw(rng, 500)
    old = KMeans(4, random_state=0, tol=0, device="cpu").fit(X)
    summary = summarize(old, X)
    report = refit(old, X, summary=summary)
    assert report.table["shift"].max() < 1e-12 and report.n_changed == 0
    np.testing.assert_allclose(report.table["share_training"], report.table["share_before"], rtol=1e-12)
    assert report.spread == summary.distances[np.searchsorted(summary.distance_probabilities, 0.5)]
    assert len(report.sentences) == 1 or report.table["shift"].max() > 0


def test_a_cluster_without_rows_is_told(rng):
    X = draw(rng, 400)
    old = KMeans(4, random_state=0, device="cpu").fit(X)
    gone = int(old.predict([[20.0, 20]])[0])
    report = refit(old, X[old.labels_ != gone])
    assert report.empty == [gone] and report.table.loc[gone, "share_before"] == 0
    assert any(f"in cluster {gone}" in text for text in report.sentences)


def test_streams_frames_and_weights(rng, tmp_path):
    X = draw(rng, 300)
    new, weight = draw(rng, 300, (1, 0)), rng.integers(0, 3, 300)
    old = KMedians(4, random_state=0, device="cpu").fit(X)
    expected = refit(old, new).model.cluster_centers_
    np.save(tmp_path / "new.npy", new)
    for other in (tmp_path / "new.npy", gpuclust.stream([new[:50], new[50:]])):
        np.testing.assert_array_equal(refit(old, other).model.cluster_centers_, expected)
    weighted = refit(old, new, sample_weight=weight).model.cluster_centers_
    np.testing.assert_allclose(weighted, refit(old, np.repeat(new, weight, axis=0)).model.cluster_centers_)


@pytest.fixture(scope="module")
def piped():
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"x": rng.normal(size=400) + 9 * rng.integers(0, 2, 400), "c": rng.choice(["a", "b"], 400)})
    steps = [("x", StandardScaler(), ["x"]), ("c", OneHotEncoder(sparse_output=False), ["c"])]
    return make_pipeline(ColumnTransformer(steps), KMeans(2, random_state=0, device="cpu")).fit(frame), frame


def test_a_pipeline_keeps_its_preprocessing(piped):
    model, frame = piped
    report = refit(model, frame.assign(x=frame["x"] + 1))
    assert report.model[:-1].steps[0][1] is model[0] and report.model is not model
    assert list(report.moves.columns) == ["x", "c=a", "c=b"]
    np.testing.assert_allclose(report.moves["x"], 1, atol=0.3)
    spread = frame["x"].std(ddof=0)
    np.testing.assert_allclose(report.table["shift"], report.moves["x"] / spread, rtol=0.05)
    assert model[-1].cluster_centers_ is not report.model[-1].cluster_centers_


@pytest.mark.skipif(parse_version(sklearn.__version__) < parse_version("1.9"), reason="its ColumnTransformer takes pandas only")
@pytest.mark.parametrize("fitted_on", ["pandas", "polars"])
@pytest.mark.parametrize("encoder", [OneHotEncoder, gpuclust.preprocessing.OneHotEncoder], ids=["scikit-learn", "own"])
def test_nulls_of_other_frames_are_what_is_missing_in_those_of_pandas(encoder, fitted_on, rng):
    frame = pd.DataFrame({"x": rng.normal(size=90), "n": rng.integers(0, 4, 90).astype(float), "c": rng.choice(["a", "b"], 90)})
    frame.loc[::7, "x"] = frame.loc[::5, "n"] = frame.loc[::4, "c"] = np.nan
    table = pl.from_pandas(frame).with_columns(pl.col("x").fill_nan(None), pl.col("n").fill_nan(None).cast(pl.Int64))
    backed = frame.convert_dtypes(dtype_backend="pyarrow")
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    parts = ColumnTransformer([("n", numbers, ["x", "n"]), ("c", encoder(sparse_output=False), ["c"])])
    model = make_pipeline(parts, KMeans(3, random_state=0, device="cpu"))
    model.fit(frame if fitted_on == "pandas" else table)
    for again in (False, True):
        expected = refit(model, frame, refit_preprocessing=again)
        for other in (table, table.to_arrow(), backed):
            found = refit(model, other, refit_preprocessing=again)
            np.testing.assert_array_equal(found.labels, expected.labels)
            np.testing.assert_array_equal(found.model[-1].cluster_centers_, expected.model[-1].cluster_centers_)
    bare = KMeans(2, random_state=0, device="cpu").fit(frame[["x", "n"]].fillna(0))
    for other in (frame, table):
        with pytest.raises(ValueError, match="Input X contains NaN"):
            refit(bare, other[["x", "n"]])


def test_or_has_it_fitted_again(piped):
    model, frame = piped
    new = frame.assign(x=3 * frame["x"] + 5)
    report = refit(model, new, refit_preprocessing=True)
    scaler = report.model[0].named_transformers_["x"]
    np.testing.assert_allclose(scaler.mean_, new["x"].mean())
    assert np.isnan(report.table["shift"]).all() and json.dumps(report.as_dict(), allow_nan=False)
    np.testing.assert_array_equal(report.labels, report.model.predict(new))
    low = np.argmin(report.model[-1].cluster_centers_[:, 0])
    assert low == np.argmin(model[-1].cluster_centers_[:, 0])  # the numbers stay
    with pytest.raises(ValueError, match="No new row is in cluster"):
        refit(model, new.assign(x=-50.0), refit_preprocessing=True)


def test_what_cannot_be_fitted_again(rng, tmp_path):
    X = draw(rng, 100)
    scaled = make_pipeline(StandardScaler(), KMeans(4, random_state=0, device="cpu")).fit(X)
    np.save(tmp_path / "x.npy", X)
    assert refit(scaled, tmp_path / "x.npy").n_changed == 0
    with pytest.raises(DataError, match="in memory only"):
        refit(scaled, tmp_path / "x.npy", refit_preprocessing=True)
    with pytest.raises(ValueError, match="NaN"):
        refit(scaled, np.where(np.arange(100)[:, None] == 3, np.nan, X))
