"""K-Medians as a user meets it, and against optima and objectives that others published or proved."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import scipy.sparse as sp
from laws.oracle import lloyd_medians
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_iris, load_sample_image, load_wine, make_blobs
from sklearn.preprocessing import StandardScaler

from gpuclust import KMeans, KMedians, load_model, save_model, stream

SETS = {"iris": load_iris, "wine": load_wine, "breast_cancer": load_breast_cancer}


def medians(k, **how):
    return KMedians(k, device="cpu", **({"random_state": 0} | how))


def least_cost(values, k):
    """Return the least sum of |x - c| over k medians in one dimension: every split point, by dynamic programming."""
    x = np.sort(values)
    n, running = len(x), np.append(0.0, np.cumsum(x))

    def cost(i, j):  # of x[i:j] at its median
        m = (i + j) // 2
        return x[m] * (m - i) - (running[m] - running[i]) + running[j] - running[m] - x[m] * (j - m)

    best = np.array([0.0] + [cost(0, j) for j in range(1, n + 1)])
    for _ in range(k - 1):
        best = np.array([0.0] + [min(best[i] + cost(i, j) for i in range(j)) for j in range(1, n + 1)])
    return best[n]


@pytest.mark.parametrize(("name", "column"), [("iris", 2), ("wine", 12), ("wine", 0), ("breast_cancer", 3)])
def test_proven_optima_in_one_dimension(name, column):
    X = SETS[name]().data[:, [column]]
    for k in (1, 2, 3, 5):
        found = medians(k, n_init=50, tol=0).fit(X).inertia_
        assert found == pytest.approx(least_cost(X[:, 0], k), rel=1e-9)


def test_the_dynamic_programme_finds_known_optima():
    """Optima of R's Ckmedian.1d.dp (iris, third column)."""
    values = load_iris().data[:, 2]
    np.testing.assert_allclose([least_cost(values, k) for k in (1, 2, 3, 5)], [223.3, 72.5, 44.7, 26.8], atol=0.05)


@pytest.mark.parametrize(
    ("name", "k", "best"),
    [
        ("iris", 3, 159.2),
        ("iris", 5, 124.6),
        ("wine", 3, 18953.616),
        ("wine", 5, 12664.674),
        ("breast_cancer", 2, 230587.528),
        ("breast_cancer", 3, 172721.962),
        ("breast_cancer", 5, 125167.923),
    ],
)
def test_best_known_objectives(name, k, best):
    """Best of hundreds to thousands of restarts of a plain implementation, rounded as they were given."""
    found = medians(k, n_init=20, tol=0).fit(SETS[name]().data).inertia_
    assert best * (1 - 1e-6) - 0.06 <= found <= best * 1.005


def test_three_blobs_step_by_step():
    X = StandardScaler().fit_transform(make_blobs(150, centers=3, cluster_std=0.9, random_state=42)[0])
    start = X[[0, 1, 2]]
    steps = lloyd_medians(X, start, 100)
    for m, step in enumerate(steps, 1):
        model = medians(3, init=start, n_init=1, max_iter=m, tol=0).fit(X)
        np.testing.assert_array_equal(model.cluster_centers_, step.centers)
    assert model.converged_


@pytest.mark.parametrize("name", SETS)
def test_medoids_as_a_second_start_do_not_help_much(name):
    kmedoids = pytest.importorskip("kmedoids", reason="the oracle kmedoids is not installed")
    X = SETS[name]().data
    model = medians(3, n_init=20, tol=0).fit(X)
    distances = np.abs(X[:, None] - X[None]).sum(axis=2)
    first = np.array([np.abs(X - c).sum(axis=1).argmin() for c in model.cluster_centers_])
    found = kmedoids.fasterpam(distances, first)
    second = medians(3, init=X[found.medoids], n_init=1, tol=0).fit(X)
    assert second.inertia_ >= model.inertia_ * 0.995


def test_colours_of_a_photograph():
    pytest.importorskip("PIL", reason="Pillow, which reads the photograph, is not installed")
    X = load_sample_image("flower.jpg")[::8, ::8].reshape(-1, 3)
    assert X.dtype == np.uint8
    model = medians(16, median="lower").fit(X)
    for f in range(3):
        assert np.isin(model.cluster_centers_[:, f], X[:, f]).all()


