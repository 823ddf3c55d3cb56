"""Law 2 where labels are found by a shortcut: cells of a grid for few features."""

from __future__ import annotations

import numpy as np
import pytest

from gpuclust import KMeans, KMedians
from gpuclust.backends import layout
from gpuclust.backends.base import Bounds
from gpuclust.backends.cpu import CPUBackend
from gpuclust.backends.kernels import cells

from .cases import KINDS, WEIGHTS, blobs
from .certified import (
    EXACT,
    assert_certified,
    assert_follows_plain_lloyd,
    assert_predicts,
    halfway,
    last_bits,
    outside,
    rounded,
    ties,
)
from .runs import assert_same_bits, fit, seeds

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(params=[1, 20])
def divided(request, monkeypatch):
    """Cells for as few rows as a test has: many of them, or few."""
    monkeypatch.setattr(layout, "DIVIDED_FROM", 1)
    monkeypatch.setattr(cells, "ROWS", request.param)


@pytest.mark.usefixtures("divided")
@pytest.mark.parametrize("estimator", [KMeans, KMedians])
@pytest.mark.parametrize("d", [1, 2, 3])
class TestCells:
    @pytest.mark.parametrize("kind", KINDS)
    def test_labels_are_the_direct_argmin(self, rng, kind, d, estimator, dtype):
        X = KINDS[kind](rng, 900, d, dtype)
        for k in (1, 2, 7, 60):
            assert_certified(fit(X, None, estimator, init=X[rng.choice(900, k, replace=False)], max_iter=3), X)

    def test_rows_halfway_between_centers(self, rng, d, estimator, dtype):
        assert_predicts(*halfway(rng, 3000, 30, d, dtype), estimator)

    def test_rows_on_the_edges_of_cells(self, rng, d, estimator, dtype):
        C = rng.normal(size=(25, d)).astype(dtype)
        grid = cells.cells(C.astype(np.float64), 3, dtype, estimator is KMedians)
        assert grid.side > 1
        X = (grid.low + rng.integers(-1, grid.side + 2, (2000, d)) / grid.per).astype(dtype)
        X = np.nextafter(X, rng.choice([-np.inf, np.inf], X.shape).astype(dtype), dtype=dtype)
        assert_predicts(X, C, estimator)

    def test_an_edge_of_cells_halfway_between_centers(self, rng, d, estimator, dtype):
        """The middle of the grid of two centres: rounding may put a row in the cell across."""
        for _ in range(60):
            C = rng.uniform(size=(2, 1)).astype(dtype) * np.ones((2, d), dtype)
            X = np.repeat(C.mean(axis=0, keepdims=True), 2400, axis=0)
            X += X * (rng.integers(-8, 9, X.shape) * np.finfo(dtype).eps / 2).astype(dtype)
            assert_predicts(X, C, estimator)

    def test_ties_and_equal_centers_go_to_the_lowest_index(self, rng, d, estimator, dtype):
        assert_predicts(*ties(rng, d, dtype), estimator)

    @pytest.mark.parametrize("far", [1e3, 1e12])
    def test_centers_that_differ_in_the_last_bits_far_from_zero(self, rng, d, estimator, far, dtype):
        assert_predicts(*last_bits(rng, d, dtype, far), estimator)

    def test_rows_far_outside(self, rng, d, estimator, dtype):
        assert_predicts(*outside(rng, d, dtype, 30), estimator)

    def test_more_centers_in_a_cell_than_are_compared(self, rng, d, estimator, dtype):
        """Rows in a crowded cell are scored."""
        C = np.concatenate([rng.normal(size=(8, d)), 1e-7 * rng.normal(size=(3 * cells.MANY[0], d))]).astype(dtype)
        X = (rng.normal(size=(900, d)) * 10.0 ** rng.uniform(-8, 0, (900, 1))).astype(dtype)
        assert_predicts(X, C, estimator)

    def test_a_value_that_is_not_finite_is_found(self, rng, d, estimator, dtype):
        X = rng.normal(size=(500, d)).astype(dtype)
        model = fit(X, None, estimator, init=X[:9], max_iter=2)
        X[123, d - 1] = np.nan
        with pytest.raises(ValueError, match="NaN"):
            model.predict(X)


