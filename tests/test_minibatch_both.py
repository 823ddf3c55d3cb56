"""What holds for mini-batches of both kinds: the laws of the library, state between calls, refusals, progress."""

import copy
import pickle

import numba
import numpy as np
import pytest
import scipy.sparse
from batch_cases import GIVEN, START, WEIGHT, D, K, N, X, assert_same, assert_same_state, chunks
from laws.runs import write_parquet

from gpuclust import MiniBatchKMeans, MiniBatchKMedians, config_context, stream
from gpuclust.backends import threads
from gpuclust.solvers import progress


@pytest.fixture(params=[MiniBatchKMeans, MiniBatchKMedians])
def ours(request):
    def make(**parameters):
        return request.param(**GIVEN | parameters)

    return make


# --- the laws ---


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["unweighted", "weighted"])
@pytest.mark.parametrize(
    "parameters", [{"tol": 1e-4}, {"init": "random"}, {"reassignment_ratio": 0.6, "max_iter": 4}], ids=str
)
def test_arrays_memmaps_and_files_give_the_same_bits_in_any_chunks(ours, parameters, weight, dtype, tmp_path):
    data = X.astype(dtype)
    np.save(tmp_path / "X.npy", data)
    whole = ours(**parameters).fit(data, sample_weight=weight)
    for size in (1, 50, 10000):
        for rows in (data, tmp_path / "X.npy"):
            assert_same(ours(chunk_size=size, **parameters).fit(rows, sample_weight=weight), whole)
    with config_context(memory=25_000):  # smaller than the data and their state: the memmap is streamed
        mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
        assert_same(ours(**parameters).fit(mapped, sample_weight=weight), whole)


def test_a_column_of_weights_is_sample_weight(ours, tmp_path):
    np.save(tmp_path / "Xw.npy", np.c_[X, WEIGHT])
    whole = ours().fit(X, sample_weight=WEIGHT)
    assert_same(ours().fit(stream(tmp_path / "Xw.npy", weight=D)), whole)


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["unweighted", "weighted"])
def test_streams_in_order_give_the_same_bits_in_any_chunks(ours, weight, tmp_path):
    whole = ours().fit(stream(chunks(X, weight, [0, N])))
    for size in (1, 50, 10000):
        assert_same(ours(chunk_size=size).fit(stream(chunks(X, weight))), whole)
        assert_same(ours(chunk_size=size).fit(stream(lambda: iter(chunks(X, weight)))), whole)
    named = None if weight is None else "w"
    for group in (3, 100, N):
        path = write_parquet(tmp_path / "X.parquet", X, weight, group)
        model = ours(chunk_size=50).fit(stream(path, weight=named))
        assert_same(model, whole)
        assert model.feature_names_in_.tolist() == ["x0", "x1", "x2"]


def test_threads_do_not_show(ours, monkeypatch):
    if threads.thread_count() < 2:
        pytest.skip("this machine runs one thread")
    expected = ours().fit(X)
    monkeypatch.setattr(threads, "WORTH_A_THREAD", 1)
    several = ours().fit(X)
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        alone = ours().fit(X)
    finally:
        numba.set_num_threads(before)
    assert_same(several, expected)
    assert_same(alone, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["unweighted", "weighted"])
@pytest.mark.parametrize(("Class", "power"), [(MiniBatchKMeans, 2), (MiniBatchKMedians, 1)])
def test_labels_and_inertia_belong_to_the_reported_centres(Class, power, weight, dtype):
    data = X.astype(dtype)
    model = Class(**GIVEN, max_iter=1).fit(data, sample_weight=weight)
    assert model.cluster_centers_.dtype == dtype
    away = (np.abs(data[:, None].astype(float) - model.cluster_centers_.astype(float)) ** power).sum(axis=2)
    np.testing.assert_array_equal(model.labels_, away.argmin(axis=1))
    np.testing.assert_array_equal(model.labels_, model.predict(data))
    cost = away.min(axis=1) if weight is None else weight * away.min(axis=1)
    np.testing.assert_allclose(model.inertia_, cost.sum(), rtol=1e-13)
    np.testing.assert_allclose(model.transform(data), away ** (1 / power), rtol=1e-6)


