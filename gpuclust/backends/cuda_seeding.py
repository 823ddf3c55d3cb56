"""Seeding on CUDA: potentials under trial centres, rows of highest key. Each row's sums stand alone."""

from __future__ import annotations

import functools
from typing import Any, Final

import cupy
import numpy as np

from .base import Chunk
from .cuda_kernels import WARPS, address, launch
from .cuda_labels import kind
from .cuda_memory import send, tiles
from .frame import Frame
from .kernels.trials import BLOCK
from .statistics import Array, Potentials, Top

WIDTHS: Final = (4, 12)  # centres that a kernel takes at once
STAGED: Final = 16  # features


def trials(chunk: Chunk, frame: Frame, known: np.ndarray | None, trial: np.ndarray, grid: float) -> Potentials:
    """Fold `known` into the rows' costs; potentials by block of rows under each trial centre, in one pass."""
    n, columns = len(chunk.X), max(1, len(trial))
    base = chunk.start // BLOCK
    blocks = cupy.zeros((columns, (chunk.start + n - 1) // BLOCK - base + 1), np.int64)
    largest = cupy.zeros(columns)
    for at in range(0, columns, max(WIDTHS) - 1):
        part = trial[at : at + max(WIDTHS) - 1]
        width = min(w for w in WIDTHS if w > len(part))
        last = (len(part), address(chunk.weight), 1.0 / grid, chunk.start - base * BLOCK, blocks.shape[1])
        out = (chunk.rows["cost"], blocks[at:], largest[at:])
        _launch(f"try_centers_{{}}_{width}", chunk, frame, known, part, width, *last, *out)
        known = None
    return Potentials({(chunk.start, base): blocks.get()}, largest.get())


def potentials(chunk: Chunk, frame: Frame, known: np.ndarray | None, grid: float) -> np.ndarray:
    """Potential of each row once `known` is folded in; the ledger is left alone. i64 [n] on the host."""
    out, none = cupy.empty(len(chunk.X), np.int64), np.empty((0, chunk.X.shape[1]))
    last = (address(chunk.weight), 1.0 / grid, chunk.rows["cost"], out)
    _launch("row_potentials_{}", chunk, frame, known, none, min(WIDTHS), *last)
    return out.get()


def _launch(name: str, chunk: Chunk, frame: Frame, known: Any, trial: np.ndarray, width: int, *last: Any) -> None:
    """A kernel of `trials.cu` on all rows; centres scaled as the rows are there, [d, width], zeros behind them."""
    X, rows = chunk.X, trial if known is None else np.concatenate([known[None], trial])
    columns = np.zeros((X.shape[1], width), X.dtype)
    columns[:, : len(rows)] = (rows.astype(X.dtype) * frame.scale).T
    args = (X, *X.shape, frame.scale, send(columns), int(known is not None), *last)
    shared = 32 * WARPS * (STAGED + 1) * X.dtype.itemsize
    launch(f"trials.{name.format(kind(frame.metric, X.dtype))}", -(-len(X) // (32 * WARPS)), args, shared=shared)


def top(chunk: Chunk, key: Array, start: int, size: int) -> Top:
    """The rows of highest key, lowest row on ties; key f64 belongs to rows start .. of the chunk."""
    bound = float(cupy.sort(key)[len(key) - size]) if size < len(key) else -np.inf
    near = cupy.flatnonzero(key >= bound)
    index, keys = near.get(), key[near].get()
    first = np.lexsort((index, -keys))[:size]
    at = index[first] + start
    there = send(at)
    weight = np.ones(len(at)) if chunk.weight is None else chunk.weight[there].get()
    X, label = chunk.X[there].get(), chunk.rows["label"][there].get()
    return Top(size, keys[first], at + chunk.start, X, weight, label)


def race(chunk: Chunk, seed: int, size: int) -> Top:
    """Rows by exponential keys: weight times cost over an exponential variate of the seed and the row."""

    def step(start: int, stop: int) -> Top:
        cost = chunk.rows["cost"][start:stop]
        weighted = cost if chunk.weight is None else chunk.weight[start:stop] * cost
        return top(chunk, weighted / -cupy.log(uniform(seed, chunk.start + start, stop - start)), start, size)

    return functools.reduce(Top.merge, tiles(len(chunk.X), 96, step))


def uniform(seed: int, start: int, n: int) -> Array:
    """Numbers in (0, 1) for rows start .. start + n - 1, the same as on the CPU (splitmix64)."""
    z = cupy.arange(start, start + n, dtype=np.uint64)
    z += np.uint64(seed)
    z *= np.uint64(0x9E3779B97F4A7C15)
    for bits, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        z ^= z >> np.uint64(bits)
        z *= np.uint64(factor)
    z ^= z >> np.uint64(31)
    return ((z >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
