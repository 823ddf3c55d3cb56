"""Brackets on CUDA: comparisons and counts as array operations on tiles of rows."""

from __future__ import annotations

import dataclasses
import functools

import cupy
import numpy as np

from .brackets import Brackets, Fine
from .cuda_memory import send, tiles
from .statistics import Array, Inside, Ranks


def rank(X: Array, weight: Array | None, label: Array, brackets: Brackets) -> Ranks:
    """What rows X [n, d] tell about the brackets of their clusters; weight f64 [n] or None."""
    (n, d), size, k = X.shape, len(brackets.low), len(brackets.start) - 1
    low, mid, high = (send(table) for table in brackets[:3])
    is_open = np.zeros(size, bool)
    is_open[np.repeat(np.arange(k), np.diff(brackets.start)) * d + brackets.feature] = True
    open_, magic = send(is_open), brackets.magic

    def step(start: int, stop: int) -> Ranks:
        own = label[start:stop].astype(np.int64)
        mass = None if weight is None else weight[start:stop]
        pair = (own[:, None] * d + cupy.arange(d)).reshape(-1)
        at = cupy.flatnonzero(open_[pair])
        x, pair = X[start:stop].reshape(-1)[at], pair[at]
        heavy = None if mass is None else mass[at // d]
        below, equal = x < low[pair], x == mid[pair]
        inside = cupy.flatnonzero(~(below | equal | (x > high[pair])))
        if heavy is not None:
            inside = inside[heavy[inside] > 0]
        room = int((stop - start) * brackets.room) + 1024
        kept, gone = inside[:room], inside[room:]
        lost = cupy.bincount(pair[gone], minlength=size).get().astype(np.int64)
        load = np.empty(0) if heavy is None else heavy[kept].get()
        rows = Inside(pair[kept].astype(np.int32).get(), x[kept].get(), load)
        less, same = (
            _mass(pair[which], None if heavy is None else heavy[which], magic, size)
            for which in (cupy.flatnonzero(below), cupy.flatnonzero(equal))
        )
        return Ranks(less, same, _mass(own, mass, magic, k), lost, (rows,), None)

    found = functools.reduce(Ranks.merge, tiles(n, 64 * d, step))
    return found if brackets.fine is None else dataclasses.replace(found, fine=_fine(X, label, brackets.fine))


def _fine(X: Array, label: Array, fine: Fine) -> np.ndarray:
    """Rows in each bucket, i64 [u, buckets]."""
    d, width = X.shape[1], fine.buckets
    place, mid, per = (send(table) for table in (fine.place, fine.mid, fine.per))
    total = cupy.zeros(len(fine.pair) * width, np.int64)

    def step(start: int, stop: int) -> None:
        pair = (label[start:stop].astype(np.int64)[:, None] * d + cupy.arange(d)).reshape(-1)
        at = cupy.flatnonzero(place[pair] >= 0)
        x, pair = X[start:stop].reshape(-1)[at], pair[at]
        u = cupy.minimum(cupy.maximum((x.astype(np.float64) - mid[pair]) * per[pair], -1e300), 1e300)
        bucket = cupy.minimum((1.0 + u / (1.0 + cupy.abs(u))) * (width / 2), width - 1.0).astype(np.int64)
        total[:] += cupy.bincount(place[pair].astype(np.int64) * width + bucket, minlength=len(total))

    tiles(len(X), 96 * d, step)
    return total.get().reshape(-1, width)


def _mass(target: Array, heavy: Array | None, magic: np.ndarray, size: int) -> np.ndarray:
    """f64 [size, K]: exact sums of weights by target; without weights, counts."""
    if heavy is None:
        return cupy.bincount(target, minlength=size).get().astype(np.float64)[:, None]
    out = []
    for anchor in magic.tolist():
        piece = (heavy + anchor) - anchor
        heavy = heavy - piece
        out.append(cupy.bincount(target, weights=piece, minlength=size).get())
    return np.stack(out, axis=1)
