"""Which device a fit runs on, or which devices, and why."""

from __future__ import annotations

import functools
import re
import warnings
from typing import NamedTuple

from ..config import Device, get_config
from ..errors import DeviceFallbackWarning, DeviceUnavailableError
from .base import Backend
from .cpu import CPUBackend
from .diagnosis import Problem, device_count, diagnose


class Choice(NamedTuple):
    backend: Backend
    reason: str


def select(device: Device) -> Choice:
    """Backend for 'auto', 'cpu', 'cuda', 'cuda:N', 'cuda:all' or a list of 'cuda:N'; 'auto' follows
    `config_context(device=...)` first.

    Raises
    ------
    DeviceUnavailableError
        If a CUDA device was named and cannot be used.
    ValueError
        If the name is none of these.
    """
    if isinstance(device, str) and device == "auto":
        device = get_config().device
    if device == "cpu":
        return Choice(CPUBackend(), "asked for")
    asked = device != "auto"
    indices = named(device) if asked else (0,)
    for index in indices:
        problem = cuda_problem(index)
        if problem is None:
            continue
        if asked:
            which = f"cuda:{index}: " if len(indices) > 1 else ""
            raise DeviceUnavailableError(f"device={device!r} cannot be used: {which}{problem.text}")
        if problem.gpu_visible:
            _warn_once(problem.text)
        return Choice(CPUBackend(), problem.text)
    from .cuda import CUDABackend

    return Choice(CUDABackend(indices[0], indices[1:]), "asked for" if asked else "a usable GPU was found")


def named(device: Device) -> tuple[int, ...]:
    """Numbers of the CUDA devices that a name other than 'auto' and 'cpu' stands for.

    Raises
    ------
    ValueError
        If it stands for none.
    """
    if isinstance(device, str) and device == "cuda:all":
        return tuple(range(max(1, device_count())))
    parts = device.split(",") if isinstance(device, str) else list(device) if isinstance(device, (list, tuple)) else []
    found = [re.fullmatch(r"cuda(?::(\d+))?", str(part)) for part in parts]
    if not found or None in found:
        raise ValueError(
            f"device={device!r} is none of 'auto', 'cpu', 'cuda', 'cuda:0', 'cuda:1', ..., 'cuda:all' and lists of"
            " 'cuda:0', 'cuda:1', ..."
        )
    return tuple(int(match[1] or 0) for match in found if match)


@functools.cache
def cuda_problem(index: int) -> Problem | None:
    """Why CUDA device `index` cannot be used; None where it can."""
    return diagnose(index)


@functools.cache
def _warn_once(text: str) -> None:
    message = f"A GPU is visible but cannot be used, running on the CPU: {text}"
    warnings.warn(message, DeviceFallbackWarning, stacklevel=2)
