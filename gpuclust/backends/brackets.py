"""Brackets around the medians of clusters: what a pass asks of the rows."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

MANY: Final = 4  # with more than one in so many features open, a row is faster read as a whole


class Brackets(NamedTuple):
    """Of every pair of cluster and feature, [k * d] in the rows' dtype; those of `feature` are open."""

    low: np.ndarray
    mid: np.ndarray  # in the bracket: its ties are counted, not kept
    high: np.ndarray
    start: np.ndarray  # i64 [k + 1]: where each cluster's open features begin
    feature: np.ndarray  # i64
    magic: np.ndarray  # f64 [K]: grids of exact sums of weights
    room: float  # values to a row that may be kept

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
            feature=np.nonzero(rows)[1],
        )
