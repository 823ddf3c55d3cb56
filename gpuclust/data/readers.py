"""Readers: rows of a file or an iterable as host arrays, in order and by range. Ordinary reads, no mmap."""

from __future__ import annotations

import mmap
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from typing import Any

import numpy as np

from ..backends.copying import in_parts
from ..backends.statistics import Rows
from ..errors import DataError

Empty = Callable[[tuple[int, ...], Any], np.ndarray]
SEVERAL = hasattr(os, "preadv")  # whether several threads may read a file


class EmptyFileError(DataError):
    """A file without rows."""


def float_type(dtype: Any) -> np.dtype:
    """What numbers of a type are clustered as: float32 and float64 as they are, all else as float64."""
    return np.dtype(dtype if dtype in (np.float32, np.float64) else np.float64)


def check_weight(weight: np.ndarray, where: str = "") -> None:
    """Refuse weights that are no numbers of repetitions.

    Raises
    ------
    DataError
        If any is negative or not finite; `where` tells of which rows they are.
    """
    if not np.all((weight >= 0) & np.isfinite(weight)):
        raise DataError(f"Weights must be finite and not negative{where and f' ({where})'}.")


class Reader(ABC):
    """n_rows (None: not known before a pass), n_features, dtype (float32 or float64), feature names or None."""

    n_rows: int | None
    n_features: int
    dtype: np.dtype
    names: Sequence[str] | None = None
    weighted: bool = False
    rows: np.ndarray | None = None  # all of them, where they are in memory
    seekable: bool = False  # whether a row anywhere costs about its own bytes

    @property
    def row_bytes(self) -> int:
        """Bytes of a row in the widest of the forms that it is read in."""
        return self.n_features * self.dtype.itemsize

    @abstractmethod
    def blocks(self, rows: int, empty: Empty = np.empty) -> Iterator[Rows]:
        """All rows in blocks of at most `rows`; a block is valid until the next but one is asked for.

        `empty(shape, dtype)` makes memory that rows are read into.
        """

    @abstractmethod
    def slices(self, ranges: Sequence[tuple[int, int]]) -> list[Rows]:
        """The rows of each [start, stop)."""

    def part(self, start: int, stop: int) -> Reader | None:
        """A reader of the rows [start, stop); None where those before would be read, too."""
        return None

    def take(self, index: np.ndarray) -> Rows:
        """Single rows, by ascending index."""
        return _joined(self.slices([(int(i), int(i) + 1) for i in index]))


