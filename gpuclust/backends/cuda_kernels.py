"""Kernels in CUDA C++ (`kernels/cuda`): compiled by NVRTC at first use, kept on disk, loaded into the current device.

CuPy's own compilation cannot name sm_90a, and compiles without a device nothing at all; so NVRTC is called here.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import cupy
import numpy as np

from ..errors import DeviceUnavailableError
from .diagnosis import OLDEST_GPU

SOURCES: Final = Path(__file__).parent / "kernels" / "cuda"
OPTIONS: Final = ("-std=c++17", "-fmad=false")  # one rounding for each operation, as on the CPU
UNASKED_SHARED: Final = 48 << 10  # bytes of shared memory that a kernel gets without asking
WARPS: Final = 8  # of a block
MOST_BLOCKS: Final = 4096  # of kernels that step through their rows
MOST_GROUPS: Final = 65_535  # on the second axis of a grid; kernels step through what is more
logger = logging.getLogger("gpuclust")
nvrtc = cupy.cuda.nvrtc


def launch(
    name: str, blocks: int | tuple[int, int], args: Sequence[Any], *, shared: int = 0, threads: int = 32 * WARPS
) -> None:
    """Run the kernel `name`, "file.entry", in blocks of so many threads on the current stream.

    Python integers and floats reach the kernel as int64_t and double.
    """
    grid = (blocks, 1) if isinstance(blocks, int) else blocks
    if min(grid):
        _function(name, cupy.cuda.Device().id)(grid, (threads,), tuple(args), shared_mem=shared)


def registers(name: str) -> int:
    """What a thread of the kernel begins with."""
    return int(_function(name, cupy.cuda.Device().id).num_regs)


def blocks_of(threads: int) -> int:
    """Blocks for so many threads, or as many as fill a device."""
    return filling(-(-threads // (32 * WARPS)))


def filling(blocks: int) -> int:
    """So many blocks, or as many as fill a device."""
    return min(blocks, MOST_BLOCKS)


@functools.cache
def attribute(device: int, name: str) -> int:
    """A number that CUDA tells of a device."""
    return int(cupy.cuda.Device(device).attributes[name])


def address(array: Any) -> Any:
    """An array for a kernel; the null pointer for none."""
    return np.uint64(0) if array is None else array


@functools.cache
def _function(name: str, device: int) -> Any:
    """The kernel on a device, which is current. CUDA keeps one limit of shared memory for it: the largest there is."""
    file, _, entry = name.partition(".")
    function = cupy.RawModule(path=str(binary(file, target(device), _type(entry)))).get_function(entry)
    function.max_dynamic_shared_size_bytes = attribute(device, "MaxSharedMemoryPerBlockOptin")
    return function


@functools.cache
def target(device: int) -> str:
    """The architecture to compile for: the device's own, or one from which its driver can translate."""
    own = int(cupy.cuda.Device(device).compute_capability)
    known = nvrtc.getSupportedArchs()
    if own in known and own >= OLDEST_GPU:
        return f"sm_{own}a" if own == 90 else f"sm_{own}"
    older = [arch for arch in known if arch < own]
    if not older or own < OLDEST_GPU:
        raise DeviceUnavailableError(
            f"cuda:{device} has compute capability {own / 10}, for which NVRTC {_version()} cannot compile:"
            f" it knows {', '.join(str(arch / 10) for arch in known)}. Install the CuPy that fits the driver."
        )
    return f"compute_{max(older)}"


def source(file: str) -> str:
    """The complete source of `file`.cu, with the headers that it includes."""
    return _whole(f"{file}.cu")


def _whole(name: str) -> str:
    text = (SOURCES / name).read_text(encoding="utf-8")
    return re.sub(r'^#include "(.+)"$', lambda found: _whole(found[1]), text, flags=re.MULTILINE)


def _type(name: str) -> str:
    """That of the rows which a kernel reads, by its name; f32 where that has none."""
    found = re.search("f32|f64", name)
    return found[0] if found else "f32"


def of_type(code: str, dtype: str) -> str:
    """A source without the kernels that are made by macros for rows of the other type: half of the compiler's work."""
    other = "f64" if dtype == "f32" else "f32"
    return re.sub(rf"^[A-Z]+\((?!\w*{dtype}\w*{other})\w*{other}\w*, .*\)$", "", code, flags=re.MULTILINE)


def binary(file: str, arch: str, dtype: str) -> Path:
    """The compiled `file`.cu for rows of a type: from the disk where it is there."""
    code = of_type(source(file), dtype)
    key = hashlib.sha256("\0".join([code, *OPTIONS, arch, _version()]).encode()).hexdigest()[:16]
    path = folder() / f"gpuclust-{file}-{arch}-{key}.cubin"
    if not path.exists():
        _tell_once(arch, path.parent)
        _write(path, compiled(code, file, arch))
    return path


def compiled(code: str, file: str, arch: str) -> bytes:
    """The binary of a source for one architecture; text for a virtual one (compute_90)."""
    program = nvrtc.createProgram(code, f"{file}.cu", (), ())
    try:
        nvrtc.compileProgram(program, (f"-arch={arch}", *OPTIONS))
        if arch.startswith("compute"):
            return nvrtc.getPTX(program)
        return nvrtc.getCUBIN(program) + b"\0"  # CuPy cuts the last byte off, as if it ended a text
    except nvrtc.NVRTCError as error:
        raise RuntimeError(f"NVRTC cannot compile {file}.cu for {arch}: {nvrtc.getProgramLog(program)}") from error
    finally:
        nvrtc.destroyProgram(program)


@functools.cache
def folder() -> Path:
    """Where binaries are kept: CuPy's cache, else (it cannot be written) a directory of this process."""
    with contextlib.suppress(OSError, RuntimeError):  # no home, or not ours
        path = Path(os.environ.get("CUPY_CACHE_DIR") or Path.home() / ".cupy" / "kernel_cache")
        path.mkdir(parents=True, exist_ok=True)
        if os.access(path, os.W_OK):
            return path
    return Path(tempfile.mkdtemp(prefix="gpuclust-"))


def _write(path: Path, data: bytes) -> None:
    """The file appears whole or not at all, whoever else writes it."""
    handle, name = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
    os.chmod(name, 0o644)  # others may share the directory
    os.replace(name, path)


@functools.cache
def _version() -> str:
    return ".".join(map(str, nvrtc.getVersion()))


@functools.cache
def _tell_once(arch: str, where: Path) -> None:
    logger.warning("Compiling CUDA kernels for %s; later processes find them in %s.", arch, where)
