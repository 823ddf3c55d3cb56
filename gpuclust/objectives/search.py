"""The search for the medians of all clusters: brackets, cut again until every pair (cluster, feature) is settled.

A pass asks for the values in as many brackets as there is likely room for; of the other pairs it counts the values
below and at one place, and in buckets that are finer where the median is likely to lie (Munro and Paterson, "Selection
and sorting with limited storage", TCS 1980: what is possible after a pass shrinks by as many counts as there is room
for).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..backends.brackets import Brackets, Fine
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
SPARE, COUNTED = 0.6, 0.9  # shares of the room that brackets are cut for, and that they may hold if that was counted
FAR = 1e300  # a width that is as good as infinite
EARLY = 3  # iterations in which many rows move
SETTLED = 0.08  # share of all values that is kept after these at most
SINGLE = 0.25  # share of that which one pair may take
WORTH = 0.25  # of what is wanted, below which brackets that will mostly miss leave their room to buckets
BUCKETS = 8, 96  # of a pair, at least and at most: more leave the cache, and hardly save a pass
COUNTS = 0.25  # buckets for every value that there is room for


@dataclass
class Search:
    """State of all k * d pairs, kept from one iteration to the next."""

    brackets: Brackets
    state: medians.State  # its low, mid and high are those of the brackets
    d: int
    room: float  # values that may be kept
    settled: float  # and once the clusters have found their places
    counted: float  # and where it was counted how many they are
    wide: np.ndarray  # f64 [2, k * d]: where buckets are finest, and how far to either side; NaN: not known
    hold: np.ndarray  # f64 [k]: share of the ranks that are wanted in brackets for which there is room
    fine: Fine | None = None  # what the last pass was asked to count
    done: int = 0  # iterations

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
            need=zero.copy(), beside=np.full(k * d, np.inf), slope=zero, probe=brackets.mid.copy(),
            tries=np.zeros(k * d, np.int64),
        )  # fmt: skip
        shares = (SPARE, np.inf), (SPARE, SETTLED * d), (COUNTED, SETTLED * d)
        wide, hold = np.full((2, k * d), np.nan), np.ones(k)
        kept, settled, counted = (min(share * room, most) * n_rows for share, most in shares)
        return cls(brackets, state, d, kept, settled, counted, wide, hold)

    def guess(self, X: np.ndarray, label: np.ndarray, rows: np.ndarray) -> None:
        """Brackets from a sample of the rows and their labels; rows f64 [k]: about how many there are in all."""
        state = self.state
        state.need[:] = np.repeat(rows, self.d)
        order = np.argsort(label, kind="stable")
        ends = np.searchsorted(label[order], np.arange(len(self.brackets.start)))
        most = self.room / self.d / rows.sum()
        for j in range(len(ends) - 1):
            part = np.sort(X[order[ends[j] : ends[j + 1]]], axis=0)
            m = len(part)
            if m < SMALL:
                continue
            sure = DEVIATIONS * np.sqrt(m)
            self.hold[j] = min(most * m / sure, 1.0)
            (first, last), (least, top) = (_middle(m, int(half / 2) + 1) for half in (min(sure, most * m), sure))
            here, held = slice(j * self.d, (j + 1) * self.d), (last - first) * rows[j] / m
            self._spread(here, part[least], part[top])
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

    def ask(self) -> Brackets:
        """What the pass that assigns the rows is to ask for all pairs."""
        return self.open(np.arange(len(self.state.need)), begins=True)

    def open(self, pairs: np.ndarray, *, begins: bool = False) -> Brackets:
        """What the next pass is to ask for `pairs`: their brackets, as far as there is room, else their probes."""
        state, need = self.state, self.state.need[pairs]
        room = max(self.counted, self.room) if self.fine is not None and not begins else self.room
        first = np.argsort(need, kind="stable") if need.sum() > room else np.arange(len(pairs))
        fits = np.cumsum(need[first]) <= room
        fits[:1] = True  # however large
        tight = (np.repeat(self.hold, self.d)[pairs] < 1) & begins
        if begins and self._buckets(len(pairs), 0.0) >= BUCKETS[0]:
            fits &= np.repeat(self.hold, self.d)[pairs[first]] > WORTH
        tight[first[~fits]] = True
        self.fine = self._fine(pairs[tight], need[first[fits]].sum())
        probed = pairs[first[~fits]]
        state.low[probed] = state.mid[probed] = state.high[probed] = state.probe[probed]
        state.need[probed] = 0
        self._widen(pairs[first[fits]], room - need[first[fits]].sum())
        brackets = self.brackets if len(pairs) == len(state.need) else self.brackets.opened(pairs)
        return brackets._replace(fine=self.fine)

    def _buckets(self, pairs: int, kept: float) -> int:
        """How many each of so many pairs may have, when `kept` values are kept as well; weights are not counted."""
        room = self.room + 1.5 * max(self.room - kept, 0.0)
        return 0 if self.brackets.magic[0] > 0 else int(min(BUCKETS[1], room * COUNTS / max(pairs, 1))) // 2 * 2

    def _fine(self, pairs: np.ndarray, kept: float) -> Fine | None:
        """Buckets for `pairs`, as far as it is known where to put them."""
        mid, width = self.wide[:, pairs]
        pairs = pairs[(np.abs(mid) < FAR) & (width > 1 / FAR) & (width < FAR)]
        buckets = self._buckets(len(pairs), kept)
        if not len(pairs) or buckets < BUCKETS[0]:
            return None
        place, (mid, per) = np.full(self.wide.shape[1], -1, np.int32), np.zeros(self.wide.shape)
        place[pairs], mid[pairs], per[pairs] = np.arange(len(pairs)), self.wide[0, pairs], 1 / self.wide[1, pairs]
        return Fine(pairs, place, mid, per, buckets)

    def _spread(self, pairs: np.ndarray | slice, low: np.ndarray, high: np.ndarray) -> None:
        """Buckets for medians between low and high."""
        low, high = low.astype(np.float64), high.astype(np.float64)
        self.wide[:, pairs] = (low + high) / 2, high / 2 - low / 2

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
        start, ordered, weights = by_pair(ranks.inside, size, dtype)
        found, (reach, likely, wanted) = np.zeros(len(pairs), bool), self._reach(rows, flow)
        less, same = (column.astype(np.float64, copy=False) for column in (ranks.less, ranks.same))
        run(
            medians.settle, pairs, start, ordered, weights, less, same, ranks.lost, ranks.total, per,
            self.brackets.magic, reach, likely, SINGLE * self.room, self.state, found,
        )  # fmt: skip
        del start, ordered, weights
        settled, left = pairs[found], pairs[~found]
        if ranks.fine is not None and self.fine is not None:
            self._refine(left, ranks.fine, self.fine)
        self.hold = reach / wanted
        self.wide[:, settled] = self.state.probe[settled], wanted[settled // self.d] * self.state.slope[settled]
        low, high = self.state.low[left], self.state.high[left]
        self._spread(left, low, high)
        limit = np.finfo(dtype).max
        self.wide[:, left[(low == -limit) | (high == limit)]] = np.nan  # halved, with probes
        return left

    def _refine(self, pairs: np.ndarray, counts: np.ndarray, fine: Fine) -> None:
        """Cut the brackets of `pairs` to the buckets that hold their middle values."""
        state, dtype = self.state, self.state.low.dtype
        pairs = pairs[fine.place[pairs] >= 0]
        at = fine.place[pairs]
        upto = np.cumsum(np.pad(counts[at], ((0, 0), (1, 0))), axis=1)
        n = upto[:, -1:]
        last = np.argmax(upto > n // 2, axis=1) - 1
        first = np.where(np.isnan(state.one[pairs]), np.argmax(upto > (n - 1) // 2, axis=1) - 1, last)
        row = np.arange(len(pairs))
        low, high = fine.edges(pairs, first, last)
        with np.errstate(over="ignore"):
            low = np.nextafter(low.astype(dtype), dtype.type(-np.inf))
            high = np.nextafter(high.astype(dtype), dtype.type(np.inf))
        # the ceiling may be that of the lower median alone: one pass less without, as long as the counts tell more
        hurry = state.tries[pairs] >= medians.HURRY
        most = np.where(hurry, state.ceil[pairs], np.finfo(dtype).max)
        held = (upto[row, last + 1] - upto[row, first]).astype(np.float64)
        state.under[pairs] = np.where(low > state.floor[pairs], upto[row, first], state.under[pairs])
        state.over[pairs] = np.where(high < most, upto[:, -1] - upto[row, last + 1], state.over[pairs])
        state.floor[pairs], state.ceil[pairs] = np.maximum(low, state.floor[pairs]), np.minimum(high, most)
        state.need[pairs] = state.beside[pairs] = np.where(hurry, np.minimum(held, state.beside[pairs]), held)
        state.low[pairs], state.high[pairs] = state.floor[pairs], state.ceil[pairs]
        state.mid[pairs] = state.probe[pairs] = simplest(state.floor[pairs], state.ceil[pairs])

    def _reach(self, rows: np.ndarray, flow: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Ranks that the next brackets hold to either side as far as there is room for so many values, what is likely
        to do where the last move tells the way, and what is wanted by all means."""
        wanted = medians.LEAST + np.minimum(ENOUGH * flow + CALM * rows, MOST * rows)
        share = self.room / 2 / self.d / max(int(rows.sum()), 1)
        return np.minimum(wanted, np.maximum(share * rows, 1)), LIKELY * flow + CALM * rows, wanted


