"""Sparse rows keep the laws, and give what the same rows give when they are dense."""

import tracemalloc
import warnings
from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import normalize

from gpuclust import KMeans, MiniBatchKMeans, kmeans_plusplus
from gpuclust.backends import cpu, sparse, threads
from gpuclust.backends.cpu import CPUBackend
from gpuclust.backends.frame import Frame
from gpuclust.backends.layout import Layout
from gpuclust.data.array import ArraySource
from gpuclust.solvers.scan import scan
from gpuclust.solvers.seeding import plus_plus

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


@pytest.fixture
def cut_for(monkeypatch):
    """Return a function that makes the kernels cut their work for so many threads, whatever the machine has."""

    def cut(count):
        for module in (cpu, threads):
            monkeypatch.setattr(module, "thread_count", lambda: count)

    return cut


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
def test_threads_do_not_show(dtype, cut_for):
    X = rows(1500, 60, dtype)
    cut_for(1)
    one = fit(X, "k-means++", n_clusters=9)
    for count in (2, 5):
        cut_for(count)
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
@pytest.mark.parametrize("k", [4, 30])
def test_bounds_change_no_label(k, dtype):
    """Labels come from bounds where these settle them; `predict` knows no bounds."""
    X = rows(1500, 40, dtype)
    init = some(X, k)
    settled = []
    original = sparse.csr_assign.assign_pass

    def watched(rows, label, upper, lower, packed, fresh, threads):
        before = lower.copy()
        original(rows, label, upper, lower, packed, fresh, threads)
        settled.append(np.mean((label >= 0) & (lower[:, 0] < before[:, 0])))

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
    frame = scan(source, centre=False)
    drawn = [plus_plus(source, frame, 2, np.random.RandomState(s), trials=1)[1] for s in range(400)]
    far = [second for first, second in drawn if first < 50]
    assert abs(np.mean(np.array(far) == 51) - 0.8) < 0.08


def test_rows_are_never_made_dense():
    """1.6 GB as an array: nothing near it is allocated, whole or in chunks."""
    X = sp.random(2000, 100_000, 2e-4, format="csr", random_state=0)
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
