"""Middle values on CUDA: `kernels/cuda/medians.cu` on the rows of some clusters at a time."""

from __future__ import annotations

from typing import Final

import cupy
import numpy as np

from . import cuda_moves
from .cuda_kernels import blocks_of, launch
from .cuda_memory import send, tiles
from .statistics import Array

LANES: Final = 32  # features of a block
BINS: Final = 256  # a digit's values
ITEM_ROWS: Final = 1 << 14  # rows that one block counts


def middles(X: Array, label: Array, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """See `Backend.middles`."""
    k, d, dtype = len(wanted), X.shape[1], X.dtype
    target = cupy.where(send(wanted)[label], label, np.int32(-1))
    groups = cuda_moves.group(target, None, k)
    counts = groups.counts.get().astype(np.int64)[:k]
    begins = np.cumsum(counts) - counts
    clusters = np.flatnonzero(counts)
    one, two = np.full((k, d), np.nan), np.full((k, d), np.nan)

    def step(start: int, stop: int) -> None:
        which = clusters[start:stop]
        low, high = _select(X, groups.row, begins[which], counts[which])
        one[which], two[which] = low.get()[:, :d], high.get()[:, :d]

    tiles(len(clusters), -(-d // LANES) * LANES * (BINS * 4 + 5 * dtype.itemsize), step)
    return one, two


def _select(X: Array, row: Array, begins: np.ndarray, counts: np.ndarray) -> tuple[Array, Array]:
    """Lower and upper middle values [slots, groups * LANES] of the rows in each slot's entries of `row`."""
    d, slots, groups = X.shape[1], len(counts), -(-X.shape[1] // LANES)
    width, form, bits = groups * LANES, f"f{8 * X.dtype.itemsize}", 8 * X.dtype.itemsize
    key, pairs = np.dtype(f"u{X.dtype.itemsize}"), slots * width
    parts = -(-counts // ITEM_ROWS)
    slot = np.repeat(np.arange(slots), parts)
    first = begins[slot] + (np.arange(len(slot)) - (np.cumsum(parts) - parts)[slot]) * ITEM_ROWS
    last = np.minimum(first + ITEM_ROWS, (begins + counts)[slot])
    items = tuple(send(each, np.int32) for each in (slot, first, last))
    prefix, next_ = cupy.zeros((slots, width), key), cupy.full((slots, width), np.iinfo(key).max, key)
    rank = cupy.zeros((slots, width), np.uint32)
    rank += send((counts - 1) // 2, np.uint32)[:, None]
    same, grid, above = cupy.empty((slots, width), np.uint32), (len(slot), groups), 0
    bins = cupy.empty((slots, groups, BINS, LANES), np.uint32)
    for shift in range(bits - 8, -1, -8):
        bins[:] = 0
        args = (X, d, row, *items, prefix, key.type(above), shift, bins)
        launch(f"medians.count_digits_{form}", grid, args, shared=BINS * LANES * 4)
        launch(f"medians.choose_digits_{form}", blocks_of(pairs), (bins, pairs, shift, prefix, rank, same))
        above |= (BINS - 1) << shift
    launch(f"medians.find_next_{form}", grid, (X, d, row, *items, prefix, rank, same, next_))
    one, two = cupy.empty((slots, width), X.dtype), cupy.empty((slots, width), X.dtype)
    args = (prefix, rank, same, next_, send(counts % 2 == 1), pairs, width, one, two)
    launch(f"medians.finish_{form}", blocks_of(pairs), args)
    return one, two
