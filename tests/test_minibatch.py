"""Mini-batch K-Means: scikit-learn's steps, draws and stop rules; means; where the rows of a batch come from."""

import re

import numpy as np
import pytest
import sklearn.cluster
from batch_cases import GIVEN, START, WEIGHT, D, K, N, X, chunks
from threadpoolctl import threadpool_limits

from gpuclust import DataError, MiniBatchKMeans, stream
from gpuclust.backends import threads
from gpuclust.backends.cpu import CPUBackend
from gpuclust.data.array import ArraySource
from gpuclust.data.stream import StreamSource
from gpuclust.solvers.batches import batches


def ours(**parameters):
    return MiniBatchKMeans(**GIVEN | parameters)


def theirs(**parameters):
    return sklearn.cluster.MiniBatchKMeans(**GIVEN | parameters)


@pytest.fixture
def one_thread():
    """scikit-learn's threads wait for each other for long on a busy machine, and batches are small."""
    with threadpool_limits(1):
        yield


def assert_close(model, other):
    """Check that our fit took scikit-learn's steps."""
    assert (model.n_steps_, model.n_iter_) == (other.n_steps_, other.n_iter_)
    np.testing.assert_allclose(model.cluster_centers_, other.cluster_centers_, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(model._counts, other._counts, rtol=1e-12)
    np.testing.assert_allclose(model.inertia_, other.inertia_, rtol=1e-9)
    np.testing.assert_array_equal(model.labels_, other.labels_)


# --- scikit-learn's steps ---


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"init": "random"},
        {"init": START},
        pytest.param({"init": lambda X, k, random_state: X[random_state.randint(0, len(X), k)]}, id="callable"),
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


# --- means and streams ---


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


def test_small_calls_take_one_thread_and_give_the_others_back():
    before = threads.thread_count()
    with threads.limited(1000):
        assert threads.thread_count() == 1
    with threads.limited(1 << 60):
        assert threads.thread_count() == before
    assert threads.thread_count() == before


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


def test_rows_of_weight_zero_leave_no_trace_in_a_stream():
    keep = WEIGHT > 0
    both = (chunks(X, WEIGHT), chunks(X[keep], WEIGHT[keep], [0, 17, keep.sum()]))
    coming = [batches(StreamSource(stream(data).open(), None, CPUBackend()), 50, None) for data in both]
    for _ in range(30):
        first, second = (next(each) for each in coming)
        np.testing.assert_array_equal(first.host_rows, second.host_rows)
        np.testing.assert_array_equal(first.host_weight, second.host_weight)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_far_from_the_origin_nothing_is_lost(dtype):
    far = (np.round(X * 8) / 8).astype(dtype)  # eighths are exact at 1e6 in both types
    model, moved = ours(init=far[:K]).fit(far), ours(init=far[:K] + dtype(1e6)).fit(far + dtype(1e6))
    np.testing.assert_array_equal(model.labels_, moved.labels_)
    np.testing.assert_allclose(moved._centers - 1e6, model._centers, atol=1e-8)


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


def test_centres_that_the_user_sets_are_where_the_next_step_starts():
    model, other = ours(init=START).partial_fit(X[:100]), ours(init=START).partial_fit(X[:100])
    del other._centers, other._counts  # as a model file gives it back
    model.cluster_centers_, model._counts = START.copy(), np.zeros(K)
    other.cluster_centers_ = START.copy()
    model.partial_fit(X[100:200]), other.partial_fit(X[100:200])
    fresh = ours(init=START).partial_fit(X[100:200])
    np.testing.assert_array_equal(model.cluster_centers_, fresh.cluster_centers_)
    np.testing.assert_array_equal(other.cluster_centers_, fresh.cluster_centers_)


def test_batches_of_nothing_but_zero_weights_end():
    zero = np.zeros(N)
    for source in (
        StreamSource(stream(chunks(X, zero)).open(), None, CPUBackend()),
        ArraySource(X, zero, CPUBackend()),
    ):
        with pytest.raises(DataError, match="at least one non-zero number"):
            next(batches(source, 10, np.random.RandomState(0)))


