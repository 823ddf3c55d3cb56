"""Where results live."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import scipy.sparse as sp
from laws.cases import blobs
from laws.runs import assert_same_bits, fit

from gpuclust import KMeans

from .runs import device_array


def test_results_live_where_the_data_do(cuda, rng, dtype):
    X, weight = blobs(rng, 300, 3, dtype), rng.integers(0, 3, 300).astype(float)
    there = device_array(cuda, X)
    host = fit(X, weight, init=X[:4], device="cuda")
    ours = fit(there, device_array(cuda, weight), init=X[:4], device="cuda")
    for model, data, kind in ((host, X, np.ndarray), (ours, there, cuda.ndarray)):
        assert type(model.labels_) is kind
        assert type(model.cluster_centers_) is np.ndarray
        for found in (model.predict(data), model.transform(data), model.fit_predict(data), model.fit_transform(data)):
            assert type(found) is kind
        model.fit(data, sample_weight=weight)
    np.testing.assert_array_equal(ours.labels_.get(), host.labels_)
    assert (ours.inertia_, ours.n_iter_) == (host.inertia_, host.n_iter_)
    np.testing.assert_array_equal(ours.transform(there).get(), fit(X, weight, init=X[:4]).transform(X))
    assert ours.score(there) == host.score(X)


def test_what_stands_in_for_device_rows_is_finite(cuda, rng, monkeypatch):
    """scikit-learn checks a row of the same shape; fresh memory may hold anything."""
    from gpuclust import validation

    class Garbage:
        def __getattr__(self, name):
            return getattr(np, name)

        def empty(self, shape, dtype=float):
            return np.full(shape, np.nan, dtype)

    monkeypatch.setattr(validation, "np", Garbage())
    there = device_array(cuda, blobs(rng, 50, 3, np.float32))
    fit(there, np.ones(50), n_clusters=2, device="cuda").predict(there)


def test_device_data_on_the_cpu_comes_back_as_host_arrays(cuda, rng):
    X = blobs(rng, 100, 3, np.float32)
    model = fit(device_array(cuda, X), init=X[:4], device="cpu")
    assert_same_bits(model, fit(X, init=X[:4]))


def test_a_model_moves_between_devices(cuda, rng, dtype):
    X = blobs(rng, 300, 3, dtype)
    model = fit(X, init=X[:4], device="cuda")
    moved = pickle.loads(pickle.dumps(model)).set_params(device="cpu")
    np.testing.assert_array_equal(moved.predict(X), model.predict(X))
    np.testing.assert_array_equal(moved.transform(X), model.transform(X))
    assert moved.score(X) == model.score(X)
    assert model.device_ == "cuda:0"


def test_a_strided_device_array_is_not_changed(cuda, rng):
    X = blobs(rng, 200, 6, np.float32)
    there = device_array(cuda, X)
    model = fit(there[:, ::2], init=X[:4, ::2], device="cuda")
    assert_same_bits(fit(np.ascontiguousarray(X[:, ::2]), init=X[:4, ::2]), fit(X[:, ::2], init=X[:4, ::2]))
    np.testing.assert_array_equal(model.labels_.get(), fit(X[:, ::2], init=X[:4, ::2]).labels_)
    np.testing.assert_array_equal(there.get(), X)


def test_sparse_rows_are_refused_with_what_to_do(cuda, rng):
    X = sp.csr_matrix(rng.integers(0, 2, (30, 4)).astype(np.float32))
    with pytest.raises(TypeError, match="device='cpu'"):
        KMeans(2, device="cuda").fit(X)
