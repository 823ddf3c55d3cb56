"""The search for the medians of all clusters: brackets, cut again until every pair (cluster, feature) is settled.

A pass asks for the values in as many brackets as there is likely room for; of the other pairs it counts the values
below and at one place.
"""

from __future__ import annotations

from dataclasses import dataclass

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
FAR = 1e300  # a width that is as good as infinite
EARLY = 3  # iterations in which many rows move
SETTLED = 0.08  # share of all values that is kept after these at most
SINGLE = 0.25  # share of that which one pair may take


@dataclass
class Search:
    """State of all k * d pairs, kept from one iteration to the next."""

    brackets: Brackets
    state: medians.State  # its low, mid and high are those of the brackets
    d: int
    room: float  # values that may be kept
    settled: float  # and once the clusters have found their places
    done: int = 0  # iterations
    ready: bool = False  # whether the brackets were cut by anything yet

    @classmethod
    def blank(cls, k: int, d: int, dtype: np.dtype, magic: np.ndarray, room: float, n_rows: int) -> Search:
        """Brackets that hold everything; `room`: values to a row that may be kept."""
        least, most = np.full(k * d, -np.finfo(dtype).max, dtype), np.full(k * d, np.finfo(dtype).max, dtype)
        zero = np.zeros(k * d)
        start, feature = np.arange(k + 1) * d, np.tile(np.arange(d), k)
        brackets = Brackets(least, zero.astype(dtype), most, start, feature, magic, room)
        unknown = np.full(k * d, np.nan), np.full(k * d, np.nan)
        state = medians.State(
            least, brackets.mid, most, least.copy(), most.copy(), *unknown, under=zero.copy(), over=zero.copy(),
            need=zero.copy(), beside=zero.copy(), slope=zero, probe=brackets.mid.copy(),
            tries=np.zeros(k * d, np.int64),
        )  # fmt: skip
        return cls(brackets, state, d, SPARE * room * n_rows, min(SPARE * room, SETTLED * d) * n_rows)

    def guess(self, X: np.ndarray, label: np.ndarray, rows: np.ndarray) -> None:
        """Brackets from a sample of the rows and their labels; rows i64 [k]: what there are in all."""
        self.ready, state = True, self.state
        state.need[:] = np.repeat(rows, self.d)
        order = np.argsort(label, kind="stable")
        ends = np.searchsorted(label[order], np.arange(len(self.brackets.start)))
        most = self.room / self.d / max(int(rows.sum()), 1)
        for j in range(len(ends) - 1):
            part = np.sort(X[order[ends[j] : ends[j + 1]]], axis=0)
            m = len(part)
            if m < SMALL:
                continue
            half = int(min(DEVIATIONS * np.sqrt(m), most * m) / 2) + 1
            first, last = max((m - 1) // 2 - half, 0), min(m // 2 + half, m - 1)
            here, held = slice(j * self.d, (j + 1) * self.d), (last - first) * rows[j] / m
            state.low[here], state.mid[here], state.high[here] = part[first], part[m // 2], part[last]
            state.probe[here], state.need[here] = part[m // 2], held
            state.slope[here] = np.minimum(part[last].astype(np.float64) - part[first], FAR) / held

    def begin(self) -> np.ndarray:
        """All pairs, open; nothing is known of this iteration's medians."""
        self.done += 1
        if self.done == EARLY:
            self.room = self.settled
        state = self.state
        limit = np.finfo(state.low.dtype).max
        news = (state.floor, -limit), (state.ceil, limit), (state.one, np.nan), (state.two, np.nan), (state.tries, 0)
        for column, start in (*news, (state.under, 0), (state.over, 0), (state.beside, np.inf)):
            column[:] = start
        return np.arange(len(state.low))

    def open(self, pairs: np.ndarray) -> Brackets:
        """What the next pass is to ask for `pairs`: their brackets, as far as there is room, else their probes."""
        state, need = self.state, self.state.need[pairs]
        first = np.argsort(need, kind="stable") if need.sum() > self.room else np.arange(len(pairs))
        fits = np.cumsum(need[first]) <= self.room
        fits[:1] = True  # however large
        probed = pairs[first[~fits]]
        state.low[probed] = state.mid[probed] = state.high[probed] = state.probe[probed]
        state.need[probed] = 0
        self._widen(pairs[first[fits]], self.room - need[first[fits]].sum())
        return self.brackets if len(pairs) == len(state.need) else self.brackets.opened(pairs)

    def _widen(self, pairs: np.ndarray, room: float) -> None:
        """Where a median was missed, all that is possible instead, which misses nothing: as far as there is room."""
        state = self.state
        more = state.beside[pairs] - state.need[pairs]
        first = np.argsort(more, kind="stable")
        wide = pairs[first[np.cumsum(more[first]) <= room]]
        state.low[wide] = np.minimum(state.low[wide], state.floor[wide])
        state.high[wide] = np.maximum(state.high[wide], state.ceil[wide])
        state.need[wide] = state.beside[wide]

    def settle(self, pairs: np.ndarray, ranks: Ranks, rows: np.ndarray, flow: np.ndarray) -> np.ndarray:
        """Settle what of `pairs` the ranks of a pass settle; the pairs that stay open, with new brackets. Clusters
        without mass have no medians.

        rows, flow i64 [k]: rows of each cluster, and how many came or went: a median's rank moves by half of the next
        flow at most.
        """
        mass = ranks.total.sum(axis=1)
        pairs, per = pairs[mass[pairs // self.d] > 0], np.maximum(rows, 1) / np.where(mass > 0, mass, 1.0)
        size, dtype = len(self.state.low), self.state.low.dtype
        start, ordered, weights = _by_pair(ranks.inside, size, dtype)
        found = np.zeros(len(pairs), bool)
        less, same = (column.astype(np.float64, copy=False) for column in (ranks.less, ranks.same))
        run(
            medians.settle, pairs, start, ordered, weights, less, same, ranks.lost, ranks.total, per,
            self.brackets.magic, *self._reach(rows, flow), SINGLE * self.room, self.state, found,
        )  # fmt: skip
        return pairs[~found]

    def _reach(self, rows: np.ndarray, flow: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Ranks that the next brackets hold to either side by all means, as far as there is room for so many values,
        and what is likely to do where the last move tells the way."""
        wanted = medians.LEAST + np.minimum(ENOUGH * flow + CALM * rows, MOST * rows)
        share = self.room / 2 / self.d / max(int(rows.sum()), 1)
        return np.minimum(wanted, np.maximum(share * rows, 1)), LIKELY * flow + CALM * rows


def _by_pair(inside: tuple[Inside, ...], size: int, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(start i64 [k * d + 1], values, weights) in the order of the pairs."""
    pair, value, weight = (np.concatenate(column) for column in zip(*inside, strict=True))
    start, values, weights = np.zeros(size + 1, np.int64), np.empty(len(value), dtype), np.empty(len(weight))
    with limited(PLACING * len(pair)):
        run(medians.by_pair, pair, value, weight, start, values, weights)
    return start, values, weights
