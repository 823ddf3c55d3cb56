"""Exact middle values on the device: samples, brackets, what these miss, and how often the rows are read."""

from __future__ import annotations

import ctypes
from collections import Counter

import numpy as np
import pytest
from laws.cases import blobs
from laws.runs import assert_same_bits, fit

from gpuclust import DeviceMemoryError, KMedians

from .middles import KINDS, check_middles, clusters, drawn, limited, middles_of

SETTLED, KEPT, ROWS, LOST = range(4)  # as in medians.cuh
READ = "return *(const T*)(first + (uint64_t)(uint32_t)row * pitch);"


def watched(monkeypatch):
    """How the pairs were settled that were searched: at once, among what was kept, among all rows."""
    from gpuclust.backends import cuda_medians

    found, launch = Counter(), cuda_medians.launch

    def watching(name, grid, args, **how):
        if name.startswith("medians.finish"):
            words, left = args[11].get(), args[7] - args[8]
            found.update(words[0, :, :left].ravel().tolist())
        launch(name, grid, args, **how)

    monkeypatch.setattr(cuda_medians, "launch", watching)
    return found


def test_clusters_of_all_sizes(schedule, rng, monkeypatch, dtype):
    modes = watched(monkeypatch)
    for spread, shapes in ((1.0, (1, 33)), (2.5, (31, 32))):
        plan = limited(sample=20, room=60, spread=spread, whole=26)
        assert plan.whole + 2 < plan.size
        sizes = [0, 1, 2, 25, 26, 27, 28, plan.size, plan.size + 1, 2 * plan.size + 1, 5 * plan.size + 2]
        for d in shapes:
            label = clusters(rng, sizes)
            for kind in KINDS:
                check_middles(drawn(rng, kind, len(label), d, dtype), label, rng.random(len(sizes)) < 0.9)
    assert all(modes[mode] > 50 for mode in (SETTLED, KEPT, ROWS, LOST))


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("spread", [-8.0, 0.1, 8.0], ids=["beside the middle", "narrow", "wide"])
def test_brackets_that_tell_nothing(rng, monkeypatch, spread, dtype):
    """All of them miss; or hold so much that there is no room for it."""
    modes = watched(monkeypatch)
    limited(sample=20, room=20 if spread > 1 else 60, spread=spread, size=70)
    label = clusters(rng, [50, 51, 200, 333])
    for kind in ("normal", "skewed"):
        check_middles(drawn(rng, kind, len(label), 35, dtype), label, np.ones(4, bool))
    lost = modes[ROWS] + modes[LOST]
    assert lost == modes.total() if spread != 0.1 else lost > 0.2 * modes.total()


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("d", [3, 127])
def test_as_many_rows_as_shared_memory_holds(rng, monkeypatch, d, dtype):
    """Of clusters that are no larger all is known at once."""
    from gpuclust.backends import cuda_medians

    for shared in (64 << 10, 99 << 10):
        monkeypatch.setattr(cuda_medians, "attribute", lambda device, name, shared=shared: shared)
        room = (shared - cuda_medians.WORK) // (cuda_medians.LANES * np.dtype(dtype).itemsize)
        label = clusters(rng, [room - 1, room, room + 1, 2, 1, 3])
        modes = watched(monkeypatch)
        check_middles(drawn(rng, "normal", len(label), d, dtype), label, np.ones(6, bool))
        assert modes.total() == 6 * d and modes[SETTLED] >= 5 * d


def values_read(monkeypatch):
    """Counts the values that the kernels read of X from now on."""
    from gpuclust.backends import cuda_kernels

    source, first = cuda_kernels.source, []
    counter = 'extern "C" { int64_t values_read; }\n'

    def counting(file):
        text = source(file)
        return text.replace("struct Slots {", counter + "struct Slots {").replace(READ, "values_read++; " + READ)

    assert READ in source("samples") and READ in source("medians")
    monkeypatch.setattr(cuda_kernels, "source", counting)
    cuda_kernels._function.cache_clear()

    def count():
        found = 0
        for file in ("samples", "medians"):
            library = cuda_kernels._function(f"{file}.{'guess' if file == 'samples' else 'finish'}_f32", 0)._module._library
            found += ctypes.c_int64.in_dll(library, "values_read").value
        first.append(found)
        return found - (first[-2] if len(first) > 1 else 0)

    count()
    return count


def test_rows_are_read_once(machine, rng, monkeypatch):
    """And a sample of those of large clusters; whether these are of one item or of several, of even size or of odd."""
    read, modes, d = values_read(monkeypatch), watched(monkeypatch), 33
    plan = limited(sample=64, room=300, spread=5.0, size=300, whole=80)
    small, large = [0, 1, 9, 79, 80], [81, 200, plan.size, plan.size + 1, 3 * plan.size + 2]
    label = clusters(rng, small + large)
    for kind in ("normal", "equal", "two values"):
        X, wanted = drawn(rng, kind, len(label), d, np.float32), np.ones(10, bool)
        read()
        check_middles(X, label, wanted)
        assert read() == d * (len(label) + plan.sample * len(large))
        wanted[[3, 9]] = False
        check_middles(X, label, wanted)
        assert read() == d * (len(label) - 79 - sum(large[-1:]) + plan.sample * (len(large) - 1))
    assert modes[ROWS] + modes[LOST] == 0 and modes[KEPT] > 2 * d


