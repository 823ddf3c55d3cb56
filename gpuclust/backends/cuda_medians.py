"""Middle values on CUDA: `kernels/cuda/medians.cu` on the rows of some clusters at a time."""

from __future__ import annotations

from typing import Final

import cupy
import numpy as np

from . import cuda_moves
from .cuda_kernels import MOST_BLOCKS, MOST_GROUPS, blocks_of, launch
from .cuda_memory import tiles
from .statistics import Array

LANES: Final = 32  # features of a block
BINS: Final = 256  # a digit's values
ITEM_ROWS: Final = 1 << 14  # rows that one block counts


def middles(X: Array, label: Array, wanted: Array, out: Array) -> None:
    """out f64 [2, k, d] <- the middle values of the clusters wanted, bool [k], see `Backend.middles`.

    Nothing crosses to the host.
    """
    k, d = len(wanted), X.shape[1]
    groups = cuda_moves.group(cupy.where(wanted[label], label, np.int32(-1)), None, k)
    items = cupy.cumsum(groups.counts[:k] // np.int32(ITEM_ROWS) + np.int32(1), dtype=np.int32)  # the last may be empty
    rows = groups.row, groups.counts, groups.ends, items

    def step(start: int, stop: int) -> None:
        _select(X, rows, start, stop, out[0, start:stop], out[1, start:stop])

    tiles(k, -(-d // LANES) * LANES * (BINS * 4 + 4 * X.dtype.itemsize), step)


def _select(X: Array, rows: tuple[Array, ...], start: int, stop: int, one: Array, two: Array) -> None:
    """one, two f64 [slots, d] <- the lower and the upper middle values of the clusters from `start` to `stop`."""
    n, d = X.shape
    slots, groups, form = stop - start, -(-d // LANES), f"f{8 * X.dtype.itemsize}"
    width, pairs, counts = groups * LANES, slots * groups * LANES, rows[1][start:stop]
    bits, key = 8 * X.dtype.itemsize, np.dtype(f"u{X.dtype.itemsize}")
    prefix, next_ = cupy.empty((slots, width), key), cupy.empty((slots, width), key)
    rank, same = cupy.empty((slots, width), np.uint32), cupy.empty((slots, width), np.uint32)
    bins = cupy.empty((slots, groups, BINS, LANES), np.uint32)
    items, above = (*rows, start, slots, ITEM_ROWS), 0
    grid = n // ITEM_ROWS + slots, min(groups, MOST_GROUPS)
    launch(f"medians.start_{form}", blocks_of(pairs), (counts, pairs, width, prefix, rank, next_))
    for shift in range(bits - 8, -1, -8):
        launch("medians.clear_digits", min(slots * groups, MOST_BLOCKS), (counts, slots, groups, bins))
        args = (*items, X, d, prefix, key.type(above), shift, bins)
        launch(f"medians.count_digits_{form}", grid, args, shared=BINS * LANES * 4)
        args = (bins, counts, pairs, width, shift, prefix, rank, same)
        launch(f"medians.choose_digits_{form}", blocks_of(pairs), args)
        above |= (BINS - 1) << shift
    launch(f"medians.find_next_{form}", grid, (*items, X, d, prefix, rank, same, next_))
    args = (prefix, rank, same, next_, counts, slots, d, width, one, two)
    launch(f"medians.finish_{form}", blocks_of(slots * d), args)