def test_rows_of_weight_zero_never_count_in_partial_fit(ours):
    junk = np.random.RandomState(0).permutation(np.r_[np.zeros(200), np.ones(200)]) > 0
    data, weight = np.full((400, D), 1e9), np.where(junk, 0.0, 2.0)
    data[~junk] = X[:200]
    for ratio in (0.0, 0.9):  # with 0.9, centres are placed on rows again and again
        model, other = (ours(init=START, init_size=N, reassignment_ratio=ratio) for _ in range(2))
        for _ in range(5):
            model.partial_fit(data, sample_weight=weight)
            other.partial_fit(X[:200], sample_weight=np.full(200, 2.0))
        np.testing.assert_array_equal(model.cluster_centers_, other.cluster_centers_)
        assert model.inertia_ == other.inertia_
    before = model.cluster_centers_.copy()
    model.partial_fit(stream([(X[:10], np.zeros(10))]))
    np.testing.assert_array_equal(model.cluster_centers_, before)


def test_rows_of_weight_zero_never_count_in_fit(ours, tmp_path):
    data, weight = np.r_[np.full((N, D), 1e9), X], np.r_[np.zeros(N), np.ones(N)]
    np.save(tmp_path / "X.npy", data)
    for rows in (data, tmp_path / "X.npy"):
        for init in ("k-means++", "random"):
            model = ours(init=init, reassignment_ratio=0.5).fit(rows, sample_weight=weight)
            assert np.abs(model.cluster_centers_).max() < 100
    model = ours(reassignment_ratio=0.5).fit(stream(chunks(data, weight, [0, 5, 900, 2 * N])))
    assert np.abs(model.cluster_centers_).max() < 100


def test_weights_may_be_scaled_by_a_power_of_two(ours):
    model, other = ours().fit(X, sample_weight=WEIGHT), ours().fit(X, sample_weight=WEIGHT * 2.0**-40)
    np.testing.assert_array_equal(model.cluster_centers_, other.cluster_centers_)
    np.testing.assert_array_equal(model.labels_, other.labels_)
    assert model.inertia_ == other.inertia_ * 2.0**40
    for scaled, factor in ((model, 1.0), (other, 2.0**-40)):
        scaled._counts = np.zeros(K)
        scaled.partial_fit(X[:50], sample_weight=WEIGHT[:50] * factor).partial_fit(
            X[50:90], None, WEIGHT[50:90] * factor
        )
    np.testing.assert_array_equal(model.cluster_centers_, other.cluster_centers_)
    np.testing.assert_array_equal(model._sketch, other._sketch)


@pytest.mark.parametrize("container", [scipy.sparse.csr_array, scipy.sparse.csr_matrix])
def test_sparse_rows_are_the_rows_that_they_hold(ours, container):
    dense = np.where(np.abs(X) > 3, X, 0.0)
    for parameters in ({}, {"init": "random", "reassignment_ratio": 0.5}):
        model = ours(**parameters).fit(container(dense), sample_weight=WEIGHT)
        other = ours(**parameters).fit(dense, sample_weight=WEIGHT)
        np.testing.assert_array_equal(model.labels_, other.labels_)
        np.testing.assert_allclose(model.cluster_centers_, other.cluster_centers_, rtol=1e-12, atol=1e-12)
        assert model.n_steps_ == other.n_steps_
        if isinstance(model, MiniBatchKMedians):  # sums of sparse rows are rounded in another order; medians are not
            assert_same(model, other)


# --- state between calls ---


def test_pickle_between_the_steps_changes_nothing(ours):
    model, other = ours(reassignment_ratio=0.5), ours(reassignment_ratio=0.5)
    for start in range(0, 600, 100):
        batch = X[start : start + 100].astype(np.float32)
        model.partial_fit(batch)
        other = pickle.loads(pickle.dumps(other)).partial_fit(batch)
    assert_same_state(model, other)


def test_partial_fit_takes_a_stream_as_one_batch(ours, tmp_path):
    np.save(tmp_path / "X.npy", X)
    model = ours(chunk_size=9).partial_fit(tmp_path / "X.npy").partial_fit(stream(chunks(X)))
    other = ours().partial_fit(X).partial_fit(X)
    assert_same_state(model, other)
    np.testing.assert_array_equal(model.labels_, other.labels_)


