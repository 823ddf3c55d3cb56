"""Sums on CUDA that do not depend on their order, and the first scan."""

from __future__ import annotations

import functools
from typing import Final

import cupy
import numpy as np

from .cuda_kernels import WARPS, address, blocks_of, launch
from .cuda_memory import send, tiles
from .statistics import DD, Array, Scan, two_sum

MOST_PARTS: Final = 512  # shares of a total
LANES: Final = 32  # features of a block that scans
FIELDS: Final = 7  # that it tells of each
SCANNED: Final = 64  # rows of a warp, or more
MOST_SCANS: Final = 1024  # blocks


def weighted_total(value: Array, weight: Array | None) -> DD:
    """Sum of w v, f64 [n] both; the products are rounded, the sum is not (2^-104)."""
    parts = cupy.empty((min(blocks_of(len(value)), MOST_PARTS), 2))
    total_parts(value, weight, parts)
    return total_of(parts.get())


def total_parts(value: Array, weight: Array | None, parts: Array) -> None:
    """parts f64 [m, 2] <- as many shares of the same."""
    parts[:] = 0
    blocks = min(blocks_of(len(value)), len(parts))
    launch("totals.total", blocks, (value, address(weight), len(value), parts), shared=WARPS * 16)


def total_of(parts: np.ndarray) -> DD:
    """What the shares are together."""
    return functools.reduce(DD.__add__, (DD(high, low) for high, low in parts.tolist()), DD(0.0, 0.0))


def _cut(value: Array, magic: Array) -> Array:
    """f64 [rows, K, 1] <- the pieces of value [rows, 1] as `kernels.sums` cuts them; magic [K, 1]. Overwrites value."""
    out = cupy.empty((len(value), *magic.shape))
    for b in range(len(magic)):
        piece = (value + magic[b]) - magic[b]
        value -= piece
        out[:, b] = piece
    return out


def label_mass(weight: Array, label: Array, k: int) -> DD:
    """Sum of weights by label, [k] on the host. The grids divide every weight: the sums are exact."""
    heaviest, lightest = weight_range(weight)
    if not heaviest > 0:
        return DD(np.zeros(k), np.zeros(k))
    n = len(weight)
    first, bits = np.ceil(np.log2(heaviest * n)) + 2, 51 - int(np.ceil(np.log2(4.0 * n)))
    count = 1 + max(0, int(np.ceil((first - np.floor(np.log2(lightest))) / bits)))
    anchors = 1.5 * np.exp2(np.maximum(first - bits * np.arange(count), -960.0))
    magic, sums = send(anchors[:, None]), cupy.zeros((k, count, 1))

    def step(start: int, stop: int) -> None:
        cut = _cut(weight[start:stop, None].copy(), magic)
        cupy.add.at(sums, label[start:stop], cut)

    tiles(n, 32 * (count + 4), step)
    hi, lo = np.zeros(k), np.zeros(k)
    for level in sums.get()[:, :, 0].T:
        hi, e = two_sum(hi, level)
        lo += e
    return DD(*two_sum(hi, lo))


def weight_range(weight: Array) -> tuple[float, float]:
    """The heaviest weight, and the least positive one (inf where there is none)."""
    return float(weight.max()), float(cupy.where(weight > 0, weight, np.inf).min())


def scan(X: Array, weight: Array | None, origin: np.ndarray) -> Scan:
    """Count, range and moments about `origin`: `kernels/cuda/scan.cu`."""
    n, d = X.shape
    groups = -(-d // LANES)
    blocks = min(-(-n // (WARPS * SCANNED)), max(1, MOST_SCANS // groups))
    parts = cupy.empty((blocks, FIELDS, d))
    args = (X, n, d, send(origin, np.float64), parts)
    launch(f"scan.scan_f{8 * X.dtype.itemsize}", (blocks, groups), args, shared=32 * WARPS * FIELDS * 8)
    low, high, least, *pieces = parts.get().transpose(1, 0, 2)
    total, square = _halved(DD(*pieces[:2])), _halved(DD(*pieces[2:]))
    ranges = low.min(axis=0), high.max(axis=0), least.min(axis=0)
    squares = total_of(np.stack(square, axis=1))
    if weight is None:
        return Scan(n, DD(float(n), 0.0), 1.0, 1.0, *ranges, total, squares)
    return Scan(n, weighted_total(weight, None), *weight_range(weight), *ranges, total, squares)


def _halved(parts: DD) -> DD:
    """Sum over the first axis, on the host."""
    hi, lo = parts
    while len(hi) > 1:
        keep = (len(hi) + 1) // 2
        both = DD(hi[: len(hi) - keep], lo[: len(hi) - keep]) + DD(hi[keep:], lo[keep:])
        middle = slice(len(hi) - keep, keep)  # of an odd number, the one that is left over
        hi, lo = np.concatenate([both.hi, hi[middle]]), np.concatenate([both.lo, lo[middle]])
    return DD(hi[0], lo[0])
