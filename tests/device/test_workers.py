"""Dask workers that have GPUs: pretended ones of workers in this process, and one real card that they share."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from laws.cases import WEIGHTS, blobs
from laws.runs import assert_same_bits, fit
from pandas.testing import assert_frame_equal

import gpuclust
from gpuclust import DeviceUnavailableError, KMeans, KMedians, MiniBatchKMeans, metrics
from gpuclust.preprocessing import RobustScaler, StandardScaler
from gpuclust.profiling import permutation_importance

from .runs import device_array

distributed = pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def two_workers():
    """Yield a client of a cluster of two workers in this process."""
    quiet = {"dashboard_address": ":0", "silence_logs": 50}
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=False, **quiet) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


@pytest.fixture
def workers(two_workers, cuda):
    """Make the cluster the default, and give its workers a GPU."""
    with two_workers.as_current():
        yield two_workers


def shards(X, *cuts):
    import dask

    return gpuclust.shards([dask.delayed(part) for part in np.split(X, cuts)])


@pytest.mark.parametrize("weights", ["none", "wide"])
@pytest.mark.parametrize("estimator", [KMeans, KMedians])
def test_same_bits_as_one_machine(workers, rng, estimator, weights):
    dtype = np.float32 if weights == "none" else np.float64
    X, weight = blobs(rng, 301, 5, dtype), WEIGHTS[weights](rng, 301)
    how = {"init": X[:11], "max_iter": 4, "tol": 0, "estimator": estimator}
    ours = fit(shards(X, 40, 40, 220), weight, device="auto", **how)
    assert ours.device_ == "cuda:0"
    assert_same_bits(ours, fit(X, weight, **how))


@pytest.mark.parametrize(
    ("estimator", "init"), [(KMeans, "k-means++"), (KMeans, "k-means||"), (KMeans, "random"), (KMedians, "k-means||")]
)
def test_seeding_does_not_see_workers(workers, rng, estimator, init):
    X = blobs(rng, 300, 3, np.float32)
    how = {"n_clusters": 5, "init": init, "n_init": 2 if init == "random" else 1, "max_iter": 2, "estimator": estimator}
    assert_same_bits(fit(shards(X, 100), device="cuda:0", **how), fit(X, device="cuda", **how))


def test_an_empty_cluster_is_moved_to_the_same_row(workers, rng):
    X = blobs(rng, 300, 3, np.float64)
    init = np.concatenate([X[:4], X[:1] + 1e6])
    ours = fit(shards(X, 80), init=init, max_iter=3, device="auto")
    assert_same_bits(ours, fit(X, init=init, max_iter=3))


def by_turns(monkeypatch):
    """Let every other holder that is made find no device."""
    from gpuclust.backends.cpu import CPUBackend
    from gpuclust.backends.select import Choice
    from gpuclust.data import holder

    select, turns = holder.select, itertools.count()  # two threads ask at once: each takes a number in one step

    def choose(device):
        return Choice(CPUBackend(), "a test") if next(turns) % 2 else select(device)

    monkeypatch.setattr(holder, "select", choose)


def one_each(client, X):
    """Return a part of the rows for each of the workers."""
    parts = zip(np.split(X, [100]), client.nthreads(), strict=True)
    return gpuclust.shards([client.submit(np.asarray, part, workers=[address]) for part, address in parts])


def test_some_workers_have_a_gpu_and_some_have_none(workers, rng, monkeypatch):
    by_turns(monkeypatch)
    X = blobs(rng, 301, 5, np.float32)
    for estimator in (KMeans, KMedians):
        how = {"n_clusters": 6, "max_iter": 5, "estimator": estimator}
        ours = fit(one_each(workers, X), device="auto", **how)
        assert ours.device_ == "cpu,cuda:0"
        assert_same_bits(ours, fit(X, **how))


@pytest.mark.parametrize("estimator", [KMeans, KMedians])
def test_who_takes_the_rows_of_a_lost_worker_may_have_no_gpu_or_get_one(workers, rng, monkeypatch, estimator):
    from gpuclust.data import crew

    executed, calls = crew._executed, itertools.count(1)

    async def lost_once(*args):
        if next(calls) == at:
            raise OSError("closed")
        return await executed(*args)

    by_turns(monkeypatch)
    monkeypatch.setattr(crew, "NOTICE", 0.0)
    monkeypatch.setattr(crew, "_executed", lost_once)
    X, weight = blobs(rng, 301, 5, np.float32), WEIGHTS["wide"](rng, 301)
    how = {"init": X[:30], "tol": 0, "estimator": estimator}
    alone = fit(X, weight, **how)
    for at in range(10, 23, 6):
        calls = itertools.count(1)
        assert_same_bits(fit(one_each(workers, X), weight, device="auto", **how), alone)
        assert next(calls) > at


def test_the_devices_are_those_of_the_workers_there_are(workers, rng, monkeypatch):
    from gpuclust.data.crew import Request
    from gpuclust.data.dask import DaskSource

    by_turns(monkeypatch)
    monkeypatch.setattr("gpuclust.data.crew.NOTICE", 0.0)
    source = DaskSource(one_each(workers, blobs(rng, 301, 5, np.float32)), None, "auto")
    assert source.device == "cpu,cuda:0"
    said = source._crew._answers[source._view]
    part = next(part for part in source._crew.parts if said[part.holder.key][1] == "cpu")
    source._crew._recovered(part, Request(source._view, "weights"))
    assert source.device == "cuda:0"


@pytest.mark.parametrize("weights", ["none", "wide"])
def test_rows_that_a_device_has_no_room_for_stay_with_the_host(two_workers, machine, rng, monkeypatch, weights):
    from gpuclust.data import holder

    opened, stream = [], holder.StreamSource
    monkeypatch.setattr(holder, "StreamSource", lambda *args: opened.append(args) or stream(*args))
    X, weight = blobs(rng, 4000, 8, np.float32), WEIGHTS[weights](rng, 4000)
    with two_workers.as_current():
        for limit, streamed in ((1 << 40, 0), (200_000, 2), (140_000, 2)):  # the second holds what one of both has
            del opened[:]
            machine.limit = limit
            ours = fit(shards(X, 2000), weight, init=X[:5], max_iter=3, device="cuda", chunk_size=100)
            assert_same_bits(ours, fit(X, weight, init=X[:5], max_iter=3))
            assert len(opened) == streamed


def test_everything_else(workers, rng):
    X = blobs(rng, 300, 4, np.float32)
    there, label = shards(X, 120), np.arange(300) % 3
    ours = MiniBatchKMeans(4, random_state=0, batch_size=64, device="cuda").fit(there)
    theirs = MiniBatchKMeans(4, random_state=0, batch_size=64, device="cpu").fit(X)
    np.testing.assert_array_equal(ours.cluster_centers_, theirs.cluster_centers_)
    for Scaler in (StandardScaler, RobustScaler):
        on_gpu, on_cpu = Scaler(device="cuda").fit(there), Scaler(device="cpu").fit(X)
        np.testing.assert_array_equal(on_gpu.scale_, on_cpu.scale_)
    for score in (metrics.davies_bouldin_score, metrics.calinski_harabasz_score):
        assert score(there, label, device="cuda") == score(X, label, device="cpu")
    model = KMeans(3, random_state=0).fit(there)
    frames = [permutation_importance(model, rows, n_repeats=1, random_state=0) for rows in (there, X)]
    assert_frame_equal(*frames)
    np.testing.assert_array_equal(model.predict(there).compute(), KMeans(3, random_state=0, device="cpu").fit(X).labels_)


@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_blocks_that_are_on_a_gpu(workers, cuda, rng, device):
    import dask

    def placed(host):
        return dask.delayed(lambda: device_array(cuda, host))()

    X, weight, cuts = blobs(rng, 90, 3, np.float32), rng.uniform(0, 3, 90), [40, 40]
    there, heavy = (gpuclust.shards([placed(part) for part in np.split(column, cuts)]) for column in (X, weight))
    how = {"init": X[:4], "max_iter": 3}
    ours, alone = fit(there, heavy, device=device, **how), fit(X, weight, **how)
    assert_same_bits(ours, alone)
    np.testing.assert_array_equal(ours.transform(there).compute(), alone.transform(X))
    assert_same_bits(fit(there, device_array(cuda, weight), device=device, **how), alone)


def test_settings_of_a_block_hold_for_what_was_made_lazily_in_it(workers, rng, monkeypatch):
    import dask.array as da

    X = blobs(rng, 90, 3, np.float32)
    lazy = da.from_array(X, chunks=(40, 3))
    model, scaler = KMeans(3, random_state=0, device="auto"), StandardScaler()
    with gpuclust.config_context(device="cpu"):
        labels = model.fit(lazy).labels_
        made = [labels, model.predict(lazy), model.predict(shards(X, 40)), model.transform(lazy)]
        made += [scaler.fit(lazy).transform(lazy)]
    expected = [model.predict(X)] * 3 + [model.transform(X), scaler.transform(X)]

    def refused(*args, **options):
        raise AssertionError("a GPU was used")

    monkeypatch.setattr("gpuclust.backends.cuda.CUDABackend.upload", refused)
    for each, value in zip(made, expected, strict=True):
        np.testing.assert_array_equal(each.compute(), value)
    with pytest.raises(AssertionError, match="a GPU was used"):
        model.predict(lazy).compute()


@pytest.mark.parametrize("device", ["auto", "cpu"])
@pytest.mark.parametrize("kind", ["array", "shards"])
def test_blocks_on_a_gpu_that_are_prepared_lazily_stay_there(workers, cuda, rng, device, kind):
    import dask
    import dask.array as da

    X, cuts = blobs(rng, 90, 3, np.float32), [40, 40]

    def placed(part):
        return device_array(cuda, part)

    there = gpuclust.shards([dask.delayed(placed)(part) for part in np.split(X, cuts)])
    if kind == "array":
        given = da.from_array(X, chunks=((40, 0, 50), 3))
        there = given.map_blocks(placed, dtype=X.dtype, meta=placed(X[:0]))
    alone = StandardScaler(device="cpu").fit(X)
    scaler = StandardScaler(device=device).fit(there)
    out = scaler.transform(there)
    meta, pieces = (out._meta, out.to_delayed().ravel()) if kind == "array" else (None, out.pieces)
    for piece, part in zip(pieces, np.split(alone.transform(X), cuts), strict=True):
        block = piece.compute()
        assert meta is None or type(block) is type(meta)
        assert isinstance(block, np.ndarray) == (device == "cpu")
        np.testing.assert_array_equal(block.get() if device == "auto" else block, part)
    model = KMeans(3, random_state=0, device=device).fit(out)
    rows = KMeans(3, random_state=0, device="cpu").fit(alone.transform(X))
    np.testing.assert_array_equal(model.predict(out).compute(), rows.labels_)


def test_what_a_worker_lacks_is_told_with_its_name(workers, rng):
    X = shards(blobs(rng, 20, 2, np.float32))
    with pytest.raises(DeviceUnavailableError, match=r"Worker \S+: device='cuda:7' cannot be used"):
        KMeans(2, device="cuda:7").fit(X)
    for several in ("cuda:all", ["cuda:0", "cuda:1"]):
        with pytest.raises(DeviceUnavailableError, match="a Dask worker uses one GPU"):
            KMeans(2, device=several).fit(X)
    with pytest.raises(ValueError, match="is none of"):
        KMeans(2, device="gpu").fit(X)
    for choice, used in (("cpu", "cpu"), (["cuda:0"], "cuda:0")):
        with gpuclust.config_context(device=choice):
            assert KMeans(2).fit(X).device_ == used


def test_values_that_are_not_finite_are_refused(workers, rng):
    X = blobs(rng, 50, 2, np.float32)
    X[30, 1] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        KMeans(2, device="cuda").fit(shards(X, 20))
