"""Law 7: no centre is NaN, no cluster silently empty."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from gpuclust import KMeans

from .cases import KINDS, WEIGHTS
from .oracle import direct_labels, lloyd
from .runs import fit, seeds

pytestmark = pytest.mark.usefixtures("one_thread")


def test_farthest_rows_in_order(dtype):
    """Clusters 1 and 2 are empty: they get rows 3 and 0, the farthest from their centre, in this order."""
    X = np.array([[-9.0], [0.0], [1.0], [20.0], [2.0]], dtype)
    model = fit(X, init=np.array([[0.0], [1e6], [1e7]], dtype), max_iter=1)
    np.testing.assert_array_equal(model.cluster_centers_, [[1], [20], [-9]])
    np.testing.assert_array_equal(model.labels_, [2, 0, 0, 1, 0])
    assert model.inertia_ == 2


def test_ties_go_to_the_lowest_row(dtype):
    X = np.array([[5.0], [-5.0], [5.0], [0.0], [-5.0]], dtype)
    for rows in (None, 1, 2):
        model = fit(X, init=np.array([[0.0], [1e6]], dtype), max_iter=1, chunk_size=rows)
        np.testing.assert_array_equal(model.cluster_centers_, [[-1.25], [5]])


def test_nothing_moves_where_the_highest_cost_is_zero(dtype):
    X = np.repeat(np.array([[1.0, 2.0], [4.0, 0.0]], dtype), 3, axis=0)
    start = np.array([[1.0, 2.0], [4.0, 0.0], [50.0, 50.0]], dtype)
    with pytest.warns(ConvergenceWarning, match=r"Number of distinct clusters \(2\) found smaller than n_clusters \(3\)"):
        model = KMeans(3, init=start).fit(X)
    np.testing.assert_array_equal(model.cluster_centers_, start)
    np.testing.assert_array_equal(model.labels_, [0, 0, 0, 1, 1, 1])
    assert model.inertia_ == 0


def test_only_as_many_rows_move_as_cost_something(dtype):
    X = np.array([[0.0], [0.0], [0.0], [8.0]], dtype)
    model = fit(X, init=np.array([[0.0], [1e5], [1e6]], dtype), max_iter=1)
    np.testing.assert_array_equal(model.cluster_centers_, [[0], [8], [1e6]])


def test_donor_of_its_only_row_keeps_its_centre(dtype):
    """Centre 1 holds one row, the farthest one: the row moves to the empty cluster 2 and centre 1 stays."""
    X = np.array([[0.0], [1.0], [30.0]], dtype)
    model = fit(X, init=np.array([[0.0], [50.0], [900.0]], dtype), max_iter=1)
    np.testing.assert_array_equal(model.cluster_centers_, [[0.5], [50], [30]])


def test_the_farthest_row_is_measured_without_its_weight(dtype):
    """As in scikit-learn: highest cost of a row, not highest weighted cost."""
    X = np.array([[0.0], [4.0], [-6.0]], dtype)
    model = fit(X, np.array([1.0, 100.0, 1.0]), init=np.array([[0.0], [1e5]], dtype), max_iter=1)
    assert model.cluster_centers_[1, 0] == -6


@pytest.mark.parametrize("weights", ["none", "integer"])
def test_relocation_leaves_the_means_of_the_donors_exact(rng, weights, dtype):
    """What the donors keep is the mean of their rows, rounded once."""
    X, weight = rng.normal(size=(60, 4)).astype(dtype), WEIGHTS[weights](rng, 60)
    w = np.ones(60) if weight is None else weight
    start = np.concatenate([X[w > 0][:2], np.full((6, 4), 1e3, dtype)])
    model = fit(X, weight, init=start, max_iter=1)
    np.testing.assert_array_equal(model.cluster_centers_, lloyd(X, start, 1, weight)[0].centers.astype(dtype))


@pytest.mark.parametrize("init", ["k-means++", "k-means||", "random"])
def test_fewer_distinct_rows_than_clusters(rng, init, dtype):
    X = rng.normal(size=(3, 2)).astype(dtype)[rng.integers(3, size=50)]
    with pytest.warns(ConvergenceWarning, match="distinct clusters"):
        model = KMeans(6, init=init, random_state=0).fit(X)
    assert model.inertia_ <= 1e-10 and np.all(np.isfinite(model.cluster_centers_))
    np.testing.assert_array_equal(model.labels_, direct_labels(X, model.cluster_centers_))
    assert len(np.unique(model.labels_)) == 3


@pytest.mark.parametrize("d", [1, 3, 12])
def test_as_many_clusters_as_rows(rng, d, dtype):
    X = rng.normal(size=(40, d)).astype(dtype)
    for init in ("k-means++", "random", X[::-1].copy()):
        model = fit(X, init=init, n_clusters=40, n_init=1)
        assert model.inertia_ == 0
        np.testing.assert_array_equal(np.sort(model.labels_), np.arange(40))


def test_one_cluster_is_the_mean(rng, dtype):
    X = rng.normal(size=(100, 3)).astype(dtype)
    model = fit(X, n_clusters=1)
    np.testing.assert_allclose(model.cluster_centers_[0], X.astype(np.float64).mean(axis=0), rtol=1e-6)
    assert not model.labels_.any()


def test_one_row(dtype):
    model = fit(np.array([[3.0, 4.0]], dtype), n_clusters=1)
    np.testing.assert_array_equal(model.cluster_centers_, [[3, 4]])
    assert (model.inertia_, model.labels_.tolist()) == (0.0, [0])


@pytest.mark.parametrize("seed", seeds(25, 600))
def test_fuzz(seed):
    """Far away and duplicated starting centres on all kinds of data."""
    rng = np.random.default_rng(seed)
    kind, dtype = rng.choice(list(KINDS)), [np.float32, np.float64][seed % 2]
    n, k = int(rng.integers(10, 200)), int(rng.integers(2, 10))
    X, weight = KINDS[kind](rng, n, 3, dtype), WEIGHTS[rng.choice(list(WEIGHTS))](rng, n)
    start = X[rng.integers(n, size=k)]
    start[rng.uniform(size=k) < 0.5] *= dtype(1e3)
    model = fit(X, weight, init=start)
    assert np.all(np.isfinite(model.cluster_centers_)) and np.isfinite(model.inertia_)
    np.testing.assert_array_equal(model.labels_, direct_labels(X, model.cluster_centers_))
