"""The laws, over sparse rows."""

import warnings
from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.exceptions import ConvergenceWarning
from sparse_rows import (
    DTYPES,
    assert_same_bits,
    assert_same_clusters,
    direct,
    fit,
    labels,
    nearest,
    rows,
    some,
)

from gpuclust import KMeans
from gpuclust.backends import sparse
from gpuclust.backends.cpu import CPUBackend
from gpuclust.data.array import ArraySource

# Law 1: partitions


@DTYPES
@pytest.mark.parametrize("init", ["k-means++", "random", "k-means||"])
def test_chunks_do_not_show(init, dtype):
    X, weight = rows(400, 40, dtype), np.random.default_rng(4).exponential(size=400)
    for w in (None, weight):
        whole = fit(X, init, w, n_clusters=7)
        for chunk_size in (17, 128, 399):
            assert_same_bits(fit(X, init, w, n_clusters=7, chunk_size=chunk_size), whole)


@DTYPES
def test_threads_do_not_show(dtype, pretend_threads):
    X = rows(1500, 60, dtype)
    pretend_threads(1)
    one = fit(X, "k-means++", n_clusters=9)
    for count in (2, 5):
        pretend_threads(count)
        many = fit(X, "k-means++", n_clusters=9)
        assert_same_bits(many, one)
        np.testing.assert_array_equal(many.transform(X), one.transform(X))
        assert many.score(X) == one.score(X)


@DTYPES
def test_sums_are_exact_beside_an_outlier(dtype):
    X = rows(200, 10, dtype, density=0.3).tolil()
    X[0, 3] = 1e30
    X = X.tocsr()
    model = fit(X, np.vstack([X[0].toarray(), some(X[1:], 2)]).astype(dtype))
    for j in range(3):
        members = X[model.labels_ == j].toarray()
        for f in range(10):
            mean = sum(Fraction(float(x)) for x in members[:, f]) / len(members)
            np.testing.assert_allclose(model.cluster_centers_[j, f], float(mean), rtol=np.finfo(dtype).eps)


# Law 2: certified labels


@DTYPES
@pytest.mark.parametrize("k", [1, 3, 7, 8, 9, 16, 25, 33, 64, 100, 133])
def test_every_strip_of_centres(k, dtype):
    X = rows(300, 40, dtype)
    centers = np.random.default_rng(k).random((k, 40))
    np.testing.assert_array_equal(nearest(X, centers), labels(X, centers))


@DTYPES
def test_ties_go_to_the_lowest_index(dtype):
    """Rows and centres on a grid: many distances are met twice."""
    rng = np.random.default_rng(0)
    X = sp.csr_matrix(rng.integers(0, 2, (500, 12)).astype(dtype))
    centers = rng.integers(0, 2, (30, 12)) / 2
    first, second = np.sort(direct(X, centers))[:, :2].T
    assert np.mean(first == second) > 0.1
    np.testing.assert_array_equal(nearest(X, centers), labels(X, centers))


@DTYPES
@pytest.mark.parametrize("bits", [20, 24, 28, 36, 44, 52])
def test_centres_that_hardly_differ(bits, dtype):
    """Scores in float32, then costs in float64, cannot tell which is nearer."""
    X, rng = rows(300, 60, dtype), np.random.default_rng(bits)
    base = np.repeat(some(X, 3).astype(np.float64) / 3 + 0.01, 6, axis=0)
    centers = base * (1 + rng.integers(-3, 4, base.shape) * 2.0**-bits)
    np.testing.assert_array_equal(nearest(X, centers), labels(X, centers))


@pytest.mark.parametrize("power", [-1000, -560, -500, -300, 300, 500, 515])
def test_scales(power):
    """Squares under- and overflow in the sums that define a label: then all centres tie."""
    X = rows(200, 30, np.float64)
    centers = some(X, 6) * 0.75 * 2.0**power
    X.data *= 2.0**power
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # overflow of the variance; one cluster where all squares vanish
        np.testing.assert_array_equal(nearest(X, centers), labels(X, centers))
        model = fit(X, centers, max_iter=3)
    np.testing.assert_array_equal(model.labels_, labels(X, model.cluster_centers_))


@DTYPES
@pytest.mark.parametrize("size", [1e12, 1e20, 1e37])
def test_rows_far_outside_what_was_fitted(size, dtype):
    X = rows(200, 30, dtype)
    centers = some(X, 6).astype(np.float64) + np.random.default_rng(0).random((6, 30))
    far = sp.vstack([X, X * dtype(size)]).tocsr().astype(dtype)
    np.testing.assert_array_equal(nearest(far, centers), labels(far, centers))


