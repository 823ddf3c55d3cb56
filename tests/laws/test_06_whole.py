"""Law 6, of rows that are all in memory: the middle values of clusters, selected feature by feature."""

from __future__ import annotations

import numpy as np
import pytest

from gpuclust.backends.cpu import CPUBackend
from gpuclust.backends.kernels import whole
from gpuclust.data.array import ArraySource, DensifiedSource

from .cases import KINDS

backend = CPUBackend()
LARGE = 5 * whole.BLOCK + 77


def assert_middles(X, label, k, wanted=None):
    """Hold the middle values against those of sorted columns."""
    before, wanted = X.copy(), np.ones(k, bool) if wanted is None else wanted
    one, two = backend.middles(X, label.astype(np.int32), wanted)
    for j in range(k):
        own = np.sort(X[label == j], axis=0)
        if wanted[j] and len(own):
            np.testing.assert_array_equal(one[j], own[(len(own) - 1) // 2], err_msg=f"lower, cluster {j}")
            np.testing.assert_array_equal(two[j], own[len(own) // 2], err_msg=f"upper, cluster {j}")
        else:
            assert np.isnan(one[j]).all() and np.isnan(two[j]).all()
    np.testing.assert_array_equal(X, before)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 2, 23, 24, 25, 26, 300, 4001])
def test_small_clusters(rng, kind, n, dtype):
    X = KINDS[kind](rng, n, 5, dtype)
    for k in (1, 3, 40):
        assert_middles(X, rng.integers(0, k, n), k)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("odd", [0, 1])
def test_large_clusters(rng, kind, odd, dtype):
    X = KINDS[kind](rng, LARGE + odd, 3, dtype)
    assert_middles(X, np.zeros(len(X)), 1)
    assert_middles(X, (rng.random(len(X)) < 0.1).astype(int), 2)


@pytest.mark.parametrize("size", [whole.BLOCK, whole.BLOCK + 1])
@pytest.mark.parametrize("d", [whole.COLUMNS - 1, 2 * whole.COLUMNS + 3])
def test_many_features(rng, size, d, dtype):
    X = rng.normal(size=(size + 50, d)).astype(dtype)
    assert_middles(X, np.r_[np.zeros(size), np.ones(50)], 2)


@pytest.mark.parametrize("n", [2, 30, 1000, LARGE + 1])
@pytest.mark.parametrize("below", [-1, 0, 1])
def test_few_values_that_many_rows_share(rng, n, below, dtype):
    """The two values in the middle, of an even number, are the same or not by one row."""
    half = n // 2 + below
    for values in ([0.0, 1.0], [-0.0, 0.0], [-3.0, 5.0]):
        column = np.repeat(np.array(values, dtype), [half, n - half])
        X = np.stack([column, rng.permutation(column), column[::-1]], axis=1)
        assert_middles(np.ascontiguousarray(X), np.zeros(n), 1)


@pytest.mark.parametrize("n", [100, 3000, LARGE])
@pytest.mark.parametrize("direction", [-1, 1])
@pytest.mark.parametrize("step", [2, 3, 16, whole.TRIED, 50])
def test_samples_that_mislead(rng, n, direction, step, dtype):
    """The rows of the sample, at equal distances, lie on one side of all others, or by themselves."""
    X = rng.normal(size=(n, 2)).astype(dtype)
    X[:: n // min(n, step * 20)] += dtype(direction * 100)
    size = min(int(4 * np.sqrt(n)), whole.SAMPLE)
    X[np.arange(size) * n // size, 1] = direction * 7
    X[np.arange(whole.TRIED) * n // whole.TRIED, 0] = direction * 1000
    assert_middles(X, np.zeros(n), 1)


def test_a_sample_that_tells_too_wide_a_range(rng, dtype):
    """More lies between the sample's values than there is room for."""
    X = rng.normal(size=(20 * whole.BLOCK, 1)).astype(dtype)
    size = min(int(4 * np.sqrt(len(X))), whole.SAMPLE)
    X[: len(X) // 2 - 500] = -20  # the middle is among the first that are kept by their number, not by their value
    X[np.arange(size) * len(X) // size, 0] = np.where(np.arange(size) % 2, -10, 10)
    assert_middles(X, np.zeros(len(X)), 1)


def test_only_what_is_asked_for(rng, dtype):
    X, label = rng.normal(size=(2000, 3)).astype(dtype), rng.choice([0, 1, 3, 4], 2000)
    assert_middles(X, label, 6, np.array([True, False, True, True, False, True]))
    assert_middles(X, label, 6, np.zeros(6, bool))


@pytest.mark.parametrize("threads", [2, 3, 7])
def test_threads_do_not_show(rng, pretend_threads, threads, dtype):
    X, label = rng.normal(size=(30_000, 5)).astype(dtype), np.minimum(rng.geometric(0.4, 30_000), 9) - 1
    pretend_threads(threads)
    assert_middles(X, label, 12)


def test_rows_are_whole_in_one_chunk_without_weights(rng):
    import scipy.sparse

    X = rng.normal(size=(20, 3))
    assert ArraySource(X, None, backend).whole is X
    assert ArraySource(X, None, backend, 20).whole is X
    assert ArraySource(X, None, backend, 19).whole is None
    assert ArraySource(X, np.ones(20), backend).whole is None
    assert ArraySource(scipy.sparse.csr_array(X), None, backend).whole is None
    assert DensifiedSource(scipy.sparse.csr_array(X), None, backend).whole is None
