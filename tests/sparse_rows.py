"""Random sparse rows, and the definitions that the sparse kernels are measured against."""

import numpy as np
import pytest
import scipy.sparse as sp

from gpuclust import KMeans
from gpuclust.backends.cpu import CPUBackend
from gpuclust.backends.frame import Frame
from gpuclust.backends.layout import Layout

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])


def rows(n, d, dtype, density=0.1, seed=0):
    """Random rows of random topics: nonzeros where the topic has them, and a few anywhere."""
    rng = np.random.default_rng(seed)
    topics = (rng.random((5, d)) < 2 * density) * rng.random((5, d))
    X = topics[rng.integers(5, size=n)] * (rng.random((n, d)) < 0.5) + (rng.random((n, d)) < density / 10)
    return sp.csr_matrix(X.astype(dtype))


def some(X, k, seed=1):
    """k different rows as an array of first centres."""
    found = np.unique(X.toarray(), axis=0)
    return found[np.random.default_rng(seed).choice(len(found), k, replace=False)]


def fit(X, init, weight=None, **parameters):
    parameters = {"n_init": 1, "tol": 0, "random_state": 0, "device": "cpu"} | parameters
    k = parameters.pop("n_clusters", len(init))
    return KMeans(k, init=init, **parameters).fit(X, sample_weight=weight)


def direct(X, centers):
    """Squared distances f64 [n, k]: (x - c)^2 summed one feature after another, zeros included."""
    X, centers = X.toarray().astype(np.float64), np.asarray(centers, np.float64)
    total = np.zeros((len(X), len(centers)))
    with np.errstate(over="ignore", under="ignore"):
        for f in range(X.shape[1]):
            total += (X[:, f, None] - centers[None, :, f]) ** 2
    return total


def labels(X, centers):
    return direct(X, centers).argmin(axis=1)


def nearest(X, centers):
    """Labels from the routine behind `predict`, for centres in float64."""
    backend = CPUBackend()
    X, centers = backend.upload(X, X.dtype), np.ascontiguousarray(centers, np.float64)
    frame = Frame.around(centers, X.dtype, centre=False)
    return backend.nearest(X, backend.pack(centers, frame, Layout.build(centers, 1), None))


def assert_same_bits(model, reference):
    for name in ("cluster_centers_", "labels_", "inertia_", "n_iter_", "inertia_history_"):
        np.testing.assert_array_equal(getattr(model, name), getattr(reference, name), err_msg=name)


def assert_same_clusters(model, reference):
    np.testing.assert_array_equal(model.labels_, reference.labels_)
    np.testing.assert_allclose(model.cluster_centers_, reference.cluster_centers_, rtol=1e-12, atol=0)
    np.testing.assert_allclose(model.inertia_, reference.inertia_, rtol=1e-12)
    assert model.n_iter_ == reference.n_iter_


def read_only(X):
    for array in (X.data, X.indices, X.indptr):
        array.flags.writeable = False
    return X