def test_gross_outliers_do_not_move_the_centers(rng):
    truth = np.array([[0.0, 0.0], [20.0, 0.0], [0.0, 20.0]])
    X = truth[np.arange(3000) % 3] + rng.standard_t(2, size=(3000, 2))
    X[::20] = truth[np.arange(150) % 3] + [300.0, 300.0]
    ours, theirs = medians(3, init=truth, n_init=1).fit(X), KMeans(3, init=truth, n_init=1, device="cpu").fit(X)
    assert np.abs(ours.cluster_centers_ - truth).max() < 1
    assert np.abs(theirs.cluster_centers_ - truth).max() > 5


def test_sparse_rows_give_what_dense_rows_give(rng):
    X = np.where(rng.uniform(size=(600, 9)) < 0.6, 0, rng.normal(size=(600, 9)))
    weight = rng.integers(0, 3, 600)
    dense = medians(5).fit(X, sample_weight=weight)
    for rows in (None, 100):
        model = medians(5, chunk_size=rows).fit(sp.csr_matrix(X), sample_weight=weight)
        np.testing.assert_array_equal(model.cluster_centers_, dense.cluster_centers_)
        np.testing.assert_array_equal(model.labels_, dense.labels_)
        np.testing.assert_array_equal(model.predict(sp.csr_matrix(X)), dense.labels_)
        np.testing.assert_array_equal(model.transform(sp.csr_matrix(X)), dense.transform(X))


def test_transform_and_score_are_manhattan(rng):
    X = rng.normal(size=(200, 4))
    model = medians(3).fit(X)
    distances = np.abs(X[:, None] - model.cluster_centers_[None]).sum(axis=2)
    np.testing.assert_allclose(model.transform(X), distances, rtol=1e-12)
    np.testing.assert_array_equal(model.predict(X), distances.argmin(axis=1))
    assert model.score(X) == pytest.approx(-distances.min(axis=1).sum(), rel=1e-12)
    assert model.inertia_ == pytest.approx(-model.score(X), rel=1e-12)
    np.testing.assert_array_equal(model.labels_, model.predict(X))


def test_tol_is_the_relative_fall_of_the_inertia(rng):
    X = rng.normal(size=(4000, 5))
    loose, strict = (medians(20, init=X[:20], n_init=1, tol=tol).fit(X) for tol in (1e-2, 0))
    falls = -np.diff(strict.inertia_history_) / strict.inertia_history_[:-1]
    assert loose.n_iter_ == 2 + np.flatnonzero(falls < 1e-2)[0] < strict.n_iter_
    assert strict.converged_
    assert loose.converged_


def test_copies_pickles_and_model_files(rng, tmp_path):
    X = rng.normal(size=(300, 3)).astype(np.float32)
    model = medians(4, median="lower").fit(X)
    save_model(model, tmp_path / "m.gpuclust")
    for copy in (pickle.loads(pickle.dumps(model)), load_model(tmp_path / "m.gpuclust")):
        assert copy.get_params() == model.get_params()
        np.testing.assert_array_equal(copy.predict(X), model.labels_)
    assert clone(model).median == "lower"


def test_bad_input_is_refused(rng):
    X = rng.normal(size=(50, 2))
    with pytest.raises(ValueError, match="median"):
        medians(2, median="upper").fit(X)
    X[3, 1] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        medians(2).fit(X)
    with pytest.raises(ValueError, match="NaN"):
        medians(2).fit(stream([X]))
    with pytest.raises(ValueError, match="n_samples=3 should be >= n_clusters=8"):
        medians(8).fit(X[:3])


def test_input_is_left_alone(rng):
    X, weight = rng.normal(size=(400, 3)), rng.uniform(size=400)
    before = X.copy(), weight.copy()
    medians(4).fit(X, sample_weight=weight)
    np.testing.assert_array_equal(X, before[0])
    np.testing.assert_array_equal(weight, before[1])
