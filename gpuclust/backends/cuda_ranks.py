"""Brackets on CUDA: `kernels/cuda/ranks.cu` on tiles of rows."""

from __future__ import annotations

from functools import partial

import numpy as np

from .brackets import Brackets
from .cuda_kernels import UNASKED_SHARED, blocks_of, launch
from .cuda_later import Record, once
from .cuda_memory import send, tiles
from .statistics import Array, Inside, Ranks, merged

COUNT = np.dtype(np.uint32)


def rank(X: Array, weight: Array | None, label: Array, brackets: Brackets) -> Ranks:
    """What rows X [n, d] tell about the brackets of their clusters; weight f64 [n] or None."""
    tables = once("brackets", (brackets,), lambda: _sent(brackets))

    def step(start: int, stop: int) -> Ranks:
        heavy = None if weight is None else weight[start:stop]
        return _rank(X[start:stop], heavy, label[start:stop], brackets, tables)

    entry = 4 + X.dtype.itemsize + (0 if weight is None else 8)
    return merged(tiles(len(X), 1 + int(min(brackets.room, X.shape[1]) * entry), step))


def _sent(brackets: Brackets) -> tuple[Array, ...]:
    """What the kernels read of them."""
    fine = brackets.fine
    counted = () if fine is None else (send(fine.place), send(fine.mid), send(fine.per))
    return *(send(table) for table in (*brackets[:3], brackets.magic)), *counted


def _rank(X: Array, weight: Array | None, label: Array, brackets: Brackets, tables: tuple[Array, ...]) -> Ranks:
    (n, d), size, k, levels = X.shape, len(brackets.low), len(brackets.start) - 1, len(brackets.magic)
    room, fine, weighted = min(int(n * brackets.room) + 1024, n * d), brackets.fine, weight is not None
    sums = (levels,) if weighted else (), np.dtype(np.float64) if weighted else COUNT
    record = Record(
        less=((size, *sums[0]), sums[1]), same=((size, *sums[0]), sums[1]), total=((k, *sums[0]), sums[1]),
        lost=((size,), COUNT), filled=((1,), np.uint64), pair=((room,), np.int32), value=((room,), X.dtype),
        load=((room * weighted,), np.float64),
        fine=((0, 0) if fine is None else (len(fine.pair), fine.buckets), COUNT),
    )  # fmt: skip
    rows, blocks, form = (X, n, d, label), blocks_of(n * d), f"f{8 * X.dtype.itemsize}"
    inside = *tables[:3], room, *(record[name] for name in ("filled", "lost", "pair", "value"))
    found = record["less"], record["same"], record["total"]
    if weighted:
        args = (*rows, *inside, record["load"], weight, tables[3], levels, *found)
        launch(f"ranks.weigh_ranks_{form}", blocks, args)
    else:
        shared = (2 * size + k) * COUNT.itemsize
        own, shared = (size, shared) if shared <= UNASKED_SHARED else (0, 0)
        launch(f"ranks.count_ranks_{form}", blocks, (*rows, *inside, own, *found), shared=shared)
    if fine is not None:
        launch(f"ranks.count_fine_{form}", blocks, (*rows, *tables[4:], fine.buckets, record["fine"]))
    return record.tell(partial(_told, counted=fine is not None))


def _told(
    less: np.ndarray, same: np.ndarray, total: np.ndarray, lost: np.ndarray, filled: np.ndarray, pair: np.ndarray,
    value: np.ndarray, load: np.ndarray, fine: np.ndarray, *, counted: bool,
) -> Ranks:  # fmt: skip
    """What a record tells, in arrays of their own."""
    below, equal, mass = (each.astype(np.float64).reshape(len(each), -1) for each in (less, same, total))
    kept = min(int(filled[0]), len(pair))
    inside = Inside(pair[:kept].copy(), value[:kept].copy(), load[:kept].copy())
    return Ranks(below, equal, mass, lost.astype(np.int64), (inside,), fine.astype(np.int64) if counted else None)
