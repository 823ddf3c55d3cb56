"""CuPy look-alike on NumPy: the CUDA backend's own Python runs unchanged on a machine without a GPU.

Stricter than CuPy: every implicit crossing between host and device raises, and so does mixing devices. Crossings,
waits and bytes are counted; the memory can be limited, and any allocation made to fail. What a GPU does in an order
of its own (atomic additions, sums) is done in a random order here, and fresh memory holds garbage. Kernels run in the
emulator, each launch under a schedule drawn by lot. It has only what the backend uses; `NAMES` lists it, so that a
test can look for all of it in a real CuPy.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import operator
import threading
import types
from collections import Counter
from pathlib import Path
from typing import ClassVar

import numpy as np

from . import emulator

VERSION = "14.0.1+standin"
FUNCTIONS = (
    "abs arange argsort ascontiguousarray asarray concatenate cumsum empty full log maximum minimum where zeros"
).split()
METHODS = "all any astype copy get max min ravel reshape set sum view".split()
ATTRIBUTES = "T dtype flags itemsize nbytes ndim shape size device".split()
NVRTC = "NVRTCError compileProgram createProgram destroyProgram getCUBIN getPTX getProgramLog getSupportedArchs getVersion".split()
NAMES = [
    *FUNCTIONS,
    *(f"ndarray.{name}" for name in METHODS + ATTRIBUTES),
    "RawModule",
    "RawKernel.max_dynamic_shared_size_bytes",
    "RawKernel.num_regs",
    "cuda.Device",
    "cuda.Device.attributes",
    "cuda.Device.compute_capability",
    "cuda.Stream.record",
    "cuda.Stream.synchronize",
    "cuda.Stream.wait_event",
    "cuda.Event.done",
    "cuda.Event.synchronize",
    "cuda.alloc_pinned_memory",
    "cuda.get_current_stream",
    "cuda.memory.OutOfMemoryError",
    "cuda.runtime.CUDARuntimeError",
    "cuda.runtime.deviceGetPCIBusId",
    "cuda.runtime.driverGetVersion",
    "cuda.runtime.getDeviceCount",
    "cuda.runtime.getDeviceProperties",
    "cuda.runtime.memGetInfo",
    "cuda.runtime.memoryTypeHost",
    "cuda.runtime.pointerGetAttributes",
    "cuda.runtime.runtimeGetVersion",
    *(f"cuda.nvrtc.{name}" for name in NVRTC),
    "get_default_memory_pool",
]


class OutOfMemoryError(MemoryError):
    """As `cupy.cuda.memory.OutOfMemoryError`."""


class CUDARuntimeError(RuntimeError):
    """As `cupy.cuda.runtime.CUDARuntimeError`."""

    def __init__(self, status):
        super().__init__(f"cudaError {status}")
        self.status = status


class Machine:
    """The state of the pretended GPUs."""

    def __init__(self):
        self.devices, self._local = 2, threading.local()
        self.lock = threading.RLock()  # the devices are used from several threads at once
        self.limit = 1 << 40  # bytes of each device
        self.used: Counter[int] = Counter()  # bytes, by device
        self.spare: Counter[int] = Counter()  # what is left of the block given back last
        self.peak, self.allocations = 0, 0
        self.fail: set[int] = set()  # allocations that find the memory full, counted from 0
        self.unpinned = 0  # or the CUDA error of whoever asks for pinned memory
        self.largest = None  # or the bytes of the largest array that may exist
        self.h2d = self.d2h = self.waits = 0
        self.h2d_bytes = self.d2h_bytes = 0
        self.tally: Counter[tuple[str, int]] = Counter()  # launches, h2d, d2h, waits and copies from other devices
        self.launches: list[str] = []
        self.grids: list[tuple[int, ...]] = []  # and their grids
        self.streams: dict[int, Stream] = {}
        self.schedule = None  # of kernels' threads; by lot
        self.order = None  # an `Order` that watches what devices have from each other
        self.fenced = False  # whether an access outside an array fails
        self.races = False  # whether threads that race do
        self.compute_capability = "90"
        self.shared = 227 << 10  # bytes of shared memory that a block may ask for
        self.rng = np.random.default_rng(0)

    @property
    def current(self):
        """The device of the thread that asks."""
        return getattr(self._local, "device", 0)

    @current.setter
    def current(self, device):
        self._local.device = device

    @property
    def live(self):
        """Bytes, of all devices."""
        return self.used.total()

    def take(self, size, device):
        with self.lock:
            number, self.allocations = self.allocations, self.allocations + 1
            if self.largest is not None and size > self.largest:
                raise AssertionError(f"an array of {size} bytes, more than the test allows")
            used = self.used[device]
            if number in self.fail or used + size > self.limit:
                raise OutOfMemoryError(f"Out of memory allocating {size:,} bytes (allocated so far: {used:,} bytes).")
            self.used[device] += size
            self.spare[device] = max(0, self.spare[device] - size)
            self.peak = max(self.peak, self.live)

    def give(self, size, device):
        with self.lock:
            self.used[device] -= size
            self.spare[device] = size

    def stream(self, device):
        """That of a device's kernels."""
        return self.streams.setdefault(device, Stream(device=device))

    def count(self, what, device=None):
        """One more, on the current device; those of all devices are attributes."""
        with self.lock:
            self.tally[what, self.current if device is None else device] += 1
            if what in ("h2d", "d2h", "waits"):
                setattr(self, what, getattr(self, what) + 1)
            if what in ("d2h", "waits") and self.order:
                self.order.waited(self.current if device is None else device)


