"""Which device, and why."""

from __future__ import annotations

import sys
import warnings

import numpy as np
import pytest

import gpuclust
from gpuclust import DeviceFallbackWarning, DeviceUnavailableError, KMeans
from gpuclust.backends import select

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
    monkeypatch.setattr(select, "_driver_present", lambda: visible)
    with pytest.raises(DeviceUnavailableError, match=r"CuPy is not installed; pip install 'gpuclust\[cuda13\]'"):
        KMeans(2, device="cuda").fit(np.eye(3))
    if visible:
        with pytest.warns(DeviceFallbackWarning, match="CuPy is not installed"):
            KMeans(2, device="auto").fit(np.eye(3))
    KMeans(2, device="auto").fit(np.eye(3))  # told once, or there is nothing to tell


def test_a_driver_that_does_not_answer(machine, monkeypatch):
    def broken():
        raise RuntimeError("cudaErrorInsufficientDriver")

    monkeypatch.setattr(sys.modules["cupy"].cuda.runtime, "getDeviceCount", broken)
    monkeypatch.setattr(select, "_driver_present", lambda: True)
    with pytest.raises(DeviceUnavailableError, match="InsufficientDriver"):
        select.select("cuda")
    with pytest.warns(DeviceFallbackWarning, match="update the NVIDIA driver"):
        assert select.select("auto").backend.name == "cpu"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert select.select("auto").backend.name == "cpu"


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "cuda:-1", ""])
def test_names_that_mean_nothing(device):
    with pytest.raises(ValueError, match="is none of"):
        select.select(device)
