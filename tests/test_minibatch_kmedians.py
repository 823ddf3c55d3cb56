"""Mini-batch K-Medians: what its sketches promise, the laws of the library, streams, state between calls."""

import pickle
import re
from itertools import pairwise

import numba
import numpy as np
import pytest
import scipy.sparse
from sklearn.datasets import make_blobs

from gpuclust import DataError, KMedians, MiniBatchKMeans, MiniBatchKMedians, load_model, save_model, stream
from gpuclust.backends import threads
from gpuclust.solvers.steps import MedianUpdate

N, D, K = 700, 3, 5
X = make_blobs(N, n_features=D, centers=K, cluster_std=1.5, random_state=4)[0]
START = X[[3, 50, 200, 333, 600]]
WEIGHT = np.random.RandomState(5).randint(0, 4, N).astype(float)
RAGGED = [0, 1, 2, 130, 131, 500, 699, 700]


def ours(**parameters):
    return MiniBatchKMedians(**{"n_clusters": K, "batch_size": 64, "random_state": 1} | parameters)


def chunks(data, weight=None, cuts=RAGGED):
    parts = [slice(a, b) for a, b in pairwise(cuts)]
    return [data[p] if weight is None else (data[p], weight[p]) for p in parts]


def assert_same(model, other):
    """Check that two fits are equal, bit for bit."""
    for name in ("cluster_centers_", "labels_", "inertia_", "n_iter_", "n_steps_", "_counts", "_sketch"):
        np.testing.assert_array_equal(getattr(model, name), getattr(other, name), err_msg=name)


def one_center(batches, size, seed, weights=None, **parameters):
    """The centre of a single cluster after batches [rows, d]."""
    model = MiniBatchKMedians(1, init=batches[0][:1], sketch_size=size, random_state=seed, **parameters)
    for number, batch in enumerate(batches):
        model.partial_fit(batch, sample_weight=None if weights is None else weights[number])
    return model.cluster_centers_[0]


# --- what a sketch promises ---


