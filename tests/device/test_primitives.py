"""What kernels are made of, against what it is meant to do: in the emulator, and on a GPU the same."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from . import fakecupy
from .conftest import real_cupy


@pytest.fixture(params=["emulator", pytest.param("gpu", marks=pytest.mark.gpu)])
def run(request, monkeypatch):
    """launch(kernel, *arrays) -> the arrays afterwards."""
    if request.param == "gpu":
        real_cupy()
        with fakecupy.as_cupy(sys.modules, None):
            yield launcher(monkeypatch)
    else:
        request.getfixturevalue("machine").fenced = True
        yield launcher(monkeypatch)


def launcher(monkeypatch):
    from gpuclust.backends import cuda_kernels, cuda_memory

    sources = cuda_kernels.source

    def source(file):
        own = Path(__file__).with_name(f"{file}.cu")
        if not own.exists():
            return sources(file)
        return re.sub('#include "(.+)"', lambda found: cuda_kernels._whole(found[1]), own.read_text())

    monkeypatch.setattr(cuda_kernels, "source", source)

    def launch(kernel, *args, file="primitives", **how):
        there = [cuda_memory.send(arg) if isinstance(arg, np.ndarray) else arg for arg in args]
        cuda_kernels.launch(f"{file}.{kernel}", 1, there, **how)
        return [arg.get() for arg in there if hasattr(arg, "get")]

    return launch


def test_halves_are_rounded_to_nearest_even(run, rng):
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    with np.errstate(all="ignore"):
        middle = (every.astype(np.float32) + np.roll(every, -1).astype(np.float32)) / 2  # ties among them
        near = np.nextafter(middle, np.float32(np.inf))
        wild = rng.integers(0, 1 << 32, 1 << 16).astype(np.uint32).view(np.float32)
        for x in (every.astype(np.float32), middle, near, wild):
            bits, back = run("halves", x, len(x), np.zeros(len(x), np.uint16), np.zeros(len(x), np.float32))[1:]
            number = ~np.isnan(x)
            np.testing.assert_array_equal(bits[number], x.astype(np.float16).view(np.uint16)[number])
            assert np.isnan(bits.view(np.float16)[~number]).all()
            np.testing.assert_array_equal(back, every.astype(np.float32))


def test_matrices_and_products(run, rng):
    """Lanes hold what the layout says; sums are as near as the certificates of tensor.cuh take for granted."""
    for spread in (0, 3, 8):
        for _ in range(30):
            a, b = (rng.normal(size=(m, 16)) * 2.0 ** rng.integers(-spread, spread + 1, (m, 16)) for m in (16, 8))
            a, b = a.astype(np.float16), b.astype(np.float16)
            before = (rng.normal(size=(16, 8)) * 2.0**spread).astype(np.float32)
            *_, found, read = run(
                "products", a.view(np.uint16), b.view(np.uint16), before.copy(), np.zeros((32, 4), np.uint32), shared=1024
            )  # fmt: skip
            quads = a.reshape(2, 8, 2, 4, 2).transpose(1, 3, 2, 0, 4)  # row and pair: lane; half of columns, of rows
            np.testing.assert_array_equal(read, np.ascontiguousarray(quads).view(np.uint32).reshape(32, 4))
            wide = a.astype(np.float64), b.astype(np.float64)
            size = np.abs(wide[0]) @ np.abs(wide[1]).T + np.abs(before)
            error = np.abs(found - (before + wide[0] @ wide[1].T))
            assert (error <= (16 + 32) * 2.0**-22 * size).all()


def test_lanes_of_a_warp(run, rng):
    x = rng.integers(-9, 9, 32).astype(np.int32)
    for all_ in (True, False):
        x[7] = 1 if all_ else -1000
        swapped, votes, every, told = run(
            "lanes", x, np.zeros((5, 32), np.int32), np.zeros(32, np.uint32), *np.zeros((2, 32), np.int32)
        )[1:]
        lane = np.arange(32)
        assert told.tolist() == [x[9]] * 32
        np.testing.assert_array_equal(swapped, [x[lane ^ bits] for bits in (1, 2, 4, 8, 16)])
        assert set(votes.tolist()) == {sum(int(v > 0) << i for i, v in enumerate(x))}
        assert (every != 0).tolist() == [all_] * 32


def swizzled(values):
    """Rows of 64 fp16 as `wgmma` reads them: CUTLASS's Layout_K_SW128_Atom, Swizzle<3, 4, 3> of (8, 64) : (64, 1)."""
    row, feature = np.indices(values.shape)
    at = 128 * row + 2 * feature
    out = np.empty(values.size, np.uint16)
    out[(at ^ (at >> 7 & 7) << 4) // 2] = values.view(np.uint16)
    return out


def test_products_of_a_group(run, rng):
    """Images have the layout that `wgmma` is told of, and threads the sums that CUTLASS's CLayout_64x128 gives them."""
    from gpuclust.backends import cuda_kernels

    if cuda_kernels.target(0) != "sm_90a":
        pytest.skip("not a Hopper GPU")
    rows, centers = rng.integers(-99, 100, (2, 128, 64))  # sums are exact
    shift, scale, pairs = np.zeros(64), 2.0**46, np.zeros((128, 2), np.float32)
    X, tile = rows.astype(np.float32), np.zeros(128 * 64, np.uint16)
    there = X, 128, 64, shift.astype(np.float32), np.float32(scale), tile, 8, 1, pairs
    a = run("halve_f32", *there, file="tensor")[2]
    there = centers.astype(np.float64), 128, 64, shift, scale, tile, 8, 1, pairs, np.zeros(1, np.int32)
    b = run("halve_centers", *there, file="tensor")[2]
    np.testing.assert_array_equal(a, swizzled(rows.astype(np.float16)))
    np.testing.assert_array_equal(b, swizzled(centers.astype(np.float16)))
    sums = np.zeros((2, 64, 128), np.float32)
    found = run("products", np.concatenate([a, b]), sums, file="wgmma", threads=128, shared=2 * 16384 + 8)[1]
    value, thread = np.indices((64, 128))
    at = 128 * (thread % 4) + thread // 4 % 8 + 16 * (thread // 32)  # Stride<Stride<_128, _1, _16>, ...
    at += 64 * (value % 2) + 8 * (value // 2 % 2) + 512 * (value // 4)  # ... Stride<_64, _8, _512>>
    expected = (rows @ centers.T).reshape(2, 64, 128)
    np.testing.assert_array_equal(found, expected[:, at % 64, at // 64])
