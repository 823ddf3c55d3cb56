"""The estimators under test beside scikit-learn's, with the same parameters and the same data."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
import sklearn.cluster
from sklearn.datasets import make_blobs

from .loader import provider

PROVIDER = provider()
under_test = importlib.import_module(PROVIDER)

BOTH = pytest.mark.parametrize("name", ["KMeans", "MiniBatchKMeans"])
KINDS = pytest.mark.parametrize("kind", ["numpy", "pandas", "polars", "pyarrow"])
ours_only = pytest.mark.skipif(PROVIDER != "gpuclust", reason="scikit-learn does not do this")

X, TRUE = make_blobs(n_samples=90, n_features=3, centers=3, cluster_std=0.5, random_state=7)
START = X[[int(np.flatnonzero(TRUE == label)[0]) for label in range(3)]]
WEIGHT = np.random.RandomState(3).randint(1, 5, size=len(X)).astype(float)


def pair(name, **parameters):
    """Return our estimator and scikit-learn's with the same parameters, from the same initial centres."""
    parameters = {"n_clusters": 3, "init": START, "n_init": 1, "random_state": 0} | parameters
    return getattr(under_test, name)(**parameters), getattr(sklearn.cluster, name)(**parameters)


def fitted(name, data=X, **parameters):
    """Return our estimator fitted to `data`."""
    return pair(name, **parameters)[0].fit(data)


def assert_same_state(model, other):
    """Check that two fitted models are equal, bit for bit."""
    for key in ("cluster_centers_", "labels_", "inertia_", "n_iter_"):
        np.testing.assert_array_equal(getattr(model, key), getattr(other, key), err_msg=key)


def container(kind, data):
    """Return `data` as a NumPy array or as a table of the library `kind` with the columns a, b, c."""
    if kind == "numpy":
        return data
    library = pytest.importorskip(kind)
    build = library.table if kind == "pyarrow" else library.DataFrame
    return build({column: data[:, index] for index, column in enumerate("abc")})
