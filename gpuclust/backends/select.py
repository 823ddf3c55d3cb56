"""Which device a fit runs on, and why."""

from __future__ import annotations

import functools
import re
import warnings
from typing import NamedTuple

from ..config import get_config
from ..errors import DeviceFallbackWarning, DeviceUnavailableError
from .base import Backend
from .cpu import CPUBackend

INSTALL = "pip install 'gpuclust[cuda13]' (CUDA 13 drivers) or 'gpuclust[cuda12]' (CUDA 12 drivers)"


class Choice(NamedTuple):
    backend: Backend
    reason: str


def select(device: str) -> Choice:
    """Backend for 'auto', 'cpu', 'cuda' or 'cuda:N'; 'auto' follows `config_context(device=...)` first.

    Raises
    ------
    DeviceUnavailableError
        If a CUDA device was named and cannot be used.
    ValueError
        If the name is none of these.
    """
    if device == "auto":
        device = get_config().device
    if device == "cpu":
        return Choice(CPUBackend(), "asked for")
    match = re.fullmatch(r"auto|cuda(?::(\d+))?", str(device))
    if match is None:
        raise ValueError(f"device={device!r} is none of 'auto', 'cpu', 'cuda', 'cuda:0', 'cuda:1', ...")
    problem = cuda_problem(int(match[1] or 0))
    if problem is None:
        from .cuda import CUDABackend

        return Choice(CUDABackend(int(match[1] or 0)), "asked for" if device != "auto" else "a usable GPU was found")
    if device != "auto":
        raise DeviceUnavailableError(f"device={device!r} cannot be used: {problem.text}")
    if problem.gpu_visible:
        _warn_once(problem.text)
    return Choice(CPUBackend(), problem.text)


class Problem(NamedTuple):
    text: str
    gpu_visible: bool


@functools.cache
def cuda_problem(index: int) -> Problem | None:
    """Why CUDA device `index` cannot be used; None where it can."""
    try:
        import cupy
    except ImportError:
        return Problem(f"CuPy is not installed; {INSTALL}.", gpu_visible=_driver_present())
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except Exception as error:  # CuPy raises its own types, which differ between versions
        return Problem(f"the CUDA driver does not answer ({error}); update the NVIDIA driver.", _driver_present())
    if index >= count:
        return Problem(f"there are {count} CUDA devices, numbered from 0.", gpu_visible=count > 0)
    return None


def _driver_present() -> bool:
    import os

    return os.path.exists("/proc/driver/nvidia/version") or os.path.exists("/dev/nvidia0")


@functools.cache
def _warn_once(text: str) -> None:
    message = f"A GPU is visible but cannot be used, running on the CPU: {text}"
    warnings.warn(message, DeviceFallbackWarning, stacklevel=2)
