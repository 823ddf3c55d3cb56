"""Law 2: a label is the argmin of the distance summed directly in float64, lowest index on ties."""

from __future__ import annotations

import numpy as np
import pytest

from gpuclust.backends.layout import group_count

from .cases import KINDS, blobs
from .certified import (
    EXACT,
    assert_certified,
    assert_follows_plain_lloyd,
    assert_predicts,
    halfway,
    last_bits,
    model_with,
    outside,
    rounded,
    ties,
)
from .oracle import direct_labels
from .runs import fit, seeds

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("d", [1, 2, 8, 9, 17])
def test_labels_are_the_direct_argmin(rng, kind, d, dtype):
    X = KINDS[kind](rng, 600, d, dtype)
    for k in (1, 7, 40):
        assert_certified(fit(X, init=X[rng.choice(600, k, replace=False)], max_iter=4), X)


@pytest.mark.parametrize(("d", "k"), [(128, 50), (300, 7), (3, 200), (40, 250)])
def test_wide_rows_and_many_centers(rng, d, k, dtype):
    X = blobs(rng, 1500, d, dtype)
    assert_certified(fit(X, init=X[:k], max_iter=5), X)


@pytest.mark.parametrize(("d", "k"), [(8, 64), (16, 210), (300, 20)])
@pytest.mark.parametrize("far", [1e2, 1e4, 1e9, 1e15])
def test_first_centers_so_far_away_that_their_scores_overflow(rng, d, k, far, dtype):
    """They win no row and are relocated: bounds made while they were far away must not settle any row then."""
    X = rng.normal(size=(1500, d)).astype(dtype)
    start = np.concatenate([np.zeros((1, d)), far + rng.normal(size=(k - 1, d))]).astype(dtype)
    model = fit(X, init=start, tol=0, max_iter=4)
    assert_certified(model, X)
    assert len(np.unique(model.labels_)) == k


@pytest.mark.parametrize("d", [1, 2, 8, 9, 17, 64])
def test_rows_halfway_between_centers(rng, d, dtype):
    assert_predicts(*halfway(rng, 3000, 30, d, dtype))


@pytest.mark.parametrize("d", [2, 9])
def test_equal_centers_go_to_the_lowest_index(rng, d, dtype):
    C = rng.normal(size=(8, d)).astype(dtype)[[3, 1, 3, 0, 1, 3, 7, 0]]
    found = model_with(C).predict(rng.normal(size=(500, d)).astype(dtype))
    assert set(found) <= {0, 1, 3, 6}


@pytest.mark.parametrize("d", [1, 2, 3, 8, 9])
def test_grids_tie_exactly(rng, d, dtype):
    assert_predicts(*ties(rng, d, dtype))


@pytest.mark.parametrize("d", [2, 9, 33])
@pytest.mark.parametrize("far", [1e3, 1e6, 1e12])
def test_centers_that_differ_in_the_last_bits_far_from_zero(rng, d, far, dtype):
    assert_predicts(*last_bits(rng, d, dtype, far))


@pytest.mark.parametrize("d", [2, 9])
def test_rows_far_outside_the_centers(rng, d, dtype):
    """Scores overflow float32; the rows are decided in float64."""
    assert_predicts(*outside(rng, d, dtype, 37 if dtype == np.float32 else 150))


def test_float64_model_labels_float32_rows_and_the_other_way(rng):
    C = rng.normal(size=(40, 7))
    X = rng.normal(size=(900, 7))
    for rows, centers in ((X.astype(np.float32), C), (X, C.astype(np.float32))):
        assert_predicts(rows, centers)


@pytest.mark.parametrize("seed", seeds(40, 1500))
def test_fuzz_predict(seed):
    rng = np.random.default_rng(seed)
    kind, dtype = KINDS[rng.choice(list(KINDS))], [np.float32, np.float64][rng.integers(2)]
    d, k = int(rng.integers(1, 40)), int(rng.integers(1, 60))
    X = kind(rng, 300 + k, d, dtype)
    C, X = X[300:], X[:300]
    assert_predicts(X, C)


@pytest.mark.parametrize("seed", seeds(30, 800))
def test_pruned_iterations_equal_plain_lloyd(seed):
    rng = np.random.default_rng(seed)
    kind, dtype = KINDS[rng.choice(EXACT)], [np.float32, np.float64][rng.integers(2)]
    n, d, k = int(rng.integers(20, 250)), int(rng.choice([1, 2, 3, 8, 9, 17])), int(rng.integers(1, 13))
    X = rounded(kind(rng, n, d, dtype))
    weight = rng.integers(0, 4, n).astype(float) if rng.uniform() < 0.3 else None
    start = X[rng.choice(n, k, replace=False)]
    if min(np.unique(start, axis=0).shape[0], k) < k:
        start = start + rng.normal(size=start.shape).astype(dtype)
    assert_follows_plain_lloyd(X, start, int(rng.integers(3, 9)), weight)


@pytest.mark.parametrize(("d", "k", "groups"), [(3, 200, 1), (16, 210, 3), (48, 300, 6), (12, 193, 2), (260, 60, 5)])
def test_group_bounds_equal_plain_lloyd(rng, d, k, groups, dtype):
    X = rounded((rng.normal(size=(60, d))[rng.integers(60, size=700)] * 4 + rng.normal(size=(700, d))).astype(dtype))
    start = X[rng.choice(700, k, replace=False)]
    assert group_count(k, d, X.itemsize) >= groups
    assert_follows_plain_lloyd(X, start, 4)


def test_more_than_one_window_of_rows_equals_plain_lloyd(rng, dtype):
    X = np.round(blobs(rng, 9000, 2, np.float64) * 64).astype(dtype)
    start = X[:10]
    for m in (2, 5, 9):
        model = fit(X, init=start, max_iter=m, tol=0)
        centers = start.astype(np.float64)
        for _ in range(m):
            labels = direct_labels(X, centers)
            centers = np.stack([X[labels == j].astype(np.float64).sum(axis=0) / (labels == j).sum() for j in range(10)])
        np.testing.assert_array_equal(model.cluster_centers_, centers.astype(dtype))
