"""What moves or drops extreme and missing values, and frequencies, by hand."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse as sp
from scipy.stats import zscore

import gpuclust
from gpuclust import DataError, KMeans
from gpuclust.preprocessing import FrequencyEncoder, OutlierFilter, StandardScaler, Winsorizer, drop_missing

pytestmark = pytest.mark.usefixtures("one_thread")
FRAMES = {"pandas": pd.DataFrame, "polars": pl.from_pandas, "arrow": pa.Table.from_pandas}


def read(stream):
    return np.concatenate([block.copy() for block, _ in stream.open().blocks(7)])


def test_winsorizer_by_hand_and_as_numpy(rng):
    X = np.array([[0.0, 1], [1, np.nan], [2, 3], [3, 4], [100, -50]])
    model = Winsorizer((25, 75)).fit(X)
    assert model.lower_.tolist() == [1, -11.75] and model.upper_.tolist() == [3, 3.25]
    assert model.transform(X)[:, 0].tolist() == [1, 1, 2, 3, 3] and np.isnan(model.transform(X)[1, 1])
    assert model.get_feature_names_out().tolist() == ["x0", "x1"]
    Y = rng.standard_cauchy((500, 3))
    np.testing.assert_array_equal(
        Winsorizer((2.5, 90)).fit_transform(Y), np.clip(Y, *np.percentile(Y, (2.5, 90), axis=0))
    )
    np.testing.assert_array_equal(model.to_sklearn().fit_transform(X), model.transform(X))
    frame = pd.DataFrame(Y, columns=list("abc"))
    assert list(Winsorizer().set_output(transform="pandas").fit_transform(frame)) == ["a", "b", "c"]
    empty = Winsorizer().fit(np.full((3, 1), np.nan))
    assert empty.transform([[5.0]]).tolist() == [[5.0]]


def test_fences_by_hand(caplog):
    X = np.array([[1.0, 5], [2, np.nan], [3, 5], [4, 5], [99, 5]])
    with caplog.at_level(logging.INFO, "gpuclust"):
        model = OutlierFilter().fit(X)
    assert (model.lower_.tolist(), model.upper_.tolist()) == ([-1, 5], [7, 5])
    assert model.kept_rows_.tolist() == [0, 1, 2, 3] and model.n_dropped_ == 1 and model.n_outliers_.tolist() == [1, 0]
    told = "1 of 5 rows have a value more than 1.5 interquartile ranges beyond the quartiles and are dropped (x0 1)."
    assert model.explanation_ == [told] and told in caplog.text
    assert model.mask([[7.0, 5], [7.1, 5]]).tolist() == [True, False]
    assert OutlierFilter(threshold=100).fit(X).n_dropped_ == 0
    with pytest.raises(NotImplementedError, match="drops rows"):
        model.to_sklearn()
    with pytest.raises(TypeError, match="should be transformers"):
        from sklearn.pipeline import make_pipeline

        make_pipeline(OutlierFilter(), KMeans(2)).fit(X)


def test_z_scores_are_scipys(rng, dtype):
    X = rng.standard_t(3, size=(400, 3)).astype(dtype)
    X[:, 2] = 0.1
    score = np.abs(zscore(X[:, :2].astype(float), axis=0))
    for threshold in (2, None):
        model = OutlierFilter("zscore", threshold=threshold).fit(X)
        assert model.kept_rows_.tolist() == np.flatnonzero((score <= (threshold or 3)).all(axis=1)).tolist()
        assert 0 < model.n_dropped_ < 100 and model.n_outliers_[2] == 0 and model.mask([[0, 0, 7.0]]).all()


@pytest.mark.parametrize("method", ["iqr", "zscore"])
def test_outliers_of_every_container(method, rng, tmp_path):
    X = rng.standard_t(2, size=(200, 2))
    whole = OutlierFilter(method).fit(X)
    kept = X[whole.kept_rows_]
    for name, frame in FRAMES.items():
        given = frame(pd.DataFrame(X, columns=["a", "b"]))
        left = OutlierFilter(method).fit_filter(given)
        assert type(left) is type(given), name
        np.testing.assert_array_equal(np.asarray(left), kept)
    np.testing.assert_array_equal(OutlierFilter(method).fit_filter(sp.csr_array(X)).toarray(), kept)
    np.save(tmp_path / "x.npy", X)
    for source in (tmp_path / "x.npy", gpuclust.stream([X[:3], X[3:]])):
        streamed = OutlierFilter(method, chunk_size=11).fit(source)
        np.testing.assert_array_equal(streamed.kept_rows_, whole.kept_rows_)
        np.testing.assert_array_equal(streamed.lower_, whole.lower_)
        left = streamed.filter(source)
        for _ in range(2):
            np.testing.assert_array_equal(read(left), kept)
    labels = KMeans(2, random_state=0).fit(left).labels_
    np.testing.assert_array_equal(labels, KMeans(2, random_state=0).fit(kept).labels_)


HOLES = pd.DataFrame({"a": [1.0, 2, np.nan, 4], "b": ["x", None, "y", "z"], "c": [None, None, None, 1.5]})


@pytest.mark.parametrize("name", FRAMES)
def test_missing_values_of_frames(name):
    given = FRAMES[name](HOLES)
    found = drop_missing(given, columns=0.5)
    assert type(found.X) is type(given) and found.rows.tolist() == [0, 3] and found.columns == ["a", "b"]
    left = found.X if name == "pandas" else found.X.to_pandas()
    assert left["a"].tolist() == [1, 4] and left["b"].tolist() == ["x", "z"]
    assert found.explanation == [
        "Columns of which more than 50% is missing are dropped: c.", "2 of 4 rows miss a value and are dropped.",
    ]  # fmt: skip
    assert drop_missing(given).rows.tolist() == [3]
    only = drop_missing(given, rows=False, columns=0.5)
    assert only.rows.tolist() == [0, 1, 2, 3] and only.columns == ["a", "b"]
    assert drop_missing(given, columns=0.75).columns == ["a", "b", "c"]


def test_missing_values_of_arrays_and_streams(rng, tmp_path):
    X = rng.normal(size=(60, 4))
    X[rng.random(X.shape) < 0.1] = np.nan
    X[::2, 1] = np.nan
    before, complete = X.copy(), ~np.isnan(X[:, [0, 2, 3]]).any(axis=1)
    np.save(tmp_path / "x.npy", X)
    for source in (X, X.astype(object), sp.csr_array(X), tmp_path / "x.npy", gpuclust.stream([X[:20], X[20:]])):
        found = drop_missing(source, columns=0.4, chunk_size=7)
        assert found.columns == [0, 2, 3]
        np.testing.assert_array_equal(found.rows, np.flatnonzero(complete))
        left = found.X.toarray() if sp.issparse(found.X) else found.X
        left = left if isinstance(left, np.ndarray) else read(left)
        np.testing.assert_array_equal(left.astype(float), X[complete][:, [0, 2, 3]])
    np.testing.assert_array_equal(X, before)
    clean = np.ones((5, 2))
    assert drop_missing(clean).X is clean
    parts = [(X, np.arange(60.0))]
    assert next(drop_missing(gpuclust.stream(parts), columns=0.4).X.open().blocks(100))[1].tolist() == found.rows.tolist()


def test_nothing_left_is_refused():
    with pytest.raises(ValueError, match="Every row has a missing value"):
        drop_missing([[np.nan], [np.nan]])
    with pytest.raises(ValueError, match="must be a share"):
        drop_missing([[1.0]], columns=50)
    with pytest.raises(ValueError, match="Expected 2D"):
        drop_missing([1.0, 2.0])
    with pytest.raises(DataError, match="no chunks"):
        KMeans(1).fit(OutlierFilter().fit([[0.0], [1.0]]).filter(gpuclust.stream([np.array([[99.0]])])))


@pytest.mark.parametrize("name", FRAMES)
def test_frequencies_by_hand(name):
    frame = pd.DataFrame({"a": ["x", "y", "x", None], "n": [1, 2, 2, 2]})
    model = FrequencyEncoder().fit(FRAMES[name](frame))
    assert [c.tolist() for c in model.categories_] == [["x", "y", None], [1, 2]]
    assert [f.tolist() for f in model.frequencies_] == [[0.5, 0.25, 0.25], [0.25, 0.75]]
    new = pd.DataFrame({"a": ["y", "new", None], "n": [2, 1, 3]})
    assert model.transform(FRAMES[name](new)).tolist() == [[0.25, 0.75], [0, 0.25], [0.25, 0]]
    if hasattr(model, "feature_names_in_"):  # scikit-learn before 1.9 does not ask all frames for names
        assert model.get_feature_names_out().tolist() == ["a", "n"]
    assert model.set_params(unknown_value=-1.0, dtype=np.float32).transform(FRAMES[name](new))[1, 0] == -1
    assert model.transform(FRAMES[name](new)).dtype == np.float32
    with pytest.raises(NotImplementedError, match="no frequency encoder"):
        model.to_sklearn()


def test_frequencies_of_odd_values():
    values = [True, 1.5, "a", pd.NA, np.nan, None, "a"]
    frame = pd.DataFrame({"a": pd.Series(values, dtype=object)})
    model = FrequencyEncoder().fit(frame)
    np.testing.assert_allclose(model.transform(frame).ravel() * 7, [1, 1, 2, 3, 3, 3, 2])
    categories = pd.DataFrame({"a": pd.Categorical(["u", "v", "v", None])})
    assert FrequencyEncoder().fit_transform(categories).ravel().tolist() == [0.25, 0.5, 0.5, 0.25]
    assert FrequencyEncoder().fit([["1", 2], ["b", 2]]).categories_[0].tolist() == ["1", "b"]
    assert StandardScaler().fit(FrequencyEncoder().fit_transform(frame)).mean_[0] > 0
