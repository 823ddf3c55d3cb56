"""Law 1: how the rows are cut, stored and shared between threads changes no bit of the result."""

from __future__ import annotations

import warnings

import numba
import numpy as np
import pytest
from threadpoolctl import threadpool_limits

import gpuclust

from .cases import KINDS, WEIGHTS, blobs
from .runs import assert_same_bits, differences, fit, seeds, streams

INITS = ["k-means++", "k-means||", "random", "array"]


def case(rng, kind, dtype, n, d, k):
    """Return rows, weights and parameters of a fit."""
    X = KINDS[kind](rng, n, d, dtype)
    weight = WEIGHTS[rng.choice(list(WEIGHTS))](rng, n)
    init = rng.choice(INITS)
    if init == "array":
        init = X[rng.choice(n, k, replace=False)]
    return X, weight, {"n_clusters": k, "init": init if not isinstance(init, str) else str(init), "n_init": 1}


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("kind", KINDS)
def test_tiny_chunks(rng, kind, dtype):
    X, weight, how = case(rng, kind, dtype, 45, int(rng.choice([1, 2, 9])), 5)
    whole = fit(X, weight, **how)
    for rows in (1, 7, 45, 46):
        assert_same_bits(fit(X, weight, chunk_size=rows, **how), whole)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("kind", KINDS)
def test_chunks_and_streams(rng, kind, dtype, tmp_path):
    X, weight, how = case(rng, kind, dtype, 1500, int(rng.choice([2, 3, 8, 9])), 7)
    whole = fit(X, weight, **how)
    for rows in (997, 128):
        assert_same_bits(fit(X, weight, chunk_size=rows, **how), whole)
    for name, data, w in streams(X, weight, tmp_path, rng):
        assert differences(fit(data, w, chunk_size=997, **how), whole) == [], name


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("init", INITS)
@pytest.mark.parametrize("weights", WEIGHTS)
def test_every_seeding_with_every_kind_of_weights(rng, init, weights, dtype, tmp_path):
    X, weight = blobs(rng, 2500, 3, dtype), WEIGHTS[weights](rng, 2500)
    how = {"n_clusters": 12, "init": X[:12] if init == "array" else init, "n_init": 2 if init == "random" else 1}
    whole = fit(X, weight, **how)
    assert_same_bits(fit(X, weight, chunk_size=997, **how), whole)
    for name, data, w in streams(X, weight, tmp_path, rng):
        assert differences(fit(data, w, chunk_size=1024, **how), whole) == [], name


# Kernels change form at d <= 8, groups of centres start at k = 192, tiles are 16 rows, windows 4096.
@pytest.mark.parametrize(("d", "k"), [(1, 3), (2, 200), (8, 6), (9, 193), (17, 40), (128, 200), (300, 7)])
def test_every_form_of_the_kernels(rng, d, k, dtype):
    X = blobs(rng, 4500, d, dtype)
    how = {"init": X[:k], "max_iter": 6}
    whole = fit(X, **how)
    for rows in (997, 4096, 4111):
        assert_same_bits(fit(X, chunk_size=rows, **how), whole)


@pytest.mark.parametrize(("init", "d"), [("k-means++", 3), ("k-means||", 3), ("array", 3), ("array", 12)])
@pytest.mark.parametrize("weights", ["none", "wide"])
def test_thread_counts(rng, pretend_threads, init, d, weights, dtype):
    X, weight = blobs(rng, 21_000, d, dtype), WEIGHTS[weights](rng, 21_000)
    how = {"n_clusters": 10, "init": X[:10] if init == "array" else init, "max_iter": 12}
    pretend_threads(1)
    one = fit(X, weight, **how)
    for count in (2, 5, 16):
        pretend_threads(count)
        assert_same_bits(fit(X, weight, **how), one)
        assert_same_bits(fit(X, weight, chunk_size=9973, **how), one)


def test_thread_limits_that_users_set(rng, dtype):
    X = blobs(rng, 150_000, 5, dtype)  # enough work for two threads
    how = {"n_clusters": 20, "max_iter": 5, "init": X[:20]}
    reference = fit(X, **how)
    with threadpool_limits(limits=1):
        assert_same_bits(fit(X, **how), reference)
    before = numba.get_num_threads()
    for count in {1, min(2, before)}:
        numba.set_num_threads(count)
        assert_same_bits(fit(X, **how), reference)
    numba.set_num_threads(before)


def test_threads_are_limited_by_threadpoolctl_and_numba():
    from gpuclust.backends.threads import thread_count

    with threadpool_limits(limits=1):
        assert thread_count() == 1
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    assert thread_count() == 1
    numba.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("seed", seeds(25, 600))
def test_fuzz(seed, tmp_path):
    rng = np.random.default_rng(seed)
    kind, dtype = rng.choice(list(KINDS)), [np.float32, np.float64][rng.integers(2)]
    n, d = int(rng.integers(20, 400)), int(rng.choice([1, 2, 3, 8, 9, 17, 33]))
    X, weight, how = case(rng, kind, dtype, n, d, int(rng.integers(1, 20)))
    if weight is not None:
        weight[0] = 1.0
    whole = fit(X, weight, **how)
    for rows in rng.integers(1, n, 2):
        assert_same_bits(fit(X, weight, chunk_size=int(rows) if n < 60 else int(rows) // 2 + 20, **how), whole)
    name, data, w = list(streams(X, weight, tmp_path, rng))[rng.integers(5)]
    assert differences(fit(data, w, chunk_size=int(rng.integers(20, n + 20)), **how), whole) == [], name


@pytest.mark.usefixtures("one_thread")
def test_prediction_score_and_transform(rng, dtype, tmp_path):
    X, weight = blobs(rng, 700, 4, dtype), WEIGHTS["wide"](rng, 700)
    model = fit(X, n_clusters=7)
    expected = model.predict(X), model.transform(X), model.score(X, sample_weight=weight)
    warnings.filterwarnings("ignore", "X has feature names")  # those of the Parquet files
    for rows in (7, 300):
        model.set_params(chunk_size=rows)
        for name, data, w in [("array", X, weight), *streams(X, weight, tmp_path, rng)]:
            found = model.predict(data), model.transform(data), model.score(data, sample_weight=w)
            for a, b in zip(found, expected, strict=True):
                np.testing.assert_array_equal(a, b, err_msg=name, strict=True)


def test_memory_budget_changes_chunks_and_no_bit(rng, dtype, tmp_path):
    X = blobs(rng, 5000, 6, dtype)
    np.save(tmp_path / "x.npy", X)
    whole = fit(X, n_clusters=8)
    with gpuclust.config_context(memory="200KB"):
        streamed = fit(tmp_path / "x.npy", n_clusters=8)
    assert_same_bits(streamed, whole)
