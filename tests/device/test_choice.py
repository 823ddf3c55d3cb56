"""Which device, and why."""

from __future__ import annotations

import re
import sys
import tomllib
import warnings
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import gpuclust
from gpuclust import DeviceFallbackWarning, DeviceUnavailableError, KMeans
from gpuclust.backends import diagnosis, select
from gpuclust.cli.app import app

from . import fakecupy
from .conftest import fresh_choice


def test_auto_takes_a_gpu_that_answers(cuda):
    choice = select.select("auto")
    assert (choice.backend.name, choice.reason) == ("cuda:0", "a usable GPU was found")
    assert select.select("cuda").backend.name == "cuda:0"
    with gpuclust.config_context(device="cuda:0"):
        assert select.select("auto").backend.name == "cuda:0"
    with gpuclust.config_context(device="cpu"):
        assert select.select("auto").backend.name == "cpu"


def test_a_device_that_is_not_there(machine):
    machine.devices = 1
    with pytest.raises(DeviceUnavailableError, match="1 CUDA devices, numbered from 0"):
        select.select("cuda:1")
    machine.devices = 0
    fresh_choice()
    assert select.select("auto").backend.name == "cpu"


@pytest.mark.parametrize("visible", [False, True])
def test_no_cupy(monkeypatch, visible):
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.setattr(diagnosis, "driver_present", lambda: visible)
    monkeypatch.setattr(diagnosis, "driver_version", lambda: None)
    with pytest.raises(DeviceUnavailableError, match=r"CuPy is not installed; pip install 'gpuclust\[cuda13\]'"):
        KMeans(2, device="cuda").fit(np.eye(3))
    if visible:
        with pytest.warns(DeviceFallbackWarning, match="CuPy is not installed"):
            KMeans(2, device="auto").fit(np.eye(3))
    KMeans(2, device="auto").fit(np.eye(3))  # told once, or there is nothing to tell


def fail(words):
    def broken(*args):
        raise RuntimeError(words)

    return broken


def test_a_driver_that_does_not_answer(machine, monkeypatch):
    monkeypatch.setattr(sys.modules["cupy"].cuda.runtime, "getDeviceCount", fail("cudaErrorInsufficientDriver"))
    monkeypatch.setattr(diagnosis, "driver_present", lambda: True)
    with pytest.raises(DeviceUnavailableError, match="InsufficientDriver"):
        select.select("cuda")
    with pytest.warns(DeviceFallbackWarning, match="update the NVIDIA driver"):
        assert select.select("auto").backend.name == "cpu"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert select.select("auto").backend.name == "cpu"


@pytest.mark.parametrize(
    ("driver", "words"),
    [
        (None, "no NVIDIA driver that answers .*; install or update the NVIDIA driver"),
        (11080, r"runs CUDA 11\.8 at most; update it to one for CUDA 12 or newer"),
        (12040, r"is for CUDA 13 and the driver runs CUDA 12\.4 at most; pip uninstall .*'gpuclust\[cuda12\]'"),
        (13000, "the CUDA driver does not answer .*; update the NVIDIA driver"),
    ],
)
def test_trouble_is_told_with_the_line_that_mends_it(machine, monkeypatch, driver, words):
    runtime = sys.modules["cupy"].cuda.runtime
    monkeypatch.setattr(runtime, "getDeviceCount", fail("cudaErrorInsufficientDriver"))
    monkeypatch.setattr(runtime, "runtimeGetVersion", lambda: 13000, raising=False)
    monkeypatch.setattr(diagnosis, "driver_version", lambda: driver)
    with pytest.raises(DeviceUnavailableError, match=words):
        select.select("cuda")


@pytest.mark.parametrize(
    ("driver", "error", "words"),
    [
        (12080, ModuleNotFoundError("No module named 'cupy'", name="cupy"), r"pip install 'gpuclust\[cuda12\]'"),
        (14000, ModuleNotFoundError("No module named 'cupy'", name="cupy"), r"pip install 'gpuclust\[cuda13\]'"),
        (10020, ModuleNotFoundError("No module named 'cupy'", name="cupy"), r"runs CUDA 10\.2 at most"),
        (13000, ImportError("libnvrtc.so.12: not found"), r"cannot be imported \(libnvrtc.so.12.*pip uninstall"),
    ],
)
def test_the_package_that_fits_the_driver(monkeypatch, driver, error, words):
    class Broken:
        def find_spec(self, name, path=None, target=None):
            if name == "cupy":
                raise error

    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    monkeypatch.setattr(diagnosis, "driver_version", lambda: driver)
    with pytest.raises(DeviceUnavailableError, match=words):
        select.select("cuda")


