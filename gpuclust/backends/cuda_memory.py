"""Device memory: placing host rows, and routines cut into tiles that survive a full device."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

import cupy
import numpy as np

from ..errors import DeviceMemoryError
from .copying import MOST, copy_rows
from .statistics import Array

R = TypeVar("R")
TILE_BYTES: Final = 4 << 30  # temporaries of a tile at most: many waves of blocks, since the host makes ten launches
SHARE: Final = 32  # and of a device's memory not more than this part
PIECE: Final = 32 << 20  # bytes of pinned memory that rows pass through, twice
PIECES: Final = 16  # or more: to pin memory takes as long as to send ten times as much
NO_MEMORY: Final = 2  # cudaErrorMemoryAllocation
logger = logging.getLogger("gpuclust")


def free_bytes() -> int:
    """What the current device and CuPy's pool can still hand out."""
    return int(cupy.cuda.runtime.memGetInfo()[0]) + int(cupy.get_default_memory_pool().free_bytes())


@functools.cache
def _memory(device: int) -> int:
    """Bytes of the device, which is current."""
    return int(cupy.cuda.runtime.memGetInfo()[1])


def tile_bytes() -> int:
    """Bytes that the temporaries of a tile may take on the current device."""
    return min(TILE_BYTES, _memory(cupy.cuda.Device().id) // SHARE)


def full_told(text: str) -> DeviceMemoryError:
    """What CuPy says of a full device, and what to do."""
    return DeviceMemoryError(f"{text} {free_bytes()} bytes are free. Free some, or use device='cpu'.")


class Current:
    """A device made the current one; array operations that find it full are told in our own words."""

    def __init__(self, index: int) -> None:
        self._device = cupy.cuda.Device(index)

    def __enter__(self) -> None:
        self._device.__enter__()

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        said = str(error) if isinstance(error, cupy.cuda.memory.OutOfMemoryError) else None
        if said is not None and error is not None:
            error.__traceback__ = None  # with it goes whatever the failed operation still held
        del error, trace  # this frame lives on in the traceback of what it raises
        try:
            if said is not None:
                raise full_told(said) from None
        finally:
            self._device.__exit__(None, None, None)


def send(host: Any, dtype: Any = None) -> Array:
    """A host array on the current device.

    `ndarray.set` copies straight from the caller's memory; `cupy.asarray` would pin as much for a copy of it.
    """
    rows = np.atleast_1d(np.asarray(host))
    dtype = np.dtype(dtype or rows.dtype)
    needed = rows.size * dtype.itemsize
    out = reserve(lambda: cupy.empty(rows.shape, dtype), needed, len(rows))
    if needed >= PIECES * PIECE and not is_pinned(rows):
        _send_in_pieces(out, rows)
    else:
        out.set(np.ascontiguousarray(rows, dtype))
    return out


def _send_in_pieces(out: Array, rows: np.ndarray) -> None:
    """Through pinned memory: a piece is copied there by several threads while the one before crosses."""
    step = max(1, PIECE * len(rows) // out.nbytes)
    stream = cupy.cuda.Stream(non_blocking=True)
    stream.wait_event(cupy.cuda.get_current_stream().record())  # kernels may still use the memory
    rooms: list[tuple[np.ndarray, Any]] = [(pinned_empty((step, *rows.shape[1:]), out.dtype), None) for _ in range(2)]
    try:
        with ThreadPoolExecutor(MOST, thread_name_prefix="gpuclust-copy") as pool:
            for start in range(0, len(rows), step):
                room, crossed = rooms.pop(0)
                if crossed is not None:
                    crossed.synchronize()
                part = room[: len(rows) - start]
                copy_rows(part, rows[start : start + step], pool)
                out[start : start + step].set(part, stream=stream)
                rooms.append((room, stream.record()))
    finally:
        stream.synchronize()  # nothing is freed that a copy still reads


def is_pinned(rows: np.ndarray) -> bool:
    """Whether a device reads a host array's memory by itself."""
    runtime = cupy.cuda.runtime
    return bool(runtime.pointerGetAttributes(rows.ctypes.data).type == runtime.memoryTypeHost)


def pinned_empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """A host array in such memory; in pageable memory where the system pins no more: copies from there or to it are
    as safe, and slower."""
    count = int(np.prod(shape))
    try:
        memory = cupy.cuda.alloc_pinned_memory(max(1, count * np.dtype(dtype).itemsize))
    except cupy.cuda.runtime.CUDARuntimeError as error:
        if error.status != NO_MEMORY:
            raise
        tell_unpinned()
        return np.empty(shape, dtype)
    out: np.ndarray = np.frombuffer(memory, dtype, count).reshape(shape)
    return out


def there(array: Any, dtype: Any) -> Array:
    """A host array on the current device; a device array as it is."""
    return array if isinstance(array, cupy.ndarray) else send(array, dtype)


class _Same:
    """A host array as a key: equal to itself only."""

    def __init__(self, array: np.ndarray):
        self.array = array

    def __hash__(self) -> int:
        return id(self.array)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.array is other.array


def constant(host: np.ndarray, dtype: Any = None) -> Array:
    """A host array that nobody changes, on the current device: sent when it is first asked for."""
    return _sent(cupy.cuda.Device().id)(_Same(host), np.dtype(dtype or host.dtype))


@functools.cache
def _sent(device: int) -> Callable[[_Same, Any], Array]:
    """What was sent to a device; the last few are kept."""
    return functools.lru_cache(maxsize=16)(_send_once)


def _send_once(key: _Same, dtype: Any) -> Array:
    out = send(key.array, dtype)
    cupy.cuda.get_current_stream().synchronize()  # whoever reads it later may do so on another stream
    return out


def place(rows: Any, dtype: Any) -> Array:
    """Rows C-contiguous on the current device; the caller's buffer may be reused on return."""
    if not isinstance(rows, cupy.ndarray):
        out = send(rows, dtype)
        cupy.cuda.get_current_stream().synchronize()
        return out
    needed = rows.size * np.dtype(dtype).itemsize
    if rows.device != cupy.cuda.Device():
        rows = _crossed(rows, needed)
    return reserve(lambda: cupy.ascontiguousarray(rows, dtype), needed, len(rows))


def _crossed(rows: Array, needed: int) -> Array:
    """Rows of another device on the current one.

    Of rows that are not contiguous `ndarray.copy` makes a copy over there first, and neither waits until it is made
    nor keeps it until it has crossed.
    """
    if rows.flags.c_contiguous:
        return reserve(rows.copy, needed, len(rows))
    with rows.device:
        whole = reserve(lambda: cupy.ascontiguousarray(rows), rows.nbytes, len(rows))
        cupy.cuda.get_current_stream().synchronize()
    out = reserve(whole.copy, needed, len(rows))
    cupy.cuda.get_current_stream().synchronize()
    return out


def reserve(make: Callable[[], R], needed: int, rows: int) -> R:
    """`make()`, with our own words where the device is full.

    Raises
    ------
    DeviceMemoryError
        With the bytes needed and free, and the rows that would fit.
    """
    try:
        return make()
    except MemoryError:  # CuPy's, or that of Thrust
        pass  # leaving the clause drops the traceback, and with it whatever the failed call still held
    free = free_bytes()
    fits = max(1, free * rows // (2 * max(1, needed)))
    raise DeviceMemoryError(
        f"{needed} bytes are needed on the GPU and {free} are free. Read the data in chunks (a path or"
        f" gpuclust.stream) with chunk_size={fits} or less, or use device='cpu'."
    )


def tiles(n: int, row_bytes: int, step: Callable[[int, int], R], unit: int = 1) -> list[R]:
    """`step(start, stop)` over [0, n) in tiles of at most `tile_bytes()` (or one unit); starts are multiples of `unit`.

    A step that finds the device full is repeated with half the rows: before its last allocation it may only
    leave what repeating it writes again.

    Raises
    ------
    DeviceMemoryError
        If a single unit does not fit.
    """
    out: list[R] = []
    fitting, start = tile_bytes() // row_bytes, 0
    rows = n if n <= fitting else _units(fitting, unit)
    while start < n:
        stop = min(start + rows, n)
        try:
            out.append(step(start, stop))
            start = stop
            continue
        except (cupy.cuda.memory.OutOfMemoryError, DeviceMemoryError):
            pass
        if stop - start <= unit:
            raise DeviceMemoryError(
                f"About {row_bytes} bytes are needed on the GPU for each of {stop - start} rows and {free_bytes()} are"
                " free. Free some, or use device='cpu'."
            )
        rows = _units((stop - start) // 2, unit)
        tell_once(cupy.cuda.Device().id)
    return out


def _units(rows: int, unit: int) -> int:
    return max(1, rows // unit) * unit


@functools.cache
def tell_once(device: int) -> None:
    logger.warning("The memory of cuda:%d is full; working with half the rows at a time.", device)


@functools.cache
def tell_unpinned() -> None:
    logger.warning(
        "No more of the host's memory can be pinned: copies to and from the GPU are slower. Free some, or pass a"
        " smaller chunk_size."
    )
