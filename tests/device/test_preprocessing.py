"""Preprocessing of rows that live on a GPU: what the same rows give on the host, and they stay there."""

from __future__ import annotations

import numpy as np
import pytest

import gpuclust
from gpuclust.preprocessing import (
    MinMaxScaler,
    OutlierFilter,
    RobustScaler,
    SimpleImputer,
    StandardScaler,
    Winsorizer,
    drop_missing,
)
from gpuclust.profiling import rows, search

from .runs import device_array

EVERY = [
    StandardScaler(), MinMaxScaler((-1, 1), clip=True), RobustScaler(), Winsorizer((10, 80)), SimpleImputer(),
    SimpleImputer(strategy="median"), SimpleImputer(strategy="most_frequent"),
]  # fmt: skip


@pytest.fixture
def X(rng, dtype):
    X = rng.normal(size=(300, 4)).astype(dtype)
    X[:, 1] = np.round(X[:, 1])
    X[rng.random(X.shape) < 0.1] = np.nan
    return X


@pytest.mark.parametrize("model", EVERY, ids=str)
def test_rows_on_a_gpu(model, X, cuda, monkeypatch):
    whole = model.fit(X)
    state = {key: value for key, value in vars(whole).items() if key.endswith("_") and value is not None}
    expected = whole.transform(X)
    back = None if isinstance(model, SimpleImputer) else whole.inverse_transform(expected)
    there = device_array(cuda, X)
    monkeypatch.setattr(rows, "COLUMN_BYTES", 0)
    monkeypatch.setattr(search, "ROOM", 60)
    model.set_params(device="cuda").fit(there)
    for key, value in state.items():
        np.testing.assert_array_equal(getattr(model, key), value, err_msg=key)
    out = model.transform(there)
    assert isinstance(out, cuda.ndarray)
    np.testing.assert_array_equal(out.get(), expected)
    np.testing.assert_array_equal(there.get(), X)
    if back is not None:
        np.testing.assert_array_equal(model.inverse_transform(out).get(), back)
    model.set_params(device="cpu")
    np.testing.assert_array_equal(model.transform(there), expected)


def test_features_without_values_are_dropped_there(cuda):
    X = np.array([[1.0, np.nan, 3.0], [np.nan, np.nan, 5.0]])
    model = SimpleImputer(device="cuda").fit(device_array(cuda, X))
    with pytest.warns(UserWarning, match="Skipping features"):
        assert model.transform(device_array(cuda, X)).get().tolist() == [[1, 3], [1, 5]]


def test_streams_through_a_gpu(X, cuda, monkeypatch):
    monkeypatch.setattr(rows, "COLUMN_BYTES", 0)
    monkeypatch.setattr(search, "ROOM", 60)
    source = gpuclust.stream([X[:100], X[100:]])
    host, there = RobustScaler().fit(X), RobustScaler(device="cuda", chunk_size=64).fit(source)
    np.testing.assert_array_equal(there.scale_, host.scale_)
    np.testing.assert_array_equal(there.center_, host.center_)


def test_dropping_rows_of_a_gpu(X, cuda):
    there = device_array(cuda, X)
    whole = OutlierFilter("zscore", threshold=1.5).fit(X)
    model = OutlierFilter("zscore", threshold=1.5, device="cuda").fit(there)
    np.testing.assert_array_equal(model.kept_rows_, whole.kept_rows_)
    left = model.filter(there)
    assert isinstance(left, cuda.ndarray)
    np.testing.assert_array_equal(left.get(), X[whole.kept_rows_])
    np.testing.assert_array_equal(drop_missing(there).rows, drop_missing(X).rows)


def test_bad_rows_on_a_gpu(X, cuda):
    X[3, 2] = np.inf
    there = device_array(cuda, X)
    with pytest.raises(ValueError, match="infinity"):
        StandardScaler(device="cuda").fit(there)
    model = StandardScaler(device="cuda").fit(device_array(cuda, X[4:]))
    for wrong, match in ((there[0], "Expected 2D array"), (there[:, :2], "X has 2 features, but 4 features")):
        with pytest.raises(ValueError, match=match):
            model.transform(wrong)