def test_a_batch_with_nan_loses_nothing(ours, tmp_path, monkeypatch):
    monkeypatch.setattr("gpuclust.solvers.steps.BLOCK_ROWS", 16)
    model = ours(chunk_size=9).partial_fit(X)
    before = copy.deepcopy(model)
    bad = X[:50].copy()
    bad[47, 1] = np.nan  # in the last block
    np.save(tmp_path / "bad.npy", bad)
    for data in (bad, tmp_path / "bad.npy"):
        with pytest.raises(ValueError, match="NaN"):
            model.partial_fit(data)
    assert_same_state(model, before)


# --- what is refused, and progress ---


@pytest.mark.parametrize("where", ["x.npy", "list"])
def test_nan_in_a_stream_is_found_wherever_it_is(ours, where, tmp_path):
    bad = np.r_[X, X, X]
    bad[1800, 2] = np.nan
    np.save(tmp_path / "x.npy", bad)
    data = tmp_path / "x.npy" if where == "x.npy" else stream(np.array_split(bad, 7))
    with pytest.raises(ValueError, match="contains NaN or infinity: .*feature 2"):
        ours(batch_size=8, max_iter=1).fit(data)


def test_too_small_a_sample_is_enlarged_with_scikit_learns_warning(ours):
    with pytest.warns(RuntimeWarning, match=r"init_size=2 should be larger than n_clusters=5\. Setting it to min"):
        model = ours(init_size=2).fit(X)
    assert model._init_size == 15


def test_a_sample_without_weight_is_refused(ours):
    weight = np.r_[1.0, np.zeros(N - 1)]
    with pytest.raises(ValueError, match=r"None of the init_size=30 rows .* raise init_size"):
        ours(init_size=30, random_state=0).fit(X, sample_weight=weight)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.zeros(N), "None of the init_size|at least one non-zero number"),
        (np.r_[-1.0, np.ones(N - 1)], "finite and not negative"),
        (np.r_[np.inf, np.ones(N - 1)], "finite and not negative"),
    ],
    ids=["zero", "negative", "infinite"],
)
def test_wrong_weights_of_a_stream_are_refused(ours, weight, message, tmp_path):
    np.save(tmp_path / "Xw.npy", np.c_[X, weight])
    sources = [stream(tmp_path / "Xw.npy", weight=D), stream(chunks(X, weight))]
    for data in sources:
        for init in ("k-means++", START):
            with pytest.raises(ValueError, match=message):
                ours(init=init, init_size=30).fit(data)


def test_every_step_is_reported(ours):
    records = []
    with progress.listen(records.append):
        model = ours().fit(X)
    assert [record.iteration for record in records] == list(range(1, model.n_steps_ + 1))
    assert {(record.max_iter, record.rows) for record in records} == {(100 * N // 64, 64)}
    assert records[-1].inertia > 0


def test_a_callable_sees_the_rows_drawn_for_it_even_of_a_stream(ours):
    seen = []

    def init(rows, k, random_state):
        seen.append(rows)
        return rows[:k]

    ours(init=init, init_size=40, n_init=2).fit(stream(chunks(X)))
    assert [rows.shape for rows in seen] == [(40, D), (40, D)]
    assert all((X == row).all(axis=1).any() for row in seen[0])


@pytest.mark.parametrize(
    "changed",
    [
        {"random_state": 2},
        {"batch_size": 32},
        {"init_size": 6},
        {"init": "random"},
        {"init": "k-means||"},
        {"n_init": 5},
    ],
    ids=str,
)
def test_parameters_change_the_result(ours, changed):
    assert not np.array_equal(ours(**changed).fit(X).cluster_centers_, ours().fit(X).cluster_centers_)


def test_clusters_without_rows_are_told(ours, caplog):
    rows = np.repeat(np.arange(3.0), 20)[:, None]
    model = ours(n_clusters=4, init=np.r_[rows[::20], [[50.0]]], reassignment_ratio=0).fit(rows)
    assert caplog.messages == ["1 of 4 clusters hold no row."]
    caplog.clear()
    model.partial_fit(rows[:5])
    ours().fit(X)
    assert caplog.messages == []
