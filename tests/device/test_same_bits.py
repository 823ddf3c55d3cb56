"""The same bits as the CPU, whatever order a GPU adds in, whatever the tiles and chunks."""

from __future__ import annotations

import numpy as np
import pytest
from laws.cases import KINDS, WEIGHTS, blobs
from laws.oracle import direct_labels
from laws.runs import assert_same_bits, differences, fit, streams

from gpuclust import KMeans, KMedians, MiniBatchKMeans, MiniBatchKMedians
from gpuclust.objectives import median

from .runs import both, device_array


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("kind", KINDS)
def test_same_bits_as_the_cpu(cuda, rng, kind, weights, dtype):
    for n, d, k in ((45, 1, 3), (400, 9, 11), (700, 3, 40)):
        X, weight = KINDS[kind](rng, n, d, dtype), WEIGHTS[weights](rng, n)
        assert_same_bits(*both(X, weight, init=X[:k], max_iter=12))


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("kind", KINDS)
def test_medians_are_those_of_the_cpu(cuda, rng, kind, weights, dtype):
    for n, d, k in ((45, 1, 3), (400, 9, 11)):
        X, weight = KINDS[kind](rng, n, d, dtype), WEIGHTS[weights](rng, n)
        assert_same_bits(*both(X, weight, estimator=KMedians, init=X[:k], max_iter=5, tol=0))


@pytest.mark.usefixtures("small_tiles")
def test_medians_found_by_buckets(cuda, rng, monkeypatch, dtype):
    """Room for one value in 30: the counts in buckets, and so the passes, are those of the CPU."""
    from gpuclust.backends import cuda_ranks

    X, launched, launch = blobs(rng, 3000, 6, dtype), [], cuda_ranks.launch
    monkeypatch.setattr(cuda_ranks, "launch", lambda *args, **how: launched.append(args[0]) or launch(*args, **how))
    monkeypatch.setattr(median, "ROOM_ROW_BYTES", 0)
    monkeypatch.setattr(median, "ROOM_BYTES", X.size * 12 // 30)
    how = {"estimator": KMedians, "init": X[:5], "max_iter": 6, "tol": 0, "chunk_size": 900}
    on_gpu, on_cpu = fit(X, device="cuda", **how), fit(X, **how)
    assert_same_bits(on_gpu, on_cpu)
    assert on_gpu.n_passes_ == on_cpu.n_passes_
    assert sum("count_fine" in name for name in launched) > 6


@pytest.mark.parametrize("init", ["k-means++", "k-means||"])
def test_medians_seeded_and_in_chunks(cuda, rng, init, dtype):
    X = blobs(rng, 900, 3, dtype)
    how = {"estimator": KMedians, "n_clusters": 5, "init": init, "device": "cuda", "max_iter": 4}
    assert_same_bits(fit(X, chunk_size=397, **how), fit(X, **how))


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("weights", WEIGHTS)
def test_tiles_and_chunks_change_no_bit(cuda, rng, weights, dtype):
    X, weight = blobs(rng, 900, 5, dtype), WEIGHTS[weights](rng, 900)
    how = {"init": X[:8], "max_iter": 10}
    reference = fit(X, weight, **how)
    for rows in (None, 397):
        assert_same_bits(fit(X, weight, chunk_size=rows, device="cuda", **how), reference)


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("init", ["k-means++", "k-means||", "random"])
@pytest.mark.parametrize("weights", WEIGHTS)
def test_seeding_does_not_see_chunks(cuda, rng, init, weights, dtype):
    X, weight = blobs(rng, 1500, 3, dtype), WEIGHTS[weights](rng, 1500)
    how = {"n_clusters": 5, "init": init, "device": "cuda", "n_init": 2 if init == "random" else 1, "max_iter": 4}
    whole = fit(X, weight, **how)
    assert_same_bits(fit(X, weight, chunk_size=613, **how), whole)


@pytest.mark.parametrize("init", ["k-means++", "k-means||", "random"])
def test_seeding_is_as_good_as_on_the_cpu(cuda, rng, init):
    X = blobs(rng, 500, 4, np.float32)
    how = {"n_clusters": 6, "init": init, "n_init": 1, "max_iter": 5}
    ours, theirs = (
        [fit(X, random_state=seed, device=where, **how).inertia_ for seed in range(6)] for where in ("cuda", "cpu")
    )
    assert np.mean(ours) <= 1.1 * np.mean(theirs)


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("weights", ["none", "wide"])
def test_streams(cuda, rng, weights, dtype, tmp_path):
    X, weight = blobs(rng, 900, 3, dtype), WEIGHTS[weights](rng, 900)
    how = {"init": X[:7], "max_iter": 8}
    reference = fit(X, weight, **how)
    for name, data, w in streams(X, weight, tmp_path, rng):
        assert differences(fit(data, w, chunk_size=199, device="cuda", **how), reference) == [], name


@pytest.mark.usefixtures("small_tiles")
def test_labels_are_those_of_the_definition(cuda, rng, dtype):
    for kind in KINDS:
        X = KINDS[kind](rng, 500, 6, dtype)
        model = fit(X, init=X[:9], max_iter=4, device="cuda")
        np.testing.assert_array_equal(model.labels_, direct_labels(X, model.cluster_centers_), err_msg=kind)
        np.testing.assert_array_equal(model.predict(X), model.labels_, err_msg=kind)


def test_ties_go_to_the_lowest_centre(cuda, dtype):
    X = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, 3.0], [-2.0, 0.0]], dtype)
    centers = np.array([[1, 0], [0, 0], [0, 0], [1, 0]], dtype)
    model = fit(X, init=centers, max_iter=1, device="cuda")
    model.cluster_centers_ = centers
    assert list(model.predict(X)) == [1, 0, 0, 1]


