"""Mini-batch K-Means: scikit-learn's steps, draws and stop rules; the laws of the library; streams."""

import pickle
import re
from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse
import sklearn.cluster
from sklearn.datasets import make_blobs
from threadpoolctl import threadpool_limits

from gpuclust import DataError, MiniBatchKMeans, config_context, stream
from gpuclust.backends import threads
from gpuclust.backends.cpu import CPUBackend
from gpuclust.data.array import ArraySource
from gpuclust.data.stream import StreamSource
from gpuclust.solvers import progress
from gpuclust.solvers.batches import batches

N, D, K = 700, 3, 5
X = make_blobs(N, n_features=D, centers=K, cluster_std=1.5, random_state=4)[0]
START = X[[3, 50, 200, 333, 600]]
WEIGHT = np.random.RandomState(5).randint(0, 4, N).astype(float)
RAGGED = [0, 1, 2, 130, 131, 500, 699, 700]


def ours(**parameters):
    return MiniBatchKMeans(**{"n_clusters": K, "batch_size": 64, "random_state": 1} | parameters)


def theirs(**parameters):
    given = {"n_clusters": K, "batch_size": 64, "random_state": 1} | parameters
    return sklearn.cluster.MiniBatchKMeans(**given)


@pytest.fixture
def one_thread():
    """scikit-learn's threads wait for each other for long on a busy machine, and batches are small."""
    with threadpool_limits(1):
        yield


def assert_same(model, other):
    """Check that two fits are equal, bit for bit."""
    for name in ("cluster_centers_", "labels_", "inertia_", "n_iter_", "n_steps_", "_counts"):
        np.testing.assert_array_equal(getattr(model, name), getattr(other, name), err_msg=name)


def assert_close(model, other):
    """Check that our fit took scikit-learn's steps."""
    assert (model.n_steps_, model.n_iter_) == (other.n_steps_, other.n_iter_)
    np.testing.assert_allclose(model.cluster_centers_, other.cluster_centers_, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(model._counts, other._counts, rtol=1e-12)
    np.testing.assert_allclose(model.inertia_, other.inertia_, rtol=1e-9)
    np.testing.assert_array_equal(model.labels_, other.labels_)


def chunks(data, weight=None, cuts=RAGGED):
    parts = [slice(a, b) for a, b in pairwise(cuts)]
    return [data[p] if weight is None else (data[p], weight[p]) for p in parts]


def parquet(path, data, weight=None, group=100):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    columns = {f"x{f}": data[:, f] for f in range(data.shape[1])}
    if weight is not None:
        columns["w"] = weight
    pq.write_table(pa.table(columns), path, row_group_size=group)
    return path


# --- scikit-learn's steps ---


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"init": "random"},
        {"init": START},
        {"init": lambda X, k, random_state: X[random_state.randint(0, len(X), k)]},
        {"n_init": 4},
        {"init_size": 90},
        {"batch_size": 5000},
        {"batch_size": 10, "max_iter": 1},
        {"tol": 0.02, "max_no_improvement": None},
        {"max_no_improvement": None, "max_iter": 3},
        {"max_no_improvement": 0},
        {"reassignment_ratio": 0.6, "max_iter": 5},
        {"n_clusters": 1},
        {"n_clusters": 60, "reassignment_ratio": 0},
    ],
    ids=str,
)
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["unweighted", "weighted"])
def test_a_fit_takes_scikit_learns_steps(parameters, weight):
    assert_close(ours(**parameters).fit(X, sample_weight=weight), theirs(**parameters).fit(X, sample_weight=weight))


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("init", ["k-means++", "random", START], ids=["k-means++", "random", "array"])
def test_partial_fit_takes_scikit_learns_steps(init, weighted):
    model, other = ours(init=init, reassignment_ratio=0.4), theirs(init=init, reassignment_ratio=0.4)
    rng = np.random.RandomState(0)
    for rows in (200, 64, 64, 10, 1, 300, 64):
        index = rng.randint(0, N, rows)
        weight = rng.uniform(0.5, 2, rows) if weighted else None
        model.partial_fit(X[index], sample_weight=weight)
        other.partial_fit(X[index], sample_weight=weight)
        other.n_iter_ = model.n_iter_ = None  # only a fit has it
        assert_close(model, other)
    assert model.n_steps_ == 7


