"""Rows on the unit sphere: cosine distances are half the squared Euclidean ones there."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp

from ..backends.base import Array, Backend, Chunk
from ..backends.metric import Metric
from ..data.source import Source


class UnitSource(Source):
    """The rows of another source, float64, divided by their lengths; rows of zeros stay as they are."""

    def __init__(self, inner: Source):
        super().__init__(inner.backend, inner.n_rows, inner.n_features, np.float64)
        self._inner = inner

    @property
    def sparse(self) -> bool:
        return self._inner.sparse

    def placed(self, column: Array) -> Any:
        return self._inner.placed(column)

    def _chunks(self) -> Generator[Chunk, None, None]:
        for chunk in self._inner._chunks():
            for part in self.backend.blocks(chunk):
                yield self._chunk(unit(self.backend, part.X), part.weight, part.start)

    def slices(self, ranges: Sequence[tuple[int, int]]) -> list[Chunk]:
        return [
            self._chunk(unit(self.backend, part.X), part.weight, part.start) for part in self._inner.slices(ranges)
        ]


def unit(backend: Backend, X: Array) -> Array:
    """Rows X [n, d] divided by their lengths, float64."""
    n, d = X.shape
    squares = backend.costs(X, np.zeros((1, d)), backend.full((n,), 0, np.int32), Metric.EUCLIDEAN)
    with backend.current():
        size = squares**0.5
        size = size + (size == 0)
        if sp.issparse(X):
            data = X.data / np.repeat(size, np.diff(X.indptr))
            return backend.upload(sp.csr_matrix((data, X.indices, X.indptr), X.shape), np.float64)
        return X / size[:, None]
