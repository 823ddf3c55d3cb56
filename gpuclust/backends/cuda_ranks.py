"""Brackets on CUDA: comparisons and counts as array operations on tiles of rows."""

from __future__ import annotations

import functools

import cupy
import numpy as np

from .brackets import Brackets
from .cuda_memory import send, tiles
from .statistics import Array, Inside, Ranks


def rank(X: Array, weight: Array | None, label: Array, brackets: Brackets) -> Ranks:
    """What rows X [n, d] tell about the brackets of their clusters; weight f64 [n] or None."""
    (n, d), size, k = X.shape, len(brackets.low), len(brackets.start) - 1
    low, mid, high, magic = (send(a) for a in (brackets.low, brackets.mid, brackets.high, brackets.magic))
    is_open = np.zeros(size, bool)
    is_open[np.repeat(np.arange(k), np.diff(brackets.start)) * d + brackets.feature] = True
    open_, room = send(is_open), int(n * brackets.room) + 1024

    def step(start: int, stop: int) -> Ranks:
        x, own = X[start:stop].reshape(-1), label[start:stop].astype(np.int64)
        pair = (own[:, None] * d + cupy.arange(d)).reshape(-1)
        heavy = None if weight is None else cupy.repeat(weight[start:stop], d)
        use = open_[pair] if heavy is None else open_[pair] & (heavy > 0)
        at = cupy.flatnonzero(use)
        x, pair = x[at], pair[at]
        heavy = None if heavy is None else heavy[at]
        below, equal = x < low[pair], x == mid[pair]
        inside = cupy.flatnonzero(~below & ~equal & (x <= high[pair]))
        kept, gone = inside[: room * (stop - start) // n + 1], inside[room * (stop - start) // n + 1 :]
        lost = cupy.bincount(pair[gone], minlength=size).get().astype(np.int64)
        rows = Inside(
            pair[kept].astype(np.int32).get(), x[kept].get(), np.empty(0) if heavy is None else heavy[kept].get()
        )
        total = _mass(own, cupy.ones(len(own), bool), None if weight is None else weight[start:stop], magic, k)
        less, same = (_mass(pair, which, heavy, magic, size) for which in (below, equal))
        return Ranks(less, same, total, lost, (rows,))

    return functools.reduce(Ranks.merge, tiles(n, 64 * d, step))


def _mass(pair: Array, which: Array, heavy: Array | None, magic: Array, size: int) -> np.ndarray:
    """f64 [size, K]: exact sums of weights by pair; without weights, counts."""
    chosen = cupy.flatnonzero(which)
    target = pair[chosen]
    if heavy is None:
        return cupy.bincount(target, minlength=size).get().astype(np.float64)[:, None]
    left, out = heavy[chosen], []
    for anchor in magic:
        piece = (left + anchor) - anchor
        left = left - piece
        out.append(cupy.bincount(target, weights=piece, minlength=size).get())
    return np.stack(out, axis=1)
