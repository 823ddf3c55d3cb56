"""Transfers, full devices, imprecise products, two devices: what only the stand-in can show."""

from __future__ import annotations

import contextlib
import functools
import gc
import logging
import operator
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from laws.cases import WEIGHTS, blobs
from laws.runs import assert_same_bits, fit, write_npy, write_parquet

from gpuclust import DeviceMemoryError, KMeans, KMedians, stream
from gpuclust.backends.statistics import Moves
from gpuclust.validation import Reader, open_source

from . import fakecupy
from .order import Order
from .runs import device_array


def test_rows_cross_once(machine, rng):
    X = blobs(rng, 4000, 8, np.float32)
    machine.h2d_bytes = machine.d2h_bytes = machine.waits = 0
    model = fit(X, init=X[:5], device="cuda")
    small = 3 * 64 * 1024 * model.n_iter_
    assert X.nbytes <= machine.h2d_bytes < X.nbytes + small
    assert machine.d2h_bytes < 4 * len(X) + small
    assert machine.waits < 8 * (model.n_iter_ + 4)


def test_a_kernel_keeps_the_shared_memory_that_it_once_needed(machine, rng):
    """CUDA has one limit for a kernel, whatever sizes it is launched with."""
    from gpuclust.backends import cuda_labels
    from gpuclust.backends.frame import Frame

    for d in (128, 64, 128):
        X = rng.normal(size=(40, d)).astype(np.float32)
        centers = X[:3].astype(np.float64)
        packed = cuda_labels.pack(device_array(sys.modules["cupy"], centers), Frame.around(centers, X.dtype))
        label = cuda_labels.nearest(device_array(sys.modules["cupy"], X), packed)
        assert label[:3].get().tolist() == [0, 1, 2]


@pytest.mark.parametrize("estimator,crossings", [(KMeans, [0, 1, 0]), (KMedians, [1, 1, 0])])
def test_an_iteration_waits_once(machine, rng, estimator, crossings):
    """For one record; the centres of K-Means never leave the device, those of K-Medians are sent."""
    X, found = blobs(rng, 4000, 8, np.float32), []
    for iterations in (3, 4):
        machine.h2d = machine.d2h = machine.waits = 0
        assert fit(X, estimator=estimator, init=X[:12], device="cuda", max_iter=iterations, tol=0).n_iter_ == iterations
        found.append(np.array([machine.h2d, machine.d2h, machine.waits]))
    assert (found[1] - found[0]).tolist() == crossings


@pytest.mark.parametrize("estimator", [KMeans, KMedians])
def test_seeding_waits_as_often_for_many_centres(machine, rng, estimator):
    """Nothing crosses before all centres are drawn."""
    X, found = blobs(rng, 1500, 8, np.float32), []
    for k in (9, 30):
        machine.h2d = machine.d2h = machine.waits = 0
        fit(X, estimator=estimator, n_clusters=k, init="k-means++", device="cuda", max_iter=1)
        found.append((machine.h2d, machine.d2h, machine.waits))
    assert found[0] == found[1]


@pytest.mark.parametrize("where", ["cuda", "cuda:all"])
@pytest.mark.parametrize("weights", ["none", "wide"])
@pytest.mark.parametrize("estimator", [KMeans, KMedians])
def test_a_pass_over_chunks_waits_once(machine, rng, tmp_path, monkeypatch, estimator, weights, where):
    """However many chunks: each sends its rows and nothing else, and what it tells is read while others compute."""
    monkeypatch.setattr("gpuclust.objectives.median.SAMPLE_BYTES", 1 << 14)
    X, weight = blobs(rng, 3000, 8, np.float32), WEIGHTS[weights](rng, 3000)
    np.save(tmp_path / "x.npy", X)
    how, found = {"estimator": estimator, "init": X[:12], "tol": 0, "device": where}, []
    for chunk_size, iterations in ((500, 3), (100, 3), (500, 4)):
        machine.h2d = machine.d2h = machine.waits = 0
        model = fit(tmp_path / "x.npy", weight, chunk_size=chunk_size, max_iter=iterations, **how)
        found.append((model, machine.h2d, machine.d2h + machine.waits))
    (few, sent, waits), (many, sent_of_many, waits_of_many), (longer, _, waits_of_longer) = found
    assert_same_bits(few, many)
    assert waits_of_many == waits
    assert sent_of_many - sent == 24 * few.n_passes_ * (1 if weight is None else 2)
    devices = machine.devices if where == "cuda:all" else 1
    assert 0 < waits_of_longer - waits <= (longer.n_passes_ - few.n_passes_) * devices


