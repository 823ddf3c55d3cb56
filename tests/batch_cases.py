"""Data of the tests of mini-batches, and what makes two of their fits equal."""

from itertools import pairwise

import numpy as np
from sklearn.datasets import make_blobs

N, D, K = 700, 3, 5
X = make_blobs(N, n_features=D, centers=K, cluster_std=1.5, random_state=4)[0]
START = X[[3, 50, 200, 333, 600]]
WEIGHT = np.random.RandomState(5).randint(0, 4, N).astype(float)
RAGGED = [0, 1, 2, 130, 131, 500, 699, 700]
GIVEN = {"n_clusters": K, "batch_size": 64, "random_state": 1}


def chunks(data, weight=None, cuts=RAGGED):
    parts = [slice(a, b) for a, b in pairwise(cuts)]
    return [data[p] if weight is None else (data[p], weight[p]) for p in parts]


def assert_same(model, other):
    """Check that two fits are equal, bit for bit."""
    assert_same_state(model, other)
    for name in ("labels_", "inertia_", "n_iter_"):
        np.testing.assert_array_equal(getattr(model, name), getattr(other, name), err_msg=name)


def assert_same_state(model, other):
    """Check that all that the next step starts from is equal, bit for bit."""
    for name in ("cluster_centers_", "n_steps_", "_centers", "_counts", "_sketch"):
        np.testing.assert_array_equal(getattr(model, name), getattr(other, name), err_msg=name)
