"""The kernels' own sources on the CPU: compiled with a C++ compiler against `cuda.h`, launched through ctypes."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import mmap
import os
import platform
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

HEADER = Path(__file__).with_name("cuda.h")
FLAGS = ("-std=c++17", "-O2", "-march=native", "-ffp-contract=off", "-fno-strict-aliasing", "-fPIC", "-w")
BRIEF_FLAGS = ("-std=c++17", "-Og", *FLAGS[2:])
brief = set()  # sources that run so briefly that to optimize them costs more than it saves
SCHEDULES = ("forward", "backward", "shuffled", "greedy")


class EmulatorError(Exception):
    """A launch that a GPU would not have survived, or only by luck."""


class CompileError(Exception):
    """What the C++ compiler says."""


def compiler():
    """The C++ compiler, or None; the emulator switches threads by a few instructions of x86-64 on Linux."""
    if platform.machine() != "x86_64" or platform.system() != "Linux":
        return None
    return shutil.which(os.environ.get("CXX", "g++")) or shutil.which("clang++")


def library(source):
    """The shared library of a CUDA source; built once, kept in the temporary directory."""
    flags = BRIEF_FLAGS if source in brief else FLAGS
    code = f'#include "{header(flags)}"\n{source}\n'
    target = kept(f"{digest(source, *flags)}.so")
    if not target.exists():
        with tempfile.TemporaryDirectory(dir=target.parent) as work:
            path = Path(work) / "kernels.cpp"
            path.write_text(code + "\n".join(f"EMULATED({name})" for name in kernels(code)))
            done = subprocess.run(
                [compiler(), *flags, "-shared", "-o", f"{work}/kernels.so", str(path)], capture_output=True, text=True
            )
            if done.returncode:
                raise CompileError(done.stderr)
            os.replace(f"{work}/kernels.so", target)
    return ctypes.CDLL(str(target))


def digest(*texts):
    return hashlib.sha256("\0".join([*texts, HEADER.read_text(), str(compiler())]).encode()).hexdigest()[:20]


def kept(name):
    """A path in a folder that later processes find again."""
    folder = Path(tempfile.gettempdir()) / f"gpuclust-emulator-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder / name


@functools.cache
def header(flags):
    """A copy of `cuda.h`; g++ takes what it has parsed of it once, which is half of the work of most sources."""
    target = kept(digest(*flags))
    if not target.exists():
        with tempfile.TemporaryDirectory(dir=target.parent) as work:
            copy = Path(work) / "header" / "cuda.h"
            copy.parent.mkdir()
            shutil.copy(HEADER, copy)
            command = [compiler(), *flags, "-x", "c++-header", "-o", f"{copy}.gch", str(copy)]
            subprocess.run(command, capture_output=True, check=False)  # without, it is parsed each time
            with contextlib.suppress(OSError):  # another process was faster
                os.replace(copy.parent, target)
    return target / "cuda.h"


def kernels(code):
    """The names of the kernels in preprocessed C++."""
    command = [compiler(), "-E", "-P", "-std=c++17", "-x", "c++", "-"]
    text = subprocess.run(command, input=code, capture_output=True, text=True, check=True).stdout
    return re.findall(r'extern "C" \[\[gnu::used\]\]\s+void\s+(\w+)\s*\(', text)


class Module:
    """The kernels of one source."""

    def __init__(self, source):
        self._library = library(source)

    def launch(self, name, grid, block, args, shared=0, schedule="forward", seed=1):
        """Launch kernel `name`; arrays are passed by address, Python numbers in 64 bits as CuPy does.

        Raises
        ------
        EmulatorError
            With the block, the thread and what it did.
        """
        boxes = [box(arg) for arg in args]
        pointers = (ctypes.c_void_p * len(boxes))(*(ctypes.addressof(each) for each in boxes))
        message = ctypes.create_string_buffer(256)
        failed = getattr(self._library, f"emulated_{name}")(
            triple(grid), triple(block), ctypes.c_size_t(shared), pointers, SCHEDULES.index(schedule),
            ctypes.c_uint64(seed), message,
        )  # fmt: skip
        if failed:
            raise EmulatorError(f"{name}: {message.value.decode()}")


def triple(sizes):
    return (ctypes.c_uint * 3)(*(tuple(sizes) + (1, 1, 1))[:3])


def box(arg):
    """The memory that holds one argument."""
    if isinstance(arg, np.ndarray):
        if not arg.flags.c_contiguous:
            raise ValueError("an array that is not contiguous was passed to a kernel")
        return ctypes.c_void_p(arg.ctypes.data)
    if arg is None:
        return ctypes.c_void_p(0)
    if isinstance(arg, np.generic):
        return (ctypes.c_char * arg.nbytes).from_buffer_copy(arg.tobytes())
    if isinstance(arg, int):
        return ctypes.c_longlong(arg)
    if isinstance(arg, float):
        return ctypes.c_double(arg)
    raise TypeError(f"{type(arg)} cannot be passed to a kernel")


def fenced(array):
    """A copy of an array that ends where a page begins that nobody may touch (up to 15 bytes of alignment apart)."""
    array, page = np.ascontiguousarray(array), mmap.PAGESIZE
    room = -(-max(array.nbytes, 1) // 16) * 16
    pages = -(-room // page) * page
    memory = mmap.mmap(-1, pages + page)
    whole = np.frombuffer(memory, np.uint8)
    if ctypes.CDLL(None).mprotect(ctypes.c_void_p(whole.ctypes.data + pages), ctypes.c_size_t(page), 0):
        raise OSError("mprotect failed")
    out = whole[pages - room :][: array.nbytes].view(array.dtype).reshape(array.shape)
    out[...] = array
    return out