@pytest.mark.parametrize("init", ["k-means++", "k-means||"])
def test_a_pass_of_seeding_waits_once(machine, rng, tmp_path, init):
    X, found = blobs(rng, 3000, 4, np.float32), []
    np.save(tmp_path / "x.npy", X)
    for chunk_size in (1000, 100):
        machine.d2h = machine.waits = 0
        model = fit(tmp_path / "x.npy", init=init, n_clusters=3, max_iter=1, chunk_size=chunk_size, device="cuda")
        found.append((machine.d2h, machine.waits, model.cluster_centers_.tolist()))
    assert found[0] == found[1]


def moves(number):
    from gpuclust.backends import cuda_later

    record = cuda_later.Record(number=((1,), np.int64), more=((3,), np.float32))
    record["number"][:] = number
    return record.tell(lambda number, more: Moves(int(number[0]), int(more.sum()), number.copy()))


def test_a_statistic_that_is_asked_too_early_waits(machine):
    """And what has not landed is not read."""
    from gpuclust.backends import cuda_later

    assert moves(3) == Moves(3, 0, np.array([3]))
    seen = []

    def chunks():
        one, two = moves(1), moves(2)
        assert machine.waits == 0
        both = one.merge(two)
        seen.append((both.moved, machine.waits))
        yield both.merge(Moves(4, 0, np.array([4])))
        yield moves(8)

    machine.waits = 0
    total = cuda_later.told(chunks())
    assert seen == [(3, 1)] and total.moved == 15 and type(total) is Moves
    assert machine.waits == 2


def test_no_more_crosses_at_once_than_there_is_room_for(machine):
    from gpuclust.backends import cuda_later

    cuda_later.UNDER_WAY = 60
    assert cuda_later.told(moves(number) for number in range(9)).moved == 36
    assert machine.waits > 5


def test_a_pass_that_fails_leaves_no_copy_under_way(machine):
    from gpuclust.backends import cuda_later

    def chunks():
        yield moves(1)
        assert machine.stream(0).under_way == 1
        raise ValueError("the second chunk")

    with pytest.raises(ValueError, match="the second chunk"):
        cuda_later.told(chunks())
    assert machine.stream(0).under_way == 0


def test_rows_are_halved_once(machine, rng):
    """However many starts and iterations; chunk by chunk, each time."""
    X = blobs(rng, 1500, 20, np.float32)
    how = {"n_clusters": 40, "init": "random", "n_init": 3, "device": "cuda", "max_iter": 4}
    models = [fit(X, **how)]
    assert machine.launches.count("halve_f32") == 1
    machine.launches.clear()
    models.append(fit(X, chunk_size=700, **how))
    assert machine.launches.count("halve_f32") > 9
    assert_same_bits(*models)


def test_rows_are_not_halved_beforehand_where_that_saves_nothing(machine, rng):
    X = blobs(rng, 1500, 3, np.float32)
    fit(X, n_clusters=70, device="cuda", max_iter=4)
    assert machine.launches.count("halve_f32") > 3  # an image of 3 features is larger than they are
    X = blobs(rng, 6000, 20, np.float32)
    with_image = fit(X, n_clusters=40, device="cuda", max_iter=4)
    machine.launches.clear()
    machine.limit = machine.live + X.nbytes * 5 // 2  # rows and the tiles of a pass, but no image
    tight = fit(X, n_clusters=40, device="cuda", max_iter=4)
    assert machine.launches.count("halve_f32") > 3
    assert_same_bits(with_image, tight)