class NpyReader(Reader):
    """A C-ordered 2-D .npy file, or a memmap of any file."""

    seekable = True

    def __init__(self, path: Any, columns: Sequence[int] | None = None, weight: int | None = None):
        self._open(path, *_npy_header(path), columns, weight)

    @classmethod
    def of_memmap(cls, X: np.memmap, columns: Sequence[int] | None = None, weight: int | None = None) -> NpyReader:
        reader = cls.__new__(cls)
        start = np.frombuffer(X._mmap, np.uint8).ctypes.data  # type: ignore[attr-defined]
        offset = X.offset - X.offset % mmap.ALLOCATIONGRANULARITY + X.ctypes.data - start
        reader._open(X.filename, X.shape, X.dtype, offset, columns, weight)
        return reader

    def _open(self, path: Any, shape: Any, dtype: Any, offset: int, columns: Any, weight: Any) -> None:
        self._path, self._raw, self._offset, self._width = path, np.dtype(dtype), offset, shape[1]
        self._columns, self._weight, self.weighted = columns, weight, weight is not None
        if columns is None and weight is not None:
            self._columns = [c for c in range(shape[1]) if c != weight]
        for c in [*(self._columns or []), *([] if weight is None else [weight])]:
            if not isinstance(c, (int, np.integer)) or not 0 <= c < shape[1]:
                raise DataError(f"{path} has columns 0 to {shape[1] - 1}; there is no column {c!r}.")
        self.n_rows, self.n_features = shape[0], shape[1] if self._columns is None else len(self._columns)
        self.dtype = float_type(self._raw)

    @property
    def row_bytes(self) -> int:
        return max(super().row_bytes, self._width * self._raw.itemsize)

    def part(self, start: int, stop: int) -> Reader:
        other = copy(self)
        other._offset, other.n_rows = self._offset + start * self._width * self._raw.itemsize, stop - start
        return other

    def blocks(self, rows: int, empty: Empty = np.empty) -> Iterator[Rows]:
        rows, whole = min(rows, self.n_rows or 1), self._width == self.n_features and self._raw == self.dtype
        ring = [(empty if whole else np.empty)((rows, self._width), self._raw) for _ in range(2)]  # else: copied anyway
        with open(self._path, "rb", buffering=0) as file:
            for turn, start in enumerate(range(0, self.n_rows or 0, rows)):
                block = ring[turn % 2][: min(rows, (self.n_rows or 0) - start)]
                yield self._read(file, start, block)

    def slices(self, ranges: Sequence[tuple[int, int]]) -> list[Rows]:
        out = []
        with open(self._path, "rb", buffering=0) as file:
            for start, stop in ranges:
                out.append(self._read(file, start, np.empty((stop - start, self._width), self._raw)))
        return out

    def take(self, index: np.ndarray) -> Rows:
        size = self._width * self._raw.itemsize
        flat = np.empty(len(index) * size, np.uint8)
        view = memoryview(flat.data)
        with open(self._path, "rb", buffering=0) as file:
            for at, row in zip(range(0, len(flat), size), index.tolist(), strict=True):
                file.seek(self._offset + row * size)
                if file.readinto(view[at : at + size]) != size:
                    raise DataError(f"{self._path} is truncated: row {row} is missing; write it again.")
        return self._split(flat.view(self._raw).reshape(len(index), self._width))

    def _read(self, file: Any, start: int, block: np.ndarray) -> Rows:
        size = self._width * self._raw.itemsize
        view, first = memoryview(block.data).cast("B"), self._offset + start * size

        def fill(done: int, stop: int) -> None:
            while done < stop:
                got = _read_at(file, first + done, view[done:stop])
                if not got:
                    missing = self._offset + (self.n_rows or 0) * size - os.fstat(file.fileno()).st_size
                    raise DataError(f"{self._path} is truncated: {missing} bytes are missing; write it again.")
                done += got

        if SEVERAL:
            in_parts(len(view), len(view), fill)
        else:
            fill(0, len(view))
        return self._split(block)

    def _split(self, block: np.ndarray) -> Rows:
        weight = None if self._weight is None else block[:, self._weight].astype(np.float64)
        X = block if self._columns is None else block[:, self._columns]
        return np.ascontiguousarray(X, self.dtype), weight


def _read_at(file: Any, offset: int, view: memoryview) -> int:
    """Bytes of a file from an offset on that were read into `view`."""
    if SEVERAL:
        return os.preadv(file.fileno(), [view], offset)
    file.seek(offset)
    return int(file.readinto(view))


def _npy_header(path: Any) -> tuple[tuple[int, int], np.dtype, int]:
    try:
        with open(path, "rb") as file:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, fortran, dtype = read(file)
            offset = file.tell()
    except FileNotFoundError:
        raise DataError(f"{path} does not exist.") from None
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} is not a readable .npy file: {error}") from None
    if len(shape) != 2 or (fortran and min(shape) > 1):
        order = "Fortran order" if fortran else f"shape {shape}"
        raise DataError(f"{path} has {order}; save a 2-D C-ordered array with np.save(path, np.ascontiguousarray(X)).")
    if dtype.kind not in "fiub":
        raise DataError(f"{path} holds {dtype}, not numbers; convert it to float32 first.")
    _check_size(path, shape, offset + shape[0] * shape[1] * dtype.itemsize)
    return shape, dtype, offset


def _check_size(path: Any, shape: tuple[int, ...], expected: int) -> None:
    if 0 in shape:
        raise EmptyFileError(f"{path} is empty (shape {shape}); there is nothing to cluster.")
    size = os.path.getsize(path)
    if size < expected:
        raise DataError(f"{path} is truncated: {size} bytes of {expected}; write it again.")


