"""CUDA through CuPy: our own kernels and array operations; from the same centres, the same bits as the CPU.

This file and its parts (`cuda_*.py`) are the only ones that compute with CuPy, on the current stream.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar, final

import cupy
import numpy as np
import scipy.sparse as sp

from . import cuda_labels as labels
from . import cuda_medians, cuda_place, cuda_ranks
from . import cuda_moves as moves
from . import cuda_seeding as seeding
from . import cuda_silhouette as silhouette
from . import cuda_solve as solve
from . import cuda_staging as staging
from . import cuda_sums as sums
from . import cuda_tensor as tensor
from .base import Array, Backend, Centers, Chunk
from .brackets import Brackets
from .cuda_later import once, told
from .cuda_memory import (
    Current,
    constant,
    free_bytes,
    full_told,
    pinned_empty,
    place,
    reserve,
    send,
    there,
    tile_bytes,
    tiles,
)
from .frame import Frame
from .layout import Drift, Layout
from .metric import Metric
from .statistics import Cost, Delta, Moves, Placement, Potentials, Ranks, Rows, Scan, Solved, Top, merged

P = ParamSpec("P")
R = TypeVar("R")


def on_device(method: Callable[P, R]) -> Callable[P, R]:
    """Run a routine with the backend's device current; a full device is told in our own words."""

    @functools.wraps(method)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        with cupy.cuda.Device(args[0].index):  # type: ignore[attr-defined]
            try:
                return method(*args, **kwargs)
            except cupy.cuda.memory.OutOfMemoryError as error:
                text = str(error)
            raise full_told(text)

    return wrapper