@pytest.mark.parametrize("estimator", [KMeans, KMedians])
def test_few_centres_are_scored_as_rows_are_read(machine, rng, estimator):
    """By one kernel; nothing is made of the rows."""
    X = blobs(rng, 1500, 20, np.float32)
    fit(X, estimator=estimator, n_clusters=6, init="random", device="cuda", max_iter=4)
    metric = "l1" if estimator is KMedians else "l2"
    assert machine.launches.count(f"score_{metric}_f32") >= 4
    assert not {"halve_f32", f"prepare_{metric}_f32", f"score_{metric}"} & set(machine.launches)


def test_an_image_is_made_once_centres_are_many(machine, rng):
    from gpuclust.backends.frame import Frame
    from gpuclust.backends.select import select
    from gpuclust.data.array import ArraySource

    X = blobs(rng, 300, 20, np.float32)
    backend = select("cuda").backend
    source, frame = ArraySource(backend.upload(X, X.dtype), None, backend), Frame.around(X.astype(np.float64), X.dtype)
    for k, made in ((3, 0), (40, 1), (3, 1), (50, 1)):
        source.keep(frame, k)
        assert machine.launches.count("halve_f32") == made
    source.keep(Frame.around(X.astype(np.float64), X.dtype), 40)  # rows lie elsewhere in another frame
    assert machine.launches.count("halve_f32") == 2


@pytest.mark.parametrize("piece", [60, 990])
def test_large_arrays_cross_in_pieces(machine, rng, monkeypatch, piece):
    """Through pinned memory that is written anew once a piece has crossed: until then its copy may still be to come."""
    from gpuclust.backends import copying, cuda_memory

    monkeypatch.setattr(cuda_memory, "PIECE", piece)
    monkeypatch.setattr(copying, "PART", 16)
    monkeypatch.setattr(copying, "thread_count", lambda: 3)
    X = rng.normal(size=(333, 6))
    for rows in (X, X[::2], X[:, 1:4], np.asfortranarray(X), X[:, 0], X.astype(np.float32)):
        for dtype in (None, np.float32, np.float64):
            there = cuda_memory.send(rows, dtype)
            np.testing.assert_array_equal(there.get(), rows.astype(dtype or rows.dtype))
    machine.h2d = 0
    cuda_memory.send(X)
    assert machine.h2d >= X.nbytes / piece - 1
    machine.h2d = 0
    cuda_memory.send(in_pinned_memory(X))  # a device reads it as it is
    assert machine.h2d == 1


def in_pinned_memory(rows):
    """A copy in pinned memory."""
    from gpuclust.backends import cuda_memory

    out = cuda_memory.pinned_empty(rows.shape, rows.dtype)
    out[...] = rows
    return out


@pytest.mark.parametrize("suffix", ["npy", "parquet"])
def test_files_are_read_to_where_the_device_reads(machine, rng, tmp_path, monkeypatch, suffix):
    """Without another copy."""
    from gpuclust.backends import cuda_staging

    X, path = blobs(rng, 900, 4, np.float32), tmp_path / f"x.{suffix}"
    (write_npy if suffix == "npy" else write_parquet)(path, X)
    reference = fit(path, init=X[:5], chunk_size=200)

    def refused(out, rows):
        raise AssertionError("rows were copied")

    monkeypatch.setattr(cuda_staging, "copy_rows", refused)
    assert_same_bits(fit(path, init=X[:5], chunk_size=200, device="cuda"), reference)


def test_tiles_are_no_more_than_are_needed(machine, monkeypatch):
    """One where all rows fit, in whole units else."""
    from gpuclust.backends import cuda_memory

    def cut(n, row_bytes, unit):
        return cuda_memory.tiles(n, row_bytes, lambda start, stop: (start, stop), unit)

    monkeypatch.setattr(cuda_memory, "TILE_BYTES", 100)
    assert cut(10, 10, 4) == [(0, 10)] and cut(11, 10, 4) == [(0, 8), (8, 11)] and cut(3, 60, 2) == [(0, 2), (2, 3)]
    monkeypatch.setattr(cuda_memory, "TILE_BYTES", 1 << 60)
    rows = machine.limit // cuda_memory.SHARE // 1024
    assert cut(rows + 1, 1024, 1) == [(0, rows), (rows, rows + 1)]