@pytest.mark.parametrize("rows", [1, 2, 7, 8, 31, 32])
@pytest.mark.parametrize("median", ["midpoint", "lower"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_median_of_a_small_batch_is_exact(rows, median, dtype, rng):
    for seed in range(5):
        batch = rng.normal(size=(rows, 4)).astype(dtype)
        ordered = np.sort(batch, axis=0).astype(np.float64)
        expected = ordered[(rows - 1) // 2]
        if median == "midpoint":
            expected = (expected + ordered[rows // 2]) / 2
        found = one_center([batch], 64, seed, median=median)
        np.testing.assert_array_equal(found, expected.astype(dtype))


@pytest.mark.parametrize("weighted", [False, True])
def test_the_median_of_a_large_batch_is_off_by_one_share_at_most(weighted, rng):
    batch = rng.normal(size=(5000, 6))
    weight = rng.gamma(0.5, size=5000) if weighted else np.ones(5000)
    centre = one_center([batch], 64, 0, [weight], median="lower")
    for f in range(6):
        below, upto = (weight[batch[:, f] < centre[f]].sum(), weight[batch[:, f] <= centre[f]].sum())
        half = weight.sum() / 2
        assert below <= half * (1 + 2 / 64) and upto >= half * (1 - 4 / 64)


@pytest.mark.parametrize("order", ["shuffled", "ascending", "alternating"])
@pytest.mark.parametrize("weighted", [False, True])
def test_after_many_batches_the_rank_is_off_by_what_is_stated(order, weighted):
    """Standard deviation of the rank over many features, which are independent: at most 1 / (2 sqrt(R)), and no bias."""
    rng, size, features, n = np.random.default_rng(3), 64, 300, 4000
    columns = np.argsort(rng.random((n, features)), axis=0).astype(float)  # ranks
    weight = rng.choice([0.25, 1.0, 3.0], n) if weighted else np.ones(n)
    if order == "ascending":
        columns, weight = np.sort(columns, axis=0), np.ones(n)
    elif order == "alternating":
        columns = np.sort(columns, axis=0)[np.argsort(np.arange(n) % 7, kind="stable")]
        weight = np.ones(n)
    parts = np.array_split(np.arange(n), 200)
    centre = one_center(
        [columns[p] for p in parts], size, 0, [weight[p] for p in parts], median="lower", reassignment_ratio=0
    )
    order_ = np.argsort(columns, axis=0)
    share = np.cumsum(weight[order_], axis=0) / weight.sum()
    rank = share[centre.astype(int), np.arange(features)]
    assert rank.std() <= 1.15 / (2 * np.sqrt(size))  # 300 features tell a deviation to 4%
    assert abs(rank.mean() - 0.5) <= 1 / size + 4 * rank.std() / np.sqrt(features)


def test_every_value_keeps_its_share_of_the_weight():
    """Expected shares after several batches, over many seeds."""
    batches = [np.array([[0.0], [1.0]]), np.array([[2.0], [3.0], [4.0]]), np.array([[5.0]])]
    weights = [np.array([1.0, 5.0]), np.array([0.5, 2.0, 1.5]), np.array([4.0])]
    count, size, seeds = np.zeros(6), 8, 600
    for seed in range(seeds):
        model = MiniBatchKMedians(1, init=[[0.0]], sketch_size=size, random_state=seed, reassignment_ratio=0)
        for batch, weight in zip(batches, weights, strict=True):
            model.partial_fit(batch, sample_weight=weight)
        np.testing.assert_array_equal(model._sketch, np.sort(model._sketch, axis=2))
        count += np.bincount(model._sketch.ravel().astype(int), minlength=6)
    expected = np.concatenate(weights) / np.concatenate(weights).sum()
    np.testing.assert_allclose(count / (size * seeds), expected, atol=4 * np.sqrt(0.25 / size / seeds))


def test_a_batch_of_one_cluster_leaves_the_others_alone():
    model = ours(init=START, reassignment_ratio=0).partial_fit(X)
    sketch, centres = model._sketch.copy(), model.cluster_centers_.copy()
    near = X[model.labels_ == 2][:20]
    model.partial_fit(near)
    others = [0, 1, 3, 4]
    np.testing.assert_array_equal(model._sketch[others], sketch[others])
    np.testing.assert_array_equal(model.cluster_centers_[others], centres[others])
    assert not np.array_equal(model._sketch[2], sketch[2])


def test_a_centre_that_starts_again_forgets_all():
    rows = np.r_[np.zeros((100, 1)), np.full((4, 1), 50.0)]
    model = ours(n_clusters=2, init=[[0.0], [20.0]], reassignment_ratio=0).partial_fit(rows[:100])
    model.reassignment_ratio = 1.0  # the second has seen nothing: it is put on a row
    model.partial_fit(rows)
    place = model.cluster_centers_[1]
    np.testing.assert_array_equal(model._sketch[1], np.repeat(place[:, None], model._sketch.shape[2], axis=1))
    assert place[0] in (0.0, 50.0)


def test_integers_stay_integers():
    whole = np.round(X * 4)
    model = ours(median="lower").fit(whole)
    np.testing.assert_array_equal(model.cluster_centers_, np.round(model.cluster_centers_))


@pytest.mark.parametrize(("k", "d", "expected"), [(8, 16, 512), (1000, 784, 32), (1000, 256, 64)])
def test_a_sketch_is_as_large_as_its_share_of_64_mib(k, d, expected):
    assert MedianUpdate.fitting(k, d, np.dtype(np.float32)) == expected
    assert expected == 32 or k * d * 4 * expected <= 64 << 20


def test_the_size_of_a_sketch_is_made_even():
    assert ours(sketch_size=7).fit(X)._sketch.shape == (K, D, 8)


# --- quality ---


def test_it_comes_near_the_full_iteration(rng):
    data = make_blobs(30_000, 8, centers=20, cluster_std=2.5, random_state=0)[0].astype(np.float32)
    found = [MiniBatchKMedians(20, random_state=seed).fit(data) for seed in range(3)]
    for model in found:
        polished = KMedians(20, init=model.cluster_centers_, n_init=1).fit(data)
        assert model.inertia_ <= 1.02 * polished.inertia_
    full = min(KMedians(20, random_state=seed).fit(data).inertia_ for seed in range(3))
    assert min(model.inertia_ for model in found) <= 1.03 * full


def test_outliers_move_medians_less_than_means():
    rng = np.random.default_rng(0)
    clean = np.repeat([[-6.0, 0.0], [6.0, 0.0]], 3000, axis=0)
    data = clean + rng.standard_t(2, size=clean.shape)
    data[rng.choice(6000, 300, replace=False)] += rng.choice([-300.0, 300.0], (300, 2))
    truth, away = np.array([[-6.0, 0.0], [6.0, 0.0]]), []
    for Class in (MiniBatchKMedians, MiniBatchKMeans):
        centres = Class(2, init=truth, reassignment_ratio=0, random_state=0).fit(data).cluster_centers_
        away.append(np.abs(centres - truth).max())
    assert away[0] < 0.5 < away[1]


# --- the laws ---


@pytest.mark.parametrize("parameters", [{}, {"init": "random"}, {"reassignment_ratio": 0.6, "max_iter": 4}], ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_chunks_do_not_show(parameters, dtype, tmp_path):
    data = X.astype(dtype)
    np.save(tmp_path / "X.npy", data)
    expected = ours(**parameters).fit(data)
    for given, size in ((data, 9), (np.load(tmp_path / "X.npy", mmap_mode="r"), 50), (tmp_path / "X.npy", 13)):
        assert_same(ours(chunk_size=size, **parameters).fit(given), expected)


def test_chunks_of_a_stream_do_not_show():
    expected = ours().fit(stream(chunks(X)))
    assert_same(ours().fit(stream(chunks(X, cuts=[0, 300, 301, 700]))), expected)
    weighted = ours().fit(stream(chunks(X, WEIGHT)))
    assert_same(ours().fit(stream(chunks(X, WEIGHT, [0, 11, 350, 700]))), weighted)


def test_threads_do_not_show(monkeypatch):
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


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_labels_and_inertia_belong_to_the_reported_centres(weight, dtype):
    data = X.astype(dtype)
    model = ours(max_iter=1).fit(data, sample_weight=weight)
    assert model.cluster_centers_.dtype == dtype
    away = np.abs(data[:, None].astype(float) - model.cluster_centers_.astype(float)).sum(axis=2)
    np.testing.assert_array_equal(model.labels_, away.argmin(axis=1))
    np.testing.assert_array_equal(model.labels_, model.predict(data))
    cost = away.min(axis=1) if weight is None else weight * away.min(axis=1)
    np.testing.assert_allclose(model.inertia_, cost.sum(), rtol=1e-13)
    np.testing.assert_allclose(model.transform(data), away, rtol=1e-6)


def test_weights_may_be_scaled_by_a_power_of_two():
    def fit(factor):
        model = ours(init=START, init_size=N)
        for start in range(0, 600, 100):
            part = slice(start, start + 100)
            model.partial_fit(X[part], sample_weight=(WEIGHT[part] + 0.3) * factor)
        return model

    one, other = fit(1.0), fit(2.0**-30)
    np.testing.assert_array_equal(one._sketch, other._sketch)
    np.testing.assert_array_equal(one.cluster_centers_, other.cluster_centers_)


def test_rows_of_weight_zero_never_count():
    junk = np.random.RandomState(0).permutation(np.r_[np.zeros(200), np.ones(200)]) > 0
    data, weight = np.full((400, D), 1e9), np.where(junk, 0.0, 2.0)
    data[~junk] = X[:200]
    for ratio in (0.0, 0.9):
        model, other = (ours(init=START, init_size=N, reassignment_ratio=ratio) for _ in range(2))
        for _ in range(5):
            model.partial_fit(data, sample_weight=weight)
            other.partial_fit(X[:200], sample_weight=np.full(200, 2.0))
        np.testing.assert_array_equal(model.cluster_centers_, other.cluster_centers_)
        assert model.inertia_ == other.inertia_
    before = model.cluster_centers_.copy()
    model.partial_fit(stream([(X[:10], np.zeros(10))]))
    np.testing.assert_array_equal(model.cluster_centers_, before)


@pytest.mark.parametrize("scale", [1e-300, 1e300])
def test_values_near_the_ends_of_the_range(scale):
    data = np.r_[np.full((50, 2), 1.0), np.full((50, 2), -1.5)] * scale
    model = ours(n_clusters=2, init=data[[0, 50]]).fit(data)
    np.testing.assert_array_equal(model.cluster_centers_, data[[0, 50]])


# --- inputs ---


def test_sparse_rows_are_the_rows_that_they_hold():
    dense = np.where(np.abs(X) > 3, X, 0.0)
    model = ours().fit(scipy.sparse.csr_array(dense), sample_weight=WEIGHT)
    assert_same(model, ours().fit(dense, sample_weight=WEIGHT))
    one, other = (ours(init=START, init_size=N).partial_fit(rows) for rows in (scipy.sparse.csr_array(dense), dense))
    np.testing.assert_array_equal(one._sketch, other._sketch)


def test_partial_fit_takes_a_stream_as_one_batch(tmp_path):
    np.save(tmp_path / "X.npy", X)
    model = ours(chunk_size=9).partial_fit(tmp_path / "X.npy").partial_fit(stream(chunks(X)))
    other = ours().partial_fit(X).partial_fit(X)
    np.testing.assert_array_equal(model._sketch, other._sketch)
    np.testing.assert_array_equal(model.labels_, other.labels_)


def test_a_batch_with_nan_loses_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("gpuclust.solvers.steps.BLOCK_ROWS", 16)
    model = ours(chunk_size=9).partial_fit(X)
    before, sketch, counts = model.cluster_centers_.copy(), model._sketch.copy(), model._counts.copy()
    bad = X[:50].copy()
    bad[47, 1] = np.nan  # in the last block
    np.save(tmp_path / "bad.npy", bad)
    for data in (bad, tmp_path / "bad.npy"):
        with pytest.raises(ValueError, match="NaN"):
            model.partial_fit(data)
    np.testing.assert_array_equal(model.cluster_centers_, before)
    np.testing.assert_array_equal(model._sketch, sketch)
    np.testing.assert_array_equal(model._counts, counts)
    assert model.n_steps_ == 1


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"sketch_size": 1}, "'sketch_size' parameter"),
        ({"sketch_size": 2.5}, "'sketch_size' parameter"),
        ({"median": "upper"}, "'median' parameter"),
        ({"n_clusters": 701}, "n_samples=700 should be >= n_clusters=701"),
    ],
    ids=str,
)
def test_wrong_parameters_are_refused(parameters, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        ours(**parameters).fit(X)


def test_a_stream_of_nothing_but_zero_weights_is_refused():
    with pytest.raises((DataError, ValueError), match="weight"):
        ours(init=START, init_size=30).fit(stream(chunks(X, np.zeros(N))))


# --- state between calls ---


@pytest.mark.parametrize(("first", "then"), [(64, 8), (8, 64)])
def test_a_sketch_keeps_the_size_that_it_began_with(first, then):
    model = ours(sketch_size=first, reassignment_ratio=0).partial_fit(X)
    model.set_params(sketch_size=then).partial_fit(X[:300])
    assert model._sketch.shape == (K, D, first)
    middle = model._sketch[:, :, first // 2 - 1 : first // 2 + 1].mean(axis=2)
    np.testing.assert_array_equal(model.cluster_centers_, middle)


def test_pickle_between_the_steps_changes_nothing():
    model, other = ours(reassignment_ratio=0.5), ours(reassignment_ratio=0.5)
    for start in range(0, 600, 100):
        batch = X[start : start + 100].astype(np.float32)
        model.partial_fit(batch)
        other = pickle.loads(pickle.dumps(other)).partial_fit(batch)
    np.testing.assert_array_equal(model._sketch, other._sketch)
    np.testing.assert_array_equal(model.cluster_centers_, other.cluster_centers_)


def test_centres_that_the_user_sets_are_where_the_next_step_starts():
    model = ours(init=START).partial_fit(X[:100])
    model.cluster_centers_, model._counts = START.copy(), np.zeros(K)
    model._random_state = np.random.RandomState(1)
    fresh = ours(init=START).partial_fit(X[100:200])
    np.testing.assert_array_equal(model.partial_fit(X[100:200])._sketch, fresh._sketch)


def test_a_model_file_holds_the_sketch(tmp_path):
    model = ours(reassignment_ratio=0).partial_fit(X[:300])
    save_model(model, tmp_path / "m")
    loaded = load_model(tmp_path / "m")
    np.testing.assert_array_equal(loaded._sketch, model._sketch)
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    rng = np.random.RandomState(7)
    model._random_state, loaded._random_state = rng, pickle.loads(pickle.dumps(rng))
    for other in (model, loaded):
        other.partial_fit(X[300:])
    np.testing.assert_array_equal(loaded.cluster_centers_, model.cluster_centers_)
