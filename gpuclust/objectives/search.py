"""The search for the medians of all clusters: brackets, cut again until every pair (cluster, feature) is settled."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..backends.brackets import Brackets
from ..backends.kernels import medians
from ..backends.statistics import Inside, Ranks
from ..backends.threads import limited, run

SAMPLE_BYTES = 16 << 20  # of rows that the first brackets are guessed from
SAMPLE_ROWS = 100  # of each cluster, or all together some more
MANY_ROWS = 20_000
DEVIATIONS = 3.0  # of the rank of a sample's median that a first bracket holds to either side, doubled
SMALL = 16  # rows of a sample from which on it tells anything
ENOUGH, LIKELY, CALM = 0.35, 0.1, 0.002  # ranks that a median moves: shares of its cluster's flow, and of its rows
MOST = 0.08  # share of the rows that a bracket holds to either side
PLACING = 32  # multiply-adds that it costs to put a value in its place
SPARE = 0.6  # share of the room that brackets are cut for


@dataclass
class Search:
    """State of all k * d pairs, kept from one iteration to the next."""

    brackets: Brackets
    d: int
    ready: bool = False  # whether the brackets were cut by anything yet
    floor: np.ndarray = field(init=False)  # [k * d], the rows' dtype: what is still possible
    ceil: np.ndarray = field(init=False)
    one: np.ndarray = field(init=False)  # f64 [k * d]: lower and upper medians
    two: np.ndarray = field(init=False)

    @classmethod
    def blank(cls, k: int, d: int, dtype: np.dtype, magic: np.ndarray, room: float) -> Search:
        """Brackets that hold everything."""
        low, high = np.full(k * d, -np.finfo(dtype).max, dtype), np.full(k * d, np.finfo(dtype).max, dtype)
        mid = np.zeros(k * d, dtype)
        start, feature = np.arange(k + 1) * d, np.tile(np.arange(d), k)
        return cls(Brackets(low, mid, high, start, feature, magic, room), d)

    def guess(self, X: np.ndarray, label: np.ndarray) -> None:
        """Brackets from a sample of the rows and their labels."""
        self.ready = True
        order = np.argsort(label, kind="stable")
        ends = np.searchsorted(label[order], np.arange(len(self.brackets.start)))
        share = SPARE * self.brackets.room / self.d
        for j in range(len(ends) - 1):
            part = np.sort(X[order[ends[j] : ends[j + 1]]], axis=0)
            m = len(part)
            if m < SMALL:
                continue
            half = int(min(DEVIATIONS * np.sqrt(m), share * m) / 2) + 1
            first, last = max((m - 1) // 2 - half, 0), min(m // 2 + half, m - 1)
            here = slice(j * self.d, (j + 1) * self.d)
            self.brackets.low[here], self.brackets.high[here] = part[first], part[last]
            self.brackets.mid[here] = part[m // 2]

    def begin(self) -> np.ndarray:
        """All pairs, open; nothing is known of this iteration's medians."""
        size, dtype = len(self.brackets.low), self.brackets.low.dtype
        self.floor, self.ceil = np.full(size, -np.finfo(dtype).max, dtype), np.full(size, np.finfo(dtype).max, dtype)
        self.one, self.two = np.full(size, np.nan), np.full(size, np.nan)
        return np.arange(size)

    def settle(self, pairs: np.ndarray, ranks: Ranks, rows: np.ndarray, flow: np.ndarray, rounds: int) -> np.ndarray:
        """Settle what of `pairs` the ranks of a pass settle; the pairs that stay open, with new brackets. Clusters
        without mass have no medians.

        rows, flow i64 [k]: rows of each cluster, and how many came or went: a median's rank moves by half of the next
        flow at most.
        """
        mass = ranks.total.sum(axis=1)
        pairs, per = pairs[mass[pairs // self.d] > 0], np.maximum(rows, 1) / np.where(mass > 0, mass, 1.0)
        b, size = self.brackets, len(self.brackets.low)
        start, ordered, weights = _by_pair(ranks.inside, size, b.low.dtype)
        found = np.zeros(len(pairs), bool)
        state = medians.State(b.low, b.mid, b.high, self.floor, self.ceil, self.one, self.two)
        run(
            medians.settle, pairs, start, ordered, weights, ranks.less, ranks.same, ranks.lost, ranks.total, per,
            b.magic, rounds, *self._reach(rows, flow), state, found,
        )  # fmt: skip
        return pairs[~found]

    def _reach(self, rows: np.ndarray, flow: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Ranks that the next brackets hold to either side by all means, as far as there is room for so many values,
        and what is likely to do where the last move tells the way."""
        share = min(MOST, SPARE / 2 * self.brackets.room / self.d)
        return medians.LEAST + np.minimum(ENOUGH * flow + CALM * rows, share * rows), LIKELY * flow + CALM * rows


def _by_pair(inside: tuple[Inside, ...], size: int, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(start i64 [k * d + 1], values, weights) in the order of the pairs."""
    pair, value, weight = (np.concatenate(column) for column in zip(*inside, strict=True))
    start, values, weights = np.zeros(size + 1, np.int64), np.empty(len(value), dtype), np.empty(len(weight))
    with limited(PLACING * len(pair)):
        run(medians.by_pair, pair, value, weight, start, values, weights)
    return start, values, weights