@final
@dataclass(frozen=True)
class CUDABackend(Backend):
    index: int = 0
    peers: tuple[int, ...] = ()  # other devices that rows are spread over
    name: str = field(init=False)
    block_rows: int = 1 << 22
    groups_bounds: bool = False
    selects: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", ",".join(f"cuda:{index}" for index in (self.index, *self.peers)))

    def keeps_bounds(self, metric: Metric, k: int, d: int) -> bool:
        return labels.keeps_bounds(metric, k, d)

    @property
    def members(self) -> tuple[Backend, ...]:
        return tuple(CUDABackend(index) for index in (self.index, *self.peers))

    def current(self) -> AbstractContextManager[Any]:
        return Current(self.index)

    @on_device
    def mark(self) -> Any:
        return cupy.cuda.get_current_stream().record()

    @on_device
    def follow(self, mark: Any) -> None:
        cupy.cuda.get_current_stream().wait_event(mark)

    @on_device
    def upload(self, rows: Any, dtype: Any) -> Array:
        if sp.issparse(rows):
            raise TypeError("Sparse rows are clustered on the CPU only: pass device='cpu', or X.toarray().")
        return place(rows, dtype)

    @on_device
    def host_empty(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        return pinned_empty(shape, dtype)

    @on_device
    def staged(self, part: Rows, dtype: Any) -> Rows:
        X, weight = part
        return staging.pinned(X, dtype), None if weight is None else staging.pinned(weight, np.float64)

    def uploads(self, parts: Iterator[Rows], dtype: Any) -> Generator[tuple[Array, Array | None], None, None]:
        return staging.uploads(self.index, parts)

    @on_device
    def holds(self, n_bytes: int, free: int | None = None) -> bool:
        needed = n_bytes + min(tile_bytes(), n_bytes // 4)  # tiles may shrink, at a price
        return needed <= (free_bytes() if free is None else free)

    @property
    def card(self) -> str:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")  # parts of a card have one bus, and memory of their own
        return str(cupy.cuda.runtime.deviceGetPCIBusId(self.index)) + (visible if "MIG" in visible else "")

    @on_device
    def to_host(self, array: Array) -> np.ndarray:
        return array.get() if isinstance(array, cupy.ndarray) else np.asarray(array)

    def owns(self, array: Any) -> bool:
        if isinstance(array, np.ndarray):
            return False
        dlpack = getattr(array, "__dlpack_device__", None)
        return hasattr(array, "__cuda_array_interface__") or (dlpack is not None and int(dlpack()[0]) == 2)

    @on_device
    def joined(self, parts: Sequence[Array]) -> Array:
        needed = sum(part.nbytes for part in parts)
        return reserve(lambda: cupy.concatenate(list(parts)), needed, sum(map(len, parts)))

    @on_device
    def full(self, shape: tuple[int, ...], fill: Any, dtype: Any) -> Array:
        needed = int(np.prod(shape)) * np.dtype(dtype).itemsize
        return reserve(lambda: cupy.full(shape, fill, dtype), needed, shape[0])

    @on_device
    def free_bytes(self) -> int:
        return free_bytes()

    @on_device
    def kept(self, X: Array, frame: Frame, k: int) -> dict[str, Array]:
        image = tensor.kept(X, frame) if labels.halved(frame.metric, k, X.shape[1]) else None
        return {} if image is None else image._asdict()

    @on_device
    def mapped(self, X: Array, function: Callable[..., Array], tables: Sequence[np.ndarray | None]) -> Array:
        held = [None if table is None else place(table, table.dtype) for table in tables]
        return reserve(lambda: function(cupy, X.copy(), *held), 2 * X.nbytes, len(X))

    @on_device
    def scan(self, chunk: Chunk, origin: np.ndarray) -> Scan:
        return sums.scan(chunk.X, chunk.weight, origin)

    @on_device
    def pack(self, centers: Array, frame: Frame, layout: Layout, drift: Drift | None) -> Centers:
        """`layout` serves groups of bounds, which are not kept here."""
        given = there(centers, np.float64)
        return Centers(given, labels.pack(given, frame, drift), frame, layout, drift=drift)

    @on_device
    def reassign(self, chunk: Chunk, centers: Centers) -> Delta:
        """Every row is scored anew. A row counts as moved until its sums and its label are both written."""
        k, label, magic = len(centers.given), chunk.rows["label"], constant(centers.frame.magic)
        delta, counts = cupy.zeros((k, *magic.shape)), cupy.zeros(2 * k + 1, np.int64)
        new = labels.nearest(chunk.X, centers.packed, _kept(chunk))

        def step(start: int, stop: int) -> None:
            now, own = new[start:stop], label[start:stop]
            weight = None if chunk.weight is None else chunk.weight[start:stop]
            groups = moves.group(now, own, k)
            moves.add_sums(groups, chunk.X[start:stop], weight, magic, delta)
            counts[:] += groups.counts
            own[:] = now

        tiles(len(label), 24, step)
        return Delta(delta, counts, len(label))

    @on_device
    def settled(self, delta: Delta) -> Delta:
        entered, _ = moves.flow(delta.moved.get())
        return Delta(delta.sums.get(), int(entered.sum()), delta.scored)

    @on_device
    def means(self, sums: Array, old: Array, origin: np.ndarray, delta: Delta | None = None) -> Solved:
        return solve.means(sums, old, origin, delta)

    @on_device
    def relabel(self, chunk: Chunk, centers: Centers) -> Moves:
        new, scored = labels.assign(chunk, centers)
        return moves.replaced(chunk.rows["label"], new, len(centers.given), scored)

    @on_device
    def place(self, chunk: Chunk, centers: Centers, medians: bool) -> Placement:
        if medians:
            return cuda_place.place(chunk, centers, self.block_rows)
        return super().place(chunk, centers, medians)

    @on_device
    def scatter(self, chunk: Chunk, k: int, magic: np.ndarray) -> np.ndarray:
        label, found, grids = chunk.rows["label"], cupy.zeros((k, *magic.shape)), constant(magic)

        def step(start: int, stop: int) -> None:
            weight = None if chunk.weight is None else chunk.weight[start:stop]
            moves.add_sums(moves.group(label[start:stop], None, k), chunk.X[start:stop], weight, grids, found)

        tiles(len(label), 24, step)
        return found.get()

    @on_device
    def told(self, statistics: Iterator[Any]) -> Any:
        return told(statistics)

    @on_device
    def ranks(self, chunk: Chunk, brackets: Brackets) -> Ranks:
        return cuda_ranks.rank(chunk.X, chunk.weight, chunk.rows["label"], brackets)

    @on_device
    def middles(self, X: Array, label: Array, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        out = cupy.empty((2, len(wanted), X.shape[1]))
        cuda_medians.middles(X, label, send(wanted), out)
        one, two = out.get()
        return one, two

    @on_device
    def nearest(self, X: Array, centers: Centers) -> Array:
        return labels.nearest(X, centers.packed)

    @on_device
    def costs(self, X: Array, centers: Array, label: Array, metric: Metric) -> Array:
        return labels.costs(X, centers, label, metric)

    @on_device
    def total(self, cost: Array, weight: Array | None, label: Array, k: int) -> Cost:
        return sums.total(cost, weight, label, k)

    @on_device
    def nearer(self, chunk: Chunk, centers: Centers, first: int) -> None:
        label = labels.nearest(chunk.X, centers.packed)
        cost = labels.costs(chunk.X, centers.given, label, centers.frame.metric)
        own, known = chunk.rows["label"], chunk.rows["cost"]
        own[:] = cupy.where(cost < known, label + np.int32(first), own)
        known[:] = cupy.minimum(cost, known)

    @on_device
    def farthest(self, chunk: Chunk, centers: Array, m: int, metric: Metric) -> Top:
        held = once("centers", (centers,), lambda: there(centers, np.float64))

        def step(start: int, stop: int) -> Top:
            cost = labels.costs(chunk.X[start:stop], held, chunk.rows["label"][start:stop], metric)
            if chunk.weight is not None:
                cost = cupy.where(chunk.weight[start:stop] > 0, cost, -1.0)
            return seeding.top(chunk, cost, start, m)

        return merged(tiles(len(chunk.X), 96, step))

    @on_device
    def trials(
        self, chunk: Chunk, frame: Frame, known: np.ndarray | None, trial: np.ndarray, grid: float
    ) -> Potentials:
        return seeding.trials(chunk, frame, known, trial, grid)

    @on_device
    def potentials(self, chunk: Chunk, frame: Frame, known: np.ndarray | None, grid: float) -> np.ndarray:
        return seeding.potentials(chunk, frame, known, grid)

    @on_device
    def plus_plus(self, chunk: Chunk, frame: Frame, first: int, shares: np.ndarray) -> tuple[np.ndarray, int]:
        return seeding.plus_plus(chunk, frame, first, shares)

    @on_device
    def race(self, chunk: Chunk, seed: int, size: int) -> Top:
        return seeding.race(chunk, seed, size)

    @on_device
    def distances(self, X: Array, centers: np.ndarray, dtype: Any, metric: Metric) -> Array:
        return labels.distances(X, centers, dtype, metric)

    @on_device
    def add_distance_sums(
        self, X: Array, Y: Array, start: np.ndarray, first: int, scale: float, metric: Metric, out: Array
    ) -> None:
        silhouette.add_distance_sums(X, Y, start, first, scale, metric, out)


def _kept(chunk: Chunk) -> tensor.Image | None:
    """The image of a chunk's rows that `CUDABackend.kept` made."""
    if "image" not in chunk.rows:
        return None
    return tensor.Image(chunk.rows["image"], chunk.rows["stats"])