def _middle(m: int, half: int) -> tuple[int, int]:
    """Ranks `half` to the sides of the middle ones of m."""
    return max((m - 1) // 2 - half, 0), min(m // 2 + half, m - 1)


def simplest(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The number of fewest binary digits in each range, which is where ties are, if any are."""
    found = np.where((low <= 0) & (high >= 0), 0, low).astype(low.dtype)
    open_ = (low > 0) | (high < 0)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        power = np.exp2(np.floor(np.log2(np.where(open_, np.maximum(np.abs(low), np.abs(high)), 1)))).astype(low.dtype)
        for _ in range(np.finfo(low.dtype).nmant + 1):
            number = np.ceil(low / power) * power
            hit = open_ & (number <= high)
            found[hit], open_ = number[hit], open_ & ~hit
            power = power / 2
    return found


def by_pair(inside: tuple[Inside, ...], size: int, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(start i64 [k * d + 1], values, weights) in the order of the pairs."""
    pair, value, weight = (np.concatenate(column) for column in zip(*inside, strict=True))
    start, values, weights = np.zeros(size + 1, np.int64), np.empty(len(value), dtype), np.empty(len(weight))
    with limited(PLACING * len(pair)):
        run(medians.by_pair, pair, value, weight, start, values, weights)
    return start, values, weights
