"""Law 6: medians are medians; and the other laws for K-Medians."""

from __future__ import annotations

import itertools
import tracemalloc
import warnings
from functools import partial

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from gpuclust import KMedians
from gpuclust.backends.kernels import medians
from gpuclust.objectives import median as objective
from gpuclust.objectives import search

from . import runs
from .cases import KINDS, WEIGHTS, blobs
from .certified import assert_predicts, halfway, last_bits, outside, ties
from .oracle import direct_labels, exact_medians, lloyd_medians, median_interval
from .runs import assert_same_bits, differences, seeds, streams

pytestmark = pytest.mark.usefixtures("one_thread")
fit = partial(runs.fit, estimator=KMedians)


def layouts(X):
    """Chunk sizes: of rows in one chunk the medians are selected, of others they are searched in brackets."""
    return None, max(1, 2 * len(X) // 3)


def assert_follows_plain_lloyd(X, start, steps, weight=None, lower=False):
    """Hold labels, centres and costs after 1, 2, 3, ... iterations against exact medians of all rows, to the bit."""
    reference, median = lloyd_medians(X, start, steps, weight, lower), "lower" if lower else "midpoint"
    for m, rows in itertools.product(range(1, steps + 1), layouts(X)):
        model = fit(X, weight, init=start, max_iter=m, tol=0, median=median, chunk_size=rows)
        assert model.n_iter_ == min(m, len(reference))
        reported = reference[model.n_iter_ - 1].centers.astype(X.dtype)
        np.testing.assert_array_equal(model.cluster_centers_, reported, err_msg=f"after {m}")
        np.testing.assert_array_equal(model.labels_, direct_labels(X, reported, True), err_msg=f"after {m}")
        costs = [s.cost for s in reference[: model.n_iter_]]
        np.testing.assert_allclose(model.inertia_history_, costs, rtol=1e-12, atol=1e-12 * costs[0])


@pytest.mark.parametrize("lower", [False, True])
@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_iteration_has_exact_medians(rng, kind, weights, lower, dtype):
    d = int(rng.choice([1, 3, 8, 11]))
    X, weight = KINDS[kind](rng, 240, d, dtype), WEIGHTS[weights](rng, 240)
    assert_follows_plain_lloyd(X, X[rng.choice(240, 7, replace=False)], 4, weight, lower)


@pytest.mark.parametrize("seed", seeds(25, 800))
def test_fuzz(seed):
    rng = np.random.default_rng(seed)
    kind, dtype = KINDS[rng.choice(list(KINDS))], [np.float32, np.float64][rng.integers(2)]
    n, d, k = int(rng.integers(3, 400)), int(rng.choice([1, 2, 5, 8, 9, 17, 40])), int(rng.integers(1, 20))
    X, weight = kind(rng, n, d, dtype), WEIGHTS[rng.choice(list(WEIGHTS))](rng, n)
    start = X[rng.choice(n, min(n, k), replace=False)]
    assert_follows_plain_lloyd(X, start, 3, weight, bool(rng.integers(2)))


@pytest.fixture(params=["no room", "little room", "no sample", "halved", "misjudged"])
def cramped(request, monkeypatch):
    """Brackets that miss or overflow: room for hardly any value, or for buckets only, no sample, no guess but halving
    what is possible; room is thought to be where none is.
    """
    monkeypatch.setattr(objective, "ROOM_ROW_BYTES", 1 if request.param == "little room" else 0)
    monkeypatch.setattr(objective, "ROOM_BYTES", 0)
    if not request.param.endswith("room"):
        monkeypatch.setattr(search, "SMALL", 1 << 40)
    if request.param == "misjudged":
        blank = search.Search.blank

        def generous(*args):
            found = blank(*args)
            found.room = found.settled = 1e9
            return found

        monkeypatch.setattr(search.Search, "blank", generous)
    if request.param == "halved":
        begin = search.Search.begin

        def halving(self):
            pairs = begin(self)
            self.state.tries[:] = medians.HALVE
            return pairs

        monkeypatch.setattr(search.Search, "begin", halving)


@pytest.mark.usefixtures("cramped")
@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("kind", ["blobs", "grid", "negative_zeros", "wide", "outlier", "denormals"])
def test_medians_are_found_where_brackets_miss_and_overflow(rng, kind, weights, dtype):
    X, weight = KINDS[kind](rng, 6000, 3, dtype), WEIGHTS[weights](rng, 6000)
    model = fit(X, weight, init=X[:2], max_iter=1, tol=0, chunk_size=5999)
    labels = direct_labels(X, X[:2], True)
    np.testing.assert_array_equal(model.cluster_centers_, exact_medians(X, labels, X[:2], weight).astype(dtype))


@pytest.mark.usefixtures("cramped")
def test_weights_that_are_nothing_beside_others(rng, dtype):
    X, weight = rng.normal(size=(3000, 2)).astype(dtype), 10.0 ** rng.integers(-200, 200, 3000)
    model = fit(X, weight, init=X[:2], max_iter=1, tol=0)
    labels = direct_labels(X, X[:2], True)
    np.testing.assert_array_equal(model.cluster_centers_, exact_medians(X, labels, X[:2], weight).astype(dtype))


@pytest.mark.usefixtures("cramped")
def test_an_even_split_between_two_values_that_many_rows_share(dtype):
    """The lower median fills the bracket with ties; the upper one must be looked for by itself."""
    X = np.repeat(np.array([[0.0, 3.0], [1.0, 7.0]], dtype), 5000, axis=0)
    how = {"init": X[:1], "max_iter": 1, "chunk_size": 9999}
    np.testing.assert_array_equal(fit(X, **how).cluster_centers_, [[0.5, 5.0]])
    np.testing.assert_array_equal(fit(X, median="lower", **how).cluster_centers_, [[0, 3]])


@pytest.mark.parametrize(
    ("values", "weight", "lower", "middle"),
    [
        ([1, 2, 9], None, 2, 2),
        ([1, 2, 4, 9], None, 2, 3),
        ([5, 5, 5, 7], None, 5, 5),
        ([1, 2, 9], [1, 1, 2], 2, 5.5),
        ([1, 2, 9], [0, 3, 1], 2, 2),
        ([1, 4, 6, 9], [1, 1, 0, 2], 4, 6.5),
        ([1, 2, 3], [1e-12, 1e12, 1e12], 2, 2),
        ([1, 2, 3, 4], [0.1, 0.2, 0.3, 0.6], 3, 3),
        ([-0.0, 0.0, 0.0], None, 0, 0),
    ],
)
def test_by_hand(values, weight, lower, middle, dtype):
    """Weights 0.1 + 0.2 + 0.3 are, as float64, more than 0.6: no even split."""
    X = np.array(values, dtype)[:, None]
    for (median, expected), rows in itertools.product((("lower", lower), ("midpoint", middle)), layouts(X)):
        found = fit(X, weight, n_clusters=1, median=median, chunk_size=rows).cluster_centers_
        np.testing.assert_array_equal(found, [[expected]])
        assert not np.signbit(found).any()


def test_values_at_the_ends_of_the_range(dtype):
    """Sums over rows still have to fit float64."""
    most = np.finfo(dtype).max if dtype == np.float32 else np.finfo(dtype).max / 16
    X = np.array([[most], [most / 2], [most / 4], [most / 8]], dtype)
    tiny = np.finfo(dtype).smallest_subnormal
    small = np.array([[tiny], [3 * tiny]], dtype)
    for data, expected in ((X, most / 2 * 0.75), (small, 2 * tiny)):
        for rows in layouts(data):
            found = fit(data, n_clusters=1, chunk_size=rows).cluster_centers_
            np.testing.assert_array_equal(found, [[dtype(expected)]])


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "outlier"])
def test_converged_centers_are_medians_of_their_labels(rng, kind, dtype):
    X = KINDS[kind](rng, 700, 4, dtype)
    model = fit(X, n_clusters=6, tol=0)
    assert model.converged_
    for j in range(6):
        for f in range(4):
            own = X[model.labels_ == j, f].astype(np.float64)
            if len(own):
                one, two = median_interval(own, np.ones(len(own)))
                assert one <= model.cluster_centers_[j, f] <= two


