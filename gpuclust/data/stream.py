"""Rows that are read in chunks; the next chunk is read in the background while this one computes."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np

from ..backends.base import Array, Backend, Chunk
from ..backends.metric import Metric
from ..backends.statistics import Rows
from ..config import get_config
from ..errors import DataError
from .mapped import MappedReader, Rule
from .parquet import ParquetReader
from .plan import Plan, brackets_bytes, plan, statistics_bytes
from .readers import IterableReader, NpyReader, Reader, check_weight
from .source import Source

MEMMAP_FROM = 256 << 20  # bytes; smaller memmaps are used like arrays


@dataclass(frozen=True)
class Stream:
    """Data to be read in chunks; made by `gpuclust.stream`."""

    data: Any
    columns: Sequence[Any] | None = None
    weight: Any = None
    rules: tuple[Rule, ...] = ()  # what becomes of the rows that are read

    @property
    def weighted(self) -> bool:
        return self.weight is not None

    def open(self) -> Reader:
        return reduce(MappedReader, self.rules, self._read())

    def mapped(self, rule: Rule) -> Stream:
        """The same rows as the rule makes them, as they are read."""
        return replace(self, rules=(*self.rules, rule))

    def _read(self) -> Reader:
        if isinstance(self.data, np.memmap):
            return NpyReader.of_memmap(self.data, self.columns, self.weight)
        if not isinstance(self.data, (str, os.PathLike)):
            if self.weight is not None:
                raise DataError("weight= names a column of a file; an iterable yields its weights: (X, sample_weight).")
            return IterableReader(self.data, self.columns)
        suffix = os.path.splitext(self.data)[1].lower()
        if suffix == ".npy":
            return NpyReader(self.data, self.columns, self.weight)
        if suffix in (".parquet", ".pq"):
            return ParquetReader(self.data, self.columns, self.weight)
        raise DataError(f"{self.data}: files are streamed from .npy and .parquet, not from {suffix or 'no suffix'!r}.")


def stream(
    data: str | os.PathLike[str] | Iterable[Any] | Callable[[], Iterable[Any]], columns: Sequence[Any] | None = None,
    weight: Any = None,
) -> Stream:  # fmt: skip
    """Data that are read in chunks, several times, without ever being in memory whole.

    Parameters
    ----------
    data : path or re-iterable
        A .npy file (2-D, C order), a .parquet file, a memmap, or a re-iterable (a list, or a function that returns an
        iterator) of chunks ``X`` or ``(X, sample_weight)``.
    columns : sequence, optional
        Columns to use: names for Parquet, indices otherwise. Default: all but the weights.
    weight : str or int, optional
        Column that holds the sample weights (files only).

    Returns
    -------
    Stream
        To be passed as `X` to `fit`, `predict`, `transform` or `score`.

    Raises
    ------
    DataError
        When it is opened: file missing, truncated, of another format, empty, or with columns that are not numbers.
    """
    return Stream(data, columns, weight)


def opened(X: Any) -> Stream:
    """A path or a stream as a stream."""
    return X if isinstance(X, Stream) else stream(X)


def wants_stream(X: Any) -> bool:
    """Whether a memmap is large enough (or the memory budget small enough) to be read in chunks."""
    if not isinstance(X, np.memmap) or X.ndim != 2 or X.filename is None or not X.flags.c_contiguous:
        return False
    if getattr(X, "_mmap", None) is None or X.dtype.kind not in "fiub" or X.mode not in ("r", "r+"):
        return False
    budget = get_config().memory
    return X.nbytes >= (MEMMAP_FROM if budget is None else min(MEMMAP_FROM, budget))


class StreamSource(Source):
    """Chunks of a reader. `weight` f64 [n] is the caller's own, where the reader carries none."""

    def __init__(
        self,
        reader: Reader,
        weight: np.ndarray | None,
        backend: Backend,
        chunk_size: int | None = None,
        clusters: int = 0,
        metric: Metric = Metric.EUCLIDEAN,
    ):
        super().__init__(backend, reader.n_rows, reader.n_features, reader.dtype)
        self._reader, self._weight, self.check = reader, weight, False
        self._asked, self._clusters, self._metric = chunk_size, clusters, metric
        self._rows, self._bounds = self._plan()
        if weight is not None and self.n_rows != len(weight):
            raise ValueError(f"sample_weight.shape == {weight.shape}, expected ({self.n_rows},)!")

    @property
    def host_rows(self) -> Any:
        return self._reader.rows

    @property
    def host_weight(self) -> np.ndarray | None:
        if self._weight is not None or not self._reader.weighted:
            return self._weight
        return np.concatenate([weight for _, weight in self._reader.blocks(self._rows)])

    @property
    def weighted(self) -> bool:
        return self._weight is not None or self._reader.weighted

    def _take_weight(self, weight: np.ndarray) -> None:
        self._weight = weight

    def _chunks(self) -> Generator[Chunk, None, None]:
        start = 0
        with closing(_ahead(self._staged())) as blocks, closing(self.backend.uploads(blocks, self.dtype)) as parts:
            for X, weight in parts:
                yield self._chunk(X, weight, start)
                start += len(X)
        self._check_length(start, more=False)

    def _staged(self) -> Iterator[Rows]:
        """What the reader gives, checked, with its weights, and ready for the device."""
        start = 0
        for rows in self._reader.blocks(self._rows, self.backend.host_empty):
            self._check_length(start + len(rows[0]), more=True)
            yield self.backend.staged(self._with_weight(rows, start), self.dtype)
            start += len(rows[0])

    def _check_length(self, found: int, more: bool) -> None:
        """The ledger has one entry a row: a source that changes its length would be read or written past it."""
        if self._n_rows is not None and (found > self._n_rows or (not more and found < self._n_rows)):
            raise DataError(
                f"The stream gave {self._n_rows} rows before and {'at least ' if more else ''}{found} now;"
                " every pass must give the same rows."
            )

    def slices(self, ranges: Sequence[tuple[int, int]]) -> list[Chunk]:
        parts = self._reader.slices(ranges)
        return [self._placed(rows, start) for rows, (start, _) in zip(parts, ranges, strict=True)]

    def _plan(self) -> Plan:
        k, d = self._clusters, self.n_features
        if self._metric.l1:
            statistics = brackets_bytes(k, d, self.dtype.itemsize, self.weighted)
        else:
            statistics = statistics_bytes(k, d, self.dtype.itemsize)
        return plan(self._n_rows, self._reader.row_bytes, statistics, self._asked)

    @property
    def n_rows(self) -> int:
        """Number of rows; once they are counted, the memory that they take is planned for."""
        if self._n_rows is None:
            self._n_rows = super().n_rows
            self._rows, self._bounds = self._plan()
        return self._n_rows

    @property
    def bound_bytes(self) -> int | None:
        return self._bounds

    @property
    def seekable(self) -> bool:
        return self._reader.seekable

    def gather(self, index: np.ndarray) -> tuple[Array, Array | None]:
        if not self.seekable:
            return super().gather(index)
        rows, back = np.unique(index, return_inverse=True)
        X, weight = self._reader.take(rows)
        if self._weight is not None:
            weight = self._weight[rows]
        elif weight is not None:
            check_weight(weight, f"rows between {self.first + rows[0]} and {self.first + rows[-1]}")
        upload = self.backend.upload
        return upload(X[back], self.dtype), None if weight is None else upload(weight[back], np.float64)

    def _placed(self, rows: Rows, start: int) -> Chunk:
        X, weight = self._with_weight(rows, start)
        device_weight = None if weight is None else self.backend.upload(weight, np.float64)
        return self._chunk(self.backend.upload(X, self.dtype), device_weight, start)

    def _with_weight(self, rows: Rows, start: int) -> Rows:
        (X, weight), first = rows, self.first + start
        if self.check and not np.isfinite(X).all():
            raise ValueError(f"Input X contains NaN or infinity (rows {first} to {first + len(X) - 1}).")
        if self._weight is not None:
            weight = self._weight[start : start + len(X)]
        elif weight is not None:
            check_weight(weight, f"rows {first} to {first + len(X) - 1}")
        return X, weight


def _ahead(blocks: Iterator[Rows]) -> Generator[Rows, None, None]:
    """The same blocks, each read by a thread of its own while the one before is in use."""
    with ThreadPoolExecutor(1, thread_name_prefix="gpuclust-read") as pool:
        coming = pool.submit(next, blocks, None)
        while (rows := coming.result()) is not None:
            coming = pool.submit(next, blocks, None)
            yield rows
