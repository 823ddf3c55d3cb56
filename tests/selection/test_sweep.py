"""Fits for many numbers of clusters on one source."""

import numpy as np
import pytest

from gpuclust import KMeans, KMedians, MiniBatchKMeans, stream
from gpuclust.selection.sweep import fitted, grown, merged, open_rows, run, sweep


def test_the_cheapest_pair_is_merged():
    centers, mass = np.array([[0.0], [10.0], [11.0], [30.0], [36.0]]), np.array([3.0, 3.0, 1.0, 1.0, 1.0])
    # Ward: 3 * 1 / 4 * 1 = 0.75 for (10, 11), then 1 * 1 / 2 * 36 = 18 for (30, 36)
    np.testing.assert_allclose(merged(centers, mass, 4, False), [[0.0], [10.25], [30.0], [36.0]])
    np.testing.assert_allclose(merged(centers, mass, 3, False), [[0.0], [10.25], [33.0]])
    # Manhattan: the heavier one stays
    np.testing.assert_allclose(merged(centers, mass, 4, True), [[0.0], [10.0], [30.0], [36.0]])
    np.testing.assert_array_equal(centers, [[0.0], [10.0], [11.0], [30.0], [36.0]])


def test_weight_decides_what_is_merged():
    centers = np.array([[0.0], [1.0], [5.0], [6.5]])
    np.testing.assert_allclose(merged(centers, np.array([9.0, 9, 1, 1]), 3, False), [[0.0], [1.0], [5.75]])


def test_clusters_without_rows_go_first():
    centers = np.array([[0.0], [0.1], [5.0]])
    np.testing.assert_allclose(merged(centers, np.array([4.0, 4, 0]), 2, False), [[0.0], [0.1]])
    np.testing.assert_allclose(merged(centers, np.array([0.0, 0, 0]), 1, False).shape, (1, 1))


def test_the_farthest_seeds_are_added():
    seeds = np.array([[0.0, 0], [1, 0], [10, 0], [30, 0]])
    np.testing.assert_array_equal(grown(np.array([[0.5, 0]]), seeds[:3], "euclidean"), [[0.5, 0], [10, 0], [0, 0]])
    np.testing.assert_array_equal(grown(np.array([[29.0, 0]]), seeds[:2], "manhattan"), [[29, 0], [0, 0]])


@pytest.mark.parametrize("estimator", [KMeans(), KMedians(), KMeans(init="random", n_init=2), KMeans(init="k-means||")])
def test_the_inertia_never_rises_with_k(estimator, rng):
    X = rng.normal(size=(120, 3)).round(1)
    found = sweep(open_rows(estimator, X, None, 40), range(1, 41), 0)
    inertia = [found[k].inertia for k in range(1, 41)]
    assert list(found) == list(range(1, 41))
    assert np.all(np.diff(inertia) <= 0)


def test_a_rise_is_repaired(monkeypatch, rng):
    """A descent that finds something bad at k=4 is given the centres of k=3 and one more."""
    from gpuclust.selection import sweep as module

    X, plain = rng.normal(size=(200, 2)), module._Descent.fit
    far = np.repeat(X[:1], 4, axis=0) + np.arange(4)[:, None] * 1e3

    def bad(self, k, above):
        return run(self.opened, far) if k == 4 else plain(self, k, above)

    monkeypatch.setattr(module._Descent, "fit", bad)
    opened = open_rows(KMeans(max_iter=1), X, None, 5)
    assert bad(module._Descent(opened, [3, 4], 0), 4, None).inertia > sweep(opened, [3], 0)[3].inertia
    found = sweep(opened, [3, 4], 0)
    assert found[4].inertia <= found[3].inertia


def test_merging_finds_what_one_seeding_misses():
    """30 clusters on a grid: one k-means++ start puts two centres into some of them; the descent does not."""
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(np.arange(6), np.arange(5)), -1).reshape(-1, 2) * 5.0
    X = np.repeat(grid, 20, axis=0) + rng.normal(size=(600, 2))
    best = KMeans(30, init=grid).fit(X).inertia_
    for seed in range(4):
        assert sweep(open_rows(KMeans(), X, None, 30), [30], seed)[30].inertia < 1.01 * best
        assert KMeans(30, random_state=seed).fit(X).inertia_ > 1.1 * best


@pytest.mark.parametrize("init", ["k-means++", "random"])
def test_first_centres_are_shared(init, rng, monkeypatch):
    from gpuclust.selection import sweep as module

    X, starts = rng.normal(size=(90, 2)), []
    monkeypatch.setattr(module, "merged", lambda centers, mass, k, l1: centers[:k])
    plain = module.run
    monkeypatch.setattr(module, "run", lambda opened, centers: starts.append(centers) or plain(opened, centers))
    sweep(open_rows(KMeans(init=init, n_init=1), X, None, 6), [2, 4, 6], 3)
    longest = starts[0]
    assert len(longest) == 8
    for seeds in starts[1::2]:
        np.testing.assert_array_equal(seeds, longest[: len(seeds)])


@pytest.mark.parametrize("kind", [KMeans, KMedians, MiniBatchKMeans])
def test_a_fitted_model_is_as_fit_leaves_it(kind, rng):
    X, estimator = rng.normal(size=(80, 2)).astype(np.float32), kind(random_state=0)
    opened = open_rows(estimator, X, None, 5)
    found = sweep(opened, [3, 5], 1)
    model, plain = fitted(opened, found[5]), estimator.set_params(n_clusters=5).fit(X)
    missing = set(vars(plain)) - set(vars(model)) - {"_n_init"}
    assert not missing
    assert model.inertia_ == found[5].inertia and model.cluster_centers_.dtype == np.float32
    np.testing.assert_array_equal(model.labels_, model.predict(X))
    assert -model.score(X) == model.inertia_
    labels = model.labels_.copy()
    fitted(opened, found[3])
    np.testing.assert_array_equal(model.labels_, labels)


def test_chunks_and_streams_change_nothing(rng, tmp_path):
    X = rng.normal(size=(150, 3))
    np.save(tmp_path / "X.npy", X)
    given = [(KMeans(), X), (KMeans(chunk_size=41), X), (KMeans(chunk_size=37), tmp_path / "X.npy"),
             (KMeans(), stream([X[:70], X[70:]]))]  # fmt: skip
    found = [sweep(open_rows(estimator, data, None, 6), [2, 3, 6], 5) for estimator, data in given]
    for other in found[1:]:
        for k in (2, 3, 6):
            np.testing.assert_array_equal(other[k].centers, found[0][k].centers)
            assert other[k].inertia == found[0][k].inertia


def test_weights_are_repetitions(rng):
    X, weight = rng.normal(size=(60, 2)), rng.integers(0, 4, 60)
    one = sweep(open_rows(KMeans(), X, weight, 4), [2, 4], 0)
    other = sweep(open_rows(KMeans(), np.repeat(X, weight, axis=0), None, 4), [2, 4], 0)
    for k in (2, 4):
        assert one[k].inertia == pytest.approx(other[k].inertia, rel=1e-12)


def test_refusals(rng):
    X = rng.normal(size=(5, 2))
    with pytest.raises(ValueError, match="n_samples=5 should be >= the largest number of clusters, 6"):
        open_rows(KMeans(), X, None, 6)
    with pytest.raises(ValueError, match="max_iter"):
        open_rows(KMeans(max_iter=0), X, None, 2)
    with pytest.raises(ValueError, match="Input X contains NaN"):
        open_rows(KMeans(), np.array([[np.nan], [1.0]]), None, 2)
