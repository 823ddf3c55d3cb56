"""The kernels' own sources on the CPU: compiled with a C++ compiler against `cuda.h`, launched through ctypes."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import json
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
RACES = Path(__file__).with_name("races.h")
FLAGS = ("-std=c++17", "-O2", "-march=native", "-ffp-contract=off", "-fno-strict-aliasing", "-fPIC", "-w")
BRIEF_FLAGS = ("-std=c++17", "-Og", *FLAGS[2:])
ALIGNMENT = ("-fsanitize=alignment", "-fsanitize-undefined-trap-on-error")  # a fifth of the time
RACE_FLAGS = (*FLAGS, "-fsanitize=thread", "--param=tsan-distinguish-volatile=1", "-DGPUCLUST_RACES")
aligned = os.environ.get("GPUCLUST_FUZZ") == "full"  # whether values that are not fail
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


def library(source, races=False):
    """The shared library of a CUDA source; built once, kept in the temporary directory."""
    flags = RACE_FLAGS if races else BRIEF_FLAGS if source in brief else FLAGS
    flags += ALIGNMENT if aligned and not races else ()
    code = f'#include "{header(flags)}"\n{source}\n'
    target = kept(f"{digest(source, *flags)}-typed.so")
    if not target.exists():
        with tempfile.TemporaryDirectory(dir=target.parent) as work:
            path = Path(work) / "kernels.cpp"
            found = kernels(code)
            told = f"extern \"C\" const char emulated_kernels[] = {json.dumps(json.dumps(found))};\n"
            path.write_text(code + told + "\n".join(f"EMULATED({name})" for name in found))
            for command in ((*flags, "-c", path), ("-shared", f"{work}/kernels.o")):  # linked without sanitizers' libraries
                done = subprocess.run([compiler(), *command], capture_output=True, text=True, cwd=work)
                if done.returncode:
                    raise CompileError(done.stderr)
            os.replace(f"{work}/a.out", target)
    return ctypes.CDLL(str(target))


def digest(*texts):
    return hashlib.sha256("\0".join([*texts, HEADER.read_text(), RACES.read_text(), str(compiler())]).encode()).hexdigest()[:20]


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
            shutil.copy(RACES, copy.parent)
            command = [compiler(), *flags, "-x", "c++-header", "-o", f"{copy}.gch", str(copy)]
            subprocess.run(command, capture_output=True, check=False)  # without, it is parsed each time
            with contextlib.suppress(OSError):  # another process was faster
                os.replace(copy.parent, target)
    return target / "cuda.h"


def kernels(code):
    """The kernels in preprocessed C++: by name, the types of their parameters."""
    command = [compiler(), "-E", "-P", "-std=c++17", "-x", "c++", "-"]
    text = subprocess.run(command, input=code, capture_output=True, text=True, check=True).stdout
    found = re.findall(r'extern "C" \[\[gnu::used\]\]\s+void\s+(\w+)\s*\(([^)]*)\)', text)
    return {name: [parameter(each) for each in words.split(",")] for name, words in found}


def parameter(words):
    """The type in the declaration of a parameter, without `const` and the parameter's name."""
    return re.sub(r"\bconst\b|\w+\s*$|\s", "", words)


class Module:
    """The kernels of one source."""

    def __init__(self, source, races=False):
        """With `races`, a launch in which threads race fails, too; see `races.h`."""
        self._library, self._races = library(source, races), races
        told = ctypes.addressof(ctypes.c_char.in_dll(self._library, "emulated_kernels"))
        self._kernels = json.loads(ctypes.string_at(told))

    def launch(self, name, grid, block, args, shared=0, schedule="forward", seed=1):
        """Launch kernel `name`; arrays are passed by address, Python numbers in 64 bits as CuPy does.

        Raises
        ------
        EmulatorError
            With the block, the thread and what it did.
        TypeError
            If the arguments are not those of the kernel. A GPU would take whatever bytes it is given for them.
        """
        types = self._kernels[name]
        if len(types) != len(args):
            raise TypeError(f"{name} has {len(types)} parameters, {len(args)} were given")
        for number, (wanted, arg) in enumerate(zip(types, args, strict=True)):
            if not suits(wanted, arg):
                raise TypeError(f"{name}: parameter {number} is {wanted}, {getattr(arg, 'dtype', type(arg))} was given")
        boxes = [box(arg) for arg in args]
        pointers = (ctypes.c_void_p * len(boxes))(*(ctypes.addressof(each) for each in boxes))
        message = ctypes.create_string_buffer(256)
        if self._races:
            ends = [end for arg in args if isinstance(arg, np.ndarray) for end in (arg.ctypes.data, arg.ctypes.data + arg.nbytes)]
            watched = (ctypes.c_size_t * (len(ends) + 1))(*ends, 0)
            self._library.emulated_watch(watched)
        failed = getattr(self._library, f"emulated_{name}")(
            triple(grid), triple(block), ctypes.c_size_t(shared), pointers, SCHEDULES.index(schedule),
            ctypes.c_uint64(seed), message,
        )  # fmt: skip
        if failed:
            raise EmulatorError(f"{name}: {message.value.decode()}")


def triple(sizes):
    return (ctypes.c_uint * 3)(*(tuple(sizes) + (1, 1, 1))[:3])


POINTED = {
    "float": "f4", "float2": "f4", "float4": "f4", "double": "f8", "int32_t": "i4", "uint32_t": "u4", "int64_t": "i8",
    "uint64_t": "u8", "unsignedlonglong": "u8", "uint16_t": "u2", "unsignedchar": "u2", "State": "i8",
}  # fmt: skip
ALIGNED = {"float2": 8, "float4": 16, "unsignedchar": 16}
PASSED = {
    "int64_t": (int, np.int64), "double": (float, np.float64), "float": (np.float32,), "int32_t": (np.int32,),
    "uint32_t": (np.uint32,), "uint64_t": (np.uint64,),
}  # fmt: skip


def suits(wanted, arg):
    """Whether CuPy passes an argument as a kernel's parameter wants it; no pointer is 0 in 64 bits."""
    if not wanted.endswith("*"):
        return type(arg) in PASSED[wanted]
    if not isinstance(arg, np.ndarray):
        return type(arg) is np.uint64 and arg == 0
    pointed = wanted[:-1]
    known = pointed == "void" or arg.dtype == POINTED[pointed]  # void: another parameter tells
    return known and (arg.size == 0 or arg.ctypes.data % ALIGNED.get(pointed, arg.itemsize) == 0)


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
    array, page = np.asarray(array, order="C"), mmap.PAGESIZE
    room = -(-max(array.nbytes, 1) // 16) * 16
    pages = -(-room // page) * page
    memory = mmap.mmap(-1, pages + page)
    whole = np.frombuffer(memory, np.uint8)
    if ctypes.CDLL(None).mprotect(ctypes.c_void_p(whole.ctypes.data + pages), ctypes.c_size_t(page), 0):
        raise OSError("mprotect failed")
    out = whole[pages - room :][: array.nbytes].view(array.dtype).reshape(array.shape)
    out[...] = array
    return out
