"""Statistics on their way to the host. A pass over the data waits once, at its end, for what its chunks told.

A routine writes what it finds into a `Record`. Inside of a pass (`told`) its copy to pinned memory runs beside the
kernels of later chunks, and `Later` stands for the statistic; it is read when the copy has landed, at the end or
before.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextvars import ContextVar
from typing import Any, Final, NamedTuple, TypeVar

import cupy
import numpy as np

from .cuda_memory import pinned_empty, reserve
from .nested import changed
from .statistics import Array, merged

S = TypeVar("S")
Cut = tuple[int, int, tuple[int, ...], Any]  # where a field of a record begins and ends, its shape and dtype
UNDER_WAY: Final = 128 << 20  # bytes on their way at once, of each statistic
_tables: ContextVar[dict[Hashable, Any] | None] = ContextVar("gpuclust_tables", default=None)  # of the present pass


def told(statistics: Iterator[Any]) -> Any:
    """What the statistics of all chunks of a pass are together."""
    token = _tables.set({})
    try:
        return changed(merged(statistics), _landed)
    except BaseException:
        cupy.cuda.get_current_stream().synchronize()  # memory is not given back that a copy still writes
        raise
    finally:
        _tables.reset(token)


def once(name: str, of: tuple[Any, ...], make: Callable[[], S]) -> S:
    """`make()`, which is made of these objects; in a pass the same to its end."""
    tables = _tables.get()
    if tables is None:
        return make()
    key = name, *map(id, of)
    if key not in tables:
        tables[key] = of, make()  # what is kept, no other object has the identity of
    made: S = tables[key][1]
    return made


class Coming(NamedTuple):
    """A record whose copy was begun."""

    host: np.ndarray  # u8, pinned if possible
    done: Any  # event
    read: Callable[[np.ndarray], Any]


class Later:
    """A statistic of which some parts are still on their way."""

    def __init__(self, coming: list[Coming], value: Any = None):
        self._coming, self._value = coming, value

    def merge(self, other: Any) -> Later:
        """Both, in whatever order; parts that have landed are read."""
        out = Later(self._coming, self._value)
        if isinstance(other, Later):
            out._coming = out._coming + other._coming
            other = other._value
        if other is not None:
            out._value = other if out._value is None else out._value.merge(other)
        out._read(UNDER_WAY)
        return out

    def _read(self, left: int) -> None:
        """Wait until no more than so many bytes are on their way; merge what there is."""
        while self._coming:
            first = self._coming[0]
            if not first.done.done:
                if sum(part.host.nbytes for part in self._coming) <= left:
                    break
                first.done.synchronize()
            self._coming = self._coming[1:]
            found = first.read(first.host)
            self._value = found if self._value is None else self._value.merge(found)

    def value(self) -> Any:
        if self._coming and not self._coming[-1].done.done:
            cupy.cuda.get_current_stream().synchronize()
        self._read(-1)
        return self._value

    def __getattr__(self, name: str) -> Any:
        """Whoever looks inside waits."""
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.value(), name)


def _landed(value: Any) -> Any:
    return value.value() if isinstance(value, Later) else value


def _field(memory: Any, cut: Cut) -> Any:
    start, stop, shape, dtype = cut
    return memory[start:stop].view(dtype).reshape(shape)


def _fields(host: np.ndarray, cuts: dict[str, Cut]) -> dict[str, np.ndarray]:
    return {name: _field(host, cut) for name, cut in cuts.items()}


class Record:
    """Zeros of several types in one piece of device memory, which crosses to the host at once.

    Raises
    ------
    DeviceMemoryError
        If there is no room.
    """

    def __init__(self, **fields: tuple[tuple[int, ...], Any]):
        self._cuts: dict[str, Cut] = {}
        size = 0
        for name, (shape, dtype) in fields.items():
            n_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
            self._cuts[name] = size, size + n_bytes, shape, dtype
            size += -(-n_bytes // 8) * 8
        self._memory = reserve(lambda: cupy.zeros(size, np.uint8), size, 1)

    def __getitem__(self, name: str) -> Array:
        return _field(self._memory, self._cuts[name])

    def now(self) -> dict[str, np.ndarray]:
        """The fields on the host, by name."""
        return _fields(self._memory.get(), self._cuts)

    def tell(self, build: Callable[..., S]) -> S:
        """`build` of the fields on the host, by name, which it does not keep: now, or `Later` inside of a pass."""
        cuts = self._cuts

        def read(host: np.ndarray) -> S:  # without the device's memory
            return build(**_fields(host, cuts))

        if _tables.get() is None:
            return build(**self.now())
        host = pinned_empty((self._memory.nbytes,), np.uint8)
        self._memory.get(out=host, blocking=False)
        out: Any = Later([Coming(host, cupy.cuda.get_current_stream().record(), read)])
        return out