@pytest.mark.parametrize("estimator", [KMeans, KMedians])
def test_iterations_need_no_more_memory_than_the_first(machine, rng, estimator):
    from gpuclust.backends import cuda_memory

    X, peaks = blobs(rng, 4000, 8, np.float32), []
    for iterations in (2, 6):
        cuda_memory._sent.cache_clear()
        before = machine.peak = machine.live
        fit(X, estimator=estimator, init=X[:12], device="cuda", max_iter=iterations, tol=0)
        peaks.append(machine.peak - before)
    assert peaks[0] == peaks[1]


def test_no_array_of_rows_by_centres(machine, rng, monkeypatch):
    from gpuclust.backends import cuda_memory

    monkeypatch.setattr(cuda_memory, "TILE_BYTES", 1 << 18)
    X = rng.normal(size=(6000, 4)).astype(np.float32)
    machine.largest = max(X.nbytes, 1 << 18)  # rows by centres would take 4.8 MB
    fit(X, init=X[:200], device="cuda", max_iter=3)
    fit(X, n_clusters=20, device="cuda", max_iter=2)


def test_a_full_device_halves_the_rows_and_says_so_once(machine, rng, caplog):
    X = blobs(rng, 3000, 4, np.float32)
    reference = fit(X, init=X[:70])
    fit(X, init=X[:70], device="cuda")
    used = machine.peak
    machine.limit = used // 2
    with caplog.at_level(logging.WARNING, "gpuclust"):
        assert_same_bits(fit(X, init=X[:70], device="cuda"), reference)
        fit(X, n_clusters=5, device="cuda")
    assert [record.message for record in caplog.records if "memory" in record.message] == [
        "The memory of cuda:0 is full; working with half the rows at a time."
    ]


def test_memory_that_cannot_be_pinned_is_pageable_and_said_so_once(machine, rng, tmp_path, caplog, monkeypatch):
    from gpuclust.backends import cuda_memory

    monkeypatch.setattr(cuda_memory, "PIECE", 1_000)
    X, weight = blobs(rng, 3000, 4, np.float32), rng.uniform(1, 2, 3000)
    path, how = write_npy(tmp_path / "rows.npy", X), {"init": X[:5], "max_iter": 3}
    ways = [(X, None), (path, 700), (stream(list(np.split(X, 3))), None)]
    machine.unpinned = 2
    with caplog.at_level(logging.WARNING, "gpuclust"):
        for rows, chunk_size in ways:
            for estimator in (KMeans, KMedians):
                reference = fit(X, weight, estimator, **how)
                assert_same_bits(fit(rows, weight, estimator, chunk_size=chunk_size, device="cuda", **how), reference)
    assert [record.message for record in caplog.records if "pinned" in record.message] == [
        "No more of the host's memory can be pinned: copies to and from the GPU are slower. Free some, or pass a"
        " smaller chunk_size."
    ]
    machine.unpinned = 999  # what is not about memory stays an error
    with pytest.raises(RuntimeError, match="999"):
        fit(path, device="cuda", **how)


@pytest.mark.parametrize("weights", ["none", "wide"])
def test_no_allocation_that_fails_changes_a_bit(machine, rng, weights):
    """Each allocation of a fit in turn finds the device full, once."""
    X, weight = blobs(rng, 150, 3, np.float32), WEIGHTS[weights](rng, 150)
    how = {"init": X[:70], "device": "cuda", "max_iter": 2, "tol": 0}
    reference = fit(X, weight, **how)
    machine.allocations, machine.fail = 0, set()
    fit(X, weight, **how)
    survived, count = 0, machine.allocations
    for number in range(0, count, 5):
        machine.allocations, machine.fail = 0, {number}
        try:
            assert_same_bits(fit(X, weight, **how), reference)
            survived += 1
        except DeviceMemoryError as error:  # what is not cut into tiles: rows, ledger, centres
            assert "bytes" in str(error) and "free" in str(error)
    assert survived > count / 5 / 3