@pytest.mark.usefixtures("one_thread")
def test_partial_fit_goes_on_from_a_fit():
    model, other = ours().fit(X), theirs().fit(X)
    for model_ in (model, other):
        model_.partial_fit(X[:100]).partial_fit(X[100:150], sample_weight=np.full(50, 3.0))
    assert_close(model, other)


@pytest.mark.parametrize("weight", [None, WEIGHT, np.logspace(-12, 12, N), np.r_[np.zeros(N - 1), 1]])
def test_draws_are_those_of_choice(weight):
    source = ArraySource(np.arange(float(N))[:, None], weight, CPUBackend())
    coming = batches(source, 50, np.random.RandomState(9))
    choice, p = np.random.RandomState(9), None if weight is None else weight / weight.sum()
    p = np.full(N, 1 / N) if p is None else p
    for _ in range(20):
        np.testing.assert_array_equal(next(coming).host_rows[:, 0], choice.choice(N, 50, p=p, replace=True))


def lines(text):
    """Return the numbers of a text, and the text without them."""
    number = r"-?\d+\.?\d*(?:e[-+]\d+)?"
    return [float(found) for found in re.findall(number, text)], re.sub(number, "#", text)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(
    "parameters",
    [{"init": "random"}, {"tol": 0.02}, {"reassignment_ratio": 0.6, "max_iter": 5}, {"max_iter": 1}],
    ids=str,
)
def test_verbose_prints_scikit_learns_lines(parameters, capsys):
    ours(verbose=1, **parameters).fit(X)
    mine = lines(capsys.readouterr().out)
    theirs(verbose=1, **parameters).fit(X)
    expected = lines(capsys.readouterr().out)
    assert mine[1] == expected[1]
    np.testing.assert_allclose(mine[0], expected[0], rtol=1e-9)
    ours(**parameters).fit(X)
    assert capsys.readouterr().out == ""


def test_centres_given_more_often_than_seen_are_no_reason_to_fail():
    """scikit-learn fails with an empty minimum where every centre is to be reassigned."""
    model = ours(init=START, reassignment_ratio=2.0).fit(X)
    assert np.isfinite(model.cluster_centers_).all()
    assert (model._counts > 0).all()


def test_one_step_without_labels():
    """scikit-learn fails here: its smoothed inertia starts at the second step."""
    model = ours(batch_size=N, max_iter=1, compute_labels=False).fit(X)
    assert model.n_steps_ == 1
    assert model.inertia_ > 0


@pytest.mark.usefixtures("one_thread")
def test_without_labels_the_inertia_is_an_estimate():
    model, other = ours(compute_labels=False), theirs(compute_labels=False)
    model.fit(X, sample_weight=WEIGHT), other.fit(X, sample_weight=WEIGHT)
    np.testing.assert_allclose(model.inertia_, other.inertia_, rtol=1e-9)
    assert not hasattr(model, "labels_")
    full = ours().fit(X)
    full.set_params(compute_labels=False).partial_fit(X[:10])
    assert not hasattr(full, "labels_") and not hasattr(full, "inertia_")


# --- the laws ---


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["unweighted", "weighted"])
def test_arrays_memmaps_and_files_give_the_same_bits_in_any_chunks(weight, dtype, tmp_path):
    data = X.astype(dtype)
    np.save(tmp_path / "X.npy", data)
    whole = ours(tol=1e-4).fit(data, sample_weight=weight)
    for size in (1, 50, 10000):
        for rows in (data, tmp_path / "X.npy"):
            assert_same(ours(tol=1e-4, chunk_size=size).fit(rows, sample_weight=weight), whole)
    with config_context(memory=25_000):  # smaller than the data and their state: the memmap is streamed
        mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
        assert_same(ours(tol=1e-4).fit(mapped, sample_weight=weight), whole)


def test_a_column_of_weights_is_sample_weight(tmp_path):
    np.save(tmp_path / "Xw.npy", np.c_[X, WEIGHT])
    whole = ours().fit(X, sample_weight=WEIGHT)
    assert_same(ours().fit(stream(tmp_path / "Xw.npy", weight=D)), whole)


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["unweighted", "weighted"])
def test_streams_in_order_give_the_same_bits_in_any_chunks(weight, tmp_path):
    whole = ours().fit(stream(chunks(X, weight, [0, N])))
    for size in (1, 50, 10000):
        assert_same(ours(chunk_size=size).fit(stream(chunks(X, weight))), whole)
        assert_same(ours(chunk_size=size).fit(stream(lambda: iter(chunks(X, weight)))), whole)
    named = None if weight is None else "w"
    for group in (3, 100, N):
        path = parquet(tmp_path / "X.parquet", X, weight, group)
        model = ours(chunk_size=50).fit(stream(path, weight=named))
        assert_same(model, whole)
        assert model.feature_names_in_.tolist() == ["x0", "x1", "x2"]


