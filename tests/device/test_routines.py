"""Routine by routine: the same as the CPU's."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
from laws.cases import KINDS, WEIGHTS, blobs

from gpuclust.backends.base import Chunk
from gpuclust.backends.cpu import CPUBackend
from gpuclust.backends.frame import Frame
from gpuclust.backends.layout import Layout
from gpuclust.backends.metric import Metric


def stage(backend, X, weight, centers, d):
    """A chunk on a backend with a ledger, a frame and packed centres."""
    scan = backend.scan(Chunk(backend.upload(X, X.dtype), _up(backend, weight), 0, {}), X[0].astype(np.float64))
    frame = Frame.of(scan, X[0].astype(np.float64), X.dtype)
    ledger = {
        "label": backend.full((len(X),), -1, np.int32),
        "upper": backend.full((len(X),), 0, np.float32),
        "lower": backend.full((len(X),), 0, np.float32),
        "lowers": backend.full((len(X), 0), 0, np.float32),
        "cost": backend.full((len(X),), np.inf, X.dtype),
    }
    chunk = Chunk(backend.upload(X, X.dtype), _up(backend, weight), 0, ledger)
    return chunk, frame, backend.pack(centers, frame, Layout.build(centers, 1), None)


def exact_totals(sums):
    """Each sum of pieces, rounded once."""
    return np.array([[math.fsum(pieces) for pieces in cluster.T] for cluster in sums])


def _up(backend, weight):
    return None if weight is None else backend.upload(weight, np.float64)


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("kind", ["blobs", "outlier", "wide", "negative_zeros"])
def test_routines_agree_with_the_cpu(cuda, rng, kind, weights, dtype):
    from gpuclust.backends.cuda import CUDABackend

    X, weight = KINDS[kind](rng, 333, 4, dtype), WEIGHTS[weights](rng, 333)
    centers, found, variance = X[:5].astype(np.float64), [], []
    for backend in (CUDABackend(0), CPUBackend()):
        chunk, frame, packed = stage(backend, X, weight, centers, 4)
        first = backend.reassign(chunk, packed)
        moved = backend.pack(centers[::-1] * 1.1, frame, packed.layout, None)
        once = backend.means(backend.full(first.sums.shape, 0.0, np.float64), centers, centers[0], first)
        second = backend.reassign(chunk, moved)
        twice = backend.means(once.sums, once.centers, centers[0], second)
        label = chunk.rows["label"]
        cost = backend.costs(chunk.X, centers, label, Metric.EUCLIDEAN)
        total = backend.total(cost, chunk.weight, label, 5)
        top = backend.farthest(chunk, centers, 7, Metric.EUCLIDEAN)
        variance.append(frame.variance)  # CPUs of several makes do not agree on its last bit either
        found.append(
            [
                *(frame.shift, frame.magic, frame.mass, frame.largest),
                *(exact_totals(backend.to_host(each.sums)) for each in (first, second, twice)),
                *(once.moved, twice.moved, backend.to_host(twice.centers), *twice[2:5]),
                *(backend.to_host(label), backend.to_host(cost)),
                *(total.total.value(), total.mass.value(), total.rows),
                *(top.key, top.row, top.X, top.weight, top.label),
                backend.to_host(backend.distances(chunk.X, centers, dtype, Metric.EUCLIDEAN)),
            ]
        )
    assert variance[0] == pytest.approx(variance[1], rel=1e-14)
    for number, (ours, theirs) in enumerate(zip(*found, strict=True)):
        ours, theirs = np.asarray(ours), np.asarray(theirs)
        same = (ours.dtype, ours.shape, ours.tobytes()) == (theirs.dtype, theirs.shape, theirs.tobytes())
        assert same, number


def test_potentials_are_those_of_the_trials(cuda, rng, dtype):
    """A draw lands on a row by the same integers that were summed by block."""
    from gpuclust.backends.cuda import CUDABackend

    backend, X = CUDABackend(0), blobs(rng, 2500, 3, dtype)
    weight = rng.integers(0, 3, 2500).astype(float)
    chunk, frame, _ = stage(backend, X, weight, X[:2].astype(np.float64), 3)
    grid = 2.0 ** (np.ceil(np.log2(frame.mass * frame.largest)) - 61)
    backend.trials(chunk, frame, X[0], X[1:4], grid)
    blocks = backend.trials(chunk, frame, None, X[9:10], grid).dense(3)[0]
    rows = backend.potentials(chunk, frame, X[9], grid)
    assert [rows[i : i + 1024].sum() for i in (0, 1024, 2048)] == list(blocks)
    assert rows.min() == 0 and rows.max() > 1 << 30
    assert np.all(rows[weight == 0] == 0)


def test_uniform_numbers_are_the_cpus(cuda):
    from gpuclust.backends import cpu, cuda_seeding

    for start in (0, 12345, 1 << 40):
        np.testing.assert_array_equal(cuda_seeding.uniform(77, start, 99).get(), cpu.uniform(77, start, 99))


def test_every_routine_of_the_interface_is_there(cuda):
    from gpuclust.backends.cuda import CUDABackend

    assert not CUDABackend.__abstractmethods__
    assert pickle.loads(pickle.dumps(CUDABackend(0))) == CUDABackend(0)
    assert CUDABackend(0).name == "cuda:0" and CUDABackend(0).free_bytes() > 0
