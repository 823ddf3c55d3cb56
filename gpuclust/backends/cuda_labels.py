"""Certified labels and costs on CUDA, on tiles of rows.

Few centres are scored in float32 as the rows are read (`kernels/cuda/few.cu`). Else, Euclidean labels: tensor cores
decide most rows, and leave few centres for most of the others, which are compared by the definition
(`cuda_tensor.py`). What is left is scored in float32, then in float64 (`kernels/cuda/nearest.cu`). Manhattan labels
begin there.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import cupy
import numpy as np

from . import cuda_tensor as tensor
from .base import Bounds, Centers, Chunk
from .cuda_kernels import UNASKED_SHARED, WARPS, address, blocks_of, filling, launch
from .cuda_memory import constant, send, there, tiles
from .frame import Frame
from .layout import Drift, loosening
from .metric import Metric
from .statistics import Array

TILE: Final = 128  # rows, and centres, of a block of `score`
DEEP: Final = 16  # features of its steps
STAGES: Final = 2 * 2 * TILE * (DEEP + 4) * 4  # bytes of shared memory: rows and centres of two steps
BESTS: Final = 3 * 8 * 32 * WARPS * 4  # and each thread's best scores
ROWS: Final = 32 * WARPS  # of a block that stages them together
DEPTH: Final = 16  # features at once
WIDTH: Final = 16  # centres that `few.score` takes at once
STAGED: Final = ROWS * (DEPTH + 1) * 4  # bytes of shared memory: its rows
WIDEST: Final = 1_500_000  # features from which on the bounds of `nearest.cu` do not hold


class PackedCenters(NamedTuple):
    given: Array  # f64 [k, d], as they are
    exact: Array  # f64 [d, k], the same
    columns: Array  # f32 [d, k], centred and scaled
    rows: Array  # the same, f32 [k, d], each padded with zeros to whole tiles
    halves: tensor.Halves | None  # the same in half precision, for Euclidean distances
    shift: Array  # X's dtype [d]
    scale: Any
    metric: Metric
    slack: np.float32  # relative error of a float32 score
    ways: Array | None  # f32 [3, k]: own, other and apart, for bounds; see `layout.Drift`


class Kept(NamedTuple):
    """Bounds that rows keep, for the Manhattan distance: see `kernels.bounds`."""

    upper: Array  # f32 [n]
    lower: Array  # f32 [n]
    ways: Array  # f32 [3, k], see `PackedCenters`

    def part(self, start: int, stop: int) -> Kept:
        return self._replace(upper=self.upper[start:stop], lower=self.lower[start:stop])


def pack(centers: Array, frame: Frame, drift: Drift | None = None) -> PackedCenters:
    """Centres f64 [k, d], on the device, as the kernels read them."""
    (k, d), shift = centers.shape, constant(frame.shift, np.float64)
    rows = cupy.empty((padded(k, TILE), padded(d, DEEP)), np.float32)
    exact, columns = cupy.empty((d, k)), cupy.empty((d, k), np.float32)
    args = (centers, k, d, shift, float(frame.scale), exact, columns, rows, *rows.shape)
    launch("nearest.pack_centers", blocks_of(rows.size), args)
    slack = np.float32(1.05 * (d + 8) * 2.0**-24 if d < WIDEST else np.inf)  # inf: nothing is certain
    halves = tensor.halves(centers, frame, shift) if halved(frame.metric, k, d) else None
    ways = None
    if drift is not None and keeps_bounds(frame.metric, k, d):
        own, other, _, apart = loosening(drift)
        ways = send(np.stack([own, other, apart]))
    frame_of = (constant(frame.shift), frame.scale, frame.metric)
    return PackedCenters(centers, exact, columns, rows, halves, *frame_of, slack, ways)


def padded(count: int, unit: int) -> int:
    return -(-count // unit) * unit


def few(metric: Metric, k: int, d: int) -> bool:
    """Whether rows are scored as they are read: in tiles of TILE, few centres would be mostly padding.

    Euclidean distances in float32 take 2 operations a feature and 8 to compare them. In half precision TILE centres
    are compared, which takes as long as 900, and the image of a feature is read in the time of 14. Predicted for an
    H200, not yet measured.
    """
    wide = padded(k, WIDTH)
    if k > TILE // 2 or 4 * d * wide + STAGED > UNASKED_SHARED:
        return False
    return metric.l1 or wide * (2 * d + 8) + 6 * d <= 900 + 14 * padded(d, 16)


def halved(metric: Metric, k: int, d: int) -> bool:
    """Whether rows are scored in half precision first."""
    return not (metric.l1 or padded(d, 64) >= tensor.WIDEST or few(metric, k, d))


def kind(metric: Metric, *arrays: Any) -> str:
    """What names the kernels of a metric and some types."""
    return "_".join(["l1" if metric.l1 else "l2", *(f"f{8 * np.dtype(array).itemsize}" for array in arrays)])


def keeps_bounds(metric: Metric, k: int, d: int) -> bool:
    """Whether they save more than they cost: half precision is fast without, and so are few centres."""
    return metric.l1 and not few(metric, k, d)


def assign(chunk: Chunk, centers: Centers) -> tuple[Array, Array]:
    """Labels i32 [n], and how many rows were scored, i64 [1]. Bounds into the ledger where rows keep them."""
    packed, scored = centers.packed, cupy.zeros(1, np.int64)
    if packed.ways is None or centers.bounds == Bounds.NONE or "upper" not in chunk.rows:
        scored[:] = len(chunk.X)
        return nearest(chunk.X, packed), scored
    used, label = centers.bounds == Bounds.KEEP, chunk.rows["label"].copy()
    kept = Kept(chunk.rows["upper"], chunk.rows["lower"], packed.ways)

    def step(start: int, stop: int) -> None:
        X, own, bounds = chunk.X[start:stop], label[start:stop], kept.part(start, stop)
        rest = _unsettled(X, packed, own, bounds) if used else None
        _score(X, packed, rest, own, bounds)
        scored[:] += stop - start if rest is None else rest.count

    tiles(len(label), 4 * packed.rows.shape[1] + 28, step)
    return label, scored


def _unsettled(X: Array, packed: PackedCenters, label: Array, kept: Kept) -> tensor.Rest:
    """Rows whose labels bounds do not settle."""
    (n, d), bounds = X.shape, (kept.upper, kept.lower, kept.ways[0], kept.ways[1])
    open_, left = (tensor.Rest(cupy.zeros(1, np.int32), cupy.empty(n, np.int32)) for _ in range(2))
    launch("settled.list_open", blocks_of(n), (label, *bounds[:2], kept.ways[2], n, *open_[:2]))
    placed = (packed.shift, packed.scale, packed.rows, packed.rows.shape[1], packed.slack)
    args = (*tensor.listed(open_), n, X, d, *placed, label, *bounds, left.count, left.row)
    launch(f"settled.tighten_f{8 * X.dtype.itemsize}", blocks_of(32 * n), args)
    return left


def nearest(X: Array, packed: PackedCenters, kept: tensor.Image | None = None) -> Array:
    """Index of the nearest centre, i32 [n]; -1 where a value is not finite. What is kept is the image of X."""
    label = cupy.empty(len(X), np.int32)

    def step(start: int, stop: int) -> None:
        part = None if packed.halves is None or kept is None else kept.part(start, stop)
        _nearest(X[start:stop], packed, part, label[start:stop])

    halves = 0 if packed.halves is None else 20 + (0 if kept else packed.halves.plan.row_bytes)
    tiles(len(X), 4 * packed.rows.shape[1] + 12 + halves, step, tensor.UNIT if kept else 1)
    return label


def _nearest(
    X: Array, packed: PackedCenters, image: tensor.Image | None, label: Array
) -> tuple[Array, tensor.Rest | None]:
    """label i32 [n] <- the same for a tile of rows.

    Returns how many rows float32 could not decide, i32 [1], and those that half precision left to it.
    """
    rest = None
    if packed.halves is not None:
        image = image or tensor.image(X, packed.halves.plan, packed.shift, packed.scale)
        rest = tensor.label(image, len(X), packed.halves, len(packed.given), label)
        rest = tensor.narrow(image, X, rest, packed.halves, packed.given, label)
    return _score(X, packed, rest, label), rest


def _score(
    X: Array, packed: PackedCenters, rest: tensor.Rest | None, label: Array, kept: Kept | None = None
) -> Array:
    """label i32 [n] <- those of some rows, by float32 scores; how many of them were left to float64, i32 [1]."""
    (n, d), k, pitch = X.shape, packed.exact.shape[1], packed.rows.shape[1]
    norm, row, limit = cupy.empty(n, np.float32), cupy.empty(n, np.int32), cupy.empty(n, np.float32)
    bounds = (address(None),) * 4 if kept is None else (kept.upper, kept.lower, kept.ways[0], kept.ways[1])
    doubts, slack, which = cupy.zeros(1, np.int32), packed.slack, (*tensor.listed(rest), n)
    doubt, form, placed = (doubts, row, limit), kind(packed.metric, X.dtype), (packed.shift, packed.scale)
    if rest is None and few(packed.metric, k, d):
        wide = padded(k, WIDTH)
        args = (X, n, d, *placed, packed.columns, k, wide, slack, norm, label, *doubt)
        launch(f"few.score_{form}", blocks_of(n), args, shared=4 * d * wide + STAGED)
    else:
        floats = cupy.empty((padded(n, TILE), pitch), np.float32)
        launch(f"nearest.prepare_{form}", blocks_of(4 * n), (*which, X, d, *placed, floats, pitch, norm))
        blocks = -(-n // TILE)  # of a list, most would end at once
        launch(
            f"nearest.score_{kind(packed.metric)}", blocks if rest is None else filling(blocks),
            (*which, floats, packed.rows, k, pitch, norm, slack, label, *doubt, *bounds), shared=STAGES + BESTS,
        )  # fmt: skip
    known = (*placed, norm, packed.columns, packed.exact, k, slack)
    launch(f"nearest.recheck_{form}", blocks_of(n), (*which, *doubt, X, d, *known, label))
    return doubts


def costs(X: Array, centers: Array, label: Array, metric: Metric) -> Array:
    """Cost of each row at its own centre, summed directly, features in order. f64 [n]."""
    out = cupy.empty(len(X))
    args = (X, *X.shape, there(centers, np.float64), label, out)
    launch(f"costs.own_{kind(metric, X.dtype)}", blocks_of(len(X)), args, shared=ROWS * (DEPTH + 1) * 8)
    return out


def distances(X: Array, centers: np.ndarray, dtype: Any, metric: Metric) -> Array:
    """Distances [n, k], summed in float64, rounded once to `dtype`."""
    out = cupy.empty((len(X), len(centers)), dtype)
    args = (X, *X.shape, send(centers.T, np.float64), len(centers), out)
    launch(f"costs.all_{kind(metric, X.dtype, dtype)}", blocks_of(out.size), args)
    return out
