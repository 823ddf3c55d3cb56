"""Transfers, full devices, imprecise products, two devices: what only the stand-in can show."""

from __future__ import annotations

import contextlib
import functools
import logging
import operator
import pickle
import sys

import numpy as np
import pytest
from laws.cases import WEIGHTS, blobs
from laws.runs import assert_same_bits, fit

from gpuclust import DeviceMemoryError, KMeans, KMedians

from . import fakecupy
from .runs import device_array


def test_rows_cross_once(machine, rng):
    X = blobs(rng, 4000, 8, np.float32)
    machine.h2d_bytes = machine.d2h_bytes = machine.waits = 0
    model = fit(X, init=X[:5], device="cuda")
    small = 3 * 64 * 1024 * model.n_iter_
    assert X.nbytes <= machine.h2d_bytes < X.nbytes + small
    assert machine.d2h_bytes < 4 * len(X) + small
    assert machine.waits < 8 * (model.n_iter_ + 4)


def test_no_array_of_rows_by_centres(machine, rng, monkeypatch):
    from gpuclust.backends import cuda_memory

    monkeypatch.setattr(cuda_memory, "TILE_BYTES", 1 << 18)
    X = rng.normal(size=(6000, 4)).astype(np.float32)
    machine.largest = max(X.nbytes, 1 << 18)  # rows by centres would take 4.8 MB
    fit(X, init=X[:200], device="cuda", max_iter=3)
    fit(X, n_clusters=20, device="cuda", max_iter=2)


def test_a_full_device_halves_the_rows_and_says_so_once(machine, rng, caplog):
    X = blobs(rng, 3000, 4, np.float32)
    reference = fit(X, init=X[:50])
    fit(X, init=X[:50], device="cuda")
    used = machine.peak
    machine.limit = used // 4
    with caplog.at_level(logging.WARNING, "gpuclust"):
        assert_same_bits(fit(X, init=X[:50], device="cuda"), reference)
        fit(X, n_clusters=5, device="cuda")
    assert [record.message for record in caplog.records if "memory" in record.message] == [
        "The memory of cuda:0 is full; working with half the rows at a time."
    ]


@pytest.mark.parametrize("weights", ["none", "wide"])
def test_no_allocation_that_fails_changes_a_bit(machine, rng, weights):
    """Each allocation of a fit in turn finds the device full, once."""
    X, weight = blobs(rng, 60, 3, np.float32), WEIGHTS[weights](rng, 60)
    how = {"init": X[:5], "device": "cuda", "max_iter": 2, "tol": 0}
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


def test_seeding_survives_failed_allocations(machine, rng):
    X = blobs(rng, 1100, 3, np.float32)
    how = {"n_clusters": 3, "device": "cuda", "max_iter": 1}
    for init in ("k-means++", "k-means||"):
        reference = fit(X, init=init, **how)
        machine.allocations = 0
        fit(X, init=init, **how)
        survived, count = 0, machine.allocations
        for number in range(0, count, 23):
            machine.allocations, machine.fail = 0, {number}
            with contextlib.suppress(MemoryError):
                assert_same_bits(fit(X, init=init, **how), reference)
                survived += 1
        assert survived > count / 23 / 4
        machine.fail = set()


def test_data_larger_than_the_device_are_refused_with_a_chunk_that_fits(machine, rng, tmp_path):
    X = blobs(rng, 20_000, 8, np.float32)
    np.save(tmp_path / "x.npy", X)
    machine.limit = 450_000
    words = r"640000 bytes are needed .* 450000 are free.*chunk_size=(\d+)"
    with pytest.raises(DeviceMemoryError, match=words) as caught:
        fit(X, init=X[:5], device="cuda")
    rows = int(str(caught.value).split("chunk_size=")[1].split()[0])
    reference = fit(X, init=X[:5], max_iter=3)
    machine.limit = 800_000  # the ledger takes 12 bytes a row
    assert_same_bits(fit(tmp_path / "x.npy", init=X[:5], max_iter=3, chunk_size=rows // 8, device="cuda"), reference)


def test_a_row_that_does_not_fit_is_an_error(machine, rng):
    X = blobs(rng, 400, 4, np.float32)
    machine.limit = 40_000  # the centres and their sums do not fit
    with pytest.raises(DeviceMemoryError, match=r"bytes .* free"):
        fit(X, init=X, device="cuda")


@pytest.mark.parametrize("Class", [KMeans, KMedians])
def test_few_rows_are_decided_by_the_definition(machine, rng, Class):
    """Half precision decides most rows, float32 nearly all."""
    from gpuclust.backends import cuda_labels

    found, original = [], cuda_labels._nearest

    def counted(X, *args):
        doubts, rest = original(X, *args)
        found.append((doubts.item(), len(X) if rest is None else rest.count.item(), len(X)))
        return doubts, rest

    cuda_labels._nearest = counted
    normal, wide = rng.normal(size=(20_000, 16)), rng.choice([-1, 1], (1000, 1024)) + 0.01 * rng.normal(size=(1000, 1024))
    for X, k, most in ((normal, 60, 0.001), (wide, 8, 0.01)):
        X = X.astype(np.float32)
        found.clear()
        fit(X, estimator=Class, init=X[:k], device="cuda", max_iter=2)
        doubts, rest, rows = np.sum(found, axis=0)
        assert doubts < most * rows and rows >= 2 * len(X)
        assert rest < 0.03 * rows if Class is KMeans else rest == rows


def test_the_second_device(machine, rng):
    X = blobs(rng, 300, 3, np.float32)
    model = fit(X, init=X[:4], device="cuda:1")
    assert model.device_ == "cuda:1"
    assert_same_bits(model, fit(X, init=X[:4]))
    there = device_array(sys.modules["cupy"], X)  # on device 0
    assert_same_bits_of_device(fit(there, init=X[:4], device="cuda:1"), model)


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
    ):
        with pytest.raises((TypeError, IndexError)):
            wrong()
    with pytest.raises(ValueError, match="device 0"), cupy.cuda.Device(1):
        a + 1
    machine.limit = machine.live + 8
    with pytest.raises(MemoryError):
        cupy.zeros(9)


def test_the_standin_has_nothing_that_cupy_lacks():
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed", exc_type=ImportError)
    for name in fakecupy.NAMES:
        functools.reduce(getattr, name.split("."), cupy)


def test_cases_of_this_file_are_independent():
    """The stand-in leaves nothing behind."""
    assert not [name for name in sys.modules if name.startswith("gpuclust.backends.cuda")]
    assert getattr(sys.modules.get("cupy"), "__version__", "") != "0"
