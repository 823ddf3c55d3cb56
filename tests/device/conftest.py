"""CuPy for the backend: a stand-in everywhere, and the real one where there is a GPU (marked `gpu`)."""

from __future__ import annotations

import sys

import pytest

from gpuclust.backends import select

from . import emulator, fakecupy

GPU = pytest.param("gpu", marks=pytest.mark.gpu)


def fresh_choice():
    """Forget which devices were found unusable, and that it was told."""
    select.cuda_problem.cache_clear()
    select._warn_once.cache_clear()


@pytest.fixture(autouse=True)
def no_memory_of_devices():
    fresh_choice()
    yield
    fresh_choice()


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """The pretended GPUs, with the stand-in installed as `cupy`."""
    if emulator.compiler() is None:
        pytest.skip("no C++ compiler for the emulator: Linux on x86-64 and g++, clang++ or CXX are needed")
    monkeypatch.setenv("CUPY_CACHE_DIR", str(tmp_path / "kernels"))
    state = fakecupy.Machine()
    with fakecupy.as_cupy(sys.modules, fakecupy.module(state)):
        yield state


def real_cupy():
    """CuPy with a device that answers, or a skip that says why not."""
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed", exc_type=ImportError)
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except Exception as error:  # CuPy's own types
        pytest.skip(f"no usable GPU: {error}")
    if not count:
        pytest.skip("no GPU")
    return cupy


@pytest.fixture(params=["standin", GPU])
def cuda(request):
    """The module that is `cupy` for the backend: the stand-in, or CuPy on a real device."""
    if request.param == "standin":
        request.getfixturevalue("machine")
        yield sys.modules["cupy"]
    else:
        cupy = real_cupy()
        with fakecupy.as_cupy(sys.modules, None):
            yield cupy


@pytest.fixture
def small_tiles(cuda, monkeypatch):
    """Tiles of a few rows, so that small data have many ragged ones."""
    from gpuclust.backends import cuda_memory

    monkeypatch.setattr(cuda_memory, "TILE_BYTES", 30_000)


@pytest.fixture
def fenced(machine):
    """The emulator, where an access outside an array fails."""
    machine.fenced = True
    return machine


def place(request):
    """The emulator under the schedule that is asked for, or a GPU."""
    if request.param == "gpu":
        real_cupy()
        with fakecupy.as_cupy(sys.modules, None):
            yield
    else:
        request.getfixturevalue("fenced").schedule = request.param
        yield


@pytest.fixture(params=["shuffled", GPU])
def device(request):
    yield from place(request)


@pytest.fixture(params=[*emulator.SCHEDULES, GPU])
def schedule(request):
    yield from place(request)
