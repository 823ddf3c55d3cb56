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
from .diagnosis import Problem, diagnose


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


@functools.cache
def cuda_problem(index: int) -> Problem | None:
    """Why CUDA device `index` cannot be used; None where it can."""
    return diagnose(index)


@functools.cache
def _warn_once(text: str) -> None:
    message = f"A GPU is visible but cannot be used, running on the CPU: {text}"
    warnings.warn(message, DeviceFallbackWarning, stacklevel=2)
