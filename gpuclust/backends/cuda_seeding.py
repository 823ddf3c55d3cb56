"""Seeding on CUDA: potentials under trial centres, rows of highest key. Each row's sums stand alone."""

from __future__ import annotations

import functools

import cupy
import numpy as np

from .base import Chunk
from .cuda_labels import term
from .cuda_memory import send, tiles
from .frame import Frame
from .kernels.trials import BLOCK
from .statistics import Array, Potentials, Top


def trial_costs(X: Array, centers: Array, frame: Frame) -> Array:
    """[t, n] in X's dtype, features in order; centers [t, d] scaled as the rows are here."""
    x = X * frame.scale
    columns = cupy.ascontiguousarray(x.T)
    out = cupy.zeros((len(centers), len(X)), X.dtype)
    for f in range(len(columns)):
        out += term(columns[f] - centers[:, f, None], frame.metric)
    return out


def trials(chunk: Chunk, frame: Frame, known: np.ndarray | None, trial: np.ndarray, grid: float) -> Potentials:
    """Fold `known` into the rows' costs; potentials by block of rows under each trial centre."""
    n, columns = len(chunk.X), max(1, len(trial))
    base = chunk.start // BLOCK
    blocks = cupy.zeros((columns, (chunk.start + n - 1) // BLOCK - base + 1), np.int64)
    largest = cupy.zeros(columns)
    centers = _scaled(known, trial, frame)

    def step(start: int, stop: int) -> None:
        cost, left = _left(chunk, start, stop, known is not None, centers, frame)
        weight = None if chunk.weight is None else chunk.weight[start:stop]
        first = chunk.start + start
        sums = _by_block(_potential(left, weight, grid), first)
        top = (left if weight is None else cupy.where(weight > 0, left, 0)).max(axis=1).astype(np.float64)
        chunk.rows["cost"][start:stop] = cost
        blocks[:, first // BLOCK - base :][:, : sums.shape[1]] += sums
        cupy.maximum(largest, top, out=largest)

    row_bytes = (len(centers) + 3 * columns) * 8 + 2 * chunk.X.shape[1] * chunk.X.itemsize + 24 * columns
    tiles(n, row_bytes, step)
    return Potentials({(chunk.start, base): blocks.get()}, largest.get())


def potentials(chunk: Chunk, frame: Frame, known: np.ndarray | None, grid: float) -> np.ndarray:
    """Potential of each row once `known` is folded in; the ledger is left alone. i64 [n] on the host."""
    n, d = chunk.X.shape
    centers = _scaled(known, np.empty((0, d)), frame)

    def step(start: int, stop: int) -> np.ndarray:
        left = _left(chunk, start, stop, known is not None, centers, frame)[1]
        weight = None if chunk.weight is None else chunk.weight[start:stop]
        return _potential(left, weight, grid)[0].get()

    return np.concatenate(tiles(n, 2 * d * chunk.X.itemsize + 64, step))


def _scaled(known: np.ndarray | None, trial: np.ndarray, frame: Frame) -> Array:
    """The known centre (if any) and the trial centres, [t, d] in the rows' dtype."""
    rows = trial if known is None else np.concatenate([known[None], trial])
    return send(rows.astype(frame.shift.dtype) * frame.scale)


def _left(chunk: Chunk, start: int, stop: int, known: bool, centers: Array, frame: Frame) -> tuple[Array, Array]:
    """Costs with the known centre folded in [n], and what each trial centre leaves of them [trials, n]."""
    cost = chunk.rows["cost"][start:stop]
    if len(centers):
        reach = trial_costs(chunk.X[start:stop], centers, frame)
        cost = cupy.minimum(cost, reach[0]) if known else cost
        if len(centers) > known:
            return cost, cupy.minimum(reach[int(known) :], cost)
    return cost, cost[None]


def _potential(left: Array, weight: Array | None, grid: float) -> Array:
    """floor(weight * cost / grid), i64 [trials, n]."""
    cost = left.astype(np.float64)
    return cupy.floor((cost if weight is None else cost * weight) * (1.0 / grid)).astype(np.int64)


def _by_block(potential: Array, first: int) -> Array:
    """Sums over blocks of `BLOCK` rows, i64 [trials, blocks]; `first` is the first row's global index."""
    columns, n = potential.shape
    skip = first % BLOCK
    padded = cupy.zeros((columns, (skip + n + BLOCK - 1) // BLOCK * BLOCK), np.int64)
    padded[:, skip : skip + n] = potential
    return padded.reshape(columns, -1, BLOCK).sum(axis=2)


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
