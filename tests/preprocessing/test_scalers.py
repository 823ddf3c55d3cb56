"""Scalers and the imputer against scikit-learn's, in memory and streamed."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.sparse as sp
import sklearn
import sklearn.impute
import sklearn.preprocessing
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.utils.fixes import parse_version

import gpuclust
from gpuclust import DataError, DeviceUnavailableError, KMeans
from gpuclust.backends import select as selection
from gpuclust.backends.select import Problem
from gpuclust.preprocessing import (
    MinMaxScaler,
    OutlierFilter,
    RobustScaler,
    SimpleImputer,
    StandardScaler,
    Winsorizer,
)
from gpuclust.profiling import rows, search

# scikit-learn before 1.9 rounds more where float32 lies far from 0 for its spread
OLD = parse_version(sklearn.__version__) < parse_version("1.9")
CLOSE = {"rtol": 1e-5, "atol": 5e-5} if OLD else {"rtol": 1e-6, "atol": 1e-6}
pytestmark = pytest.mark.usefixtures("one_thread")
SETTINGS = [
    (StandardScaler, {}), (StandardScaler, {"with_mean": False}), (StandardScaler, {"with_std": False}),
    (StandardScaler, {"with_mean": False, "with_std": False}),
    (MinMaxScaler, {}), (MinMaxScaler, {"feature_range": (-2, 3), "clip": True}),
    (RobustScaler, {}), (RobustScaler, {"quantile_range": (10, 50), "unit_variance": True}),
    (RobustScaler, {"with_centering": False}), (RobustScaler, {"with_scaling": False}),
    (SimpleImputer, {}), (SimpleImputer, {"strategy": "median"}), (SimpleImputer, {"strategy": "most_frequent"}),
    (SimpleImputer, {"strategy": "constant", "fill_value": 5, "keep_empty_features": True}),
    (SimpleImputer, {"strategy": "median", "keep_empty_features": True}),
]  # fmt: skip
EVERY = pytest.mark.parametrize(
    ("ours", "how"), [*SETTINGS, (Winsorizer, {"quantile_range": (5, 90)})], ids=lambda x: getattr(x, "__name__", str(x))
)


def twin(ours, how):
    module = sklearn.impute if ours is SimpleImputer else sklearn.preprocessing
    return getattr(module, ours.__name__)(**how)


@pytest.fixture
def X(rng, dtype):
    """Columns of all kinds: normal, ties, heavy tails, far from 0, constant, without any value; a tenth is missing."""
    X = rng.normal(size=(700, 6))
    X[:, 1] = np.round(3 * X[:, 1])
    X[:, 2] = rng.standard_cauchy(700)
    X[:, 3] += 1e3
    X[:, 4] = 0.1
    X[rng.random(X.shape) < 0.1] = np.nan
    X[:, 5] = np.nan
    return X.astype(dtype)


@pytest.fixture
def searched(monkeypatch):
    """Little room, so that streams are searched pass by pass."""
    monkeypatch.setattr(rows, "COLUMN_BYTES", 0)
    monkeypatch.setattr(search, "ROOM", 200)


@pytest.fixture(autouse=True)
def no_words_on_empty_columns():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "(All-NaN|Skipping features|Degrees of freedom|invalid value)")
        yield


def state(model):
    return {key: value for key, value in vars(model).items() if key.endswith("_") and value is not None}


def read(stream):
    """All rows of a stream."""
    return np.concatenate([block.copy() for block, _ in stream.open().blocks(97)])


@pytest.mark.parametrize(("ours", "how"), SETTINGS)
def test_fits_and_transforms_as_scikit_learn(ours, how, X):
    before = X.copy()
    mine, theirs = ours(**how).fit(X), twin(ours, how).fit(X)
    for key, value in state(theirs).items():
        if X.dtype == np.float32 and isinstance(value, np.ndarray) and value.dtype.kind == "f":
            np.testing.assert_allclose(getattr(mine, key), value, rtol=2e-6, atol=2e-6, err_msg=key)
        else:
            np.testing.assert_allclose(
                np.asarray(getattr(mine, key), float), np.asarray(value, float), rtol=1e-12, atol=1e-12, err_msg=key
            )
    for name in ("scale_", "center_", "mean_", "var_"):
        assert (getattr(mine, name, None) is None) == (getattr(theirs, name, None) is None)
    out, expected = mine.transform(X), theirs.transform(X)
    close = {"rtol": 1e-12, "atol": 1e-9} if X.dtype == np.float64 else CLOSE
    np.testing.assert_allclose(out, expected, **close)
    assert out.dtype == X.dtype and out.shape == expected.shape
    np.testing.assert_array_equal(X, before)
    np.testing.assert_allclose(mine.to_sklearn().transform(X), out, **close)
    assert type(mine.to_sklearn()) is type(theirs)
    if ours is not SimpleImputer:
        np.testing.assert_allclose(mine.inverse_transform(expected), theirs.inverse_transform(expected), **close)


@EVERY
def test_results_do_not_depend_on_where_rows_are(ours, how, X, tmp_path, searched):
    whole = ours(**how).fit(X)
    np.save(tmp_path / "x.npy", X)
    names = [f"f{f}" for f in range(X.shape[1])]
    pq.write_table(pa.table(dict(zip(names, X.T.copy(), strict=True))), tmp_path / "x.parquet", row_group_size=130)
    sources = tmp_path / "x.npy", gpuclust.stream([X[:5], X[5:400], X[400:]]), tmp_path / "x.parquet"
    for source, chunk_size in zip(sources, (64, 333, None), strict=True):
        model = ours(**how, chunk_size=chunk_size).fit(source)
        for key, value in state(whole).items():
            if key != "feature_names_in_":
                np.testing.assert_array_equal(getattr(model, key), value, err_msg=key)
        made = model.transform(source)
        for _ in range(2):
            np.testing.assert_array_equal(read(made), whole.transform(X))
        if ours is not SimpleImputer:
            back = model.inverse_transform(made)
            np.testing.assert_array_equal(read(back), whole.inverse_transform(whole.transform(X)))
    assert model.feature_names_in_.tolist() == names


def test_a_stream_after_a_scaler_is_read_here_and_there(rng, tmp_path):
    X, weight = rng.normal(size=(50, 3)), rng.random(50)
    np.save(tmp_path / "x.npy", np.c_[X, weight])
    reader = StandardScaler().fit(X).transform(gpuclust.stream(tmp_path / "x.npy", weight=3)).open()
    scaled = StandardScaler().fit_transform(X)
    assert (reader.n_rows, reader.weighted, reader.seekable) == (50, True, True)
    np.testing.assert_array_equal(reader.take(np.array([3, 40]))[0], scaled[[3, 40]])
    np.testing.assert_array_equal(reader.slices([(2, 5), (1, 3)])[1][0], scaled[1:3])
    np.testing.assert_array_equal(next(reader.blocks(60))[1], weight)


@pytest.mark.parametrize("scaler", [StandardScaler, RobustScaler, Winsorizer])
def test_a_pipeline_runs_out_of_core(scaler, rng, tmp_path):
    X = rng.normal(size=(400, 3)) * [1, 20, 300]
    frame = pd.DataFrame(X, columns=list("abc"))
    frame.to_parquet(tmp_path / "x.parquet", row_group_size=100)

    def pipeline():
        return Pipeline([("fill", SimpleImputer()), ("scale", scaler()), ("cluster", KMeans(4, random_state=0))])

    streamed, whole = pipeline().fit(tmp_path / "x.parquet"), pipeline().fit(X)
    np.testing.assert_array_equal(streamed[-1].labels_, whole[-1].labels_)
    np.testing.assert_array_equal(streamed.predict(str(tmp_path / "x.parquet")), whole.predict(X))
    assert streamed.feature_names_in_.tolist() == ["a", "b", "c"]
    np.testing.assert_array_equal(streamed.predict(frame), whole.predict(X))
    assert len(np.unique(whole[-1].labels_)) == 4


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.from_pandas, pa.Table.from_pandas], ids=["pandas", "polars", "arrow"])
def test_frames_of_every_library(frame, rng, dtype):
    X = rng.normal(size=(60, 2)).astype(dtype)
    made = frame(pd.DataFrame(X, columns=["a", "b"]))
    for ours in (StandardScaler, MinMaxScaler, RobustScaler, SimpleImputer, Winsorizer):
        out = ours().fit(made).transform(made)
        np.testing.assert_array_equal(out, ours().fit(X).transform(X))
        assert out.dtype == dtype


def test_sparse_rows(rng, dtype):
    X = rng.normal(size=(80, 5)) * (rng.random((80, 5)) > 0.6)
    X[3, 2] = np.nan
    rows_ = sp.csr_array(X.astype(dtype))
    for ours, how in (
        (StandardScaler, {"with_mean": False}), (RobustScaler, {"with_centering": False}), (SimpleImputer, {}),
    ):  # fmt: skip
        mine, theirs = ours(**how).fit(rows_), twin(ours, how).fit(rows_)
        np.testing.assert_allclose(mine.transform(rows_).toarray(), theirs.transform(rows_).toarray(), rtol=1e-5)
        if ours is not SimpleImputer:
            np.testing.assert_allclose(
                mine.inverse_transform(rows_).toarray(), theirs.inverse_transform(rows_).toarray(), rtol=1e-5
            )
    for ours in (StandardScaler, RobustScaler):
        with pytest.raises(ValueError, match="Cannot center sparse matrices"):
            ours().fit(rows_)
    for ours in (MinMaxScaler, Winsorizer):
        with pytest.raises(TypeError, match="[Ss]parse"):
            ours().fit(rows_)


def test_weights(rng, dtype):
    X = rng.normal(size=(300, 3)).astype(dtype)
    X[:, 2] = 1 + 1e6
    X[rng.random(X.shape) < 0.1] = np.nan
    weight = rng.integers(0, 4, 300)
    mine = StandardScaler().fit(X, sample_weight=weight)
    repeated = StandardScaler().fit(np.repeat(X, weight, axis=0))
    for key in ("mean_", "var_", "scale_", "n_samples_seen_"):
        np.testing.assert_allclose(getattr(mine, key), getattr(repeated, key), rtol=1e-12, err_msg=key)
    parts = [(X[:100], weight[:100]), (X[100:], weight[100:])]
    for chunk_size in (7, None):
        streamed = StandardScaler(chunk_size=chunk_size).fit(gpuclust.stream(parts))
        for key in ("mean_", "var_", "n_samples_seen_"):
            np.testing.assert_array_equal(getattr(streamed, key), getattr(mine, key))
    with pytest.raises(ValueError, match="Negative values in data passed to `sample_weight`"):
        StandardScaler().fit(X, sample_weight=-np.ones(300))


def test_partial_fit_goes_on_from_a_fit(rng):
    X = rng.normal(size=(100, 2))
    for ours in (StandardScaler, MinMaxScaler):
        model, whole = ours().fit(X[:40]).partial_fit(X[40:]), ours().fit(X)
        np.testing.assert_allclose(model.transform(X), whole.transform(X), rtol=1e-9, atol=1e-12)
        assert model.n_samples_seen_ == 100


@EVERY
def test_copy_and_infinity(ours, how, X, tmp_path):
    X = X[:, :5].copy()
    model, before = ours(**how, copy=False).fit(X), X.copy()
    model.transform(before.copy())
    np.testing.assert_array_equal(X, before)
    out = model.transform(X)
    assert np.shares_memory(out, X)
    before[17, 2] = np.inf
    for source in (before, gpuclust.stream([before]), sp.csr_array(before) if ours is StandardScaler else before):
        with pytest.raises(ValueError, match="infinity"):
            ours(**(how | ({"with_mean": False} if sp.issparse(source) else {}))).fit(source)


def test_far_from_zero_nothing_is_lost(rng):
    X = (rng.normal(size=(1000, 1)) + 1e8).astype(np.float64)
    exact = X - 1e8
    model = StandardScaler().fit(X)
    np.testing.assert_allclose(model.var_, exact.var(axis=0), rtol=1e-9)
    last = rng.integers(0, 8, (100, 1)) * 2.0**-52
    np.testing.assert_allclose(StandardScaler().fit(1 + last).var_, last.var(axis=0), rtol=1e-9)
    for ours in (StandardScaler, RobustScaler):
        np.testing.assert_allclose(ours().fit_transform(X), ours().fit_transform(exact), atol=1e-6)


def test_what_only_scikit_learn_does_is_done_by_it(rng):
    text = pd.DataFrame({"a": ["x", None, "x", "y"]}, dtype=object)
    filled = SimpleImputer(strategy="most_frequent", missing_values=None).fit_transform(text)
    assert filled.ravel().tolist() == ["x", "x", "x", "y"]
    X = np.array([[1.0, np.nan], [2.0, 3.0], [6.0, 5.0]])
    marked = SimpleImputer(add_indicator=True).fit(X)
    np.testing.assert_array_equal(marked.transform(X)[0], [1, 4, 1])
    np.testing.assert_array_equal(marked.inverse_transform(marked.transform(X)), X)
    assert SimpleImputer(strategy=np.max).fit(X).statistics_.tolist() == [6, 5]
    for how in ({"add_indicator": True}, {"strategy": np.max}, {"missing_values": -1}):
        with pytest.raises(DataError, match="read them into memory"):
            SimpleImputer(**how).fit(gpuclust.stream([X]))
    with pytest.raises(DataError, match="made of rows in memory only"):
        marked.transform(gpuclust.stream([X]))


def test_bad_parameters_and_widths(rng, tmp_path):
    X = rng.normal(size=(20, 3))
    with pytest.raises(ValueError, match="Minimum of desired feature range"):
        MinMaxScaler((1, 1)).fit(X)
    for ours in (RobustScaler, Winsorizer):
        with pytest.raises(ValueError, match=r"quantile.range"):
            ours(quantile_range=(80, 20)).fit(X)
    with pytest.raises(ValueError, match="'device' parameter of StandardScaler"):
        StandardScaler(device=3).fit(X)
    with pytest.raises(ValueError, match="device='tpu' is none of"):
        StandardScaler(device="tpu").fit(X)
    with pytest.raises(ValueError, match="X has 2 features, but 3 features are expected"):
        read(StandardScaler().fit(X).transform(gpuclust.stream([X[:, :2]])))
    with pytest.raises(DataError, match="does not exist"):
        StandardScaler().fit(tmp_path / "none.npy")


@pytest.mark.parametrize("ours", [StandardScaler, MinMaxScaler, RobustScaler, SimpleImputer, Winsorizer, OutlierFilter])
def test_a_device_that_is_not_there_is_refused(ours, rng, monkeypatch):
    monkeypatch.setattr(selection, "cuda_problem", lambda index: Problem("there is none", False))
    X = rng.normal(size=(20, 2))
    ours().fit(X)
    with pytest.raises(DeviceUnavailableError, match="there is none"):
        ours(device="cuda:63").fit(X)


def test_constructors_differ_in_what_they_read(rng, monkeypatch):
    from gpuclust.data.source import Source

    chunks, one = [], Source._chunk
    monkeypatch.setattr(Source, "_chunk", lambda *args: chunks.append(1) or one(*args))
    MinMaxScaler(chunk_size=10).fit(rng.normal(size=(100, 2)))
    assert len(chunks) == 10
    pipe = make_pipeline(Winsorizer(), StandardScaler()).fit(rng.normal(size=(100, 2)))
    np.testing.assert_allclose(pipe.inverse_transform(np.zeros((1, 2)))[0], pipe[-1].mean_)