VERBS = {
    "gather": lambda source: source.gather(np.array([3, 1, 3])),
    "take": lambda source: source.take(np.array([5])),
    "labels": lambda source: source.labels(copy=True),
    "allocate": lambda source: source.allocate("more", np.float32, 0, 3),
    "write": lambda source: source.write("label", np.array([2]), np.array([1])),
    "fill": lambda source: source.fill("label", np.zeros(20, int)),
    "collect": lambda source: source.collect(lambda backend, chunk: chunk.X + 1),
}


@pytest.mark.parametrize("where", ["cuda", "cuda:0,cuda:1"])
@pytest.mark.parametrize("verb", VERBS)
def test_a_full_device_is_told_in_our_words(machine, verb, where):
    """Whichever allocation finds it full, of those that no routine of the backend makes, too."""
    machine.devices = 2
    source = open_source(Reader(), np.arange(40.0).reshape(20, 2), np.ones(20), where, reset=True)
    source.allocate("label", np.int32, 0)
    machine.allocations = 0
    VERBS[verb](source)
    count = machine.allocations  # none where a host array is the result
    for number in range(count):
        source.release("more")
        machine.allocations, machine.fail = 0, {number}
        with pytest.raises(DeviceMemoryError, match=r"bytes are (needed|free)"):
            VERBS[verb](source)
    machine.fail = set()
    VERBS[verb](source)


def test_a_failed_fit_holds_no_memory(machine, rng):
    """Once its error is dealt with, and before Python looks for cycles."""
    X = blobs(rng, 600, 3, np.float32)
    how = {"init": X[:5], "device": "cuda", "max_iter": 1, "tol": 0}
    fit(X, **how)
    machine.allocations = 0
    fit(X, **how)
    failed, count = 0, machine.allocations
    gc.disable()
    try:
        for number in range(count):
            before = machine.live
            machine.allocations, machine.fail = 0, {number}
            try:
                fit(X, **how)
            except DeviceMemoryError:
                failed += 1
            assert machine.live - before < X.nbytes // 4  # what is kept of a frame
    finally:
        gc.enable()
        machine.fail = set()
    assert failed > 3


def test_seeding_survives_failed_allocations(machine, rng):
    X = blobs(rng, 1100, 3, np.float32)
    for init, step, k in ("k-means++", 7, 70), ("k-means||", 37, 3):
        how = {"n_clusters": k, "device": "cuda", "max_iter": 1}
        reference = fit(X, init=init, **how)
        machine.allocations = 0
        fit(X, init=init, **how)
        survived, count = 0, machine.allocations
        for number in range(0, count, step):
            machine.allocations, machine.fail = 0, {number}
            with contextlib.suppress(DeviceMemoryError):
                assert_same_bits(fit(X, init=init, **how), reference)
                survived += 1
        assert survived > count / step / 4
        machine.fail = set()


def test_sorting_on_a_full_device(machine, rng, monkeypatch):
    """Thrust's memory is asked for before, since CuPy 14.0 does not tell that there is none; CuPy 14.2 does so badly."""
    import cupy

    from gpuclust.backends import cuda_memory, cuda_seeding

    key = rng.integers(0, 50, 200_000).astype(float)  # so many that sorting takes more than its tables
    there, order = cuda_memory.send(key), np.argsort(-key, kind="stable")
    machine.allocations = 0
    assert (cuda_seeding.descending(there).get() == order).all()
    for number in range(machine.allocations):
        machine.allocations, machine.fail = 0, {number}
        with pytest.raises(DeviceMemoryError, match="bytes are needed"):
            cuda_seeding.descending(there)
    machine.fail = set()

    def told_badly(key):
        raise MemoryError("std::bad_alloc")

    monkeypatch.setattr(cupy, "argsort", told_badly)
    with pytest.raises(DeviceMemoryError, match="bytes are needed"):
        cuda_seeding.descending(there)


