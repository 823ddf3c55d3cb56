"""Seeding on CUDA: potentials under trial centres, rows of highest key. Each row's sums stand alone."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import cupy
import numpy as np

from .base import Chunk
from .cuda_kernels import WARPS, address, launch
from .cuda_labels import kind
from .cuda_later import Record, once
from .cuda_memory import send, tiles
from .frame import Frame
from .kernels.trials import BLOCK
from .statistics import Array, Potentials, Top, merged

WIDTHS: Final = (4, 12)  # centres that a kernel takes at once
STAGED: Final = 16  # features


def trials(chunk: Chunk, frame: Frame, known: np.ndarray | None, trial: np.ndarray, grid: float) -> Potentials:
    """Fold `known` into the rows' costs; potentials by block of rows under each trial centre, in one pass."""
    n, columns = len(chunk.X), max(1, len(trial))
    base = chunk.start // BLOCK
    count = (chunk.start + n - 1) // BLOCK - base + 1
    record = Record(blocks=((columns, count), np.int64), largest=((columns,), np.float64))
    blocks, largest = record["blocks"], record["largest"]
    for at in range(0, columns, max(WIDTHS) - 1):
        part = trial[at : at + max(WIDTHS) - 1]
        width = min(w for w in WIDTHS if w > len(part))
        centers = once(f"trials {at}", (known, trial), partial(_columns, frame, known, part, width))
        last = (len(part), address(chunk.weight), 1.0 / grid, chunk.start - base * BLOCK, count)
        out = (chunk.rows["cost"], blocks[at:], largest[at:])
        _launch(f"try_centers_{{}}_{width}", chunk, frame, centers, known, *last, *out)
        known = None
    return record.tell(partial(_told, place=(chunk.start, base)))


def _told(blocks: np.ndarray, largest: np.ndarray, *, place: tuple[int, int]) -> Potentials:
    return Potentials({place: blocks.copy()}, largest.copy())


def potentials(chunk: Chunk, frame: Frame, known: np.ndarray | None, grid: float) -> np.ndarray:
    """Potential of each row once `known` is folded in; the ledger is left alone. i64 [n] on the host."""
    out, none = cupy.empty(len(chunk.X), np.int64), np.empty((0, chunk.X.shape[1]))
    last = (address(chunk.weight), 1.0 / grid, chunk.rows["cost"], out)
    _launch("row_potentials_{}", chunk, frame, _columns(frame, known, none, min(WIDTHS)), known, *last)
    return out.get()


def _columns(frame: Frame, known: np.ndarray | None, trial: np.ndarray, width: int) -> Array:
    """Centres scaled as the rows are in `trials.cu`, [d, width], zeros behind them."""
    rows = trial if known is None else np.concatenate([known[None], trial])
    columns = np.zeros((trial.shape[1], width), np.dtype(type(frame.scale)))
    columns[:, : len(rows)] = (rows.astype(columns.dtype) * frame.scale).T
    return send(columns)


def _launch(name: str, chunk: Chunk, frame: Frame, centers: Array, known: np.ndarray | None, *last: Any) -> None:
    """A kernel of `trials.cu` on all rows."""
    X = chunk.X
    args = (X, *X.shape, frame.scale, centers, int(known is not None), *last)
    shared = 32 * WARPS * (STAGED + 1) * X.dtype.itemsize
    launch(f"trials.{name.format(kind(frame.metric, X.dtype))}", -(-len(X) // (32 * WARPS)), args, shared=shared)


def top(chunk: Chunk, key: Array, start: int, size: int) -> Top:
    """The rows of highest key, lowest row on ties; key f64 belongs to rows start .. of the chunk."""
    first = cupy.argsort(-key)[:size]  # stable
    m, at = len(first), first + start
    record = Record(
        key=((m,), np.float64), row=((m,), np.int64), X=((m, chunk.X.shape[1]), chunk.X.dtype),
        weight=((m,), np.float64), label=((m,), np.int32),
    )  # fmt: skip
    record["key"][:], record["row"][:] = key[first], at + chunk.start
    record["X"][:], record["label"][:] = chunk.X[at], chunk.rows["label"][at]
    record["weight"][:] = 1.0 if chunk.weight is None else chunk.weight[at]
    return record.tell(partial(_top, size=size))


def _top(
    key: np.ndarray, row: np.ndarray, X: np.ndarray, weight: np.ndarray, label: np.ndarray, *, size: int
) -> Top:
    return Top(size, key.copy(), row.copy(), X.copy(), weight.copy(), label.copy())


def race(chunk: Chunk, seed: int, size: int) -> Top:
    """Rows by exponential keys: weight times cost over an exponential variate of the seed and the row."""

    def step(start: int, stop: int) -> Top:
        cost = chunk.rows["cost"][start:stop]
        weighted = cost if chunk.weight is None else chunk.weight[start:stop] * cost
        return top(chunk, weighted / -cupy.log(uniform(seed, chunk.start + start, stop - start)), start, size)

    return merged(tiles(len(chunk.X), 96, step))


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
