"""Brackets around the medians of clusters: what a pass asks of the rows."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

MANY: Final = 4  # with more than one in so many features open, a row is faster read as a whole


class Fine(NamedTuple):
    """Pairs whose values are counted in buckets, where brackets that surely hold their medians would hold more values
    than there is room for.

    With u = (x - mid) / width, bucket (1 + u / (1 + |u|)) buckets / 2: half of them lie within a width of the middle,
    the others reach everywhere.
    """

    pair: np.ndarray  # i64 [u], ascending
    place: np.ndarray  # i32 [k * d]: index into `pair`, or -1
    mid: np.ndarray  # f64 [k * d]
    per: np.ndarray  # f64 [k * d]: 1 / width
    buckets: int

    def edges(self, pairs: np.ndarray, first: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Ends of the range of the buckets first ... last of `pairs`, f64, and a little beyond."""
        (low, before), (high, behind) = (self._edge(pairs, bound) for bound in (first, last + 1))
        return low - before, high + behind

    def _edge(self, pairs: np.ndarray, bucket: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where a bucket begins, and above by how much rounding blurs that: u changes by (1 + |u|)^2 times what the
        bucket does."""
        share = 2 * bucket / self.buckets - 1
        with np.errstate(divide="ignore"):
            far = 1 / (1 - np.abs(share))
            blur = 1e-14 * (np.abs(self.mid[pairs]) + far * far / self.per[pairs])
            return self.mid[pairs] + share * far / self.per[pairs], blur


class Brackets(NamedTuple):
    """Of every pair of cluster and feature, [k * d] in the rows' dtype; those of `feature` are open."""

    low: np.ndarray
    mid: np.ndarray  # in the bracket: its ties are counted, not kept
    high: np.ndarray
    start: np.ndarray  # i64 [k + 1]: where each cluster's open features begin
    feature: np.ndarray  # i64
    magic: np.ndarray  # f64 [K]: grids of exact sums of weights
    room: float  # values to a row that may be kept
    fine: Fine | None = None

    def opened(self, pairs: np.ndarray) -> Brackets:
        """The same with these pairs open, i64, ascending.

        Of clusters with many, all features are: the others' brackets are closed, so that nothing lies in them.
        """
        k, one = len(self.start) - 1, self.low.dtype.type
        wanted = np.zeros(len(self.low), bool)
        wanted[pairs] = True
        rows = wanted.reshape(k, -1)
        rows = rows | (rows.mean(axis=1, keepdims=True) > 1 / MANY)
        return self._replace(
            low=np.where(wanted, self.low, one(np.inf)),
            mid=np.where(wanted, self.mid, one(np.nan)),
            high=np.where(wanted, self.high, one(-np.inf)),
            start=np.append(0, np.cumsum(rows.sum(axis=1))),
            feature=np.ascontiguousarray(np.nonzero(rows)[1]),
        )