def test_a_stream_in_order_is_partial_fit_on_its_blocks():
    given = {"init": START, "reassignment_ratio": 0, "max_no_improvement": None}
    streamed = ours(max_iter=2, **given).fit(stream(chunks(X)))
    model, twice = ours(**given), np.r_[X, X]
    for start in range(0, 64 * (2 * N // 64), 64):
        model.partial_fit(twice[start : start + 64])
    np.testing.assert_array_equal(streamed.cluster_centers_, model.cluster_centers_)
    assert streamed.n_steps_ == model.n_steps_ == 2 * N // 64


def test_a_stream_finds_as_good_centres():
    best = sklearn.cluster.KMeans(K, n_init=5, random_state=0).fit(X).inertia_
    for data in (X, stream(chunks(X))):
        assert ours(max_iter=20).fit(data).inertia_ < 1.1 * best


@pytest.mark.parametrize("count", [1, 2])
def test_threads_do_not_show(count, monkeypatch):
    import numba

    if count > numba.config.NUMBA_NUM_THREADS:
        pytest.skip("this machine runs fewer threads")
    expected = ours().fit(X)
    monkeypatch.setattr(threads, "WORTH_A_THREAD", 1)
    before = numba.get_num_threads()
    numba.set_num_threads(count)
    try:
        assert_same(ours().fit(X), expected)
    finally:
        numba.set_num_threads(before)


def test_small_calls_take_one_thread_and_give_the_others_back():
    before = threads.thread_count()
    with threads.limited(1000):
        assert threads.thread_count() == 1
    with threads.limited(1 << 60):
        assert threads.thread_count() == before
    assert threads.thread_count() == before


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["unweighted", "weighted"])
def test_labels_and_inertia_belong_to_the_reported_centres(weight, dtype):
    data = X.astype(dtype)
    model = ours(max_iter=1).fit(data, sample_weight=weight)
    assert model.cluster_centers_.dtype == dtype
    square = ((data[:, None].astype(float) - model.cluster_centers_.astype(float)) ** 2).sum(axis=2)
    np.testing.assert_array_equal(model.labels_, square.argmin(axis=1))
    np.testing.assert_array_equal(model.labels_, model.predict(data))
    cost = square.min(axis=1) if weight is None else weight * square.min(axis=1)
    np.testing.assert_allclose(model.inertia_, cost.sum(), rtol=1e-13)


def test_centres_are_float64_between_the_steps():
    """After a thousand steps in float32, the centres are those of float64, rounded once."""
    single, rng = X.astype(np.float32), np.random.RandomState(2)
    model, double = (
        ours(init=START, compute_labels=False),
        ours(init=START.astype(np.float32), compute_labels=False),
    )
    for _ in range(300):
        index = rng.randint(0, N, 20)
        model.partial_fit(single[index]), double.partial_fit(single[index].astype(float))
    np.testing.assert_array_equal(model.cluster_centers_, double.cluster_centers_.astype(np.float32))


def test_a_centre_is_the_mean_of_all_that_it_was_given():
    model, given = ours(init=START, reassignment_ratio=0), [[] for _ in range(K)]
    for start in range(0, 640, 64):
        batch = X[start : start + 64]
        before = START if start == 0 else model.cluster_centers_
        for row, label in zip(batch, ((batch[:, None] - before) ** 2).sum(axis=2).argmin(axis=1), strict=True):
            given[label].append(row)
        model.partial_fit(batch)
    for centre, rows, count in zip(model.cluster_centers_, given, model._counts, strict=True):
        assert count == len(rows)
        np.testing.assert_allclose(centre, np.mean(rows, axis=0), rtol=1e-12)


def test_rows_of_weight_zero_never_count_in_partial_fit():
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


def test_rows_of_weight_zero_never_count_in_fit(tmp_path):
    data, weight = np.r_[np.full((N, D), 1e9), X], np.r_[np.zeros(N), np.ones(N)]
    np.save(tmp_path / "X.npy", data)
    for rows in (data, tmp_path / "X.npy"):
        for init in ("k-means++", "random"):
            model = ours(init=init, reassignment_ratio=0.5).fit(rows, sample_weight=weight)
            assert np.abs(model.cluster_centers_).max() < 100
    model = ours(reassignment_ratio=0.5).fit(stream(chunks(data, weight, [0, 5, 900, 2 * N])))
    assert np.abs(model.cluster_centers_).max() < 100


def test_rows_of_weight_zero_leave_no_trace_in_a_stream():
    keep = WEIGHT > 0
    both = (chunks(X, WEIGHT), chunks(X[keep], WEIGHT[keep], [0, 17, keep.sum()]))
    coming = [batches(StreamSource(stream(data).open(), None, CPUBackend()), 50, None) for data in both]
    for _ in range(30):
        first, second = (next(each) for each in coming)
        np.testing.assert_array_equal(first.host_rows, second.host_rows)
        np.testing.assert_array_equal(first.host_weight, second.host_weight)


def test_weights_may_be_scaled_by_a_power_of_two():
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


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_far_from_the_origin_nothing_is_lost(dtype):
    far = (np.round(X * 8) / 8).astype(dtype)  # eighths are exact at 1e6 in both types
    model, moved = ours(init=far[:K]).fit(far), ours(init=far[:K] + dtype(1e6)).fit(far + dtype(1e6))
    np.testing.assert_array_equal(model.labels_, moved.labels_)
    np.testing.assert_allclose(moved._centers - 1e6, model._centers, atol=1e-8)


@pytest.mark.parametrize("container", [scipy.sparse.csr_array, scipy.sparse.csr_matrix])
def test_sparse_rows_are_the_rows_that_they_hold(container):
    dense = np.where(np.abs(X) > 3, X, 0.0)
    for parameters in ({}, {"init": "random", "reassignment_ratio": 0.5}):
        model = ours(**parameters).fit(container(dense), sample_weight=WEIGHT)
        other = ours(**parameters).fit(dense, sample_weight=WEIGHT)
        np.testing.assert_array_equal(model.labels_, other.labels_)
        np.testing.assert_allclose(model.cluster_centers_, other.cluster_centers_, rtol=1e-12, atol=1e-12)
        assert model.n_steps_ == other.n_steps_


# --- rows by index ---


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["unweighted", "weighted"])
def test_gather_gives_rows_in_the_order_asked_for(weight, tmp_path):
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "Xw.npy", np.c_[X, WEIGHT])
    index = np.array([699, 3, 3, 130, 0, 500, 131])
    column = D if weight is not None else None
    file = stream(tmp_path / "X.npy") if weight is None else stream(tmp_path / "Xw.npy", weight=column)
    sources = [
        ArraySource(X, weight, CPUBackend(), 9),
        StreamSource(file.open(), None, CPUBackend(), 9),
        StreamSource(stream(tmp_path / "X.npy").open(), weight, CPUBackend(), 9),
        StreamSource(stream(chunks(X, weight)).open(), None, CPUBackend(), 9),
        StreamSource(stream(chunks(X)).open(), weight, CPUBackend(), 9),
    ]
    for source in sources:
        rows, heavy = source.gather(index)
        np.testing.assert_array_equal(rows, X[index])
        assert (heavy is None) == (weight is None)
        if weight is not None:
            np.testing.assert_array_equal(heavy, weight[index])
    assert [source.seekable for source in sources] == [True, True, True, False, False]
    for data in (tmp_path / "X.npy", chunks(X)):  # a reader by itself wants the rows in their order
        np.testing.assert_array_equal(stream(data).open().take(np.unique(index))[0], X[np.unique(index)])