@pytest.mark.parametrize(
    ("version", "told"), [("13.6.0", True), ("14.0.0rc1", True), ("14.0.1", False), ("14.10", False), ("15.0.0a1", False)]
)
def test_a_cupy_that_is_too_old(machine, monkeypatch, version, told):
    monkeypatch.setattr(sys.modules["cupy"], "__version__", version)
    monkeypatch.setattr(diagnosis, "driver_version", lambda: 12080)
    if not told:
        assert select.select("cuda").backend.name == "cuda:0"
        return
    words = (
        rf"CuPy {re.escape(version)} is installed, and 14\.0\.1 or newer is needed; pip uninstall -y .*cupy-cuda12x.*, then"
        r" pip install 'gpuclust\[cuda12\]'"
    )
    with pytest.raises(DeviceUnavailableError, match=words):
        KMeans(2, device="cuda").fit(np.eye(3))
    with pytest.warns(DeviceFallbackWarning, match=words):
        KMeans(2, device="auto").fit(np.eye(3))
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 4 and re.search(f"visible, but not usable: {words}", result.output)


def test_the_oldest_cupy_is_that_of_the_extras():
    extras = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for name in ("cuda12", "cuda13", "compile"):
        assert f">={diagnosis.OLDEST_CUPY}," in extras[name][0]


def test_no_device_is_no_trouble(machine, monkeypatch):
    class NoDevice(Exception):
        status = 100

    def none():
        raise NoDevice("cudaErrorNoDevice")

    monkeypatch.setattr(sys.modules["cupy"].cuda.runtime, "getDeviceCount", none)
    monkeypatch.setattr(diagnosis, "driver_present", lambda: True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert select.select("auto").backend.name == "cpu"
    with pytest.raises(DeviceUnavailableError, match="CUDA_VISIBLE_DEVICES"):
        select.select("cuda")


def test_a_gpu_that_is_too_old(machine):
    machine.compute_capability = "61"
    with pytest.raises(DeviceUnavailableError, match=r"capability, 6\.1, is below 7\.5"):
        select.select("cuda")
    with pytest.warns(DeviceFallbackWarning, match="too old"):
        assert select.select("auto").backend.name == "cpu"


@pytest.mark.parametrize(
    ("own", "known", "expected"),
    [
        ("90", [75, 80, 90], "sm_90a"),
        ("86", [75, 80, 86, 90], "sm_86"),
        ("121", [75, 90, 100, 120], "compute_120"),
        ("89", [75, 80], "compute_80"),
    ],
)
def test_what_is_compiled_for(machine, monkeypatch, own, known, expected):
    from gpuclust.backends import cuda_kernels

    machine.compute_capability = own
    monkeypatch.setattr(cuda_kernels.nvrtc, "getSupportedArchs", staticmethod(lambda: known))
    assert cuda_kernels.target(0) == expected
    X = np.arange(12, dtype=np.float32).reshape(6, 2)
    assert len(KMeans(2, init=X[:2], device="cuda").fit(X).labels_) == 6


def test_a_compiler_that_spreads_registers_otherwise(machine, monkeypatch):
    """The kernel for Hopper would wait for registers that nobody gives."""
    X = np.random.default_rng(0).normal(size=(300, 40)).astype(np.float32)
    labels = KMeans(5, init=X[:5], device="cuda").fit(X).labels_
    assert "score" in machine.launches and "score_64" not in machine.launches
    monkeypatch.setattr(fakecupy.Kernel, "num_regs", 160)
    machine.launches.clear()
    np.testing.assert_array_equal(KMeans(5, init=X[:5], device="cuda").fit(X).labels_, labels)
    assert "score" not in machine.launches and "score_64" in machine.launches


def test_an_nvrtc_that_knows_nothing_old_enough(machine, monkeypatch):
    from gpuclust.backends import cuda_kernels

    machine.compute_capability = "75"
    monkeypatch.setattr(cuda_kernels.nvrtc, "getSupportedArchs", staticmethod(lambda: [80, 90]))
    with pytest.raises(DeviceUnavailableError, match=r"capability 7\.5, for which NVRTC 13\.0 cannot compile"):
        cuda_kernels.target(0)


def test_no_nvrtc(machine, monkeypatch):
    monkeypatch.setattr(sys.modules["cupy"].cuda.nvrtc, "getVersion", staticmethod(fail("libnvrtc.so.13 not found")))
    with pytest.raises(DeviceUnavailableError, match="NVRTC, which compiles the kernels, .*libnvrtc.so.13 not found"):
        select.select("cuda")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RuntimeError("Failed to find CUDA headers. Please install"), r"does not find CUDA's headers; pip install 'gpuclust\["),
        (MemoryError("Out of memory allocating 512 bytes"), "a first kernel fails on cuda:0 .MemoryError: Out of memory"),
    ],
)
def test_a_gpu_on_which_nothing_runs(machine, monkeypatch, error, words):
    def broken(*args):
        raise error

    monkeypatch.setattr(sys.modules["cupy"], "arange", broken)
    with pytest.raises(DeviceUnavailableError, match=words):
        select.select("cuda")
    with pytest.warns(DeviceFallbackWarning, match=words):
        assert select.select("auto").backend.name == "cpu"


SEVERAL = [[], ["cpu"], ["auto"], ["cuda:all"], "cuda:all,cuda:0", "cuda:0,", [0]]


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "cuda:-1", "", 3, None, *SEVERAL])
def test_names_that_mean_nothing(device):
    with pytest.raises(ValueError, match="is none of"):
        select.select(device)
