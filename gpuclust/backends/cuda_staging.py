"""Chunks on their way to the device: pinned memory, and copies that run beside the kernels on a stream of their own."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any, NamedTuple

import cupy
import numpy as np

from ..errors import DeviceMemoryError
from .copying import copy_rows
from .cuda_memory import free_bytes, is_pinned, pinned_empty, reserve, tell_once
from .statistics import Array, Rows


class Copy(NamedTuple):
    """A chunk whose copy was begun."""

    there: list[Array | None]
    host: list[Any]  # must stay until it is done
    done: Any  # event


def pinned(rows: Any, dtype: Any) -> np.ndarray:
    """Host rows in memory that a device reads by itself: as they are, or copied there."""
    if rows.dtype == dtype and rows.flags.c_contiguous and rows.size and is_pinned(rows):
        return rows
    out = pinned_empty(rows.shape, dtype)
    copy_rows(out, rows)
    return out


def uploads(device: int, parts: Iterator[Rows]) -> Generator[tuple[Array, Array | None], None, None]:
    """Each part (X, weight) on the device, in pinned memory on the host; the next one's copy is under way meanwhile.

    Where two do not fit, parts are halved.

    Raises
    ------
    DeviceMemoryError
        If a single row does not fit.
    """
    with cupy.cuda.Device(device):
        stream = cupy.cuda.Stream(non_blocking=True)
    ahead: Copy | None = None
    try:
        for part in parts:
            pieces = [part]
            while pieces:
                begun = _begin(device, stream, pieces[0])
                if begun is None and ahead is None:
                    pieces[:1] = _halved(device, pieces[0])
                    continue
                if begun is not None:
                    del pieces[0]
                if ahead is not None:
                    yield _arrived(device, ahead)
                ahead = begun
            if ahead is not None:
                ahead.done.synchronize()  # what comes next may be read into the memory that this part came from
        if ahead is not None:
            yield _arrived(device, ahead)
    finally:
        stream.synchronize()  # nothing is freed that a copy still reads or writes


def _begin(device: int, stream: Any, part: Rows) -> Copy | None:
    """Begin a copy; None where it takes more than half of what is free: kernels need room, too.

    Memory that kernels still use is written when they are through.
    """
    with cupy.cuda.Device(device):
        host = [part[0], part[1]]
        if len(part[0]) > 1 and 2 * sum(0 if rows is None else rows.nbytes for rows in host) > free_bytes():
            return None
        try:
            there = [None if rows is None else reserve(_empty_like(rows), rows.nbytes, len(rows)) for rows in host]
        except DeviceMemoryError:
            return None
        stream.wait_event(cupy.cuda.get_current_stream().record())
        for rows, out in zip(host, there, strict=True):
            if out is not None:
                out.set(rows, stream=stream)
        return Copy(there, host, stream.record())


def _empty_like(rows: np.ndarray) -> Any:
    return lambda: cupy.empty(rows.shape, rows.dtype)


def _arrived(device: int, copy: Copy) -> tuple[Array, Array | None]:
    """The arrays; kernels launched from now on wait for them."""
    with cupy.cuda.Device(device):
        cupy.cuda.get_current_stream().wait_event(copy.done)
    return copy.there[0], copy.there[1]


def _halved(device: int, part: Rows) -> list[Rows]:
    X, weight = part
    if len(X) == 1:
        with cupy.cuda.Device(device):
            raise DeviceMemoryError(
                f"{X.nbytes} bytes are needed on the GPU for a single row and {free_bytes()} are free."
                " Free some, or use device='cpu'."
            )
    tell_once(device)
    half = len(X) // 2
    return [(X[rows], None if weight is None else weight[rows]) for rows in (slice(half), slice(half, None))]
