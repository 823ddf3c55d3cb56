"""K-Means by hand: small cases whose results can be checked on paper, and each way to start."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import numpy as np
import pytest
import sklearn.cluster
from laws.cases import blobs
from laws.oracle import direct_costs, direct_labels
from laws.runs import assert_same_bits, fit, seeds

from gpuclust import KMeans
from gpuclust.backends.cpu import CPUBackend
from gpuclust.data.array import ArraySource
from gpuclust.solvers import progress
from gpuclust.solvers.scan import scan
from gpuclust.solvers.seeding import plus_plus, random_rows

pytestmark = pytest.mark.usefixtures("one_thread")


# --- on paper ---


def test_two_clusters_on_a_line(dtype):
    """Centres 0, 1 -> rows 9 and 10 and 1 go to centre 1 -> means 0, 20/3 -> means 1/2, 19/2 -> nothing moves."""
    X = np.array([[0.0], [1.0], [9.0], [10.0]], dtype)
    model = fit(X, init=np.array([[0.0], [1.0]], dtype), tol=0)
    np.testing.assert_array_equal(model.cluster_centers_, [[0.5], [9.5]])
    np.testing.assert_array_equal(model.labels_, [0, 0, 1, 1])
    assert (model.inertia_, model.n_iter_, model.converged_) == (1.0, 3, True)
    second = 0 + 1 + (9 - 20 / 3) ** 2 + (10 - 20 / 3) ** 2
    np.testing.assert_allclose(model.inertia_history_, [64 + 81, second, 1], rtol=1e-14)


def test_weights_pull(dtype):
    X = np.array([[0.0], [1.0], [9.0], [10.0]], dtype)
    model = fit(X, [3, 1, 1, 1], init=np.array([[0.0], [10.0]], dtype))
    np.testing.assert_array_equal(model.cluster_centers_, [[0.25], [9.5]])
    assert model.inertia_ == 3 * 0.0625 + 0.5625 + 0.5


def test_first_assignment_alone(dtype):
    """max_iter=1: the centres move once, then labels and inertia are those of the moved centres."""
    X = np.array([[0.0, 0.0], [4.0, 0.0], [5.0, 0.0], [6.0, 0.0]], dtype)
    model = fit(X, init=np.array([[0.0, 0.0], [9.0, 0.0]], dtype), max_iter=1)
    np.testing.assert_array_equal(model.cluster_centers_, [[2, 0], [5.5, 0]])
    np.testing.assert_array_equal(model.labels_, [0, 1, 1, 1])  # row 1: 4 from centre 0, 2.25 from centre 1
    assert model.inertia_ == 4 + 2.25 + 0.25 + 0.25
    assert not model.converged_


def test_ties_go_to_the_lower_index(dtype):
    X = np.array([[-1.0], [0.0], [1.0]], dtype)
    np.testing.assert_array_equal(fit(X, init=np.array([[-1.0], [1.0]], dtype), max_iter=1).cluster_centers_, [[-0.5], [1]])
    np.testing.assert_array_equal(fit(X, init=np.array([[1.0], [-1.0]], dtype), max_iter=1).cluster_centers_, [[0.5], [-1]])


def test_transform_and_score(dtype):
    model = fit(np.array([[0.0, 0.0], [10.0, 0.0]], dtype), n_clusters=2, init=[[0, 0], [10, 0]])
    new = np.array([[3.0, 4.0], [10.0, 2.0]], dtype)
    found = model.transform(new)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, [[5, math.sqrt(65)], [math.sqrt(104), 2]], rtol=1e-7)
    assert model.score(new) == -29 and model.score(new, sample_weight=[2, 1]) == -54
    np.testing.assert_array_equal(model.predict(new), [0, 1])


def test_four_corners():
    X = np.array([[0, 0], [0, 2], [8, 0], [8, 2]])
    model = fit(X, init=[[0, 1], [8, 1]])
    np.testing.assert_array_equal(model.cluster_centers_, [[0, 1], [8, 1]])
    assert (model.inertia_, model.n_iter_) == (4.0, 1)  # the centres do not move: one iteration
    worse = fit(X, init=[[4, 0], [4, 2]])
    np.testing.assert_array_equal(worse.labels_, [0, 1, 0, 1])  # a fixed point, of cost 64
    assert worse.inertia_ == 64.0


def test_strict_convergence_and_tolerance(rng):
    X = blobs(rng, 300, 2, np.float64)
    exact, loose = fit(X, init=X[:5], tol=0), fit(X, init=X[:5], tol=0.1)
    assert exact.converged_ and loose.converged_ and loose.n_iter_ < exact.n_iter_
    np.testing.assert_allclose(loose.inertia_history_, exact.inertia_history_[: loose.n_iter_], rtol=1e-12)
    assert fit(X, init=X[:5], tol=1e300).n_iter_ == 1


@pytest.mark.parametrize("seed", seeds(8, 100))
def test_as_scikit_learn_from_the_same_centers(seed, dtype):
    rng = np.random.default_rng(seed)
    X, weight = blobs(rng, 300, 4, dtype), rng.uniform(0.1, 3, 300)
    theirs = sklearn.cluster.KMeans(6, init=X[:6], n_init=1, tol=1e-3).fit(X, sample_weight=weight)
    ours = fit(X, weight, init=X[:6], tol=1e-3)
    assert ours.n_iter_ == theirs.n_iter_
    np.testing.assert_array_equal(ours.labels_, theirs.labels_)
    np.testing.assert_allclose(ours.cluster_centers_, theirs.cluster_centers_, rtol=2e-4, atol=1e-5)
    assert ours.inertia_ == pytest.approx(theirs.inertia_, rel=1e-5)


# --- starts ---


def draws(X, weight, k, seed):
    """Greedy k-means++ in rational numbers: rows at which exact prefix sums cross the drawn shares."""
    state, trials = np.random.RandomState(seed), 2 + int(np.log(k))
    mass = [Fraction(float(w)) for w in weight]

    def crossing(potential, uniform):
        value, running = Fraction(float(uniform)) * sum(potential), Fraction(0)
        for row, p in enumerate(potential):
            running += p
            if running > value:
                return row
        raise AssertionError

    chosen = [crossing(mass, state.uniform(size=1)[0])]
    exact = [[Fraction(int(v)) for v in row] for row in X]
    cost = [sum((a - b) ** 2 for a, b in zip(row, exact[chosen[0]], strict=True)) for row in exact]
    while len(chosen) < k:
        potential = [w * c for w, c in zip(mass, cost, strict=True)]
        options = []
        for uniform in state.uniform(size=trials):
            row = crossing(potential, uniform)
            left = [min(c, sum((a - b) ** 2 for a, b in zip(r, exact[row], strict=True))) for c, r in zip(cost, exact, strict=True)]
            options.append((sum(w * c for w, c in zip(mass, left, strict=True)), row, left))
        _, row, cost = min(options, key=lambda option: option[0])
        chosen.append(row)
    return chosen


@pytest.mark.parametrize("init", ["k-means++", "k-means||"])
def test_weights_too_large_to_draw_by_are_refused(rng, init):
    X = rng.normal(size=(32, 3))
    with pytest.raises(ValueError, match=r"Weights of a total of 3\.2e\+304 are too large to draw first centres by: multiply"):
        KMeans(3, init=init, device="cpu").fit(X, sample_weight=np.full(32, 1e303))
    KMeans(3, init=init, device="cpu").fit(X, sample_weight=np.full(32, 1e200))


@pytest.mark.parametrize("weights", ["ones", "integer", "wide"])
@pytest.mark.parametrize("seed", seeds(4, 40))
def test_seeding_is_greedy_and_exact(weights, seed, dtype):
    """Integers about a mean of zero: all costs are exact, so the draw has one right answer."""
    rng = np.random.default_rng(seed)
    X = rng.integers(-40, 40, (60, 3))
    X = np.concatenate([X, -X]).astype(dtype)
    weight = {"ones": np.ones(120), "integer": rng.integers(0, 5, 120) * 1.0, "wide": 2.0 ** rng.integers(-20, 20, 120)}
    source = ArraySource(X, weight[weights], CPUBackend())
    centers, index = plus_plus(source, scan(source), 12, np.random.RandomState(seed))
    np.testing.assert_array_equal(index, draws(X, weight[weights], 12, seed))
    np.testing.assert_array_equal(centers, X[index])


def test_seeding_takes_as_many_trials_as_asked(rng):
    X = blobs(rng, 500, 2, np.float64)
    source = ArraySource(X, None, CPUBackend())
    frame = scan(source)
    cost = []
    for trials in (1, 30):
        runs = [plus_plus(source, frame, 8, np.random.RandomState(s), trials)[0] for s in range(10)]
        cost.append(np.mean([direct_costs(X, c).min(axis=1).sum() for c in runs]))
    assert cost[1] < 0.9 * cost[0]


@pytest.mark.parametrize("far", [1e6, 1e15, 1e30])
def test_seeding_beside_an_outlier(rng, far, dtype):
    """The outlier is one centre; the other rows are still drawn by their distances."""
    X = blobs(rng, 300, 2, dtype)
    X[100] = far
    source = ArraySource(X, None, CPUBackend())
    for seed in range(5):
        centers, index = plus_plus(source, scan(source), 6, np.random.RandomState(seed))
        assert len(np.unique(index)) == 6 and 100 in index
        others = np.delete(X, 100, axis=0)
        cost = direct_costs(others, centers).min(axis=1).sum()
        assert cost < 0.5 * direct_costs(others, others.mean(axis=0, keepdims=True)).sum()


@pytest.mark.parametrize("far", [0, 1e5, 1e9])
def test_seeding_draws_every_distinct_row_once(rng, far, dtype):
    """A row that is a centre costs nothing, to the last bit, wherever the data lie."""
    X = (rng.normal(size=(30, 2)) + far * (np.arange(30) % 2)[:, None]).astype(dtype)
    distinct = len(np.unique(X, axis=0))
    source = ArraySource(X, None, CPUBackend())
    centers, index = plus_plus(source, scan(source), distinct, np.random.RandomState(0))
    assert len(np.unique(centers, axis=0)) == distinct
    np.testing.assert_array_equal(X[index], centers)


def test_random_start_draws_scikit_learns_rows(rng):
    X, weight = blobs(rng, 200, 3, np.float64), rng.uniform(0, 2, 200)
    source = ArraySource(X, weight, CPUBackend())
    expected = np.random.RandomState(5).choice(200, size=7, replace=False, p=weight / weight.sum())
    np.testing.assert_array_equal(random_rows(source, 7, np.random.RandomState(5)), X[expected])


def test_parallel_seeding(rng, dtype):
    """Far clusters are all found, and it takes seven passes whatever k is."""
    X = (rng.normal(size=(40, 3)) * 1000)[np.arange(2000) % 40] + rng.normal(size=(2000, 3))
    X = X.astype(dtype)
    for seed in range(3):
        model = fit(X, n_clusters=40, init="k-means||", random_state=seed)
        assert model.inertia_ < 2 * 3 * 2000
    few, many = (fit(X, n_clusters=k, init="k-means||", max_iter=1) for k in (3, 60))
    assert few.n_passes_ == many.n_passes_ <= 12
    assert_same_bits(fit(X, n_clusters=9, init="k-means||"), fit(X, n_clusters=9, init="k-means||"))


def test_callable_start(rng, dtype):
    X, calls = blobs(rng, 100, 3, dtype), []

    def start(rows, k, random_state):
        calls.append((rows.shape, k, type(random_state)))
        return rows[random_state.permutation(len(rows))[:k]]

    model = fit(X, n_clusters=4, init=start, n_init=3)
    assert calls == [((100, 3), 4, np.random.RandomState)] * 3
    best = [fit(X, init=X[p[:4]]) for p in _permutations(3)]
    assert model.inertia_ == min(m.inertia_ for m in best)


def _permutations(count):
    state = np.random.RandomState(0)
    return [state.permutation(100) for _ in range(count)]


def test_array_like_starts(rng):
    X = blobs(rng, 100, 2, np.float64)
    expected = fit(X, init=X[:3])
    for start in (X[:3].tolist(), np.asfortranarray(X[:3]), X[:3].astype(np.float32).astype(float) * 0 + X[:3]):
        assert_same_bits(fit(X, init=start), expected)


def test_starts_of_the_wrong_shape(rng):
    X = blobs(rng, 50, 2, np.float64)
    with pytest.raises(ValueError, match=r"shape of the initial centers \(2, 2\) does not match the number of clusters 3"):
        KMeans(3, init=X[:2]).fit(X)
    with pytest.raises(ValueError, match="does not match the number of features of the data 2"):
        KMeans(3, init=np.ones((3, 5))).fit(X)
    with pytest.raises(ValueError, match="does not match the number of clusters 3"):
        KMeans(3, init=lambda X, k, random_state: X[:2], n_init=1).fit(X)


def test_the_best_of_several_starts_is_kept(rng, dtype):
    """Labels, history and iterations are those of the best start, wherever it came."""
    X = blobs(rng, 300, 2, dtype)
    starts = [X[rng.choice(300, 8, replace=False)] for _ in range(5)]
    models = [fit(X, init=start, max_iter=2) for start in starts]
    best = min(models, key=lambda m: m.inertia_)
    for shift in range(5):
        order = iter(np.roll(np.arange(5), shift))
        model = fit(X, n_clusters=8, init=lambda X, k, random_state: starts[next(order)], n_init=5, max_iter=2)  # noqa: B023
        assert_same_bits(model, best)
        np.testing.assert_array_equal(model.labels_, direct_labels(X, model.cluster_centers_))


@pytest.mark.parametrize(("init", "runs"), [("k-means++", 1), ("k-means||", 1), ("random", 10)])
def test_n_init_auto(init, runs, rng, capsys):
    KMeans(2, init=init, verbose=1, random_state=0, tol=1e300).fit(rng.normal(size=(30, 2)))
    assert capsys.readouterr().out.count("Initialization complete") == runs


def test_n_init_with_given_centers_warns(rng):
    X = rng.normal(size=(30, 2))
    with pytest.warns(RuntimeWarning, match="performing only one init in KMeans instead of n_init=4"):
        KMeans(2, init=X[:2], n_init=4).fit(X)


def test_random_state(rng):
    X = blobs(rng, 200, 2, np.float64)
    assert_same_bits(fit(X, random_state=3), fit(X, random_state=np.random.RandomState(3)))
    state = np.random.RandomState(3)
    first, second = fit(X, random_state=state), fit(X, random_state=state)
    assert first.inertia_ != second.inertia_


# --- what is told on the way ---


def test_verbose_prints_scikit_learns_lines(rng, capsys):
    X = blobs(rng, 200, 2, np.float64)
    for tol in (0, 1e-2):
        sklearn.cluster.KMeans(3, init=X[:3], n_init=1, verbose=1, tol=tol).fit(X)
        theirs = capsys.readouterr().out.splitlines()
        fit(X, init=X[:3], verbose=1, tol=tol)
        ours = capsys.readouterr().out.splitlines()
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            assert a.split()[:2] == b.split()[:2]
        assert ours[-1].split(":")[1].split()[:2] == theirs[-1].split(":")[1].split()[:2]


@pytest.mark.parametrize("init", ["k-means++", "k-means||", "random"])
def test_progress_reports_the_iterations_of_the_fit(rng, init):
    X, records = blobs(rng, 300, 2, np.float64), []
    with progress.listen(records.append):
        model = fit(X, n_clusters=5, init=init, n_init=2, tol=0, max_iter=40)
    quiet = fit(X, n_clusters=5, init=init, n_init=2, tol=0, max_iter=40)
    assert_same_bits(model, quiet)
    runs = [[r for r in records if r.run == run] for run in (0, 1)]
    assert sum(map(len, runs)) == len(records)
    assert len(model.inertia_history_) in {len(run) for run in runs}
    for run in runs:
        assert [r.iteration for r in run] == list(range(1, len(run) + 1))
        assert all((r.max_iter, r.rows) == (40, 300) and r.seconds >= 0 for r in run)
        assert run[0].moved == 300
    kept = next(run for run in runs if len(run) == model.n_iter_ and run[-1].inertia <= model.inertia_ * 1.001)
    np.testing.assert_allclose([r.inertia for r in kept], model.inertia_history_, rtol=1e-10)


def test_number_of_passes(rng):
    X = blobs(rng, 300, 2, np.float64)
    given = fit(X, init=X[:4], tol=0)
    assert given.n_passes_ == 1 + given.n_iter_ + 1
    seeded = fit(X, n_clusters=4, tol=0)
    assert seeded.n_passes_ == 1 + (1 + 4) + seeded.n_iter_ + 1


def test_fits_in_several_threads_at_once(rng):
    X = [blobs(rng, 2000, 3, np.float64) for _ in range(4)]
    alone = [fit(x, n_clusters=6) for x in X]
    with ThreadPoolExecutor(4) as pool:
        for together, model in zip(pool.map(lambda x: fit(x, n_clusters=6), X * 3), alone * 3, strict=True):
            assert_same_bits(together, model)


def test_refitting_forgets(rng):
    X = blobs(rng, 200, 3, np.float64)
    model = fit(blobs(rng, 90, 2, np.float32), n_clusters=8)
    assert_same_bits(model.fit(X), fit(X, n_clusters=8))
    assert model.n_features_in_ == 3
