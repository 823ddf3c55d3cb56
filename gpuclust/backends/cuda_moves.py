"""Rows by group on CUDA, and the exact sums of those that changed cluster: `kernels/cuda/moves.cu`."""

from __future__ import annotations

from typing import Final, NamedTuple

import cupy
import numpy as np

from .cuda_kernels import MOST_GROUPS, UNASKED_SHARED, address, blocks_of, launch
from .cuda_later import Record
from .statistics import Array, Moves, check_labels

SPAN: Final = 64  # entries that a warp sums at once
ROWS: Final = 8  # of a thread that counts or places


class Groups(NamedTuple):
    """Rows that enter clusters (groups 0 .. k - 1) and leave them (k .. 2 k - 1), group by group."""

    counts: Array  # i32 [2 k + 1], the last one that of rows without a label
    ends: Array  # i32 [2 k + 1], the last one that of all groups
    row: Array  # i32 [2 n]; [n] where nothing is left
    group: Array  # i32, the same


def count(new: Array, old: Array | None, k: int, counts: Array | None = None) -> Array:
    """Rows that enter and leave each cluster, and rows without a label (not finite), i32 [2 k + 1].

    They are added to `counts` where it is given.
    """
    counts, room = cupy.zeros(2 * k + 1, np.int32) if counts is None else counts, _room(2 * k + 1)
    launch("moves.count_moves", _blocks(len(new)), (new, address(old), len(new), k, room, counts), shared=4 * room)
    return counts


def replaced(label: Array, new: Array, k: int, scored: Array) -> Moves:
    """Rows whose label changes; label [n] <- new. Rows that were scored i64 [1]."""
    record = Record(counts=((2 * k + 1,), np.int32), scored=((1,), np.int64))
    count(new, label, k, record["counts"])
    record["scored"][:] = scored
    label[:] = new
    return record.tell(_moves)


def _moves(counts: np.ndarray, scored: np.ndarray) -> Moves:
    entered, left = flow(counts).astype(np.int64)
    return Moves(int(entered.sum()), int(scored[0]), entered + left)


def _room(groups: int) -> int:
    """Counts that a block keeps in shared memory: one for each group, or none."""
    return groups if groups <= UNASKED_SHARED // 4 else 0


def _blocks(n: int) -> int:
    return blocks_of(-(-n // ROWS))


def group(new: Array, old: Array | None, k: int) -> Groups:
    """The rows whose label changes, by what they leave and enter; without old labels, all that have a new one."""
    n, counts = len(new), count(new, old, k)
    ends = cupy.cumsum(counts, dtype=np.int32)
    ends -= counts  # where groups begin, until the rows are placed
    entries = n if old is None else 2 * n
    row, code = cupy.empty(entries, np.int32), cupy.empty(entries, np.int32)
    room = _room(2 * k)
    launch("moves.place_moves", _blocks(n), (new, address(old), n, k, room, ends, row, code), shared=4 * room)
    return Groups(counts, ends, row, code)


def add_sums(groups: Groups, X: Array, weight: Array | None, magic: Array, delta: Array) -> None:
    """delta f64 [k, K, d + 1] += the pieces of the rows that enter less those of the rows that leave."""
    d, k, K = X.shape[1], len(delta), len(magic)
    spans, bits = -(-len(groups.row) // SPAN), min(5, d.bit_length())  # 2^bits lanes have a feature each, and the mass
    args = (groups.row, groups.group, groups.ends[2 * k :], X, address(weight), d, magic, K, k, delta, bits)
    for first in range(0, d + 1, 32 * MOST_GROUPS):
        grid = blocks_of(spans << bits), min(-(-(d + 1 - first) // 32), MOST_GROUPS)
        launch(f"moves.sum_{'moves' if weight is None else 'weighted'}_f{8 * X.dtype.itemsize}", grid, (*args, first))


def flow(counts: np.ndarray) -> np.ndarray:
    """Rows that entered and left each cluster, i64 [2, k], of counts on the host."""
    check_labels(counts[-1])
    return counts[:-1].reshape(2, -1)
