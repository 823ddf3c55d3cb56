"""Rows that are in memory: one chunk, or several where a chunk size is asked for."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import numpy as np

from ..backends.base import Array, Backend, Chunk
from ..backends.frame import Frame
from .plan import DEFAULT_CHUNK
from .source import Source, dense

MOST_ROWS = (1 << 31) - 1  # that are told apart by an int32
KEPT = "image", "stats"  # columns that stand for the rows


class ArraySource(Source):
    """X [n, d] dense or CSR on the backend's device, weight f64 [n] or None."""

    def __init__(
        self, X: Array, weight: Array | None, backend: Backend, chunk_rows: int | None = None, stays: bool = False
    ):
        super().__init__(backend, X.shape[0], X.shape[1], X.dtype)
        self._X, self._weight, self._rows = X, weight, chunk_rows or max(1, X.shape[0])
        self._stays = stays  # results stay on the device, as the data did
        self._frame: Frame | None = None  # of what the ledger keeps

    @property
    def sparse(self) -> bool:
        return hasattr(self._X, "tocsr")

    @property
    def host_rows(self) -> Any:
        return self._X if self.sparse else self.backend.to_host(self._X)

    @property
    def host_weight(self) -> np.ndarray | None:
        return None if self._weight is None else self.backend.to_host(self._weight)

    @property
    def weighted(self) -> bool:
        return self._weight is not None

    def _take_weight(self, weight: np.ndarray) -> None:
        self._weight, self._frame = self.backend.upload(weight, np.float64), None

    @property
    def alone(self) -> Chunk | None:
        whole = not self.sparse and self.n_rows <= min(self._rows, MOST_ROWS)
        return self._slice(0, self.n_rows) if whole else None

    def keep(self, frame: Frame, k: int) -> None:
        if self._frame is not frame:
            self.release(*KEPT)
            self._frame = frame
        if not (self.sparse or self._rows < self.n_rows or KEPT[0] in self._ledger):
            self._ledger.update(self.backend.kept(self._X, frame, k))

    def placed(self, column: Array) -> Any:
        return column if self._stays else self.backend.to_host(column)

    def _chunks(self) -> Generator[Chunk, None, None]:
        for start in range(0, self.n_rows, self._rows):
            yield self._slice(start, min(start + self._rows, self.n_rows))

    def slices(self, ranges: Sequence[tuple[int, int]]) -> list[Chunk]:
        return [self._slice(start, stop) for start, stop in ranges]

    def take(self, index: np.ndarray) -> np.ndarray:
        return dense(self.backend.to_host(self.gather(index)[0]))

    @property
    def seekable(self) -> bool:
        return True

    def gather(self, index: np.ndarray) -> tuple[Array, Array | None]:
        index = self.backend.upload(index, np.int64)
        with self.backend.current():
            return self._X[index], None if self._weight is None else self._weight[index]

    def _slice(self, start: int, stop: int) -> Chunk:
        weight = None if self._weight is None else self._weight[start:stop]
        X = self._X if stop - start == self.n_rows else self._X[start:stop]
        return self._chunk(X, weight, start)


class DensifiedSource(ArraySource):
    """Sparse rows on the host, made dense chunk by chunk."""

    def __init__(self, X: Any, weight: Array | None, backend: Backend, chunk_rows: int | None = None):
        super().__init__(X, weight, backend, chunk_rows or max(1, DEFAULT_CHUNK // (X.shape[1] * X.dtype.itemsize)))

    @property
    def sparse(self) -> bool:
        return False

    @property
    def alone(self) -> None:
        return None

    @property
    def host_rows(self) -> Any:
        return self._X

    def gather(self, index: np.ndarray) -> tuple[Array, Array | None]:
        where = self.backend.upload(index, np.int64)
        with self.backend.current():
            return self._made_dense(index), None if self._weight is None else self._weight[where]

    def _slice(self, start: int, stop: int) -> Chunk:
        weight = None if self._weight is None else self._weight[start:stop]
        return self._chunk(self._made_dense(slice(start, stop)), weight, start)

    def _made_dense(self, which: Any) -> Array:
        return self.backend.upload(self._X[which].toarray(), self.dtype)