def test_a_file_cut_short_while_it_is_read_is_refused(tmp_path):
    np.save(tmp_path / "X.npy", X)
    source = StreamSource(stream(tmp_path / "X.npy").open(), None, CPUBackend())
    with open(tmp_path / "X.npy", "r+b") as file:
        file.truncate(8000)
    assert len(source.gather(np.arange(9))[0]) == 9
    with pytest.raises(DataError, match="is truncated: row 600 is missing"):
        source.gather(np.array([3, 600]))


# --- state between calls ---


def test_pickle_between_the_steps_changes_nothing():
    model, other = ours(reassignment_ratio=0.5), ours(reassignment_ratio=0.5)
    for start in range(0, 600, 100):
        batch = X[start : start + 100].astype(np.float32)
        model.partial_fit(batch)
        other = pickle.loads(pickle.dumps(other)).partial_fit(batch)
    np.testing.assert_array_equal(model.cluster_centers_, other.cluster_centers_)
    np.testing.assert_array_equal(model._centers, other._centers)


def test_centres_that_the_user_sets_are_where_the_next_step_starts():
    model, other = ours(init=START).partial_fit(X[:100]), ours(init=START).partial_fit(X[:100])
    del other._centers, other._counts  # as a model file gives it back
    model.cluster_centers_, model._counts = START.copy(), np.zeros(K)
    other.cluster_centers_ = START.copy()
    model.partial_fit(X[100:200]), other.partial_fit(X[100:200])
    fresh = ours(init=START).partial_fit(X[100:200])
    np.testing.assert_array_equal(model.cluster_centers_, fresh.cluster_centers_)
    np.testing.assert_array_equal(other.cluster_centers_, fresh.cluster_centers_)