class ArrayReader(Reader):
    """Rows in the host's memory, for a device that they do not fit."""

    rows: np.ndarray
    seekable = True

    def __init__(self, X: np.ndarray):
        self.rows, self.dtype, (self.n_rows, self.n_features) = X, X.dtype, X.shape

    def part(self, start: int, stop: int) -> Reader:
        return ArrayReader(self.rows[start:stop])

    def blocks(self, rows: int, empty: Empty = np.empty) -> Iterator[Rows]:
        for start in range(0, len(self.rows), rows):
            yield self.rows[start : start + rows], None

    def slices(self, ranges: Sequence[tuple[int, int]]) -> list[Rows]:
        return [(self.rows[start:stop], None) for start, stop in ranges]

    def take(self, index: np.ndarray) -> Rows:
        return self.rows[index], None


class IterableReader(Reader):
    """A re-iterable of chunks X or (X, w)."""

    def __init__(self, chunks: Iterable[Any], columns: Sequence[int] | None = None):
        self._columns, self._factory = columns, chunks
        if not callable(chunks) and iter(chunks) is chunks:
            raise DataError(
                "A generator can be read only once and clustering needs several passes; pass a list of chunks,"
                " a function that returns a new iterator, or a path."
            )
        first = next(self._each(), None)
        if first is None:
            raise DataError("The stream has no chunks; there is nothing to cluster.")
        self.n_rows, self.n_features = None, first[0].shape[1]
        self.dtype, self.weighted = first[0].dtype, first[1] is not None

    def blocks(self, rows: int, empty: Empty = np.empty) -> Iterator[Rows]:
        for X, weight in self._each():
            if X.shape[1] != self.n_features:
                raise DataError(f"A chunk has {X.shape[1]} columns, the first one has {self.n_features}.")
            if X.dtype != self.dtype and self.dtype == np.float32:
                raise DataError(f"A chunk is {X.dtype} after chunks of float32; give all of them one dtype.")
            if (weight is not None) != self.weighted:
                raise DataError("Some chunks come with a weight and some without; give all of them one.")
            X = np.ascontiguousarray(X, self.dtype)
            for start in range(0, len(X), rows):
                part = slice(start, start + rows)
                yield X[part], None if weight is None else weight[part]

    def slices(self, ranges: Sequence[tuple[int, int]]) -> list[Rows]:
        parts: list[list[Rows]] = [[] for _ in ranges]
        start = 0
        for X, weight in self.blocks(1 << 40):
            for out, (low, high) in zip(parts, ranges, strict=True):
                inside = slice(max(low - start, 0), max(high - start, 0))
                if inside.start < len(X) and inside.stop > inside.start:
                    out.append((X[inside].copy(), None if weight is None else weight[inside].copy()))
            start += len(X)
        return [_joined(part) for part in parts]

    def _each(self) -> Iterator[Rows]:
        for chunk in self._factory() if callable(self._factory) else self._factory:
            X, weight = chunk if isinstance(chunk, tuple) else (chunk, None)
            X = np.asarray(X)
            if X.ndim != 2:
                raise DataError(f"A chunk has shape {X.shape}; every chunk must be 2-D [rows, columns].")
            if X.dtype.kind not in "fiub":
                raise DataError(f"A chunk holds {X.dtype}, not numbers; convert it to float32 first.")
            if len(X):
                X = X if self._columns is None else X[:, self._columns]
                yield X.astype(float_type(X.dtype), copy=False), _weight(weight, len(X))


def _weight(weight: Any, n: int) -> np.ndarray | None:
    if weight is None:
        return None
    weight = np.ascontiguousarray(weight, np.float64)
    if weight.shape != (n,):
        raise DataError(f"A chunk of {n} rows came with weights of shape {weight.shape}.")
    return weight


def _joined(parts: list[Rows]) -> Rows:
    weights = [w for _, w in parts if w is not None]
    return np.concatenate([X for X, _ in parts]), np.concatenate(weights) if weights else None
