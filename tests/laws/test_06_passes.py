"""Law 6, how often the data are read for exact medians, and how many values are held meanwhile."""

from __future__ import annotations

import numpy as np
import pytest

import gpuclust
from gpuclust import KMedians
from gpuclust.objectives import median as objective
from gpuclust.objectives import search

from .cases import blobs
from .runs import fit, write_npy

CASES = {
    "blobs": lambda rng: (blobs(rng, 60_000, 8, np.float32), 40, None),
    "overlapping": lambda rng: (rng.normal(size=(60_000, 6)).astype(np.float32), 30, None),
    "integers": lambda rng: (np.round(blobs(rng, 40_000, 8, np.float32) * 8), 90, None),
    "small clusters": lambda rng: (blobs(rng, 20_000, 40, np.float32), 150, None),
    "even": lambda rng: (np.round(rng.normal(size=(20_000, 10)) * 30).astype(np.float32), 200, None),
    "weighted": lambda rng: (blobs(rng, 40_000, 8, np.float64), 40, rng.gamma(0.5, size=40_000)),
}


@pytest.fixture
def inside(monkeypatch):
    """The values that each pass kept, as (iteration, number)."""
    kept, settle = [], search.Search.settle

    def watched(self, pairs, ranks, rows, flow):
        kept.append((self.done, sum(len(part.value) for part in ranks.inside)))
        return settle(self, pairs, ranks, rows, flow)

    monkeypatch.setattr(search.Search, "settle", watched)
    return kept


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("streamed", [False, True])
def test_hardly_two_passes_an_iteration(rng, inside, case, streamed, tmp_path):
    X, k, weight = CASES[case](rng)
    data = gpuclust.stream(write_npy(tmp_path / "x.npy", X)) if streamed else X
    chunk = 7001 if streamed else len(X) - 1
    model = fit(data, weight, KMedians, init=X[:k], tol=0, max_iter=40, chunk_size=chunk)
    assert model.n_iter_ > 15
    assert model.n_passes_ <= 2.1 * model.n_iter_ + 2
    late = [number for iteration, number in inside if iteration > 3]
    assert max(late) <= 0.1 * X.size


@pytest.mark.parametrize("order", ["shuffled", "by cluster"])
def test_little_room_costs_passes_but_not_many(rng, monkeypatch, inside, order, tmp_path):
    """Room for one value in 300: buckets tell where the medians lie before brackets are opened."""
    X = blobs(rng, 60_000, 20, np.float32)
    if order == "by cluster":
        X = X[np.argsort(fit(X, None, KMedians, n_clusters=20, max_iter=3).labels_, kind="stable")]
    start = X[rng.choice(len(X), 30, replace=False)]
    expected = fit(X, None, KMedians, init=start, tol=0, max_iter=6)
    monkeypatch.setattr(objective, "ROOM_ROW_BYTES", 0)
    monkeypatch.setattr(objective, "ROOM_BYTES", 8 * X.size // 300)
    inside.clear()
    path = write_npy(tmp_path / "x.npy", X)
    model = fit(gpuclust.stream(path), None, KMedians, init=start, tol=0, max_iter=6, chunk_size=5000)
    np.testing.assert_array_equal(model.cluster_centers_, expected.cluster_centers_)
    np.testing.assert_array_equal(model.labels_, expected.labels_)
    assert model.n_passes_ <= 8 * model.n_iter_
    chunks, threads = 12, 16
    assert max(number for _, number in inside) <= X.size // 300 + 1024 * chunks * threads


@pytest.mark.parametrize("kind", ["blobs", "overlapping", "integers"])
def test_hardly_two_passes_an_iteration_with_a_quarter_of_the_memory(rng, kind, tmp_path):
    X = {
        "blobs": lambda: rng.normal(size=(20, 64))[rng.integers(20, size=200_000)] * 2 + rng.normal(size=(200_000, 64)),
        "overlapping": lambda: rng.normal(size=(200_000, 64)),
        "integers": lambda: np.round(8 * rng.normal(size=(200_000, 64))),
    }[kind]().astype(np.float32)
    path = write_npy(tmp_path / "x.npy", X)
    with gpuclust.config_context(memory=X.nbytes // 4):
        model = fit(gpuclust.stream(path), None, KMedians, init=X[:20], tol=0, max_iter=12)
    expected = fit(X, None, KMedians, init=X[:20], tol=0, max_iter=12)
    np.testing.assert_array_equal(model.cluster_centers_, expected.cluster_centers_)
    assert model.n_passes_ <= 2.1 * model.n_iter_ + 2


def test_far_more_rows_share_a_median_than_there_is_room_for(rng, monkeypatch, tmp_path):
    """A number of many digits, whose neighbours have fewer."""
    levels = np.nextafter(np.array([0.1, 0.3, 0.7, 1.1, 2.3, 5.9], np.float32), np.float32(9))
    X = levels[rng.integers(0, 6, (30_000, 3))] + np.float32(3) * rng.integers(0, 3, (30_000, 1)).astype(np.float32)
    start = X[rng.choice(len(X), 6, replace=False)] + np.float32(0.05)
    expected = fit(X, None, KMedians, init=start, tol=0, max_iter=8)
    monkeypatch.setattr(objective, "ROOM_ROW_BYTES", 0)
    monkeypatch.setattr(objective, "ROOM_BYTES", 8 * X.size // 100)
    path = write_npy(tmp_path / "x.npy", X)
    model = fit(gpuclust.stream(path), None, KMedians, init=start, tol=0, max_iter=8, chunk_size=3000)
    np.testing.assert_array_equal(model.cluster_centers_, expected.cluster_centers_)
    assert model.n_passes_ <= 5 * model.n_iter_ + 2