@pytest.mark.parametrize("Class", [KMeans, KMedians])
@pytest.mark.parametrize("weights", ["none", "wide"])
def test_data_larger_than_the_device_are_read_in_chunks(machine, rng, tmp_path, caplog, monkeypatch, Class, weights):
    """Two chunks at once, halved as often as need be."""
    monkeypatch.setattr("gpuclust.objectives.median.SAMPLE_BYTES", 1 << 16)
    X, weight = blobs(rng, 4000, 8, np.float32), WEIGHTS[weights](rng, 4000)
    np.save(tmp_path / "x.npy", X)
    how = {"init": X[:5], "max_iter": 2, "estimator": Class}
    reference = fit(X, weight, **how)
    machine.limit = 125_000 if weights == "none" else 157_500  # the ledger takes 12 bytes a row
    assert machine.limit < X.nbytes + (0 if weight is None else weight.nbytes)
    with caplog.at_level(logging.WARNING, "gpuclust"):
        assert_same_bits(fit(X, weight, device="cuda", **how), reference)
    told = [record.message for record in caplog.records if "Compiling" not in record.message]
    assert told[:2] == [
        "The data do not fit the memory of cuda:0 and are read in chunks.",
        "The memory of cuda:0 is full; working with half the rows at a time.",
    ]
    model = fit(X, init=lambda X, k, random_state: X[:k], n_clusters=5, device="cuda", estimator=Class, max_iter=1)
    assert_same_bits(model, fit(X, init=X[:5], estimator=Class, max_iter=1))
    assert type(model.predict(X)) is type(model.transform(X)) is np.ndarray
    machine.limit = 1 << 40
    assert_same_bits(fit(tmp_path / "x.npy", weight, chunk_size=999, device="cuda", **how), reference)
    assert_same_bits(fit(tmp_path / "x.npy", weight, chunk_size=4000, device="cuda", **how), reference)


def test_copies_run_beside_the_kernels(machine, rng):
    """The next part is under way while one is in use; nothing is overwritten that is still read."""
    from gpuclust.backends import cuda_staging

    parts = [(cuda_staging.pinned(rng.normal(size=(50, 3)), np.float32), None) for _ in range(6)]
    expected = [X.copy() for X, _ in parts]
    machine.h2d = 0
    for number, (X, weight) in enumerate(cuda_staging.uploads(0, iter(parts))):
        assert machine.h2d == min(number + 2, 6) and weight is None
        np.testing.assert_array_equal(X.get(), expected[number])
        parts[number] = None
    made = (cuda_staging.pinned(X, np.float32) for X in expected)  # freed as soon as nobody holds it
    for number, (X, _) in enumerate(cuda_staging.uploads(0, ((rows, None) for rows in made))):
        np.testing.assert_array_equal(X.get(), expected[number])


def test_rows_in_pinned_memory_are_not_copied_on_the_host(machine, rng):
    from gpuclust.backends import cuda_staging

    rows = cuda_staging.pinned(rng.normal(size=(9, 3)), np.float32)
    assert cuda_staging.pinned(rows, np.float32) is rows
    assert cuda_staging.pinned(rows, np.float64) is not rows
    assert cuda_staging.pinned(rows.copy(), np.float32).ctypes.data != rows.ctypes.data


def test_a_stream_that_breaks_off_leaves_no_copy_under_way(machine, rng):
    from gpuclust.backends import cuda_staging

    parts = [(cuda_staging.pinned(rng.normal(size=(50, 3)), np.float32), None) for _ in range(3)]
    coming = cuda_staging.uploads(0, iter(parts))
    next(coming)
    stream = coming.gi_frame.f_locals["stream"]
    assert stream.under_way == 1
    coming.close()
    assert stream.under_way == 0


def test_a_row_too_wide_for_the_device_is_told(machine, rng):
    from gpuclust.backends import cuda_staging

    machine.limit = 1000
    part = (cuda_staging.pinned(rng.normal(size=(4, 300)), np.float32), None)
    with pytest.raises(DeviceMemoryError, match="1200 bytes are needed on the GPU for a single row and 1000 are free"):
        next(cuda_staging.uploads(0, iter([part])))


def test_a_row_that_does_not_fit_is_an_error(machine, rng):
    X = blobs(rng, 400, 4, np.float32)
    machine.limit = 40_000  # the centres and their sums do not fit
    with pytest.raises(DeviceMemoryError, match=r"bytes .* free"):
        fit(X, init=X, device="cuda")


