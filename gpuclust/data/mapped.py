"""Rows that are changed as they are read: each for itself, so that any chunk of them may be."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backends.statistics import Rows
from .readers import Empty, Reader


@dataclass(frozen=True)
class Rule:
    """What becomes of rows: one row of each, in the same dtype."""

    function: Callable[[np.ndarray], Any]  # [m, d] -> [m, n_features]; leaves what it is given as it is
    n_features: int
    takes: int  # features of the rows that it is for


class MappedReader(Reader):
    """A reader's rows under a rule."""

    def __init__(self, inner: Reader, rule: Rule):
        self._inner, self._rule = inner, rule
        if inner.n_features != rule.takes:
            raise ValueError(f"X has {inner.n_features} features, but {rule.takes} features are expected as input.")
        self.n_rows, self.n_features, self.dtype = inner.n_rows, rule.n_features, inner.dtype
        self.weighted, self.seekable = inner.weighted, inner.seekable

    @property
    def row_bytes(self) -> int:
        return self._inner.row_bytes + super().row_bytes

    def part(self, start: int, stop: int) -> MappedReader | None:
        inner = self._inner.part(start, stop)
        return None if inner is None else MappedReader(inner, self._rule)

    def blocks(self, rows: int, empty: Empty = np.empty) -> Iterator[Rows]:
        """The function makes the memory of its rows itself."""
        return map(self._made, self._inner.blocks(rows))

    def slices(self, ranges: Sequence[tuple[int, int]]) -> list[Rows]:
        return [self._made(part) for part in self._inner.slices(ranges)]

    def take(self, index: np.ndarray) -> Rows:
        return self._made(self._inner.take(index))

    def _made(self, part: Rows) -> Rows:
        X, weight = part
        return np.ascontiguousarray(self._rule.function(X), self.dtype), weight
