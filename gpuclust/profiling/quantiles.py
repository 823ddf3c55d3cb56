"""Exact order statistics by group and feature, and the quantiles between them.

Columns that fit the memory are cut at the ranks that are wanted (`numpy.partition`). Of more rows than that, the range
in which a rank must lie is cut pass after pass, by counting, until what is left of it can be held (Munro and Paterson,
"Selection and sorting with limited storage", TCS 1980; see `search.py`). Both give the same values.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..backends.moments import Summary
from ..data.source import Source
from ..objectives.median import middle
from .rows import Groups, column_bytes, columns
from .search import Search


@dataclass(frozen=True)
class Places:
    """Between which ranks the wanted quantiles lie, by numpy's 'linear' definition: virtual index (n - 1) q."""

    below: np.ndarray  # i64 [q, k, d]: a rank from 0; -1 where there is no value
    above: np.ndarray
    part: np.ndarray  # f64 [q, k, d]: of the way to the rank above
    median: np.ndarray  # bool [q, 1, 1]: which quantiles are medians

    @classmethod
    def of(cls, q: np.ndarray, count: np.ndarray) -> Places:
        """Of quantiles q [q] in [0, 1] of `count` values, i64 [k, d]."""
        virtual = (count - 1) * q[:, None, None]
        below = np.floor(virtual).astype(np.int64)
        above = np.minimum(below + 1, count - 1)
        none = count == 0
        return cls(np.where(none, -1, below), np.where(none, -1, above), virtual - below, (q == 0.5)[:, None, None])

    def ranks(self) -> np.ndarray:
        """i64 [2 q, k, d]."""
        return np.stack([self.below, self.above], axis=1).reshape(-1, *self.below.shape[1:])

    def between(self, values: np.ndarray) -> np.ndarray:
        """Quantiles f64 [q, k, d] from the values of `ranks()`, f64 [2 q, k, d], interpolated as numpy does; medians
        are those of K-Medians."""
        one, two = values[0::2], values[1::2]
        with np.errstate(invalid="ignore", over="ignore"):
            step = two - one
            found = np.where(self.part >= 0.5, two - step * (1 - self.part), one + step * self.part)
        centre = np.where(self.part > 0, middle(one, two, False), one)
        return np.where(self.median, centre, found) + 0.0  # no negative zeros: their order among zeros is by chance


def quantiles(
    source: Source, groups: Groups, found: Summary, q: np.ndarray, *, clean: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Quantiles q [q] of each group, f64 [q, k, d], and of all rows together, f64 [q, 1, d].

    `found`: the moments of the groups. `clean=False`: values that are not finite are to be left out.
    """
    own, every = Places.of(q, found.count), Places.of(q, found.together().count)
    ranks = own.ranks(), every.ranks()
    if _at_hand(source):
        values = _selected(source, groups, *ranks)
    else:
        groups.place(source)
        values = Search.over(source, (found, found.together()), ranks, clean).run()
    return own.between(values[0]), every.between(values[1])


def quantiles_of_all(source: Source, found: Summary, q: np.ndarray) -> np.ndarray:
    """Quantiles q [q] of the finite values of all rows, f64 [q, d]; NaN where there are none.

    `found`: the moments of all rows as one group.
    """
    places = Places.of(q, found.count)
    ranks = places.ranks()
    if _at_hand(source):
        values = np.stack([_cut(column, ranks[:, 0, f]) for f, column in enumerate(columns(source))], axis=-1)[:, None]
    else:
        _, values = Search.over(source, (found, found), (np.full_like(ranks, -1), ranks), False).run()
    return places.between(values)[:, 0]


def _at_hand(source: Source) -> bool:
    """Whether whole columns are better cut than searched."""
    if source.remote:
        return False
    whole = source.backend.name == "cpu" and source.host_rows is not None
    return whole or source.n_rows * source.n_features * source.dtype.itemsize <= column_bytes()


def _selected(
    source: Source, groups: Groups, own: np.ndarray, every: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The values of ranks [r, k, d] of each group, and of ranks [r, 1, d] of all rows, column by column."""
    values, together = np.full(own.shape, np.nan), np.full(every.shape, np.nan)
    narrow = groups.code.astype(np.uint16) if len(groups.names) < 1 << 16 else groups.code  # sorted by radix
    order = np.argsort(narrow, kind="stable")
    ends = np.cumsum(np.bincount(groups.code, minlength=len(groups.names)))[:-1]
    for f, column in enumerate(columns(source)):
        for j, part in enumerate(np.split(column[order], ends)):
            values[:, j, f] = _cut(part, own[:, j, f])
        together[:, 0, f] = _cut(column, every[:, 0, f])
    return values, together


def _cut(part: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """Values of the ranks of a column, NaN for rank -1; what is not finite ranks last. Changes the column."""
    if ranks[0] < 0:
        return np.full(len(ranks), np.nan)
    part[~np.isfinite(part)] = np.inf
    part.partition(np.unique(ranks))
    return part[ranks].astype(np.float64)
