"""Sums on CUDA that do not depend on their order, and the first scan.

Array operations only, one rounding each: no compiler can contract a * b + c.
"""

from __future__ import annotations

import functools
from typing import Final

import cupy
import numpy as np

from .cuda_kernels import WARPS, address, blocks_of, launch
from .cuda_memory import send, tiles
from .statistics import DD, Array, Scan, two_sum

MOST_PARTS: Final = 512  # shares of a total


def total(hi: Array, lo: Array) -> DD:
    """Sum over axis 1 of double-doubles [fields, rows, ...] by halving; on the host. Overwrites both."""
    while hi.shape[1] > 1:
        keep = (hi.shape[1] + 1) // 2
        pairs = hi.shape[1] - keep
        s, e = two_sum(hi[:, :pairs], hi[:, keep:])
        lo[:, :pairs] += lo[:, keep:]
        lo[:, :pairs] += e
        hi[:, :pairs] = s
        hi, lo = hi[:, :keep], lo[:, :keep]
    return DD(*two_sum(hi[:, 0].get(), lo[:, 0].get()))


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
    """Count, range and moments about `origin`."""
    where = send(origin, np.float64)

    def step(start: int, stop: int) -> Scan:
        return _scan(X[start:stop], None if weight is None else weight[start:stop], where)

    return functools.reduce(Scan.merge, tiles(len(X), X.shape[1] * 96 + 32, step))


def _scan(X: Array, weight: Array | None, origin: Array) -> Scan:
    x = X.astype(np.float64)
    size = cupy.abs(x)
    least = cupy.where(size > 0, size, np.inf).min(axis=0)
    low, high, least = cupy.stack([x.min(axis=0), x.max(axis=0), least]).get()
    x -= origin
    sums = cupy.stack([x, x * x])
    found = total(sums, cupy.zeros(sums.shape))
    columns = (DD(float(hi), float(lo)) for hi, lo in zip(found.hi[1], found.lo[1], strict=True))
    moments = DD(found.hi[0], found.lo[0]), functools.reduce(DD.__add__, columns)
    if weight is None:
        return Scan(len(x), DD(float(len(x)), 0.0), 1.0, 1.0, low, high, least, *moments)
    return Scan(len(x), weighted_total(weight, None), *weight_range(weight), low, high, least, *moments)