def test_partial_fit_takes_a_stream_as_one_batch(tmp_path):
    np.save(tmp_path / "X.npy", X)
    model = ours(chunk_size=9).partial_fit(tmp_path / "X.npy").partial_fit(stream(chunks(X)))
    other = ours().partial_fit(X).partial_fit(X)
    np.testing.assert_array_equal(model.cluster_centers_, other.cluster_centers_)
    np.testing.assert_array_equal(model.labels_, other.labels_)


def test_a_batch_with_nan_leaves_the_centres_alone(tmp_path):
    model = ours().partial_fit(X)
    before = model.cluster_centers_.copy()
    bad = X[:50].copy()
    bad[7, 1] = np.nan
    np.save(tmp_path / "bad.npy", bad)
    for data in (bad, tmp_path / "bad.npy"):
        with pytest.raises(ValueError, match="NaN"):
            model.partial_fit(data)
    np.testing.assert_array_equal(model.cluster_centers_, before)
    assert model.n_steps_ == 1


# --- what is refused, and progress ---


@pytest.mark.parametrize("where", ["x.npy", "list"])
def test_nan_in_a_stream_is_found_wherever_it_is(where, tmp_path):
    bad = np.r_[X, X, X]
    bad[1800, 2] = np.nan
    np.save(tmp_path / "x.npy", bad)
    data = tmp_path / "x.npy" if where == "x.npy" else stream(np.array_split(bad, 7))
    with pytest.raises(ValueError, match="contains NaN or infinity: .*feature 2"):
        ours(batch_size=8, max_iter=1).fit(data)


def test_too_small_a_sample_is_enlarged_with_scikit_learns_warning():
    with pytest.warns(RuntimeWarning, match=r"init_size=2 should be larger than n_clusters=5\. Setting it to min"):
        model = ours(init_size=2).fit(X)
    assert model._init_size == 15


def test_a_sample_without_weight_is_refused():
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
def test_wrong_weights_of_a_stream_are_refused(weight, message, tmp_path):
    np.save(tmp_path / "Xw.npy", np.c_[X, weight])
    sources = [stream(tmp_path / "Xw.npy", weight=D), stream(chunks(X, weight))]
    for data in sources:
        for init in ("k-means++", START):
            with pytest.raises(ValueError, match=message):
                ours(init=init, init_size=30).fit(data)


def test_batches_of_nothing_but_zero_weights_end():
    zero = np.zeros(N)
    for source in (
        StreamSource(stream(chunks(X, zero)).open(), None, CPUBackend()),
        ArraySource(X, zero, CPUBackend()),
    ):
        with pytest.raises(DataError, match="at least one non-zero number"):
            next(batches(source, 10, np.random.RandomState(0)))


def test_every_step_is_reported():
    records = []
    with progress.listen(records.append):
        model = ours().fit(X)
    assert [record.iteration for record in records] == list(range(1, model.n_steps_ + 1))
    assert {(record.max_iter, record.rows) for record in records} == {(100 * N // 64, 64)}
    assert records[-1].inertia > 0


def test_a_callable_sees_the_rows_drawn_for_it_even_of_a_stream():
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
def test_parameters_change_the_result(changed):
    assert not np.array_equal(ours(**changed).fit(X).cluster_centers_, ours().fit(X).cluster_centers_)


def test_clusters_without_rows_are_told(caplog):
    rows = np.repeat(np.arange(3.0), 20)[:, None]
    model = ours(n_clusters=4, init=np.r_[rows[::20], [[50.0]]], reassignment_ratio=0).fit(rows)
    assert caplog.messages == ["1 of 4 clusters hold no row."]
    caplog.clear()
    model.partial_fit(rows[:5])
    ours().fit(X)
    assert caplog.messages == []
