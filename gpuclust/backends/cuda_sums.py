"""Sums on CUDA that do not depend on their order, and the first scan."""

from __future__ import annotations

from functools import partial, reduce
from typing import Final

import cupy
import numpy as np

from .cuda_kernels import WARPS, address, blocks_of, launch
from .cuda_later import Record, once
from .cuda_memory import send
from .cuda_moves import count
from .statistics import DD, Array, Cost, Scan, two_sum

MOST_PARTS: Final = 512  # shares of a total
LANES: Final = 32  # features of a block that scans
FIELDS: Final = 7  # that it tells of each
SCANNED: Final = 64  # rows of a warp, or more
MOST_SCANS: Final = 1024  # blocks
LIMBS: Final = 67  # digits of an exact sum of weights
COPIED: Final = 64  # clusters with fewer are summed in several copies
MOST_COPIES: Final = 8


def total_parts(value: Array, weight: Array | None, parts: Array) -> None:
    """parts f64 [m, 2] <- shares of the sum of w v, f64 [n] both; the products are rounded, the sum is not (2^-104)."""
    parts[:] = 0
    blocks = min(blocks_of(len(value)), len(parts))
    launch("totals.total", blocks, (value, address(weight), len(value), parts), shared=WARPS * 16)


def total_of(parts: np.ndarray) -> DD:
    """What the shares are together."""
    return reduce(DD.__add__, (DD(high, low) for high, low in parts.tolist()), DD(0.0, 0.0))


def add_masses(weight: Array, label: Array, mass: Array) -> None:
    """mass f64 [k, 2] <- the sum of weights by label, in two pieces; it is exact before, whatever the weights."""
    k = len(mass)
    copies = max(1, min(MOST_COPIES, COPIED // k))
    limbs = cupy.zeros((copies, k, LIMBS), np.uint64)
    launch("totals.add_masses", blocks_of(len(weight)), (weight, label, len(weight), k, copies, limbs))
    launch("totals.masses", blocks_of(k), (limbs, k, copies, mass))


def total(value: Array, weight: Array | None, label: Array, k: int) -> Cost:
    """See `Backend.total`."""
    parts = min(blocks_of(len(value)), MOST_PARTS)
    record = Record(
        parts=((parts, 2), np.float64), counts=((2 * k + 1,), np.int32),
        mass=((0 if weight is None else k, 2), np.float64),
    )  # fmt: skip
    total_parts(value, weight, record["parts"])
    count(label, None, k, record["counts"])
    if weight is not None:
        add_masses(weight, label, record["mass"])
    return record.tell(partial(_cost, k=k, weighted=weight is not None))


def _cost(parts: np.ndarray, counts: np.ndarray, mass: np.ndarray, *, k: int, weighted: bool) -> Cost:
    rows = counts[:k].astype(np.int64)
    masses = DD(*two_sum(*mass.T)) if weighted else DD(rows.astype(np.float64), np.zeros(k))
    return Cost(total_of(parts), masses, rows)


def range_of(weight: Array, out: Array) -> None:
    """out f64 [2] <- the heaviest weight, and the least positive one (inf where there is none)."""
    out[0] = weight.max()
    out[1] = cupy.where(weight > 0, weight, np.inf).min()


def scan(X: Array, weight: Array | None, origin: np.ndarray) -> Scan:
    """Count, range and moments about `origin`: `kernels/cuda/scan.cu`."""
    n, d = X.shape
    groups = -(-d // LANES)
    blocks = min(-(-n // (WARPS * SCANNED)), max(1, MOST_SCANS // groups))
    record = Record(
        parts=((blocks, FIELDS, d), np.float64), heavy=((2,), np.float64),
        mass=((0 if weight is None else min(blocks_of(n), MOST_PARTS), 2), np.float64),
    )  # fmt: skip
    args = (X, n, d, once("origin", (origin,), lambda: send(origin, np.float64)), record["parts"])
    launch(f"scan.scan_f{8 * X.dtype.itemsize}", (groups, blocks), args, shared=32 * WARPS * FIELDS * 8)
    if weight is not None:
        range_of(weight, record["heavy"])
        total_parts(weight, None, record["mass"])
    return record.tell(partial(_scan, n=n, weighted=weight is not None))


def _scan(parts: np.ndarray, heavy: np.ndarray, mass: np.ndarray, *, n: int, weighted: bool) -> Scan:
    low, high, least, *pieces = parts.transpose(1, 0, 2)
    total, square = _halved(DD(*pieces[:2])), _halved(DD(*pieces[2:]))
    ranges = low.min(axis=0), high.max(axis=0), least.min(axis=0)
    squares = total_of(np.stack(square, axis=1))
    if not weighted:
        return Scan(n, DD(float(n), 0.0), 1.0, 1.0, *ranges, total, squares)
    return Scan(n, total_of(mass), float(heavy[0]), float(heavy[1]), *ranges, total, squares)


def _halved(parts: DD) -> DD:
    """Sum over the first axis, on the host."""
    hi, lo = parts
    while len(hi) > 1:
        keep = (len(hi) + 1) // 2
        both = DD(hi[: len(hi) - keep], lo[: len(hi) - keep]) + DD(hi[keep:], lo[keep:])
        middle = slice(len(hi) - keep, keep)  # of an odd number, the one that is left over
        hi, lo = np.concatenate([both.hi, hi[middle]]), np.concatenate([both.lo, lo[middle]])
    return DD(hi[0], lo[0])