@pytest.mark.parametrize("kind", KINDS)
def test_chunks_streams_and_layouts_do_not_show(rng, kind, dtype, tmp_path):
    X, weight = KINDS[kind](rng, 1500, 3, dtype), WEIGHTS[rng.choice(list(WEIGHTS))](rng, 1500)
    how = {"init": X[:7], "tol": 0, "max_iter": 6}
    whole = fit(X, weight, **how)
    for rows in (128, 997):
        assert_same_bits(fit(X, weight, chunk_size=rows, **how), whole)
    for name, data, w in streams(X, weight, tmp_path, rng):
        assert differences(fit(data, w, chunk_size=997, **how), whole) == [], name


@pytest.mark.parametrize("init", ["k-means++", "k-means||", "random"])
@pytest.mark.parametrize("weights", WEIGHTS)
def test_seedings_in_chunks(rng, init, weights, dtype):
    X, weight = blobs(rng, 2500, 3, dtype), WEIGHTS[weights](rng, 2500)
    how = {"n_clusters": 12, "init": init, "n_init": 2}
    assert_same_bits(fit(X, weight, chunk_size=997, **how), fit(X, weight, **how))


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_do_not_show(rng, pretend_threads, threads, dtype):
    X, weight = blobs(rng, 3000, 9, dtype), WEIGHTS["wide"](rng, 3000)
    one = fit(X, weight, init=X[:9], tol=0), fit(X, init=X[:9], tol=0)
    pretend_threads(threads)
    for before, w in zip(one, (weight, None), strict=True):
        assert_same_bits(fit(X, w, init=X[:9], tol=0), before)


