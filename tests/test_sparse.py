"""Sparse rows give what the same rows give when they are dense, in every form that they come in."""

import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import normalize
from sparse_rows import (
    DTYPES,
    assert_same_bits,
    assert_same_clusters,
    direct,
    fit,
    labels,
    nearest,
    read_only,
    rows,
    some,
)

from gpuclust import KMeans, MiniBatchKMeans, kmeans_plusplus
from gpuclust.backends import sparse
from gpuclust.backends.cpu import CPUBackend
from gpuclust.data.array import ArraySource
from gpuclust.solvers.scan import scan
from gpuclust.solvers.seeding import plus_plus

# The same as dense


@DTYPES
@pytest.mark.parametrize("k", [1, 2, 9, 40, 200])
def test_same_clusters_as_dense(k, dtype):
    X = rows(600, 50, dtype)
    init = some(X, k)
    assert_same_clusters(fit(X, init), fit(X.toarray(), init))


@DTYPES
def test_weights_and_costs_same_as_dense(dtype):
    X, weight = rows(500, 40, dtype), np.random.default_rng(2).exponential(size=500)
    weight[::7] = 0
    model, dense = fit(X, some(X, 6), weight), fit(X.toarray(), some(X, 6), weight)
    assert_same_clusters(model, dense)
    np.testing.assert_allclose(model.inertia_history_, dense.inertia_history_, rtol=1e-10)


@DTYPES
def test_negative_values_and_stored_zeros(dtype):
    X = rows(300, 30, dtype)
    X.data[::2] *= -1
    X.data[::5] = 0
    assert_same_clusters(fit(X, some(X, 5)), fit(X.toarray(), some(X, 5)))


@DTYPES
def test_mini_batches_same_as_dense(dtype):
    X = rows(700, 40, dtype)
    parameters = {"init": some(X, 5), "n_init": 1, "random_state": 3, "batch_size": 100, "max_iter": 5}
    model, dense = MiniBatchKMeans(5, **parameters).fit(X), MiniBatchKMeans(5, **parameters).fit(X.toarray())
    np.testing.assert_array_equal(model.labels_, dense.labels_)
    np.testing.assert_allclose(model.cluster_centers_, dense.cluster_centers_, rtol=1e-6, atol=1e-12)


@DTYPES
def test_predict_transform_score(dtype):
    X, new = rows(400, 40, dtype), rows(200, 40, dtype, seed=5)
    model = fit(X, some(X, 12))
    np.testing.assert_array_equal(model.labels_, model.predict(X))
    np.testing.assert_array_equal(model.predict(new), model.predict(new.toarray()))
    np.testing.assert_array_equal(model.predict(new), labels(new, model.cluster_centers_))
    distance = model.transform(new)
    assert distance.dtype == dtype
    np.testing.assert_allclose(distance, model.transform(new.toarray()), rtol=1e-6 if dtype == np.float32 else 1e-12)
    np.testing.assert_allclose(model.score(new), model.score(new.toarray()), rtol=1e-12)
    np.testing.assert_allclose(model.score(new), -direct(new, model.cluster_centers_).min(axis=1).sum(), rtol=1e-12)


# Shapes and forms


@DTYPES
def test_empty_rows_and_empty_columns(dtype):
    none = sp.csr_matrix((20, 40), dtype=dtype)
    X = sp.vstack([none, rows(200, 40, dtype), none]).tolil()
    X[:, 7] = 0
    X = X.tocsr()
    init = np.vstack([np.zeros((1, 40)), some(X[20:220], 4)]).astype(dtype)
    model = fit(X, init)
    assert_same_clusters(model, fit(X.toarray(), init))
    assert len(np.unique(model.labels_[:20])) == 1
    assert not model.cluster_centers_[:, 7].any()
    KMeans(4, random_state=0).fit(X)


def test_all_zero():
    X = sp.csr_matrix((6, 4))
    with pytest.warns(ConvergenceWarning):
        model = KMeans(2, random_state=0).fit(X)
    assert model.inertia_ == 0
    assert not model.labels_.any()


def test_one_row():
    X = sp.csr_matrix([[0.0, 2.5, 0.0]])
    model = KMeans(1).fit(X)
    np.testing.assert_array_equal(model.cluster_centers_, X.toarray())
    assert model.inertia_ == 0
    np.testing.assert_array_equal(model.transform(X), [[0.0]])


@DTYPES
@pytest.mark.parametrize("container", [sp.csr_array, sp.csc_matrix, sp.coo_matrix])
def test_containers(container, dtype):
    X = rows(200, 30, dtype)
    assert_same_bits(fit(container(X), some(X, 4)), fit(X, some(X, 4)))


@DTYPES
def test_unsorted_indices_and_duplicates(dtype):
    """As in `toarray`: duplicates add up in the order in which they are stored. The matrix stays as it was."""
    rng = np.random.default_rng(8)
    indices = rng.integers(0, 20, 2000).astype(np.int32)
    data, indptr = rng.standard_normal(2000).astype(dtype), np.arange(0, 2001, 10, dtype=np.int32)
    X = read_only(sp.csr_matrix((data.copy(), indices.copy(), indptr), shape=(200, 20)))
    model, dense = fit(X, some(X, 5)), fit(X.toarray(), some(X, 5))
    assert_same_clusters(model, dense)
    np.testing.assert_array_equal(model.predict(X), dense.labels_)
    np.testing.assert_array_equal(X.data, data)
    np.testing.assert_array_equal(X.indices, indices)


