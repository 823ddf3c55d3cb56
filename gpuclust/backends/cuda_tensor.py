"""A first pass over rows in half precision, on tensor cores: `kernels/cuda/tensor.cu`, on Hopper `hopper.cu`."""

from __future__ import annotations

from typing import Final, NamedTuple

import cupy
import numpy as np

from .cuda_kernels import address, attribute, blocks_of, filling, launch, registers, target
from .cuda_memory import constant, free_bytes
from .frame import Frame
from .statistics import Array

TILE: Final = 128  # rows, and centres, of a tile
UNIT: Final = 2 * TILE  # rows of an image are padded to as many: `hopper.score` takes two tiles at once
STAGES: Final = 3  # tiles that are under way at once, by `mma.sync`
EDGES: Final = 8 * TILE  # bytes of shared memory beside the tiles
MOST: Final = 8  # candidates of a row that `candidates.cu` compares
LISTS: Final = (20 + 4 * MOST) * TILE  # bytes of shared memory beside its tiles
HOPPER_STAGES: Final = 4  # tiles that are under way at once, by `wgmma`
BARRIERS: Final = 8 * (2 * HOPPER_STAGES + 4)  # bytes beside them
HOPPER_REGISTERS: Final = 168  # of a thread at first: what those that copy give back is what the others ask for
WIDEST: Final = (1 << 17) - 32  # features from which on half precision decides nothing, see `edge` in tensor.cuh


class Plan(NamedTuple):
    """How rows of d features are cut into tiles of TILE rows, and multiplied."""

    hopper: bool  # by `wgmma`, two tiles of rows at once
    parts: int  # 8 features each, of a tile
    chunks: int  # tiles along the features
    places: int  # for all tiles of some rows, in shared memory while the centres pass; 0: they come with the centres

    @property
    def row_bytes(self) -> int:
        return 16 * self.parts * self.chunks

    @property
    def shared(self) -> int:
        tile = TILE * self.parts * 16
        if self.hopper:
            return (HOPPER_STAGES + 2 * (self.places * self.chunks or HOPPER_STAGES)) * tile + BARRIERS
        return (STAGES + (self.places * self.chunks or STAGES)) * tile + EDGES


class Halves(NamedTuple):
    """Centres in half precision."""

    plan: Plan
    image: Array  # fp16 as u16, in tiles
    pairs: Array  # f32 [TILE times tiles, 2]: squared norm, and size
    far: Array  # i32 [1]: whether one is too far away for half precision


class Image(NamedTuple):
    """Rows in half precision."""

    image: Array  # fp16 as u16, in tiles; UNIT rows after UNIT rows
    stats: Array  # f32 [n, 2]: squared norm, and what rounding lost

    def part(self, start: int, stop: int) -> Image:
        """Some rows; `start` is a multiple of UNIT."""
        return Image(self.image[start:], self.stats[start:stop])


class Rest(NamedTuple):
    """Rows that are still to be decided: the first `count` of `row`."""

    count: Array  # i32 [1]
    row: Array  # i32 [n]
    most: Array | None = None  # f32 [n]: centres whose bounds are above it are not the nearest