@pytest.mark.usefixtures("divided")
@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("seed", seeds(8, 400))
def test_iterations_in_cells_equal_plain_lloyd(seed, d):
    rng = np.random.default_rng(seed)
    kind, dtype = KINDS[rng.choice(EXACT)], [np.float32, np.float64][rng.integers(2)]
    n, k = int(rng.integers(60, 400)), int(rng.integers(1, 20))
    X = rounded(kind(rng, n, d, dtype))
    weight = rng.integers(0, 4, n).astype(float) if rng.uniform() < 0.3 else None
    start = X[rng.choice(n, k, replace=False)] + rng.normal(size=(k, d)).astype(dtype)
    assert_follows_plain_lloyd(X, start, 4, weight)


def test_most_cells_of_spread_centers_hold_one():
    """Otherwise nothing is gained: a grid that strikes no centre would pass every other test."""
    for l1 in (False, True):
        grid = cells.cells(np.random.default_rng(0).normal(size=(50, 2)), 8, np.float32, l1)
        assert grid.side == 256
        assert np.mean(grid.code >= 0) > 0.9


def test_equal_centers_are_looked_at_once():
    equal = np.concatenate([np.zeros((5000, 2)), np.ones((1, 2))])
    assert set(cells.cells(equal, 8, np.float64, False).members) <= {0, 2, 5000}


def test_crowded_centers_do_not_fill_the_memory(rng, monkeypatch):
    """Hardly anybody strikes a centre of a crowd: without a limit, half of the cells here would list all its 600."""
    monkeypatch.setattr(layout, "DIVIDED_FROM", 1)
    monkeypatch.setattr(cells, "ROWS", 1)
    line = np.stack([np.full(4400, 1e6), rng.uniform(0, 1e6, 4400)], axis=1)
    C = np.concatenate([[0, 5e5] + 1e-9 * rng.normal(size=(600, 2)), line])
    grid = cells.cells(C, 8, np.float64, False)
    assert np.mean(grid.code >= 0) > 0.1
    assert np.mean(grid.code == cells.CROWDED) > 0.1
    assert len(grid.members) <= cells.MOST + 600
    assert_predicts(rng.uniform(-1e5, 1.1e6, size=(2000, 2)), C)


def test_cells_that_tell_nothing_give_way_to_bounds(rng, monkeypatch):
    """One centre far away leaves all others in one crowded cell: the rows are scored, and bounds are made."""
    monkeypatch.setattr(layout, "DIVIDED_FROM", 500)
    X, seen = rng.uniform(size=(3000, 2)), []
    reassign = CPUBackend.reassign

    def watched(self, chunk, centers):
        delta = reassign(self, chunk, centers)
        seen.append((centers.bounds, delta.scored))
        return delta

    monkeypatch.setattr(CPUBackend, "reassign", watched)
    X[:3] = -1e6
    fit(X, init=np.concatenate([X[:1], X[100:180]]), max_iter=4, tol=0)
    assert seen[0][0] == Bounds.NONE
    assert seen[0][1] > 2900
    assert Bounds.MAKE in [bounds for bounds, _ in seen]
    seen.clear()
    fit(X[3:], init=X[100:180], max_iter=4, tol=0)
    assert [bounds for bounds, _ in seen] == [Bounds.NONE] * len(seen)
    assert max(scored for _, scored in seen) < 300


@pytest.mark.parametrize("weights", ["none", "integer"])
def test_medians_are_the_same_with_cells_and_without(rng, monkeypatch, weights, dtype):
    X, weight = rng.normal(size=(4000, 2)).astype(dtype), WEIGHTS[weights](rng, 4000)
    plain = fit(X, weight, KMedians, init=X[:30], max_iter=12, tol=0)
    monkeypatch.setattr(layout, "DIVIDED_FROM", 500)
    for rows in (None, 700):
        assert_same_bits(fit(X, weight, KMedians, init=X[:30], max_iter=12, tol=0, chunk_size=rows), plain)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_chunks_and_threads_do_not_show_where_cells_tell(rng, monkeypatch, pretend_threads, threads):
    monkeypatch.setattr(layout, "DIVIDED_FROM", 500)
    X = blobs(rng, 6000, 2, np.float32)
    whole = fit(X, init=X[:40], max_iter=9, tol=0)
    pretend_threads(threads)
    for rows in (333, 700, 5000):
        part = fit(X, init=X[:40], max_iter=9, tol=0, chunk_size=rows)
        assert_same_bits(part, whole)