def test_flags_that_lie():
    """scipy remembers that indices were sorted, also after somebody changed them in place."""
    X = rows(100, 20, np.float64)
    assert X.has_canonical_format
    start, stop = X.indptr[:2]
    X.indices[start:stop] = X.indices[start:stop][::-1].copy()
    assert_same_clusters(fit(X, some(X, 3)), fit(X.toarray(), some(X, 3)))


@DTYPES
def test_read_only_input_is_left_alone(dtype):
    X = read_only(rows(200, 30, dtype))
    copy = X.copy()
    model = KMeans(4, random_state=0).fit(X, sample_weight=np.ones(200))
    model.predict(X), model.transform(X), model.score(X)
    assert (X != copy).nnz == 0
    assert X.indices.dtype == copy.indices.dtype


@DTYPES
def test_64_bit_indices(dtype):
    X = rows(200, 30, dtype)
    wide = sp.csr_matrix(X)
    wide.indices, wide.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    centers = some(X, 5).astype(np.float64)
    np.testing.assert_array_equal(nearest(wide, centers), labels(X, centers))
    assert wide.indices.dtype == wide.indptr.dtype == np.int64


@pytest.mark.parametrize(("indices", "indptr"), [([0, 9], [0, 1, 2]), ([0, -1], [0, 1, 2]), ([0, 1], [0, 2, 1])])
def test_broken_matrix(indices, indptr):
    X = sp.csr_matrix((2, 4))
    X.data, X.indices, X.indptr = np.ones(2), np.array(indices, np.int32), np.array(indptr, np.int32)
    with pytest.raises(ValueError, match="broken"):
        CPUBackend().upload(X, np.float64)


def test_nan_is_refused():
    X = rows(50, 10, np.float64)
    X.data[3] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        KMeans(2).fit(X)


# Distances, seeding, memory


def test_a_row_on_its_centre_is_at_distance_zero():
    X = rows(100, 200, np.float64)
    X.data *= np.pi
    model = fit(X, some(X, 60), max_iter=1)
    model.cluster_centers_ = X[:60].toarray()
    distance = model.transform(X[:60])
    assert not np.diag(distance).any()
    assert model.score(X[:60]) == 0


@DTYPES
def test_costs_without_cancellation(dtype):
    """A hundred thousandth of |c| away: the expanded form would lose ten digits of the square."""
    X = rows(100, 50, dtype, density=0.4)
    centers = X.toarray().astype(np.float64) + 1e-5 * np.random.default_rng(0).random((100, 50))
    exact = direct(X, centers)
    cost, out = np.empty(100), np.empty((100, 100))
    sparse.costs(X, centers, np.arange(100, dtype=np.int32), cost)
    np.testing.assert_allclose(cost, np.diag(exact), rtol=1e-13)
    sparse.distances(X, centers, out)
    np.testing.assert_allclose(out, np.sqrt(exact), rtol=1e-12)


@DTYPES
def test_seeds_are_distinct_rows(dtype):
    X = sp.vstack([rows(60, 40, dtype)] * 3).tocsr()
    distinct = len(np.unique(X.toarray(), axis=0))
    centers, index = kmeans_plusplus(X, distinct, random_state=0)
    np.testing.assert_array_equal(centers, X[index].toarray())
    assert len(np.unique(centers, axis=0)) == distinct


def test_seeds_follow_the_squared_distance():
    """Two rows at distance 1 and 2 from the rest, one draw of one trial: the far one four times as often."""
    X = sp.csr_matrix([[0.0, 0.0]] * 50 + [[1.0, 0.0], [0.0, 2.0]])
    source = ArraySource(CPUBackend().upload(X, np.float64), None, CPUBackend())
    frame = scan(source)
    drawn = [plus_plus(source, frame, 2, np.random.RandomState(s), trials=1)[1] for s in range(400)]
    far = [second for first, second in drawn if first < 50]
    assert abs(np.mean(np.array(far) == 51) - 0.8) < 0.08


def test_rows_are_never_made_dense():
    """1.6 GB as an array: nothing near it is allocated, whole or in chunks."""
    rng = np.random.default_rng(0)
    X = sp.csr_matrix((rng.random(40_000), (rng.integers(2000, size=40_000), rng.integers(100_000, size=40_000))))
    small = KMeans(2, random_state=0, max_iter=2).fit(X[:50])
    small.predict(X[:50]), small.score(X[:50])  # compiled before memory is traced
    for chunk_size in (None, 500):
        tracemalloc.start()
        model = KMeans(3, random_state=0, max_iter=3, chunk_size=chunk_size).fit(X)
        model.predict(X), model.score(X)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 100e6


# Cosine


@DTYPES
def test_unit_rows_are_clustered_by_cosine(dtype):
    """Between unit rows |x - y|^2 = 2 - 2 cos: nearest is most similar. Normalise the rows, sparse or dense."""
    X = normalize(rows(400, 40, dtype) + sp.csr_matrix(np.eye(1, 40, dtype=dtype).repeat(400, 0)))
    init = some(X, 6)
    model, dense = fit(X, init), fit(X.toarray(), init)
    assert_same_clusters(model, dense)
    similarity = (X @ X.T).toarray()
    model.cluster_centers_ = X[:50].toarray()
    distance = model.transform(X)
    np.testing.assert_allclose(distance**2, 2 - 2 * similarity[:, :50], atol=1e-5 if dtype == np.float32 else 1e-13)
    best = similarity[:, :50].max(axis=1)
    chosen = similarity[np.arange(400), model.predict(X)]
    np.testing.assert_allclose(chosen, best, atol=1e-6 if dtype == np.float32 else 1e-14)
