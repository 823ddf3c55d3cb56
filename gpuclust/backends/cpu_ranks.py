"""What medians need of the rows, on the CPU."""

from __future__ import annotations

from typing import Final

import numpy as np

from .base import Array
from .brackets import Brackets, Fine
from .kernels import ranks, whole
from .statistics import Inside, Ranks
from .threads import at_most, run, thread_count

TABLES: Final = 4  # of counts in buckets: more threads would take room that brackets need


def rank(X: Array, weight: Array, label: Array, brackets: Brackets) -> Ranks:
    """What rows X [n, d] tell about the brackets of their clusters; weight f64 [n], or [0]: they count once."""
    threads, size, k = thread_count(), len(brackets.low), len(brackets.start) - 1
    room = int(len(X) * brackets.room) // threads + 1024
    pairs, values = np.empty((threads, room), np.int32), np.empty((threads, room), X.dtype)
    filled, lost = np.empty(threads, np.int64), np.zeros((threads, size), np.int32)
    tables = label, brackets.low, brackets.mid, brackets.high, brackets.start, brackets.feature
    if len(weight):
        heavy, levels = np.empty((threads, room)), len(brackets.magic)
        less, same = (np.zeros((threads, size, levels)) for _ in range(2))
        total = np.zeros((threads, k, levels))
        run(
            ranks.weighted_rank_pass, X, weight, brackets.magic, *tables, less, same, total, pairs, values, heavy,
            filled, lost,
        )  # fmt: skip
        below, equal, mass = less.sum(axis=0), same.sum(axis=0), total.sum(axis=0)
    else:
        heavy = np.empty((threads, 0))
        counts, ties = (np.zeros((threads, size), np.int32) for _ in range(2))
        run(ranks.rank_pass, X, *tables, counts, ties, pairs, values, heavy, filled, lost)
        below, equal = (part.sum(axis=0, dtype=np.float64)[:, None] for part in (counts, ties))
        mass = np.bincount(label, minlength=k).astype(np.float64)[:, None]
    parts = tuple(Inside(pairs[t, :m].copy(), values[t, :m].copy(), heavy[t, :m].copy()) for t, m in enumerate(filled))
    fine = None if brackets.fine is None else count_fine(X, label, brackets.fine)
    return Ranks(below, equal, mass, lost.sum(axis=0, dtype=np.int64), parts, fine)


def count_fine(X: Array, label: Array, fine: Fine) -> np.ndarray:
    """Rows in each bucket, i64 [u, buckets]."""
    with at_most(TABLES):
        counts = np.zeros((thread_count(), len(fine.pair), fine.buckets), np.int32)
        run(ranks.fine_pass, X, label, fine.place, fine.mid, fine.per, counts)
    return counts.sum(axis=0, dtype=np.int64)


def middles(X: Array, label: Array, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The middle values of rows X [n, d], fewer than 2^32, by label i32 [n]; see `Backend.middles`."""
    start, order = np.empty(len(wanted) + 1, np.int64), np.empty(len(X), np.uint32)
    run(whole.by_cluster, label, wanted, start, order)
    one, two = (np.full((len(wanted), X.shape[1]), np.nan, X.dtype) for _ in range(2))
    run(whole.select_pass, X, order, start, one, two)
    return one.astype(np.float64), two.astype(np.float64)
