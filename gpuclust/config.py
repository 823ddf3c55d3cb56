"""Device and memory budget for a block of code or for the process."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace

Device = str | Sequence[str]  # a name, or those of several GPUs
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}


@dataclass(frozen=True)
class Config:
    device: Device = "auto"
    memory: int | None = None  # bytes; None: chunks of 64 MiB


_process = Config()  # a context variable alone would not reach threads that start later
_block: ContextVar[Config | None] = ContextVar("gpuclust_config", default=None)


def get_config() -> Config:
    """The settings in force."""
    return _block.get() or _process


def set_config(*, device: Device | None = None, memory: int | str | None = None) -> None:
    """Set the device and the memory budget of the process from here on; None leaves a setting as it is."""
    global _process
    _process = _changed(_process, device, memory)
    block = _block.get()
    if block is not None:
        _block.set(_changed(block, device, memory))


@contextmanager
def config_context(*, device: Device | None = None, memory: int | str | None = None) -> Iterator[None]:
    """Device and memory budget for a block.

    Parameters
    ----------
    device : {'auto', 'cpu', 'cuda', 'cuda:N', 'cuda:all'} or list of 'cuda:N', optional
        Used by estimators whose own `device` is 'auto'.
    memory : int or str, optional
        Budget in bytes, or text such as '500MB' or '2GiB', for chunk buffers, per-row state and statistics.

    Raises
    ------
    ValueError
        If `memory` is not a positive size.
    """
    token = _block.set(_changed(get_config(), device, memory))
    try:
        yield
    finally:
        _block.reset(token)


def parse_size(size: int | str) -> int:
    """Bytes of 500000000, '500MB', '0.5GB' or '2GiB'."""
    if isinstance(size, str):
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?I?)B?\s*", size.upper())
        if match is None or match[2] not in _UNITS:
            raise ValueError(f"memory={size!r} is not a size; write bytes or text such as '500MB' or '2GiB'.")
        size = int(float(match[1]) * _UNITS[match[2]])
    if size <= 0:
        raise ValueError(f"memory={size!r} must be positive.")
    return int(size)


def _changed(config: Config, device: Device | None, memory: int | str | None) -> Config:
    if device is not None:
        config = replace(config, device=device)
    return config if memory is None else replace(config, memory=parse_size(memory))
