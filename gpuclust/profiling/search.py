"""The search for order statistics of rows that are read in chunks: ranges of values, cut until they can be held.

Per rank, group and feature there is a range in which the value must lie. A pass asks about each range in one of three
ways: it keeps the values inside, where there is room for them; it counts them in buckets, which makes the range a
fraction of what it was; or it counts those below and at a single value, which settles values that many rows share and
halves the range otherwise, so that every search ends. Ranks with the same range share one question. The counting is
that of K-Medians (`backends.brackets`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import reduce
from typing import Final

import numpy as np

from ..backends.base import Array, Backend, Chunk
from ..backends.brackets import Brackets, Fine
from ..backends.moments import Summary
from ..backends.statistics import Ranks
from ..config import get_config
from ..data.source import Source
from ..objectives.search import by_pair, simplest

ROOM: Final = 1 << 22  # values that a pass keeps
COUNTS: Final = 1 << 22  # buckets that it counts in
KEPT: Final = 128  # bytes of a memory budget for each of these
BUCKETS: Final = 16, 512  # of a range, at least and at most
FAR: Final = 1e300  # a width that is as good as infinite
BLUR: Final = 64  # units in the last place of a range, below which buckets are as wide as their rounding


@dataclass
class View:
    """The search among the rows of each group (or of all rows as one group): arrays [r, k * d] or [k * d]."""

    rank: np.ndarray  # i64 [r, k * d]; -1: nothing is wanted
    value: np.ndarray  # f64 [r, k * d]: NaN as long as it is not known
    low: np.ndarray  # [r, k * d] in the rows' dtype: where the value lies
    high: np.ndarray
    held: np.ndarray  # i64 [r, k * d]: at most about so many values lie in the range
    middle: np.ndarray  # f64 [r, k * d]: where buckets are finest, and how far to either side
    width: np.ndarray
    probed: np.ndarray  # i64 [r, k * d]: times that a single value was asked about
    k: int
    asked: list[Brackets] = field(default_factory=list)
    owner: np.ndarray = field(default_factory=lambda: np.empty(0))  # i64 [r, k * d]: which question answers the rank

    @classmethod
    def of(cls, found: Summary, ranks: np.ndarray, dtype: np.dtype) -> View:
        r, k, d = ranks.shape
        size = r, k * d
        with np.errstate(invalid="ignore"):
            low, high, count, mean = (
                np.broadcast_to(table.ravel(), size) for table in (found.low, found.high, found.count, found.mean)
            )
        width = np.broadcast_to(np.nan_to_num(found.std, nan=1.0, posinf=np.inf).ravel(), size)
        rank = ranks.reshape(size)
        value = np.where(rank == 0, low, np.where(rank == count - 1, high, np.nan))
        value[rank < 0] = np.nan
        return cls(
            rank, value, low.astype(dtype), high.astype(dtype), count.copy(), mean.copy(), width.copy(),
            np.zeros(size, np.int64), k,
        )  # fmt: skip

    def open(self) -> np.ndarray:
        """Which ranks are still looked for, bool [r, k * d]."""
        same = np.isnan(self.value) & (self.low == self.high) & (self.rank >= 0)
        self.value[same] = self.low[same]
        return np.isnan(self.value) & (self.rank >= 0)

    def share(self, left: np.ndarray) -> np.ndarray:
        """The ranks that ask, bool [r, k * d]: the first of each range; the others wait for its answer."""
        self.owner = np.full(left.shape, -1)
        for r in range(len(left)):
            for first in range(r + 1):
                same = (self.low[first] == self.low[r]) & (self.high[first] == self.high[r]) & left[first]
                self.owner[r] = np.where((self.owner[r] < 0) & left[r] & same, first, self.owner[r])
        return self.owner == np.arange(len(left))[:, None]

    def countable(self) -> np.ndarray:
        """Where buckets make a range smaller, bool [r, k * d]."""
        reach = np.maximum(np.abs(self.low), np.abs(self.high)).astype(np.float64)
        fits = (np.abs(self.middle) < FAR) & (self.width > 1 / FAR) & (self.width < FAR)
        wide = self.high.astype(np.float64) / 2 - self.low.astype(np.float64) / 2
        return fits & (wide > BLUR * np.finfo(self.low.dtype).eps * reach)

    def ask(self, kept: np.ndarray, counted: np.ndarray, probed: np.ndarray, buckets: int) -> None:
        """Questions, one for each rank: what to keep, to count in buckets and to probe, bool [r, k * d]. What is
        counted is probed as well, where its range has its roundest number."""
        d, none = self.low.shape[1] // self.k, np.zeros(1)
        self.asked = []
        for r in range(len(kept)):
            low, high, at = self.low[r].copy(), self.high[r].copy(), probed[r] | counted[r]
            mid = simplest(low, high)  # where ties are, if any are
            turn = probed[r] & (self.probed[r] % 2 == 1)
            mid[turn] = _halfway(low, high)[turn]
            low[at] = high[at] = mid[at]
            blank = Brackets(low, mid, high, np.arange(self.k + 1) * d, np.tile(np.arange(d), self.k), none, float(d))
            question = blank.opened(np.flatnonzero(kept[r] | at))
            self.asked.append(question._replace(fine=self._fine(r, np.flatnonzero(counted[r]), buckets)))
        self.probed += probed

    def _fine(self, r: int, pairs: np.ndarray, buckets: int) -> Fine | None:
        if not len(pairs):
            return None
        size = self.low.shape[1]
        place, middle, per = np.full(size, -1, np.int32), np.zeros(size), np.zeros(size)
        place[pairs], middle[pairs] = np.arange(len(pairs)), self.middle[r, pairs]
        per[pairs] = 1 / self.width[r, pairs]
        return Fine(pairs, place, middle, per, buckets)

    def settle(self, answers: tuple[Ranks | None, ...]) -> None:
        """Values, or smaller ranges, from what a pass told."""
        for first, (question, told) in enumerate(zip(self.asked, answers, strict=True)):
            if told is None:
                continue
            inside = _Inside.of(told, self.low.shape[1])
            low, mid, high = question[:3]
            for r in range(first, len(self.value)):
                waits = self.owner[r] == first
                pairs = np.flatnonzero(waits & (low <= high))
                self._take(r, pairs, mid[pairs], low[pairs], high[pairs], told, inside)
                if question.fine is not None and told.fine is not None:
                    pairs = np.flatnonzero(waits & (question.fine.place >= 0))
                    self._narrow(r, pairs, told.fine, question.fine)

    def _take(
        self, r: int, pairs: np.ndarray, mid: np.ndarray, low: np.ndarray, high: np.ndarray, told: Ranks,
        inside: _Inside,
    ) -> None:  # fmt: skip
        """The values of ranks that lie in the bracket; of the others, the range below it or above it."""
        less, same = (part[pairs, 0].astype(np.int64) for part in (told.less, told.same))
        start, held = inside.start[pairs], np.diff(inside.start)[pairs]
        smaller, place = inside.below(pairs, mid), self.rank[r, pairs] - less
        at = np.where(place < smaller, place, place - same)
        tied, kept = (place >= smaller) & (place < smaller + same), (at >= 0) & (at < held)
        self.value[r, pairs[tied]] = mid[tied]
        kept &= ~tied
        self.value[r, pairs[kept]] = inside.value[(start + at)[kept]]
        under, over = place < 0, place >= held + same
        inf = self.low.dtype.type(np.inf)
        self.high[r, pairs[under]] = np.nextafter(low[under], -inf)
        self.low[r, pairs[over]] = np.nextafter(high[over], inf)
        self._centre(r, pairs[under | over])

    def _narrow(self, r: int, pairs: np.ndarray, counts: np.ndarray, fine: Fine) -> None:
        """Cut ranges to the bucket that holds the rank."""
        counts = counts[fine.place[pairs]]
        upto, rows = np.cumsum(counts, axis=1), np.arange(len(pairs))
        bucket = np.argmax(upto > self.rank[r, pairs][:, None], axis=1)
        dtype = self.low.dtype
        low, high = fine.edges(pairs, bucket, bucket)
        with np.errstate(over="ignore"):
            low = np.nextafter(low.astype(dtype), dtype.type(-np.inf))
            high = np.nextafter(high.astype(dtype), dtype.type(np.inf))
        low, high = np.maximum(low, self.low[r, pairs]), np.minimum(high, self.high[r, pairs])
        self.low[r, pairs], self.high[r, pairs], self.held[r, pairs] = low, high, counts[rows, bucket]
        self._centre(r, pairs)

    def _centre(self, r: int, pairs: np.ndarray) -> None:
        """Buckets are finest in the middle of what a range has become."""
        low, high = self.low[r, pairs].astype(np.float64), self.high[r, pairs].astype(np.float64)
        self.middle[r, pairs], self.width[r, pairs] = low / 2 + high / 2, high / 2 - low / 2


@dataclass
class _Inside:
    """Values inside brackets, ascending by pair."""

    start: np.ndarray  # i64 [k * d + 1]
    value: np.ndarray

    @classmethod
    def of(cls, told: Ranks, size: int) -> _Inside:
        start, value, _ = by_pair(told.inside, size, told.inside[0].value.dtype)
        for part in np.split(value, start[1:-1]):
            part.sort()
        return cls(start, value)

    def below(self, pairs: np.ndarray, bound: np.ndarray) -> np.ndarray:
        """How many values of each pair are less than its bound, i64."""
        ends = zip(self.start[pairs], self.start[pairs + 1], bound, strict=True)
        return np.array([np.searchsorted(self.value[a:b], x) for a, b, x in ends], np.int64)


@dataclass(frozen=True)
class Answers:
    """What chunks told about the questions of both views."""

    parts: tuple[tuple[Ranks | None, ...], ...]

    def merge(self, other: Answers) -> Answers:
        both = zip(self.parts, other.parts, strict=True)
        return Answers(tuple(tuple(map(_merged, a, b)) for a, b in both))


def _merged(a: Ranks | None, b: Ranks | None) -> Ranks | None:
    return None if a is None or b is None else a.merge(b)


@dataclass
class Search:
    """The order statistics of each group and of all rows, in the same passes."""

    source: Source
    views: tuple[View, View]
    clean: bool  # whether all values are finite

    @classmethod
    def over(
        cls, source: Source, found: tuple[Summary, Summary], ranks: tuple[np.ndarray, np.ndarray], clean: bool
    ) -> Search:
        """Of ranks [r, k, d] and [r, 1, d]; the ledger's labels are the groups."""
        views = (View.of(each, wanted, source.dtype) for each, wanted in zip(found, ranks, strict=True))
        return cls(source, tuple(views), clean)  # type: ignore[arg-type]

    def run(self) -> tuple[np.ndarray, np.ndarray]:
        """The values, f64 [r, k, d] and [r, 1, d]; NaN for rank -1."""
        lefts = [view.open() for view in self.views]
        while any(left.any() for left in lefts):
            self._ask(lefts)
            asked = [view.asked for view in self.views]
            told = self.source.fold(_step, asked, self.clean)
            for view, answers in zip(self.views, told.parts, strict=True):
                view.settle(answers)
            lefts = [view.open() for view in self.views]
        one, two = (view.value.reshape(len(view.value), view.k, -1) for view in self.views)
        return one, two

    def _ask(self, lefts: list[np.ndarray]) -> None:
        """Keep what there is room for, smallest ranges first; count the others, or probe them."""
        askers = [view.share(left) for view, left in zip(self.views, lefts, strict=True)]
        held = np.concatenate([view.held[asks] for view, asks in zip(self.views, askers, strict=True)])
        smallest = np.sort(held)
        fits = np.cumsum(smallest) <= _affordable(ROOM)
        limit = smallest[fits][-1] if fits.any() else -1
        if not fits.all():
            limit = min(limit, smallest[~fits][0] - 1)  # of ranges with equally many values, all or none
        kept = [asks & (view.held <= limit) for view, asks in zip(self.views, askers, strict=True)]
        counted = [asks & ~k & view.countable() for view, asks, k in zip(self.views, askers, kept, strict=True)]
        number = sum(int(each.sum()) for each in counted)
        buckets = int(np.clip(_affordable(COUNTS) // max(number, 1), *BUCKETS)) // 2 * 2
        for view, asks, k, c in zip(self.views, askers, kept, counted, strict=True):
            view.ask(k, c, asks & ~k & ~c, buckets)


def _affordable(number: int) -> int:
    budget = get_config().memory
    return number if budget is None else min(number, budget // KEPT)


def _step(backend: Backend, chunk: Chunk, asked: list[list[Brackets]], clean: bool) -> Answers:
    return reduce(Answers.merge, (_block(backend, part, asked, clean) for part in backend.blocks(chunk)))


def _block(backend: Backend, chunk: Chunk, asked: list[list[Brackets]], clean: bool) -> Answers:
    if not clean:
        chunk = chunk._replace(X=_missing_last(chunk.X))
    together = chunk._replace(rows={"label": backend.full((len(chunk.X),), 0, np.int32)})
    own, every = (
        tuple(_rank(backend, rows, question) for question in questions)
        for rows, questions in zip((chunk, together), asked, strict=True)
    )
    return Answers((own, every))


def _rank(backend: Backend, chunk: Chunk, question: Brackets) -> Ranks | None:
    idle = question.fine is None and not len(question.feature)
    return None if idle else backend.ranks(chunk, question)


def _missing_last(X: Array) -> Array:
    """Rows with infinity for what is not finite."""
    X = X.copy()
    X[~(abs(X) < np.inf)] = np.inf
    return X


def _halfway(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The value with as many floating-point numbers below it in the range as above it."""
    kind = np.dtype(f"i{low.dtype.itemsize}")
    top = np.iinfo(kind).min
    one, two = (np.where(bits < 0, top - bits, bits) for bits in (low.view(kind), high.view(kind)))
    middle = (one >> 1) + (two >> 1) + (one & two & 1)
    return np.where(middle < 0, top - middle, middle).astype(kind).view(low.dtype)