def test_digit_by_digit_rows_are_read_once_a_digit(machine, rng, monkeypatch):
    """And once more for the upper middle value, of an even number of rows where that is another one."""
    from gpuclust.backends import cuda_medians

    read, d = values_read(monkeypatch), 5
    plan = limited(sample=16, room=40)
    monkeypatch.setattr(cuda_medians, "_slab", lambda *args: None)
    assert plan.size < 150
    for size, kind, more in ((301, "normal", 0), (300, "normal", 1), (300, "equal", 0)):
        X = drawn(rng, kind, size, d, np.float32)
        read()
        check_middles(X, np.zeros(size, np.int32), np.ones(1, bool))
        assert read() == d * (plan.sample + size * (4 + more))


@pytest.mark.usefixtures("machine")
def test_rows_in_a_rhythm_do_not_mislead_samples(rng, monkeypatch):
    """One row of each stretch is far away: at equal distances, a sample would hold all of these or none."""
    modes, d = watched(monkeypatch), 40
    plan = limited(sample=64, room=300, spread=4.0)
    X = rng.normal(size=(64 * 16, d)).astype(np.float32)
    for offset in range(0, 16, 5):
        Y = X.copy()
        Y[offset::16] += 1000
        check_middles(Y, np.zeros(len(Y), np.int32), np.ones(1, bool))
    assert plan.size < len(X) and modes[ROWS] + modes[LOST] < 0.01 * modes.total()


@pytest.mark.usefixtures("machine")
def test_rows_in_order_fill_no_item(rng, monkeypatch):
    """Of a column that rises from row to row, each item has its share of what lies in the bracket."""
    modes, d = watched(monkeypatch), 40
    plan = limited(sample=64, room=300, spread=4.0)
    X = np.sort(rng.normal(size=(6 * plan.size, d)).astype(np.float32), axis=0)
    check_middles(X, np.zeros(len(X), np.int32), np.ones(1, bool))
    assert modes[KEPT] > 0.99 * modes.total()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_fits_are_those_of_the_cpu(machine, rng, monkeypatch, dtype):
    """In whatever tiles of features and clusters."""
    from gpuclust.backends import cuda_memory

    modes, machine.fenced = watched(monkeypatch), True
    limited(sample=16, room=40)
    X = blobs(rng, 900, 70, dtype)
    how = {"estimator": KMedians, "init": X[:7], "max_iter": 4, "tol": 0}
    reference = fit(X, **how)
    for tile in (1 << 28, 100_000):
        monkeypatch.setattr(cuda_memory, "TILE_BYTES", tile)
        assert_same_bits(fit(X, device="cuda", **how), reference)
    assert all(modes[mode] for mode in (SETTLED, KEPT, ROWS))


def test_an_iteration_that_collects_waits_once(machine, rng):
    """And later ones need no more memory than the first."""
    from gpuclust.backends import cuda_memory

    limited(sample=16, room=40)
    X, found = blobs(rng, 900, 4, np.float32), []
    for iterations in (3, 5):
        cuda_memory._sent.cache_clear()
        machine.h2d = machine.d2h = machine.waits = 0
        before = machine.peak = machine.live
        machine.launches.clear()
        fit(X, estimator=KMedians, init=X[:5], device="cuda", max_iter=iterations, tol=0)
        launches = sum(machine.launches.count(f"{name}_f32") for name in ("guess", "collect", "judge", "count_digits"))
        found.append(np.array([machine.h2d, machine.d2h, machine.waits, machine.peak - before, launches]))
    assert (found[1] - found[0]).tolist() == [2, 2, 0, 0, 2 * (3 + 4)]


def test_no_memory_for_what_is_kept(machine, rng, monkeypatch):
    """Each allocation in turn finds the device full: the rows are read digit by digit, or fewer clusters at once."""
    limited(sample=16, room=40)
    X, label = drawn(rng, "normal", 700, 3, np.float32), clusters(rng, [300, 200, 200])
    expected = middles_of(X, label, np.ones(3, bool))
    machine.allocations = 0
    middles_of(X, label, np.ones(3, bool))
    survived = 0
    for number in range(machine.allocations):
        machine.allocations, machine.fail = 0, {number}
        try:
            np.testing.assert_array_equal(middles_of(X, label, np.ones(3, bool)), expected)
            survived += 1
        except (DeviceMemoryError, MemoryError):
            continue
    assert survived >= 5
