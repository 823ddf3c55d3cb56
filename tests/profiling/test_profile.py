"""Profiles against pandas and NumPy, in memory and streamed, in the units of the data before scaling."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.sparse as sp
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MinMaxScaler,
    PowerTransformer,
    RobustScaler,
    StandardScaler,
)

import gpuclust
from gpuclust import DataError, KMedians
from gpuclust.profiling import profile, rows, search

pytestmark = pytest.mark.usefixtures("one_thread")
PERCENTILES = (0, 1, 5, 33.3, 95, 100)


@pytest.fixture
def X(rng, dtype):
    """Columns of all kinds: normal, of few values, heavy tails, mostly zero, far from 0, constant, with one outlier."""
    X = rng.normal(size=(3000, 8))
    X[:, 1] = np.round(3 * X[:, 1])
    X[:, 2] = np.exp(4 * X[:, 2])
    X[:, 3] = (X[:, 3] > 1) * X[:, 4]
    X[:, 4] += 1e3
    X[:, 5] = 7
    X[17, 6] = 1e30
    X[:, 7] = rng.standard_cauchy(3000)
    return X.astype(dtype)


@pytest.fixture
def labels(rng):
    return rng.choice([-1, 0, 3, 4], p=[0.1, 0.2, 0.3, 0.4], size=3000)


@pytest.fixture
def searched(monkeypatch):
    """Little room, so that streams are searched pass by pass, every way of asking included."""
    monkeypatch.setattr(rows, "COLUMN_BYTES", 0)
    monkeypatch.setattr(search, "ROOM", 200)


def same(one, two):
    pd.testing.assert_frame_equal(one.table, two.table, check_exact=True)
    pd.testing.assert_frame_equal(one.overall, two.overall, check_exact=True)


def test_a_profile_by_hand():
    frame = pd.DataFrame({"age": [20, 30, 40, 60, 10], "sum": [1, 2, 3, 9, 9]})
    found = profile(frame, ["a", "a", "a", "a", "b"], percentiles=[25])
    row = found.table.loc[("a", "age")].to_dict()
    assert row == {
        "rows": 4, "share": 0.8, "mean": 37.5, "median": 35, "std": pytest.approx(np.sqrt(875 / 3)), "min": 20,
        "max": 60, "p25": 27.5,
    }  # fmt: skip
    assert found.table.index.names == ["cluster", "feature"]
    assert found.overall.loc["sum", ["rows", "share", "mean", "median", "max"]].tolist() == [5, 1, 4.8, 3, 9]
    assert np.isnan(found.table.loc[("b", "age"), "std"])
    assert found.noise_rows == 0


def test_equal_to_pandas_and_numpy(X, labels):
    found = profile(X, labels, percentiles=PERCENTILES)
    wide = X.astype(np.float64)
    by = pd.DataFrame(wide, columns=[f"x{f}" for f in range(8)]).groupby(labels)
    for name, theirs in (("mean", by.mean()), ("std", by.std()), ("min", by.min()), ("max", by.max())):
        ours = found.table[name].unstack()
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(found.table["median"].unstack(), by.median())
    for q in PERCENTILES:
        for j in np.unique(labels):
            theirs = np.percentile(wide[labels == j], q, axis=0)
            np.testing.assert_array_equal(found.table.loc[j, f"p{q:g}"], theirs)
        np.testing.assert_array_equal(found.overall[f"p{q:g}"], np.percentile(wide, q, axis=0))
    np.testing.assert_allclose(found.overall["std"], wide.std(axis=0, ddof=1), rtol=1e-9)
    assert found.table["rows"].unstack()["x0"].tolist() == by.size().tolist()
    assert found.noise_rows == (labels == -1).sum() == found.table.loc[(-1, "x3"), "rows"]
    assert found.table["share"].unstack().sum().tolist() == pytest.approx([1.0] * 8)


def test_percentiles_are_numpys_to_the_bit(rng):
    X, q = rng.normal(size=(53, 4)), np.delete(np.linspace(0, 100, 41), 20)
    found = profile(X, np.zeros(53), percentiles=q).overall.iloc[:, 7:]
    np.testing.assert_array_equal(found.T, np.percentile(X, q, axis=0))


def test_an_outlier_or_a_far_origin_costs_no_digits(rng):
    X = rng.normal(size=(1000, 2)) + [0, 1e9]
    labels = np.arange(1000) % 2
    X[1, 0] = 1e30
    found = profile(X, labels).table
    for f in range(2):
        exact = X[::2, f] - X[0, f]
        assert found.loc[(0, f"x{f}"), "std"] == pytest.approx(exact.std(ddof=1), rel=1e-13)
    for chunk_size in range(1, 1000, 90):
        pd.testing.assert_frame_equal(profile(X, labels, chunk_size=chunk_size).table, found, check_exact=True)


def test_medians_are_the_centres_of_k_medians(rng):
    X = rng.normal(size=(301, 3))
    model = KMedians(4, random_state=0, tol=0, device="cpu").fit(X)
    np.testing.assert_array_equal(profile(X, model.labels_).table["median"].unstack(), model.cluster_centers_)


def test_streams_are_read_few_times(rng, monkeypatch):
    """Counted, for moments, and once in buckets; then what is left of the ranges is held."""
    X, reads = rng.normal(size=(20_000, 2)), []
    parts = gpuclust.stream(lambda: reads.append(1) or iter([X]))
    monkeypatch.setattr(rows, "COLUMN_BYTES", 0)
    monkeypatch.setattr(search, "ROOM", 8000)
    profile(parts, np.arange(20_000) % 3)
    assert len(reads) - 1 == 4  # the stream's first chunk is looked at when it is opened


@pytest.mark.usefixtures("searched")
def test_any_chunks_and_streams_give_the_same_bits(X, labels, tmp_path):
    whole = profile(X, labels, percentiles=PERCENTILES)
    same(whole, profile(X, labels, percentiles=PERCENTILES, chunk_size=640))
    np.save(tmp_path / "x.npy", X)
    for size in (None, 700):
        same(whole, profile(tmp_path / "x.npy", labels, percentiles=PERCENTILES, chunk_size=size))
    parts = gpuclust.stream(lambda: iter([X[:1], X[1:1999], X[1999:]]))
    same(whole, profile(parts, labels, percentiles=PERCENTILES))
    order = np.argsort(X[:, 0])
    same(whole, profile(gpuclust.stream([X[order]]), labels[order], percentiles=PERCENTILES))


def test_columns_of_streams_are_read_a_few_at_a_time(X, labels, monkeypatch):
    whole = profile(X, labels)
    monkeypatch.setattr("gpuclust.profiling.rows.COLUMN_BYTES", 3 * X.nbytes // 8)
    same(whole, profile(gpuclust.stream([X[:100], X[100:]]), labels))


TIES = [0.0, -0.0], [5e-324, -5e-324, 0.0], [1.0, np.nextafter(1, 2)], [1e150, -1e150], [-1.0, 0.0, 1.0, 2.0, 3.0]


@pytest.mark.usefixtures("searched")
@pytest.mark.parametrize("room", [200, 1 << 20])
@pytest.mark.parametrize("values", TIES)
def test_ties_and_neighbours_are_told_apart(rng, values, room, monkeypatch):
    monkeypatch.setattr(search, "ROOM", room)
    X = rng.choice(values, size=(2000, 1))
    labels = rng.integers(0, 2, 2000)
    same(profile(X, labels), profile(gpuclust.stream([X]), labels))


def test_all_kinds_of_input(X, labels, tmp_path):
    names = list("abcdefgh")
    whole = profile(X, labels, feature_names=names)
    frame = pd.DataFrame(X, columns=names)
    same(whole, profile(frame, pd.Series(labels)))
    same(whole, profile(sp.csr_matrix(X), labels.tolist(), feature_names=names, chunk_size=1000))
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), tmp_path / "x.parquet")
    same(whole, profile(tmp_path / "x.parquet", labels))


@pytest.mark.parametrize(
    "names",
    [
        np.array([-128, 127], np.int8), np.array([2**64 - 3, 2**64 - 1], np.uint64), np.array([-(10**9), 5]),
        np.array([-1.0, 2.5]), np.array([False, True]), np.array(["", "x"]),
    ],
)  # fmt: skip
def test_labels_of_any_kind(names):
    found = profile([[1.0], [2.0], [6.0]], names[[1, 0, 1]])
    assert found.table.index.get_level_values("cluster").tolist() == names.tolist()
    assert found.table["mean"].tolist() == [2, 3.5]
    assert found.noise_rows == (names[0] == -1.0)


def test_a_memory_budget_is_kept(X, labels):
    """Columns and brackets hold less; the answers are the same."""
    whole, streamed = profile(X, labels), gpuclust.stream([X])
    with gpuclust.config_context(memory="300KB"):
        same(whole, profile(streamed, labels))
        assert rows.column_bytes() == 75_000 < X.nbytes


def test_input_is_left_alone(X, labels):
    before = X.copy(), labels.copy()
    profile(X, labels)
    np.testing.assert_array_equal(X, before[0])
    np.testing.assert_array_equal(labels, before[1])


class Mirror:
    """A scaler that turns features round."""

    def transform(self, X):
        return 5 - 2 * X

    def inverse_transform(self, X):
        return (5 - X) / 2


@pytest.mark.parametrize(
    "scaler", [StandardScaler(), MinMaxScaler((2, 5)), RobustScaler(), make_pipeline(MinMaxScaler(), StandardScaler()), Mirror()]
)
def test_original_units(rng, scaler):
    rows = rng.gamma(2, 100, size=(400, 3)) + [0, 1000, -5]
    rows[:, 2] = 4
    labels = rng.integers(0, 3, 400)
    scaled = scaler.fit_transform(rows) if hasattr(scaler, "fit_transform") else scaler.transform(rows)
    found, wanted = profile(scaled, labels, scaler=scaler), profile(rows, labels)
    pd.testing.assert_frame_equal(found.table, wanted.table, rtol=1e-9, atol=1e-9)
    pd.testing.assert_frame_equal(found.overall, wanted.overall, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("scaler", [PCA(2), PowerTransformer(), FunctionTransformer(np.log1p, np.expm1)])
def test_a_scaler_that_is_not_affine_is_refused(rng, scaler):
    rows = rng.gamma(2, 1, size=(200, 2))
    with pytest.raises(ValueError, match="profile the rows as they were before scaling"):
        profile(scaler.fit_transform(rows), np.zeros(200), scaler=scaler)


def test_bad_input_is_refused(X, labels):
    with pytest.raises(ValueError, match=r"labels has shape \(5,\), expected \(3000,\)"):
        profile(X, labels[:5])
    with pytest.raises(ValueError, match="feature_names has 2 entries, X has 8 features"):
        profile(X, labels, feature_names=["a", "b"])
    with pytest.raises(ValueError, match=r"must lie in \[0, 100\]"):
        profile(X, labels, percentiles=[101])
    with pytest.raises(ValueError, match="no inverse_transform"):
        profile(X, labels, scaler=object())
    with pytest.raises(DataError, match="without its weights"):
        profile(gpuclust.stream([(X, labels + 2.0)]), labels)
    X[5, 2] = np.nan
    for data in (X, gpuclust.stream([X])):
        with pytest.raises(ValueError, match="NaN"):
            profile(data, labels)


@pytest.mark.parametrize("labels", [[0.0, np.nan, 1.0], ["a", None, "b"], pd.array([1, None, 2], dtype="Int64")], ids=["f", "s", "i"])
def test_missing_labels_are_refused(labels):
    with pytest.raises(ValueError, match="labels has missing values: drop those rows, or label them -1"):
        profile(np.arange(6.0).reshape(3, 2), labels)