@pytest.mark.parametrize("Class", [KMeans, KMedians])
def test_few_rows_are_decided_by_the_definition(machine, rng, Class):
    """Half precision leaves few rows, with few candidates; float32 the ones that are as good as ties. In K-Medians all
    are scored in float32, but those that bounds settle."""
    from gpuclust.backends import cuda_labels, cuda_tensor

    found, undecided, original, narrow = [], [], cuda_labels._score, cuda_tensor.narrow

    def counted(X, packed, rest, *args):
        doubts = original(X, packed, rest, *args)
        found.append((doubts.item(), len(X) if rest is None else rest.count.item(), len(X)))
        return doubts

    def counted_before(rows, X, rest, *args):
        undecided.append(rest.count.item())
        return narrow(rows, X, rest, *args)

    cuda_labels._score, cuda_tensor.narrow = counted, counted_before
    normal, wide = rng.normal(size=(20_000, 16)), rng.choice([-1, 1], (1000, 1024)) + 0.01 * rng.normal(size=(1000, 1024))
    for X, k, most in ((normal, 60, 0.001), (wide, 8, 0.01)):
        X = X.astype(np.float32)
        found.clear(), undecided.clear()
        fit(X, estimator=Class, init=X[:k], device="cuda", max_iter=2)
        doubts, rest, rows = np.sum(found, axis=0)
        assert doubts < most * rows and rows >= 2 * len(X)
        if Class is KMeans:
            assert rest < 0.001 * rows
        else:  # where features or centres are many, rows keep bounds
            assert rest == rows if k == 60 else 2 * len(X) <= rest < rows
        assert 0.001 * rows < sum(undecided) < 0.03 * rows if Class is KMeans else not undecided


def test_the_second_device(machine, rng):
    X = blobs(rng, 300, 3, np.float32)
    model = fit(X, init=X[:4], device="cuda:1")
    assert model.device_ == "cuda:1"
    assert_same_bits(model, fit(X, init=X[:4]))
    there = device_array(sys.modules["cupy"], X)  # on device 0
    assert_same_bits_of_device(fit(there, init=X[:4], device="cuda:1"), model)


@pytest.mark.parametrize("rows", [slice(None), slice(None, None, 2)], ids=["whole", "strided"])
def test_rows_of_another_device_are_there_before_they_are_read(machine, rng, rows):
    """Its streams are not waited for by those of the one that reads them."""
    cupy, machine.order = sys.modules["cupy"], Order()
    X = blobs(rng, 300, 4, np.float32)
    with cupy.cuda.Device(1):
        there = device_array(cupy, X)
    model = fit(there[:, rows], init=X[:4, rows], device="cuda:0")
    reference = fit(X[:, rows], init=X[:4, rows])
    np.testing.assert_array_equal(model.cluster_centers_, reference.cluster_centers_)


def assert_same_bits_of_device(model, reference):
    with sys.modules["cupy"].cuda.Device(1):
        np.testing.assert_array_equal(model.labels_.get(), reference.labels_)
    np.testing.assert_array_equal(model.cluster_centers_, reference.cluster_centers_)


def test_the_standin_refuses_what_cupy_would_hide(machine):
    cupy = sys.modules["cupy"]
    a = device_array(cupy, np.arange(6.0))
    for wrong in (
        lambda: np.asarray(a),
        lambda: np.sqrt(a),
        lambda: a + np.ones(6),
        lambda: np.ones(6) + a,
        lambda: cupy.log(np.ones(6)),
        lambda: cupy.asarray(np.ones(6)),
        lambda: operator.setitem(a, slice(None), np.ones(6)),
        lambda: list(a),
        lambda: pickle.dumps(a),
        lambda: np.concatenate([a, a]),
        lambda: a[np.array([0, 1])],
        lambda: a.astype(np.longdouble),
        lambda: a.astype(np.float32, False),
        lambda: cupy.cumsum(a, np.float64),
        lambda: cupy.RawModule(path=Path("a.cubin")),
    ):
        with pytest.raises((TypeError, IndexError)):
            wrong()
    with pytest.raises(ValueError, match="device 0"), cupy.cuda.Device(1):
        a + 1
    machine.limit = machine.live + 8
    with pytest.raises(MemoryError):
        cupy.zeros(9)


