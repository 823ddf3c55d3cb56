"""Seeding on CUDA: potentials under trial centres, rows of highest key. Each row's sums stand alone."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import cupy
import numpy as np

from .base import Chunk
from .cuda_kernels import WARPS, address, blocks_of, launch
from .cuda_labels import DEPTH, ROWS, kind
from .cuda_later import Record, once
from .cuda_memory import reserve, send, tiles
from .frame import Frame
from .kernels.trials import BLOCK, grid_of
from .statistics import Array, Potentials, Top, merged

WIDTHS: Final = (4, 12)  # centres that a kernel of `trials.cu` takes at once
SEED_WIDTHS: Final = {4: (9, 12), 8: (12,)}  # and of `seeds.cu`, by the bytes of a value
CHOOSERS: Final = 512  # threads that choose among trials
SORTED: Final = 44  # bytes a key that sorting takes: keys, a copy, their order, Thrust's copies of both and tables
TABLES: Final = 4 << 20  # bytes of tables, or more
STATE: Final = 7  # numbers that the kernels of `seeds.cu` hand on: 4 integers and 3 floats, the last 1 / grid


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


def plus_plus(chunk: Chunk, frame: Frame, first: int, shares: np.ndarray) -> tuple[np.ndarray, int]:
    """See `Backend.plus_plus`: nothing crosses until all centres are chosen."""
    (n, d), (k, trials), X = chunk.X.shape, shares.shape, chunk.X
    widths = SEED_WIDTHS[X.dtype.itemsize]
    width = min((w for w in widths if w > trials), default=max(widths))
    parts, count, form = -(-trials // (width - 1)), -(-n // BLOCK), kind(frame.metric, X.dtype)
    blocks, running = cupy.zeros((trials, count), np.int64), cupy.empty(count, np.int64)
    largest, rows, centers = cupy.zeros(trials), cupy.empty(trials, np.int64), cupy.empty((parts, d, width), X.dtype)
    begin, index = np.zeros(STATE, np.int64), np.zeros(k + 2, np.int64)  # and how often all was measured again
    begin[1] = index[0] = first
    begin.view(np.float64)[-1] = 1.0 / grid_of(frame.mass * frame.largest)
    state, index, drawn = send(begin), send(index), send(shares)
    cost, shared = chunk.rows["cost"], _staged(X.dtype)
    given, left = (X, n, d, frame.scale, address(chunk.weight)), (cost, blocks, largest, state)

    def choose(columns: int, again: bool, step: int) -> None:
        args = (blocks, largest, rows, columns, count, float(frame.mass), int(again), step, running, index, state)
        launch("seeds.choose", 1, args, shared=CHOOSERS // 32 * 8, threads=CHOOSERS)

    def attempt(columns: int, step: int) -> None:
        found = (cost, running, count, drawn[step], state, index, width, rows, centers)
        launch(f"seeds.locate_{form}", columns, (*given, *found), shared=shared + 8 * (WARPS + 1))
        for part, at in enumerate(range(0, columns, width - 1)):
            tried = (centers[part], int(part == 0), min(width - 1, columns - at), count)
            out = (cost, blocks[at:], largest[at:], state)
            launch(f"seeds.try_next_{form}_{width}", -(-n // ROWS), (*given, *tried, *out), shared=shared)

    attempt(1, 0)
    for step in range(k):
        choose(trials if step else 1, False, step)
        launch(f"seeds.refine_{form}", blocks_of(n), (*given, count, *left), shared=shared)
        choose(1, True, k + 1)
        attempt(trials, step)
    choose(trials, False, k)
    found: np.ndarray = index.get()
    return found[:-1], k + 1 + int(found[-1])


def _staged(dtype: np.dtype) -> int:
    """Bytes of shared memory that a block's rows take."""
    return ROWS * (DEPTH + 1) * dtype.itemsize


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
    kernel = f"trials.{name.format(kind(frame.metric, X.dtype))}"
    launch(kernel, -(-len(X) // ROWS), args, shared=_staged(X.dtype))


def top(chunk: Chunk, key: Array, start: int, size: int) -> Top:
    """The rows of highest key, lowest row on ties; key f64 belongs to rows start .. of the chunk."""
    first = descending(key)[:size]
    m, at = len(first), first + start
    record = Record(
        key=((m,), np.float64), row=((m,), np.int64), X=((m, chunk.X.shape[1]), chunk.X.dtype),
        weight=((m,), np.float64), label=((m,), np.int32),
    )  # fmt: skip
    record["key"][:], record["row"][:] = key[first], at + chunk.start
    record["X"][:], record["label"][:] = chunk.X[at], chunk.rows["label"][at]
    record["weight"][:] = 1.0 if chunk.weight is None else chunk.weight[at]
    return record.tell(partial(_top, size=size))


def descending(key: Array) -> Array:
    """Which keys are highest, in order; lowest row on ties.

    Thrust sorts, and takes memory of its own. Where there is none, CuPy 14.2 raises a bare `MemoryError`, and CuPy
    14.0 tells nothing and leaves garbage. So all of it is asked for before: given back, it is there for Thrust.
    """

    def make() -> Array:
        cupy.empty(SORTED * len(key) + TABLES, np.uint8)
        return cupy.argsort(-key)  # stable

    return reserve(make, SORTED * len(key), len(key))


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