@pytest.mark.parametrize("d", [1, 2, 8, 9, 40, 300])
@pytest.mark.parametrize("hard", ["halfway", "ties", "last_bits", "outside"])
def test_labels_are_the_direct_argmin(rng, hard, d, dtype):
    X, C = {
        "halfway": lambda: halfway(rng, 1500, 30, d, dtype),
        "ties": lambda: ties(rng, d, dtype),
        "last_bits": lambda: last_bits(rng, d, dtype, 1e6),
        "outside": lambda: outside(rng, d, dtype, 35),
    }[hard]()
    assert_predicts(X, C, KMedians)


@pytest.mark.parametrize(("d", "k"), [(2, 250), (20, 200), (300, 60)])
def test_group_bounds_equal_plain_lloyd(rng, d, k, dtype):
    X = (rng.normal(size=(60, d))[rng.integers(60, size=900)] * 4 + rng.normal(size=(900, d))).astype(dtype)
    model = fit(X, init=X[:k], max_iter=9, tol=0)
    np.testing.assert_array_equal(model.labels_, direct_labels(X, model.cluster_centers_, True))
    assert_same_bits(fit(X, init=X[:k], max_iter=9, tol=0, chunk_size=333), model)


@pytest.mark.parametrize("seed", seeds(20, 400))
def test_the_loss_never_rises(seed):
    rng = np.random.default_rng(seed)
    X = KINDS[rng.choice(["blobs", "uniform", "grid", "offset", "integers"])](rng, 500, int(rng.integers(1, 9)), np.float64)
    history = fit(X, n_clusters=int(rng.integers(1, 20)), init="random", n_init=1, tol=0, random_state=seed).inertia_history_
    assert np.all(history[1:] <= history[:-1] * (1 + 1e-12))


def test_rounding_of_the_cost_does_not_end_a_fit_that_still_moves():
    """Rows of equal distance change cluster: the cost stays, but for its last bit, and falls afterwards."""
    rng = np.random.default_rng(1585)
    n, d, k = int(rng.integers(8, 60)), int(rng.integers(1, 6)), int(rng.integers(2, 9))
    X = rng.integers(0, 4, (n, d)) * rng.choice([0.1, 0.3, 0.7]) + rng.choice([0, 1.1])
    start = X[rng.choice(n, k, replace=False)]
    steps = lloyd_medians(X, start, 100)
    costs = np.array([step.cost for step in steps])
    assert np.any(costs[1:] > costs[:-1])
    model = fit(X, init=start, tol=0)
    assert model.n_iter_ == len(steps)
    np.testing.assert_array_equal(model.cluster_centers_, steps[-1].centers)