@pytest.mark.parametrize("weights", WEIGHTS)
def test_empty_clusters_are_given_the_farthest_rows(cuda, rng, weights, dtype):
    X, weight = blobs(rng, 300, 2, dtype), WEIGHTS[weights](rng, 300)
    far = np.vstack([X[:3], X[:3] + 1e4, X[:3] - 1e4]).astype(dtype)
    assert_same_bits(*both(X, weight, init=far, max_iter=5))
    assert_same_bits(*both(X, weight, init=far, max_iter=5, chunk_size=141))


@pytest.mark.parametrize("far", [1e6, 1e20, 1e37])
def test_first_centres_far_outside_the_rows(cuda, rng, far, dtype):
    """Their scores overflow float32."""
    X = blobs(rng, 300, 3, dtype)
    assert_same_bits(*both(X, init=np.vstack([X[:3], X[:2] * far]).astype(dtype), max_iter=3))
    model = fit(X, init=X[:4], device="cuda")
    away = (X[:50] * far).astype(dtype)
    np.testing.assert_array_equal(model.predict(away), direct_labels(away, model.cluster_centers_))


def test_fewer_distinct_rows_than_clusters(cuda, rng, dtype):
    X = np.repeat(rng.normal(size=(3, 2)).astype(dtype), 20, axis=0)
    assert_same_bits(*both(X, init=np.vstack([X[::20], X[::20]])))
    assert len(np.unique(fit(X, n_clusters=5, device="cuda").labels_)) == 3


def test_nan_from_a_device_array_is_refused(cuda, rng):
    X = rng.normal(size=(50, 3)).astype(np.float32)
    X[7, 1] = np.nan
    with pytest.raises(ValueError, match="NaN or infinity: feature 1"):
        KMeans(3, device="cuda").fit(device_array(cuda, X))


@pytest.mark.parametrize("Class", [MiniBatchKMeans, MiniBatchKMedians])
@pytest.mark.parametrize("weights", WEIGHTS)
def test_mini_batches(cuda, rng, Class, weights, dtype, tmp_path):
    X, weight = blobs(rng, 900, 3, dtype), WEIGHTS[weights](rng, 900)
    np.save(tmp_path / "x.npy", X)
    for data in (X, tmp_path / "x.npy"):
        how = {"init": X[:6], "n_init": 1, "batch_size": 100, "random_state": 3, "max_iter": 2}
        ours, theirs = (
            Class(6, device=where, **how).fit(data, sample_weight=weight) for where in ("cuda", "cpu")
        )
        for name in ("cluster_centers_", "labels_", "inertia_", "n_steps_"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name), err_msg=name)
