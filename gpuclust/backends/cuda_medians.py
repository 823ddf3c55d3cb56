"""Middle values on CUDA: `kernels/cuda/samples.cu`, and `medians.cu` for what that leaves, on the rows of some clusters
and some of their features at a time."""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

import cupy
import numpy as np

from . import cuda_memory, cuda_moves
from .cuda_kernels import MOST_BLOCKS, MOST_GROUPS, address, attribute, blocks_of, launch
from .statistics import Array

LANES: Final = 32  # features of a block
BINS: Final = 256  # a digit's values
WORK: Final = 35_584  # bytes of shared memory of a block that selects, besides the values
GUESSERS, COLLECTORS = 512, 640  # threads of such blocks
SAMPLES: Final = 256, 512, 1024  # rows; larger ones take longer than they save
SPREAD: Final = 3.25  # standard deviations from a sample's middle to the ends of a bracket: one in 900 misses
SMALL: Final = 16 << 20  # bytes for which nobody asks whether there is room
SPARE: Final = 1.35  # room for what a bracket keeps: that varies by a tenth from bracket to bracket


class Plan(NamedTuple):
    """How the rows of a cluster are searched."""

    whole: int  # rows of a cluster that is searched as it is
    sample: int  # rows of others
    margin: int  # sampled values between the middle and an end of the bracket
    room: int  # values of a feature that an item may keep, in shared memory
    size: int  # rows of an item

    @classmethod
    def of(cls, n: int, k: int, itemsize: int) -> Plan:
        room = (attribute(cupy.cuda.Device().id, "MaxSharedMemoryPerBlockOptin") - WORK) // (LANES * itemsize)
        mean = n // k
        whole = min(2 * mean, room) if 3 * mean <= 2 * room else 0
        for sample in (min(size, room) for size in SAMPLES):
            margin = math.ceil(SPREAD / 2 * math.sqrt(sample))
            size = int(room * sample / (2 * margin * SPARE))
            if whole or size >= 2 * mean:  # most clusters are searched as they are, or as one item
                break
        return cls(max(whole, sample), sample, margin, room, size)


class Slots(NamedTuple):
    """Rows by cluster."""

    row: Array
    counts: Array
    ends: Array
    items: Array  # of all clusters up to and with each


class Features(NamedTuple):
    """Those of some blocks, and room for the values that items keep in memory, which follow each other as the rows."""

    first: int
    groups: int
    slab: Array | None  # [groups, places, pitch]
    places: int
    pitch: int


def middles(X: Array, label: Array, wanted: Array, out: Array) -> None:
    """out f64 [2, k, d] <- the middle values of the clusters wanted, bool [k], see `Backend.middles`.

    Nothing crosses to the host.
    """
    (n, d), k = X.shape, len(wanted)
    plan = Plan.of(n, k, X.dtype.itemsize)
    groups = cuda_moves.group(cupy.where(wanted[label], label, np.int32(-1)), None, k)
    counts = groups.counts[:k]
    parts = cupy.where(counts > plan.whole, (counts - np.int32(1)) // np.int32(plan.size) + np.int32(1), np.int32(0))
    rows = Slots(groups.row, counts, groups.ends, cupy.cumsum(parts, dtype=np.int32))
    places, pitch = n * plan.room // plan.size + 1 if n > plan.size else 0, min(d, LANES)
    blocks, most = -(-d // LANES), cuda_memory.tile_bytes() // 2 // max(1, places * pitch * X.dtype.itemsize)
    for first in range(0, blocks, max(1, most)):
        features = Features(first * LANES, min(max(1, most), blocks - first), None, places, pitch)
        _search(X, rows, plan, features._replace(slab=_slab(features, X)), out)


def _slab(features: Features, X: Array) -> Array | None:
    """Memory for what items keep; without it, clusters of several items are searched digit by digit."""
    shape = features.groups, features.places, features.pitch
    needed = math.prod(shape) * X.dtype.itemsize
    if needed > SMALL and 2 * needed > cuda_memory.free_bytes():
        return None
    try:
        return cupy.empty(shape, f"u{X.dtype.itemsize}")
    except cupy.cuda.memory.OutOfMemoryError:
        return None


def _search(X: Array, rows: Slots, plan: Plan, features: Features, out: Array) -> None:
    """out <- the middle values of some features."""

    def step(start: int, stop: int) -> None:
        _select(X, rows, plan, features, start, out[:, start:stop])

    pair = 4 * BINS + 4 * X.dtype.itemsize + 7 * 4
    cuda_memory.tiles(out.shape[1], features.groups * LANES * pair, step)


def _select(X: Array, rows: Slots, plan: Plan, features: Features, start: int, out: Array) -> None:
    """out f64 [2, slots, d] <- the middle values of some features of the clusters from `start` on."""
    (n, d), slots, key = X.shape, out.shape[1], np.dtype(f"u{X.dtype.itemsize}")
    width, groups, form = features.groups * LANES, min(features.groups, MOST_GROUPS), f"f{8 * key.itemsize}"
    keys, words = cupy.empty((4, slots, width), key), cupy.empty((7, slots, width), np.uint32)
    job = (*rows, start, slots, X, d, features.first, width, keys, words)
    shared = WORK + plan.whole * LANES * key.itemsize
    launch(f"samples.guess_{form}", (slots, groups), (*job, *plan[:3]), shared=shared, threads=GUESSERS)
    items = n // plan.size + min(slots, n // (plan.whole + 1))
    if items:  # clusters that are larger than a sample
        _read(job, (items, groups), plan, features, key)
    launch(f"medians.finish_{form}", blocks_of(slots * width), (*job, out[0], out[1]))


def _read(job: tuple[Any, ...], grid: tuple[int, int], plan: Plan, features: Features, key: np.dtype) -> None:
    """Collect what lies in the brackets, and search for what these do not hold."""
    places, width, form = job[5] * features.groups, features.groups * LANES, f"f{8 * key.itemsize}"
    kept = cupy.empty((grid[0], width), np.uint32)
    slab = (address(features.slab), kept, features.places, features.pitch, plan.room, plan.size)
    shared = WORK + plan.room * LANES * key.itemsize
    launch(f"samples.collect_{form}", grid, (*job, *slab), shared=shared, threads=COLLECTORS)
    bins, open_ = cupy.empty((places, BINS, LANES), np.uint32), cupy.zeros(1 + places, np.uint32)
    launch(f"samples.judge_{form}", min(places, MOST_BLOCKS), (*job, bins, open_))
    above = 0
    for shift in range(8 * key.itemsize - 8, -1, -8):
        args = (*job, *slab, key.type(above), shift, bins, open_)
        launch(f"medians.count_digits_{form}", grid, args, shared=4 * (BINS * LANES + 1))
        above |= (BINS - 1) << shift
    launch(f"medians.find_next_{form}", grid, (*job, *slab, open_))
