"""Values of a column, and the share of its values that is at most each."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from ..backends.threads import thread_count
from ..profiling.rows import column_bytes
from .tally import count, finite

TAIL: Final = (1e-5, 1e-4, 5e-4)
STEPS: Final = ((256, 1000), (4096, 100))  # up to so many columns, so many steps from 0 to 1
FEWEST_STEPS: Final = 20
SAMPLE: Final = 1 << 18  # rows whose values say where others are counted, at least (and less than twice as many)


def wanted(n_columns: int) -> np.ndarray:
    """Shares at which values are kept, f64 [q], from 0 to 1."""
    steps = next((steps for most, steps in STEPS if n_columns <= most), FEWEST_STEPS)
    tail = np.array(TAIL)
    return np.unique(np.concatenate([np.arange(steps + 1) / steps, tail, 1 - tail]))


@dataclass(frozen=True)
class Curve:
    """Kept values f64 [q], ascending, and the share of all values at most each; NaN where there are no values."""

    values: np.ndarray
    shares: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray, weight: np.ndarray | None, shares: np.ndarray) -> Curve:
        """The values at `shares`, of finite values with positive weights."""
        if not len(values):
            return cls(np.full(len(shares), np.nan), np.full(len(shares), np.nan))
        order = None if weight is None else np.argsort(values, kind="stable")
        ordered = np.sort(values) if order is None else values[order]
        upto = np.arange(1.0, len(values) + 1) if weight is None or order is None else np.cumsum(weight[order])
        place = np.searchsorted(upto, shares * upto[-1] * (1 - 1e-12)).clip(max=len(values) - 1)
        kept = ordered[place]
        last = np.searchsorted(ordered, kept, side="right") - 1  # of equal values
        return cls(kept.astype(np.float64) + 0.0, upto[last] / upto[-1])


@dataclass
class Held:
    """The values of columns, all of them where they fit the memory, else those of a sample of the rows.

    Rows are sampled by a hash of their number: which ones depends on nothing else.
    """

    blocks: list[list[np.ndarray]] = field(default_factory=list)
    weights: list[np.ndarray] = field(default_factory=list)  # none, where rows count once
    hashes: list[np.ndarray] = field(default_factory=list)
    bytes: int = 0
    limit: np.uint64 | None = None  # of hashes; None: all rows are held

    def add(self, columns: list[np.ndarray], weight: np.ndarray | None, number: np.ndarray) -> None:
        """Rows with their numbers, i64 [n]."""
        self.bytes += sum(column.nbytes for column in columns)
        self.blocks.append(columns)
        self.weights += [] if weight is None else [weight]
        self.hashes.append(_hash(number))
        if self.bytes > column_bytes():
            self._thin()

    def _thin(self) -> None:
        """Halve the sample as often as it is too large, which the order of its making has no part in."""
        limit = np.uint64(2**64 - 1) if self.limit is None else self.limit
        while sum(int(np.count_nonzero(each <= limit)) for each in self.hashes) >= 2 * SAMPLE:
            limit >>= np.uint64(1)
        if limit != self.limit:
            keep = [each <= limit for each in self.hashes]
            self.blocks = [[column[some] for column in block] for block, some in zip(self.blocks, keep, strict=True)]
            if self.weights:
                self.weights = [each[some] for each, some in zip(self.weights, keep, strict=True)]
            self.hashes = [each[some] for each, some in zip(self.hashes, keep, strict=True)]
        self.limit = limit

    def curves(self) -> list[Curve]:
        """Of each column."""
        if not self.blocks:
            return []
        shares, weight = wanted(len(self.blocks[0])), np.concatenate(self.weights) if self.weights else None

        def curve(f: int) -> Curve:
            column = np.concatenate([block[f] for block in self.blocks])
            there = finite(column)
            if there is None:
                return Curve.of(column, weight, shares)
            return Curve.of(column[there], None if weight is None else weight[there], shares)

        with ThreadPoolExecutor(thread_count()) as pool:
            return list(pool.map(curve, range(len(self.blocks[0]))))


def counted(edges: np.ndarray, values: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
    """The weight of values in (-inf, e_0], (e_0, e_1], ..., f64 [len(edges) + 1]."""
    if weight is None:
        return count(edges, values).astype(np.float64)
    return np.bincount(np.searchsorted(edges, values), weight, minlength=len(edges) + 1)


def _hash(number: np.ndarray) -> np.ndarray:
    """u64 [n]: splitmix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    z = number.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