@pytest.mark.parametrize("unit", [1e307, 1e-310])
def test_weights_that_cannot_be_summed_are_refused(unit):
    X = np.array([[0.0], [1.0], [2.0], [10.0], [11.0], [12.0]])
    with pytest.raises(ValueError, match="multiply sample_weight"):
        fit(X, np.full(6, unit), init=X[[0, 4]])


def test_integer_weights_are_repetitions(rng, dtype):
    X, weight = blobs(rng, 400, 3, dtype), rng.integers(0, 5, 400)
    weight[:6] = 1
    a, b = fit(X, weight, init=X[:6], tol=0), fit(np.repeat(X, weight, axis=0), init=X[:6], tol=0)
    np.testing.assert_array_equal(a.cluster_centers_, b.cluster_centers_)
    np.testing.assert_array_equal(np.repeat(a.labels_, weight), b.labels_)
    assert a.inertia_ == pytest.approx(b.inertia_, rel=1e-14)


@pytest.mark.parametrize("unit", [2.0**-20, 2.0**20])
def test_the_unit_of_the_weights_does_not_show(rng, unit, dtype):
    """Nor in how many passes it takes."""
    X, weight = blobs(rng, 20_000, 4, dtype), rng.uniform(0.5, 3, 20_000)
    one, other = (fit(X, weight * u, init=X[:20], tol=0, max_iter=15) for u in (1, unit))
    np.testing.assert_array_equal(one.cluster_centers_, other.cluster_centers_)
    assert one.n_passes_ == other.n_passes_


def test_empty_clusters_are_given_the_farthest_rows():
    X = np.array([[0.0], [1.0], [2.0], [50.0], [90.0]])
    model = fit(X, init=np.array([[1.0], [1e6], [2e6]]), max_iter=1, tol=0)
    np.testing.assert_array_equal(model.cluster_centers_, [[1.0], [90.0], [50.0]])


def test_fewer_distinct_rows_than_clusters_warn(dtype):
    X = np.repeat(np.array([[0.0, 1.0], [5.0, 5.0]], dtype), 20, axis=0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = KMedians(4, random_state=0, device="cpu").fit(X)
    assert any(issubclass(w.category, ConvergenceWarning) for w in caught)
    assert model.inertia_ == 0
    assert np.all(np.isfinite(model.cluster_centers_))


def test_a_shift_of_a_million_and_powers_of_two_change_no_label(rng):
    X = (np.round(blobs(rng, 800, 3, np.float64) * 16) / 16).astype(np.float32)
    base = fit(X, init=X[:8], tol=0)
    for moved in (X + np.float32(1e5), X * np.float32(2.0**20), X * np.float32(2.0**-90)):
        np.testing.assert_array_equal(fit(moved, init=moved[:8], tol=0).labels_, base.labels_)


@pytest.mark.parametrize(("weights", "rows"), [("none", None), ("none", 59_999), ("wide", None)])
def test_state_of_a_row(rng, weights, rows, dtype):
    """Law 9: 64 MB and 24 bytes a row; here brackets hold as much as they may."""
    X, weight = rng.normal(size=(60_000, 120)).astype(dtype), WEIGHTS[weights](rng, 60_000)
    fit(X[:500], None if weight is None else weight[:500], init=X[:6], max_iter=2, chunk_size=rows and 499)
    tracemalloc.start()
    fit(X, weight, init=X[:6], max_iter=3, chunk_size=rows)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < (64 << 20) + 24 * len(X)


def test_two_passes_an_iteration_in_memory(rng):
    X = blobs(rng, 60_000, 8, np.float32)
    model = fit(X, init=X[:40], tol=0, max_iter=25)
    assert model.n_iter_ > 15
    assert model.n_passes_ <= 2.1 * model.n_iter_ + 2