def plan(d: int, shared: int, arch: str) -> Plan:
    """For a GPU that gives a block up to `shared` bytes: by `mma.sync`, so that two fit (of Turing's: one)."""
    if arch == "sm_90a" and d > 32:
        made = Plan(True, 8, -(-d // 64), 0)
        fitting = (made._replace(places=places) for places in (2, 1))
        return next((each for each in fitting if each.shared <= shared), made)
    half = shared // 2
    for parts in (2, 4, 8):
        made = Plan(False, parts, -(-d // (8 * parts)), 0)
        if made.chunks == 1 or (parts == 4 and Plan(False, 8, 1, 0).shared > half):
            break
    return _resident(made, half)


def _resident(made: Plan, room: int) -> Plan:
    """The same by `mma.sync`; rows stay in shared memory where that fits `room` or costs nothing."""
    moving = made._replace(hopper=False, places=0)
    staying = moving._replace(places=1)
    return staying if staying.shared <= max(room, moving.shared) else moving


def here(d: int) -> Plan:
    """For the current device."""
    device = cupy.cuda.Device().id
    shared = attribute(device, "MaxSharedMemoryPerBlockOptin")
    made = plan(d, shared, target(device))
    if made.hopper and registers("hopper.score") != HOPPER_REGISTERS:
        return plan(d, shared, "sm_90")  # of another compiler: threads would wait for registers for ever
    return made


def halves(centers: Array, frame: Frame, shift: Array) -> Halves:
    """Centres f64 [k, d] and the frame's shift f64 [d], both on the device."""
    k, d = centers.shape
    cut, tiles = here(d), -(-k // TILE)
    image, pairs = cupy.empty(tiles * TILE * cut.row_bytes // 2, np.uint16), cupy.empty((tiles * TILE, 2), np.float32)
    far = cupy.zeros(1, np.int32)
    args = (centers, k, d, shift, float(frame.scale), image, cut.parts, cut.chunks, pairs, far)
    launch("tensor.halve_centers", blocks_of(32 * TILE * tiles), args)
    return Halves(cut, image, pairs, far)


def image(X: Array, cut: Plan, shift: Array, scale: np.generic) -> Image:
    """Rows X [n, d] in half precision, centred and scaled."""
    n, d = X.shape
    padded = -(-n // UNIT) * UNIT
    made = Image(cupy.empty((padded, cut.row_bytes // 2), np.uint16), cupy.empty((n, 2), np.float32))
    args = (X, n, d, shift, scale, made.image, cut.parts, cut.chunks, made.stats)
    launch(f"tensor.halve_f{8 * X.dtype.itemsize}", blocks_of(cut.parts * n), args)
    return made


def kept(X: Array, frame: Frame) -> Image | None:
    """The image of rows that stay, where it is smaller than they are and takes at most half of what is free."""
    n, d = X.shape
    cut = here(d)
    if cut.row_bytes > d * X.dtype.itemsize or 2 * n * (cut.row_bytes + 8) > free_bytes():
        return None
    return image(X, cut, constant(frame.shift), frame.scale)


def label(rows: Image, n: int, centers: Halves, k: int, out: Array) -> Rest:
    """out i32 [n] <- the labels of the rows that are certain; the others."""
    cut = centers.plan
    pairs = -(-n // UNIT)
    rest = Rest(cupy.zeros(1, np.int32), cupy.empty(n, np.int32), cupy.empty(n, np.float32))
    known = (centers.image, centers.pairs, centers.far, k, cut.chunks, cut.places)
    told = (rows.image, rows.stats, n, *known, out, *rest)
    if cut.hopper:
        blocks = min(pairs, attribute(cupy.cuda.Device().id, "MultiProcessorCount"))
        launch("hopper.score", blocks, told, shared=cut.shared, threads=3 * TILE)
    else:
        launch(f"tensor.score_{8 * cut.parts}", -(-n // TILE), told, shared=cut.shared)
    return rest


def narrow(rows: Image, X: Array, rest: Rest, centers: Halves, given: Array, out: Array) -> Rest:
    """out i32 [n] <- the labels of the rows of `rest` that have few candidates; the others. `given` f64 [k, d]."""
    (n, d), k = X.shape, len(given)
    cut = _resident(centers.plan, attribute(cupy.cuda.Device().id, "MaxSharedMemoryPerBlockOptin") // 2 - LISTS)
    left = Rest(cupy.zeros(1, np.int32), cupy.empty(n, np.int32))
    seen = (rows.image, rows.stats, X, int(X.dtype == np.float64), d)
    known = (centers.image, centers.pairs, centers.far, given, k, cut.chunks, cut.places)
    args = (*seen, *known, *rest, out, left.count, left.row)
    launch(f"candidates.narrow_{8 * cut.parts}", filling(-(-n // TILE)), args, shared=cut.shared + LISTS)
    return left


def listed(rest: Rest | None) -> tuple[object, object]:
    """For a kernel: which rows, and how many; null pointers for all."""
    return (address(None), address(None)) if rest is None else (rest.row, rest.count)
