"""Mini-batch K-Medians: what its sketches promise, quality, state between calls."""

import pickle
import re

import numpy as np
import pytest
from batch_cases import GIVEN, START, D, K, X
from sklearn.datasets import make_blobs

from gpuclust import KMedians, MiniBatchKMeans, MiniBatchKMedians, load_model, save_model
from gpuclust.solvers.steps import MedianUpdate


def ours(**parameters):
    return MiniBatchKMedians(**GIVEN | parameters)


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


@pytest.mark.parametrize("scale", [1e-300, 1e300])
def test_values_near_the_ends_of_the_range(scale):
    data = np.r_[np.full((50, 2), 1.0), np.full((50, 2), -1.5)] * scale
    model = ours(n_clusters=2, init=data[[0, 50]]).fit(data)
    np.testing.assert_array_equal(model.cluster_centers_, data[[0, 50]])


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


# --- state between calls ---


@pytest.mark.parametrize(("first", "then"), [(64, 8), (8, 64)])
def test_a_sketch_keeps_the_size_that_it_began_with(first, then):
    model = ours(sketch_size=first, reassignment_ratio=0).partial_fit(X)
    model.set_params(sketch_size=then).partial_fit(X[:300])
    assert model._sketch.shape == (K, D, first)
    middle = model._sketch[:, :, first // 2 - 1 : first // 2 + 1].mean(axis=2)
    np.testing.assert_array_equal(model.cluster_centers_, middle)


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