def test_the_standin_refuses_arguments_that_a_gpu_would_take_for_others(machine):
    from gpuclust.backends import cuda_kernels

    cupy = sys.modules["cupy"]
    value, parts, single = cupy.zeros(40), cupy.zeros((1, 2)), cupy.zeros(40, np.float32)
    none = np.uint64(0)
    for wrong in (
        (single, none, 40, parts),
        (value, None, 40, parts),
        (value, none, True, parts),
        (value, none, np.int32(40), parts),
        (value, none, 40.0, parts),
        (value, none, 40),
    ):
        with pytest.raises(TypeError, match="total"):
            cuda_kernels.launch("totals.total", 1, wrong, shared=128)
    with pytest.raises(ValueError, match="INVALID_VALUE"):
        cuda_kernels.launch("totals.total", (1, 1 << 16), (value, none, 40, parts), shared=128)
    cuda_kernels.launch("totals.total", 1, (value, none, 40, parts), shared=128)


def test_the_standin_has_nothing_that_cupy_lacks():
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed", exc_type=ImportError)
    for name in fakecupy.NAMES:
        functools.reduce(getattr, name.split("."), cupy)


def test_cases_of_this_file_are_independent():
    """The stand-in leaves nothing behind."""
    assert not [name for name in sys.modules if name.startswith("gpuclust.backends.cuda")]
    assert getattr(sys.modules.get("cupy"), "__version__", "") != fakecupy.VERSION


@pytest.mark.parametrize("when", [1, 4], ids=["first", "last"])
@pytest.mark.parametrize("k", [5, 70])
@pytest.mark.parametrize("estimator", [KMeans, KMedians])
def test_rows_that_turn_nan_during_a_fit_are_told(machine, rng, estimator, k, when, monkeypatch):
    """In whatever pass, and whether bounds settle their labels or not: nothing outside an array is read for want of one."""
    from gpuclust.backends.cuda import CUDABackend

    around = rng.normal(0, 9, (70, 4))[np.arange(300) % 70]  # so that bounds settle most
    X = device_array(sys.modules["cupy"], (around + rng.normal(size=(300, 4))).astype(np.float32))
    machine.fenced, packs, pack = True, [], CUDABackend.pack

    def spoiled(self, *args):
        packs.append(1)
        if len(packs) == when:
            X[107] = float("nan")
        return pack(self, *args)

    monkeypatch.setattr(CUDABackend, "pack", spoiled)
    with pytest.raises(ValueError, match="(1|Some) rows hold NaN or infinity that was not there at the first read"):
        fit(X, estimator=estimator, init=X[:k].get(), device="cuda", max_iter=3, tol=0)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("where", ["cpu", "cuda"])
@pytest.mark.usefixtures("machine")
def test_costs_that_overflow_are_not_taken_for_rows_that_turned_nan(rng, where):
    """Squares of finite rows add up to more than the largest number; labels and centres are right all the same."""
    X = rng.normal(size=(400, 5))
    reference = fit(X, init=X[:3])
    for chunk_size in (None, 100):
        model = fit(X * 2.0**508, init=X[:3] * 2.0**508, device=where, chunk_size=chunk_size)
        np.testing.assert_array_equal(model.labels_, reference.labels_)
        np.testing.assert_array_equal(model.cluster_centers_, reference.cluster_centers_ * 2.0**508)
        assert model.inertia_ == -model.score(X * 2.0**508) == np.inf
        np.testing.assert_array_equal(model.inertia_history_, np.inf)


@pytest.mark.parametrize("where", ["cpu", "cuda"])
@pytest.mark.usefixtures("machine")
def test_sums_of_absolute_values_that_overflow_are_inf(where):
    """Those of each feature are within float64, or the rows would be refused."""
    X = np.repeat([[1.0] * 100, [-1.0] * 100, [9.0] * 100], 2, axis=0) * 2.0**1016
    model = fit(X, estimator=KMedians, init=X[[0, 4]], device=where, max_iter=1)
    assert model.inertia_ == -model.score(X) == np.inf
    np.testing.assert_array_equal(model.inertia_history_, np.inf)
