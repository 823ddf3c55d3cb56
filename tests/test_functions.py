"""`kmeans_plusplus` and `k_means`."""

import numpy as np
import pytest
import scipy.sparse
import sklearn.cluster
from sklearn.datasets import make_blobs

from gpuclust import KMeans, k_means, kmeans_plusplus, stream
from gpuclust.errors import DataError

X = make_blobs(300, n_features=4, centers=6, random_state=3)[0]
WEIGHT = np.random.RandomState(0).randint(0, 3, 300).astype(float)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("given", [{}, {"sample_weight": WEIGHT}, {"n_local_trials": 1}], ids=str)
def test_seeds_are_scikit_learns(given, seed):
    centers, index = kmeans_plusplus(X, 12, random_state=seed, **given)
    expected = sklearn.cluster.kmeans_plusplus(X, 12, random_state=seed, **given)
    np.testing.assert_array_equal(index, expected[1])
    np.testing.assert_array_equal(centers, expected[0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.int64])
@pytest.mark.parametrize("container", [np.array, scipy.sparse.csr_array, scipy.sparse.csc_array])
def test_seeds_are_rows_of_the_data_in_their_type(container, dtype):
    data = container((10 * X).astype(dtype))
    centers, index = kmeans_plusplus(data, 7, random_state=0)
    assert centers.dtype == dtype and index.dtype == np.int64
    dense = data.toarray() if scipy.sparse.issparse(data) else data
    np.testing.assert_array_equal(centers, dense[index])


def test_seeds_of_lists_tables_and_streams_are_those_of_the_array(tmp_path):
    np.save(tmp_path / "X.npy", X)
    expected = kmeans_plusplus(X, 9, sample_weight=WEIGHT, random_state=5)
    pandas = pytest.importorskip("pandas")
    parts = [X[:10], X[10:11], X[11:]]
    for data in (X.tolist(), pandas.DataFrame(X), tmp_path / "X.npy", str(tmp_path / "X.npy"), stream(parts)):
        for mine, theirs in zip(
            kmeans_plusplus(data, 9, sample_weight=WEIGHT, random_state=5), expected, strict=True
        ):
            np.testing.assert_array_equal(mine, theirs)


def test_norms_are_checked_and_not_needed():
    expected = kmeans_plusplus(X, 5, random_state=1)[1]
    np.testing.assert_array_equal(
        kmeans_plusplus(X, 5, x_squared_norms=np.zeros(300), random_state=1)[1], expected
    )
    with pytest.raises(
        ValueError, match="length of x_squared_norms 4 should be equal to the length of n_samples 300"
    ):
        kmeans_plusplus(X, 5, x_squared_norms=np.ones(4))


def test_fewer_distinct_rows_than_seeds():
    rows = np.repeat([[0.0], [1.0]], 5, axis=0)
    centers, index = kmeans_plusplus(rows, 4, random_state=0)
    assert set(centers.ravel()) == {0.0, 1.0}
    np.testing.assert_array_equal(rows[index], centers)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_clusters": 301}, "n_samples=300 should be >= n_clusters=301"),
        ({"n_clusters": 0}, "'n_clusters' parameter of kmeans_plusplus must be"),
        ({"n_local_trials": 0}, "'n_local_trials' parameter of kmeans_plusplus must be"),
        ({"X": 3.0}, "'X' parameter of kmeans_plusplus must be"),
        ({"X": X[0]}, "Expected 2D array, got 1D array instead"),
        ({"X": [[np.nan]]}, "Input X contains NaN"),
        ({"sample_weight": np.ones(3)}, "sample_weight.shape == "),
        ({"sample_weight": np.zeros(300)}, "at least one non-zero number"),
        ({"device": "tpu"}, "device='tpu' is none of"),
        ({"X": "missing.npy"}, "missing.npy does not exist"),
    ],
    ids=str,
)
def test_wrong_arguments_of_kmeans_plusplus_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        kmeans_plusplus(**{"X": X, "n_clusters": 3} | wrong)


@pytest.mark.parametrize(
    "data", [X, X.astype(np.float32), scipy.sparse.csr_array(X)], ids=["f64", "f32", "csr"]
)
def test_k_means_is_the_estimator(data):
    given = {"n_clusters": 6, "random_state": 2, "init": "random", "n_init": 3, "tol": 0.0, "max_iter": 50}
    model = KMeans(**given).fit(data, sample_weight=WEIGHT)
    found = k_means(data, sample_weight=WEIGHT, return_n_iter=True, **given)
    expected = (model.cluster_centers_, model.labels_, model.inertia_, model.n_iter_)
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert len(k_means(data, 2, random_state=0)) == 3


def test_k_means_is_scikit_learns():
    given = {"n_clusters": 6, "init": X[:6], "n_init": 1, "sample_weight": WEIGHT, "return_n_iter": True}
    for mine, theirs in zip(k_means(X, **given), sklearn.cluster.k_means(X, **given), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-9)


def test_k_means_prints_where_asked(capsys):
    k_means(X, 3, random_state=0, verbose=True)
    assert "Initialization complete" in capsys.readouterr().out


def test_k_means_reads_files(tmp_path):
    np.save(tmp_path / "X.npy", X)
    for mine, theirs in zip(
        k_means(tmp_path / "X.npy", 4, random_state=0), k_means(X, 4, random_state=0), strict=True
    ):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"n_clusters": 301}, ValueError, "n_samples=300 should be >= n_clusters=301"),
        ({"n_clusters": 0}, ValueError, "'n_clusters' parameter of k_means must be"),
        ({"algorithm": "full"}, ValueError, "'algorithm' parameter of k_means must be"),
        ({"return_n_iter": 1}, ValueError, "'return_n_iter' parameter of k_means must be"),
        ({"X": "data.csv"}, DataError, "files are streamed from .npy and .parquet"),
    ],
    ids=str,
)
def test_wrong_arguments_of_k_means_are_refused(wrong, error, message):
    with pytest.raises(error, match=message):
        k_means(**{"X": X, "n_clusters": 3} | wrong)