class Allocation:
    def __init__(self, machine, size, device):
        self.size, self.written, self.readers = 0, None, []
        machine.take(size, device)
        self.machine, self.size, self.device = machine, size, device
        if machine.order:
            machine.order.allocated(device)
            self.wrote()

    def wrote(self):
        if self.machine.order:
            self.machine.order.wrote(self, self.device)

    def __del__(self):
        if self.size:
            self.machine.give(self.size, self.device)
            if self.machine.order:
                self.machine.order.freed(self)


class ndarray:
    """An array in device memory (really NumPy's)."""

    machine: Machine
    __array_priority__ = 1000
    __hash__ = None

    def __init__(self, a, allocation, device):
        self._a, self._allocation, self._device = a, allocation, device

    # no way around `get`
    def __array__(self, *args, **kwargs):
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()` explicitly.")

    def __array_ufunc__(self, ufunc, method, *args, **kwargs):
        raise TypeError(f"np.{ufunc.__name__} of a device array")

    def __array_function__(self, function, *args, **kwargs):
        raise TypeError(f"np.{function.__name__} of a device array")

    def __iter__(self):
        raise TypeError("iterating over a device array is one transfer an element")

    @property
    def __cuda_array_interface__(self):
        return {"shape": self._a.shape, "typestr": self._a.dtype.str, "data": (0, False), "version": 3}

    def __reduce__(self):
        raise TypeError("a device array was pickled")

    # crossings
    def get(self, out=None, blocking=True):
        """Without `blocking`: into pinned memory, where it is once something has waited for it."""
        self.machine.count("d2h" if blocking else "downloads", self._device)
        self.machine.d2h_bytes += self._a.nbytes
        if blocking:
            return self._a.copy()
        if (out.dtype, out.shape) != (self._a.dtype, self._a.shape):
            raise ValueError(f"{self._a.dtype} {self._a.shape} cannot be copied to {out.dtype} {out.shape}")
        self.machine.stream(self._device).copy_later(out, self._a.copy())
        return out

    def set(self, host, stream=None):
        if type(host) is not np.ndarray:
            raise TypeError("Only numpy.ndarray can be set to cupy.ndarray")
        if (host.dtype, host.shape) != (self._a.dtype, self._a.shape):
            raise TypeError(f"{host.dtype} {host.shape} cannot be set to {self._a.dtype} {self._a.shape}")
        self.machine.count("h2d", self._device)
        self.machine.h2d_bytes += host.nbytes
        self._allocation.wrote()
        if stream is None:
            self._a[...] = host
        else:
            stream.copy_later(self._a, host)

    def _scalar(self):
        self.machine.count("waits")
        return own(self).item()

    def __float__(self):
        return float(self._scalar())

    def __int__(self):
        return int(self._scalar())

    def __bool__(self):
        return bool(self._scalar())

    def __index__(self):
        return operator.index(self._scalar())

    def item(self):
        return self._scalar()

    # indexing
    def __len__(self):
        return len(self._a)

    def __getitem__(self, key):
        if is_view(key):  # arithmetic on the pointer: any device may be current
            return ndarray(self._a[key if isinstance(key, tuple) else (key, ...)], self._allocation, self._device)
        return wrap(own(self)[index(key)], self)

    @np.errstate(all="ignore")
    def __setitem__(self, key, value):
        own(self)[index(key)] = operand(value)
        self._allocation.wrote()

    # what a GPU sums, it sums in its own order
    @np.errstate(all="ignore")
    def sum(self, axis=None):
        a = own(self)
        if axis is not None:
            a = np.take(a, self.machine.rng.permutation(a.shape[axis]), axis)
        return wrap(a.sum(axis=axis))

    def copy(self):
        """The one operation that crosses devices."""
        if self._device != self.machine.current:
            if not self._a.flags.c_contiguous:  # CuPy's first copy, over there, is not waited for
                raise ValueError("rows that are not contiguous copied from another device")
            self.machine.count("copies")
            if self.machine.order:
                self.machine.order.copied(self._allocation, self.machine.current)
        return wrap(self._a.copy())

    @np.errstate(all="ignore")
    def astype(self, dtype, *, copy=True):
        return wrap(own(self).astype(dtype, copy=copy), self)

    @property
    def device(self):
        return Device(self._device)

    @property
    def T(self):
        return wrap(own(self).T, self)


def own(array):
    """The memory of an array on the current device."""
    if array._device != array.machine.current:
        raise ValueError(f"an array of device {array._device} used while device {array.machine.current} is current")
    return array._a


def operand(x):
    if isinstance(x, ndarray):
        return own(x)
    if isinstance(x, (bool, int, float, np.generic)):
        return x
    raise TypeError(f"Unsupported type {type(x)}: a device array or a scalar is needed")


def index(key):
    if isinstance(key, tuple):
        return tuple(index(part) for part in key)
    if isinstance(key, ndarray):
        if key._a.dtype == bool:
            key.machine.count("waits")
        return own(key)
    if key is None or key is Ellipsis or isinstance(key, (int, np.integer, slice)):
        return key
    raise IndexError(f"Unsupported index {type(key)}")


def is_view(key):
    parts = key if isinstance(key, tuple) else (key,)
    return all(part is None or part is Ellipsis or isinstance(part, (int, np.integer, slice)) for part in parts)


quietly = np.errstate(all="ignore")  # a GPU makes inf and NaN without a word


def wrap(value, *sources):
    """`value` as a device array: a view of one of `sources` or new memory."""
    a = np.asarray(value)
    if a.dtype.kind not in "biuf" or a.dtype.itemsize > 8 or not a.dtype.isnative:
        raise TypeError(f"Unsupported dtype {a.dtype}")
    for source in sources:
        if np.may_share_memory(a, source._a) and a.size:
            return ndarray(a, source._allocation, source._device)
    machine = ndarray.machine
    allocation = Allocation(machine, a.nbytes, machine.current)
    return ndarray(emulator.fenced(a) if machine.fenced else a, allocation, machine.current)


def _define_operators():
    def binary(name):
        @quietly
        def call(self, other):
            return wrap(getattr(own(self), name)(operand(other)))

        return call

    def in_place(name):
        @quietly
        def call(self, other):
            a = own(self)
            a[...] = getattr(np.ndarray, name)(a, operand(other))
            self._allocation.wrote()
            return self

        return call

    def unary(name):
        return lambda self: wrap(getattr(own(self), name)())

    def method(name):
        return lambda self, *args, **kwargs: wrap(getattr(own(self), name)(*args, **kwargs), self)

    for op in "add sub mul truediv floordiv mod pow and or xor rshift lshift".split():
        setattr(ndarray, f"__{op}__", binary(f"__{op}__"))
        setattr(ndarray, f"__r{op}__", binary(f"__r{op}__"))
        setattr(ndarray, f"__i{op}__", in_place(f"__i{op}__"))
    for op in "lt le gt ge eq ne".split():
        setattr(ndarray, f"__{op}__", binary(f"__{op}__"))
    for op in "neg abs invert".split():
        setattr(ndarray, f"__{op}__", unary(f"__{op}__"))
    for name in "all any max min ravel reshape view".split():
        setattr(ndarray, name, method(name))
    for name in "dtype flags itemsize nbytes ndim shape size".split():
        setattr(ndarray, name, property(operator.attrgetter(f"_a.{name}")))


_define_operators()


class Device:
    machine: Machine

    def __init__(self, id=None):
        self.id = self.machine.current if id is None else int(id)

    @property
    def compute_capability(self):
        return self.machine.compute_capability

    @property
    def attributes(self):
        return {"MaxSharedMemoryPerBlockOptin": self.machine.shared, "MultiProcessorCount": 1}

    def __eq__(self, other):
        return isinstance(other, Device) and self.id == other.id

    def __hash__(self):
        return self.id

    def __enter__(self):
        self._before, self.machine.current = self.machine.current, self.id
        return self

    def __exit__(self, *_):
        self.machine.current = self._before


class Stream:
    """Copies land when something waits for them: until then the memory holds garbage, and what they read may change."""

    def __init__(self, non_blocking=False, device=None):
        self._copies, self._landed, self.device = [], 0, device
        self._after = []  # (copy, event of another stream's downloads that it comes after)

    def copy_later(self, there, source):
        """From pinned memory, which may change until then, or to it. Pageable memory, where none can be pinned, is read
        before this returns, and holds what was written."""
        pinned = there if self.device is not None else source
        if not Pinned.holds(pinned.ctypes.data):
            if not ndarray.machine.unpinned:
                raise ValueError("a copy beside the kernels from or to memory that is not pinned")
            self._copies.append((there, source.copy()))
            if self.device is not None:
                self.land(len(self._copies))
            return
        there.view(np.uint8).reshape(-1)[...] = 0xFF
        self._copies.append((there, source if self.device is not None else source.ctypes.data))

    def land(self, count):
        with ndarray.machine.lock:  # several threads may wait for the same copies
            for number in range(self._landed, count):
                there, source = self._copies[number]
                if isinstance(source, int):
                    source = np.frombuffer(ctypes.string_at(source, there.nbytes), there.dtype).reshape(there.shape)
                there[...] = source
                self._copies[number] = None
            self._landed = max(self._landed, count)

    @property
    def under_way(self):
        return len(self._copies) - self._landed

    def record(self):
        return Event(self, len(self._copies))

    def wait_event(self, event):
        if event._stream.device is None:
            event._stream.land(event._count)
        else:
            self._after.append((len(self._copies), event))
        order, device = ndarray.machine.order, ndarray.machine.current
        if order and event.clock:
            order.follow(device, event.clock)

    def synchronize(self):
        if self.device is not None:
            ndarray.machine.count("waits", self.device)
            if ndarray.machine.order:
                ndarray.machine.order.waited(self.device)
        self.waited(len(self._copies))

    def waited(self, count):
        """By the host, for so many copies and all that they waited for."""
        self.land(count)
        for copy, event in self._after:
            if copy < count:
                event._stream.land(event._count)
        self._after = [(copy, event) for copy, event in self._after if copy >= count]


class Event:
    def __init__(self, stream, count):
        self._stream, self._count = stream, count
        order = ndarray.machine.order
        self.clock = order.clock(ndarray.machine.current) if order else None

    @property
    def done(self):
        """Whether something has waited for it: a GPU may be earlier."""
        return self._stream._landed >= self._count

    def synchronize(self):
        """By the host; for a copy to the device, the wait that its two buffers need."""
        ndarray.machine.count("turns" if self._stream.device is None else "waits")
        self._stream.waited(self._count)


class Pinned:
    """Pinned memory: never given back here, but overwritten when it would be."""

    blocks: ClassVar[dict[int, bytearray]] = {}

    @classmethod
    def alloc(cls, size):
        if ndarray.machine.unpinned:
            raise CUDARuntimeError(ndarray.machine.unpinned)
        block = bytearray(b"\xff" * size)
        kind = type("PinnedMemory", (ctypes.c_ubyte * size,), {"__del__": lambda self: ctypes.memset(self, 0xFF, size)})
        memory = kind.from_buffer(block)
        cls.blocks[ctypes.addressof(memory)] = block
        return memory

    @classmethod
    def attributes(cls, address):
        return types.SimpleNamespace(type=int(cls.holds(address)))

    @classmethod
    def holds(cls, address):
        blocks = cls.blocks.copy()  # a reading thread may add to them; in one step, which a list of them is not
        return any(start <= address < start + len(block) for start, block in blocks.items())


class NVRTCError(Exception):
    pass


class NVRTC_:
    """As `cupy.cuda.nvrtc`: the binary that it makes is the source, which `RawModule` gives to the emulator."""

    NVRTCError = NVRTCError
    createProgram = staticmethod(lambda source, name, headers, names: {"source": source, "options": None})
    destroyProgram = staticmethod(dict.clear)
    getVersion = staticmethod(lambda: (13, 0))
    getSupportedArchs = staticmethod(lambda: [75, 80, 86, 89, 90, 100, 120])
    getProgramLog = staticmethod(lambda program: "the log")

    @staticmethod
    def compileProgram(program, options):
        if "#error" in program["source"]:
            raise NVRTCError("NVRTC_ERROR_COMPILATION (6)")
        program["options"] = options

    @staticmethod
    def getCUBIN(program):
        return (json.dumps(program) + " ").encode()[:-1]  # without the last byte, as CuPy's

    @staticmethod
    def getPTX(program):
        return json.dumps(program).encode()


class RawModule:
    functions: ClassVar[dict[tuple[str, str], Kernel]] = {}

    def __init__(self, *, path):
        if type(path) is not str:
            raise TypeError("Argument 'path' has incorrect type")
        data = Path(path).read_bytes()
        program = json.loads(data.removesuffix(b"\0"))
        virtual = any(option.startswith("-arch=compute") for option in program["options"])
        if virtual == data.endswith(b"\0"):
            raise ValueError("invalid ELF")
        self._module, self._path = emulator.Module(program["source"], ndarray.machine.races), path

    def get_function(self, name):
        """One and the same for a file, as CuPy keeps modules by their path: so are its limits."""
        return self.functions.setdefault((self._path, name), Kernel(self._module, name))


class Kernel:
    max_dynamic_shared_size_bytes, num_regs = 48 << 10, 168

    def __init__(self, module, name):
        self._module, self._name = module, name

    def __call__(self, grid, block, args, shared_mem=0):
        machine = ndarray.machine
        if shared_mem > min(self.max_dynamic_shared_size_bytes, machine.shared):
            raise ValueError("CUDA_ERROR_INVALID_VALUE: more shared memory than was asked for")
        if type(grid) is not tuple or type(block) is not tuple or grid[0] >= 1 << 31 or max(grid[1:], default=1) >= 1 << 16:
            raise ValueError(f"CUDA_ERROR_INVALID_VALUE: blocks {grid} of {block} threads")
        if any(isinstance(arg, np.ndarray) for arg in args):
            raise TypeError("Unsupported type numpy.ndarray: a host array was passed to a kernel")
        if max(grid[1:]) > 65_535:
            raise ValueError("CUDA_ERROR_INVALID_VALUE: a grid's second axis has 65535 blocks at most")
        machine.launches.append(self._name)
        machine.grids.append(grid)
        machine.count("launches")
        host = [own(arg) if isinstance(arg, ndarray) else arg for arg in args]
        schedule = machine.schedule or emulator.SCHEDULES[machine.rng.integers(len(emulator.SCHEDULES))]
        seed = int(machine.rng.integers(1 << 32))
        with machine.lock:  # the emulator runs one kernel at a time
            before = [arg._a.tobytes() if machine.order and isinstance(arg, ndarray) else None for arg in args]
            self._module.launch(self._name, grid, block, host, shared_mem, schedule, seed)
        for arg, content in zip(args, before, strict=True):
            if content is not None and arg._a.tobytes() != content:
                arg._allocation.wrote()


def _elementwise(name):
    @quietly
    def call(*args, out=None):
        arrays = [operand(arg) for arg in args]
        if out is None:
            return wrap(getattr(np, name)(*arrays))
        getattr(np, name)(*arrays, out=own(out))
        return out

    return call


def _many(name):
    return lambda arrays: wrap(getattr(np, name)([own(a) for a in arrays]))


def _garbage(shape, dtype=float):
    a = np.empty(shape, dtype)
    a.view(np.uint8)[...] = 0xFF if a.dtype.kind == "f" else 0x7B
    return wrap(a)


def _made(name):
    return lambda *args, **kwargs: wrap(getattr(np, name)(*args, **kwargs))


def _asarray(a, dtype=None):
    if not isinstance(a, ndarray):
        raise TypeError("cupy.asarray of host data stages all of it in pinned memory: send it with `set`")
    return a if dtype is None else a.astype(dtype, copy=False)


def _ascontiguousarray(a, dtype=None):
    return wrap(np.ascontiguousarray(own(a), dtype), a)


def _argsort(a):
    """Thrust takes memory, too: what was given back last, or more. Where there is none, CuPy 14.0 leaves garbage."""
    machine, order = ndarray.machine, wrap(np.argsort(own(a), kind="stable"))
    needed = 3 * a.nbytes + (1 << 20)  # with a copy of the keys
    if machine.spare[machine.current] < needed:
        try:
            Allocation(machine, needed, machine.current)
        except OutOfMemoryError:
            order._a[...] = 0
    return order


def _cumsum(a, *, dtype=None):
    return wrap(np.cumsum(own(a), dtype=dtype))


def module(machine):
    """Return a module that stands in for `cupy` on `machine`."""
    ndarray.machine = Device.machine = machine
    cupy = types.ModuleType("cupy")
    for name in "abs log maximum minimum where".split():
        setattr(cupy, name, _elementwise(name))
    for name in "arange full zeros".split():
        setattr(cupy, name, _made(name))
    cupy.concatenate, cupy.empty = _many("concatenate"), _garbage
    cupy.asarray, cupy.ascontiguousarray = _asarray, _ascontiguousarray
    cupy.cumsum, cupy.argsort = _cumsum, _argsort
    cupy.RawModule = RawModule
    cupy.ndarray, cupy.__version__ = ndarray, VERSION
    cupy.get_default_memory_pool = lambda: types.SimpleNamespace(free_bytes=lambda: 0)
    cupy.cuda = types.ModuleType("cupy.cuda")
    vars(cupy.cuda).update(
        Device=Device,
        nvrtc=NVRTC_,
        Stream=Stream,
        alloc_pinned_memory=Pinned.alloc,
        get_current_stream=lambda: machine.stream(machine.current),
        memory=types.SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
        runtime=types.SimpleNamespace(
            CUDARuntimeError=CUDARuntimeError,
            driverGetVersion=lambda: 12080,
            runtimeGetVersion=lambda: 12080,
            getDeviceCount=lambda: machine.devices,
            getDeviceProperties=lambda index: {"name": b"Pretended", "major": 9, "minor": 0},
            memoryTypeHost=1,
            deviceGetPCIBusId=lambda index: f"0000:{index:02X}:00.0",
            pointerGetAttributes=Pinned.attributes,
            memGetInfo=lambda: (max(0, machine.limit - machine.used[machine.current]), machine.limit),
        ),
    )
    return cupy


@contextlib.contextmanager
def as_cupy(modules, replacement):
    """`replacement` under the name `cupy` in `modules` (sys.modules), and nothing imported before that knows it."""
    import gpuclust.backends

    def forget():
        for name in [name for name in modules if name.startswith("gpuclust.backends.cuda")]:
            del modules[name]
            vars(gpuclust.backends).pop(name.rpartition(".")[2], None)

    before = modules.get("cupy")
    forget()
    if replacement is not None:
        modules["cupy"] = replacement
    try:
        yield
    finally:
        forget()
        modules.pop("cupy", None)
        if before is not None:
            modules["cupy"] = before
