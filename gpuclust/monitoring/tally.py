"""Rows counted in the cells of a training summary: all that is kept of them, however many there are."""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from .summary import TrainingSummary

MOST_FAR: Final = 20  # rows that are named
MOST_UNKNOWN: Final = 20  # unknown categories of a column that are named
EVEN: Final = 1e-6  # by what part distances of equal rows may differ, of float32 and of float64


@dataclass
class Tally:
    """Counts of rows in the cells of a summary; sums of tallies do not depend on the order of rows.

    The cells of a column with kept values v_1 < ... < v_q are: below v_1, v_1, (v_1, v_2], ..., beyond v_q.
    """

    summary: TrainingSummary
    used: np.ndarray  # bool [d]: no values of the others are counted
    n_rows: int = 0
    cells: list[np.ndarray] = field(default_factory=list)  # i64 [q + 2] for each column of numbers; [] for others
    known: list[Counter[str]] = field(default_factory=list)  # of the listed categories of each column
    unknown: np.ndarray = field(default_factory=lambda: np.empty(0))  # i64 [d]: values that are not listed
    strange: list[set[str]] = field(default_factory=list)  # some of those: the first by name
    missing: np.ndarray = field(default_factory=lambda: np.empty(0))  # i64 [d]
    counts: np.ndarray = field(default_factory=lambda: np.empty(0))  # i64 [k]
    distances: np.ndarray = field(default_factory=lambda: np.empty(0))  # i64 [p + 2]: as far as training rows would be
    given: np.ndarray = field(default_factory=lambda: np.empty(0))  # i64 [p + 2]: of the distances as they are
    far: int = 0  # rows beyond the training's 99.9 % distance
    farthest: list[tuple[float, int]] = field(default_factory=list)  # (distance, - number), farthest first
    edges: list[np.ndarray] = field(default_factory=list)
    kinds: list[Any] = field(default_factory=list)  # dtypes in which the columns are compared

    @classmethod
    def of(cls, summary: TrainingSummary, used: np.ndarray) -> Tally:
        """Of no rows yet; `used` bool [d]: which columns count."""
        d, edges = summary.n_features, [edges_of(each) for each in summary.quantiles]
        return cls(
            summary,
            used,
            cells=[np.zeros(len(each) + 1, np.int64) for each in edges],
            known=[Counter() for _ in range(d)],
            unknown=np.zeros(d, np.int64),
            strange=[set() for _ in range(d)],
            missing=np.zeros(d, np.int64),
            counts=np.zeros(len(summary.counts), np.int64),
            distances=np.zeros(len(summary.distances) + 2, np.int64),
            given=np.zeros(len(summary.distances) + 2, np.int64),
            edges=[*edges, edges_of(summary.distances)],
            kinds=[kind_of(each) for each in summary.quantiles],
        )

    @property
    def categorical(self) -> np.ndarray:
        """Which columns hold categories, bool [d]."""
        return np.array([listed is not None for listed in self.summary.categories])

    def add(self, columns: list[np.ndarray], label: np.ndarray, distance: np.ndarray, number: np.ndarray) -> None:
        """Count rows; `label` -1 for those that the model cannot take, `number` i64 [n]: which rows these are."""
        self.n_rows += len(number)
        for f, column in enumerate(columns):
            if not self.used[f]:
                continue
            (self._add_numbers if self.summary.categories[f] is None else self._add_categories)(f, column)
        taken = label >= 0
        self._add_distances(label[taken], distance[taken], number[taken])

    def _add_numbers(self, f: int, column: np.ndarray) -> None:
        there = finite(column)
        found = (column if there is None else column[there]).astype(self.kinds[f], copy=False)
        self.missing[f] += len(column) - len(found)
        if len(found) and len(self.edges[f]):
            self.cells[f] += count(self.edges[f], found)

    def _add_categories(self, f: int, column: np.ndarray) -> None:
        listed: Any = self.summary.categories[f]
        for name, number in Counter(column.tolist()).items():
            if name is None:
                self.missing[f] += number
            elif name in listed:
                self.known[f][name] += number
            else:
                self.unknown[f] += number
                self.strange[f].add(name)
        self.strange[f] = set(heapq.nsmallest(MOST_UNKNOWN, self.strange[f]))

    def _add_distances(self, label: np.ndarray, distance: np.ndarray, number: np.ndarray) -> None:
        if not len(label):
            return
        self.counts += np.bincount(label, minlength=len(self.counts))
        fair = distance * unseen(self.summary.counts)[label]
        self.distances += count(self.edges[-1], fair * (1 - EVEN))
        self.given += count(self.edges[-1], distance * (1 + EVEN))
        beyond = fair > self.summary.far
        self.far += int(beyond.sum())
        order = np.lexsort((number[beyond], -distance[beyond]))[:MOST_FAR]
        rows = zip(distance[beyond][order].tolist(), (-number[beyond][order]).tolist(), strict=True)
        self.farthest = heapq.nlargest(MOST_FAR, [*self.farthest, *rows])

    @property
    def far_rows(self) -> list[tuple[int, float]]:
        """Number and distance of the rows farthest from every centre, farthest first."""
        return [(-row, value) for value, row in self.farthest]


def edges_of(values: np.ndarray) -> np.ndarray:
    """The kept values f64 [q], after the largest number below them [q + 1]; none where there are no values."""
    if np.isnan(values[0]):
        return np.empty(0)
    return np.concatenate([[np.nextafter(values[0], -np.inf)], values])


def kind_of(values: np.ndarray) -> Any:
    """float32 where all kept values f64 [q] are such numbers: 0.7 of a service is the 0.7 of a float32 file."""
    with np.errstate(over="ignore"):
        return np.float32 if np.array_equal(values, values.astype(np.float32)) else np.float64


def count(edges: np.ndarray, values: np.ndarray) -> np.ndarray:
    """How many values lie in (-inf, e_0], (e_0, e_1], ..., (e_q, inf), i64 [len(edges) + 1]."""
    return np.bincount(np.searchsorted(edges, values), minlength=len(edges) + 1)


def unseen(counts: np.ndarray) -> np.ndarray:
    """What distances of new rows to a centre are multiplied with, to compare with those of the rows that made it.

    The centre of n rows has followed them: their mean squared distance to it is s^2 (1 - 1/n), that of new rows
    s^2 (1 + 1/n). f64 [k].
    """
    n = np.maximum(counts, 2)
    return np.sqrt((n - 1) / (n + 1))


def finite(column: np.ndarray) -> np.ndarray | None:
    """Which values are there, bool [n]; None: all."""
    if not len(column) or (np.isfinite(column.min()) and np.isfinite(column.max())):  # NaN is the least of all
        return None
    return np.isfinite(column)