@DTYPES
def test_sparse_rows_keep_one_bound(dtype):
    X = rows(300, 400, dtype)
    source = ArraySource(CPUBackend().upload(X, dtype), None, CPUBackend())
    assert source.layout(X.toarray()[:250]).groups == 1
    assert ArraySource(X.toarray(), None, CPUBackend()).layout(X.toarray()[:250]).groups > 1


@pytest.mark.parametrize("k", [4, 30])
def test_bounds_change_no_label(k, dtype):
    """Labels come from bounds where these settle them; `predict` knows no bounds."""
    X = rows(1500, 40, dtype)
    init = some(X, k)
    settled = []
    original = sparse.csr_assign.assign_pass

    def watched(rows, label, upper, lower, packed, kept, fresh, threads):
        lower_was, upper_was = lower.copy(), upper.copy()
        original(rows, label, upper, lower, packed, kept, fresh, threads)
        settled.append(kept * np.mean((lower == lower_was) & (upper == upper_was)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sparse.csr_assign, "assign_pass", watched)
        for max_iter in range(1, 12):
            model = fit(X, init, max_iter=max_iter)
            np.testing.assert_array_equal(model.labels_, model.predict(X))
            np.testing.assert_array_equal(model.labels_, labels(X, model.cluster_centers_))
    assert max(settled) > 0.3


def test_tied_rows_never_settle_wrongly():
    """Duplicate centres from the start: the lower index keeps all rows in every iteration."""
    X = rows(300, 30, np.float64)
    init = np.repeat(some(X, 3), 2, axis=0)
    assert_same_clusters(fit(X, init), fit(X.toarray(), init))


# Law 4: weights are repetitions


@DTYPES
def test_weights_are_repetitions(dtype):
    X, count = rows(200, 30, dtype), np.random.default_rng(6).integers(0, 4, 200)
    repeated = X[np.repeat(np.arange(200), count)]
    init = some(repeated, 5)
    model, other = fit(X, init, count.astype(float)), fit(repeated, init)
    np.testing.assert_array_equal(model.cluster_centers_, other.cluster_centers_)
    np.testing.assert_array_equal(np.repeat(model.labels_, count), other.labels_)
    seeded = fit(X, "k-means++", count.astype(float), n_clusters=5)
    np.testing.assert_array_equal(seeded.cluster_centers_, fit(repeated, "k-means++", n_clusters=5).cluster_centers_)


@DTYPES
def test_power_of_two_weights_change_no_bit(dtype):
    X, weight = rows(200, 30, dtype), np.random.default_rng(7).exponential(size=200)
    model, other = (fit(X, "k-means++", w, n_clusters=5) for w in (weight, weight * 2.0**10))
    np.testing.assert_array_equal(model.cluster_centers_, other.cluster_centers_)
    np.testing.assert_array_equal(model.labels_, other.labels_)


# Law 7: empty clusters, too few rows


@DTYPES
def test_relocation_same_as_dense(dtype):
    X = rows(300, 30, dtype)
    init = np.vstack([some(X, 4), np.full((3, 30), 50)]).astype(dtype)
    model = fit(X, init)
    assert len(np.unique(model.labels_)) == 7
    assert_same_clusters(model, fit(X.toarray(), init))


def test_relocation_of_tied_rows_takes_the_lowest():
    """All one-hot rows are as far from the centre; which comes first must not hang on how the cost was summed."""
    X = sp.csr_matrix(np.eye(9)[np.random.default_rng(0).integers(9, size=60)] * 0.3)
    init = np.vstack([np.full((1, 9), 0.1), np.full((4, 9), 9.0)])
    for chunk_size in (None, 7):
        assert_same_clusters(fit(X, init, chunk_size=chunk_size), fit(X.toarray(), init))


@DTYPES
def test_fewer_distinct_rows_than_clusters(dtype):
    X = sp.vstack([rows(3, 40, dtype, density=0.4)] * 20).tocsr()
    with pytest.warns(ConvergenceWarning, match="Number of distinct clusters"):
        model = KMeans(6, random_state=0).fit(X)
    assert model.inertia_ == 0
    assert len(np.unique(model.labels_)) == 3
    assert np.all(np.isfinite(model.cluster_centers_))
