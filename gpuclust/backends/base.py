"""What a device can do with rows. Every routine takes one chunk and returns a small statistic on the host."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from enum import IntEnum
from typing import Any, NamedTuple, TypeVar

import numpy as np

from .brackets import Brackets
from .frame import Frame
from .layout import Drift, Layout
from .metric import Metric
from .statistics import Array, Cost, Delta, Moves, Placement, Potentials, Ranks, Rows, Scan, Solved, Top, merged

Step = TypeVar("Step", bound=Callable[..., Any])


def sets_labels(step: Step) -> Step:
    """Mark a step of a fold that sets the label of every row, whatever it was before."""
    step.sets_labels = True  # type: ignore[attr-defined]
    return step


def reads_only(step: Step) -> Step:
    """Mark a step of a fold that changes no column: it need not be done again for rows that were lost."""
    step.reads_only = True  # type: ignore[attr-defined]
    return step


class Chunk(NamedTuple):
    """Rows on the device, their weights, where they start, and their slices of the ledger (writable)."""

    X: Array  # [n, d]
    weight: Array | None  # f64 [n]
    start: int  # global index of the first row
    rows: Mapping[str, Array]


class Bounds(IntEnum):
    """What an assignment does with the rows' bounds; its labels are the same whatever it does."""

    KEEP = 0  # use and renew
    MAKE = 1  # score every row and make them
    NONE = 2  # score every row and do without


class Centers(NamedTuple):
    """Centres of one iteration, packed for the device."""

    given: Array  # f64 [k, d], on the host or on the device
    packed: Any
    frame: Frame
    layout: Layout
    bounds: Bounds = Bounds.MAKE
    drift: Drift | None = None  # what bounds of rows are worth, for devices that pack the centres anew


class Backend(ABC):
    """The routines of one device. Implementations are final and picklable; arrays stay on the device."""

    name: str
    block_rows: int  # rows that may have temporary entries of their own at once
    groups_bounds: bool  # whether rows may keep a bound for each of several groups of centres
    selects: bool  # whether there is `middles`; elsewhere medians are searched in brackets

    @abstractmethod
    def keeps_bounds(self, metric: Metric, k: int, d: int) -> bool:
        """Whether assignments to k centres of d features read and write bounds of rows."""

    @property
    def members(self) -> tuple[Backend, ...]:
        """One backend for each device that rows are spread over; the first one does what is not a fold."""
        return (self,)

    def current(self) -> AbstractContextManager[Any]:
        """What array operations outside of the routines are to run in."""
        return nullcontext()

    def mark(self) -> Any:
        """All that the device was given to do so far, for `follow`."""
        return None

    def follow(self, mark: Any) -> None:
        """What the device is given to do from now on begins once what was marked, on whatever device, is done."""
        return

    def blocks(self, chunk: Chunk) -> Iterator[Chunk]:
        """The rows of a chunk in blocks, for temporary arrays of one entry a row."""
        n = chunk.X.shape[0]
        if n <= self.block_rows:
            yield chunk
            return
        for start in range(0, n, self.block_rows):
            part = slice(start, start + self.block_rows)
            weight = None if chunk.weight is None else chunk.weight[part]
            columns = {name: column[part] for name, column in chunk.rows.items()}
            yield Chunk(chunk.X[part], weight, chunk.start + start, columns)

    def told(self, statistics: Iterator[Any]) -> Any:
        """What the statistics of all chunks of a pass, made one after another, are together."""
        return merged(statistics)

    def cost(self, chunk: Chunk, centers: Array, metric: Metric) -> Cost:
        """Cost of the ledger's labels."""
        return merged(self._cost(part, centers, metric) for part in self.blocks(chunk))

    def place(self, chunk: Chunk, centers: Centers, medians: bool) -> Placement:
        """Labels into the ledger, their cost, and (of all rows there are, without weights) what medians need."""
        moves = self.relabel(chunk, centers)
        cost = self.cost(chunk, centers.given, centers.frame.metric)
        found = self.middles(chunk.X, chunk.rows["label"], moves.flow > 0) if medians else None
        return Placement(moves, cost, found)

    def _cost(self, chunk: Chunk, centers: Array, metric: Metric) -> Cost:
        label = chunk.rows["label"]
        return self.total(self.costs(chunk.X, centers, label, metric), chunk.weight, label, len(centers))

    # placement
    @abstractmethod
    def upload(self, rows: Any, dtype: Any) -> Array:
        """Rows as a C-contiguous array on the device, without a copy where they are there already."""

    def host_empty(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """Memory on the host to read rows into that are on their way to the device."""
        return np.empty(shape, dtype)

    def staged(self, part: Rows, dtype: Any) -> Rows:
        """Host rows and weights that were just read, as `uploads` wants them; called by the thread that reads."""
        return part

    def uploads(self, parts: Iterator[Rows], dtype: Any) -> Generator[tuple[Array, Array | None], None, None]:
        """Staged rows and weights on the device, part after part, or in smaller ones where memory is short."""
        for X, weight in parts:
            yield self.upload(X, dtype), None if weight is None else self.upload(weight, np.float64)

    def holds(self, n_bytes: int, free: int | None = None) -> bool:
        """Whether there is room for so many bytes; `free`: as many as these are free, and not what is now."""
        return True

    @property
    def card(self) -> str:
        """Which card of this machine it computes on, by a name that is the same in every process; '': none."""
        return ""

    @abstractmethod
    def to_host(self, array: Array) -> np.ndarray: ...

    @abstractmethod
    def owns(self, array: Any) -> bool:
        """Whether results for this input belong on the device (the CPU returns host arrays for everything)."""

    @abstractmethod
    def joined(self, parts: Sequence[Array]) -> Array: ...

    @abstractmethod
    def full(self, shape: tuple[int, ...], fill: Any, dtype: Any) -> Array: ...

    @abstractmethod
    def free_bytes(self) -> int: ...

    def kept(self, X: Array, frame: Frame, k: int) -> dict[str, Array]:
        """What assignments to k centres read in place of all rows X, one entry a row, where it pays to make that
        once."""
        return {}

    def mapped(self, X: Array, function: Callable[..., Array], tables: Sequence[np.ndarray | None]) -> Array:
        """`function(xp, rows, *tables)` of a copy of dense rows, which it may write on; `xp` is the array module, and
        the tables are where the rows are.
        """
        return function(np, np.array(X), *tables)

    # routines on a chunk
    @abstractmethod
    def scan(self, chunk: Chunk, origin: np.ndarray) -> Scan:
        """Count, range and moments about `origin`."""

    @abstractmethod
    def pack(self, centers: Array, frame: Frame, layout: Layout, drift: Drift | None) -> Centers:
        """Centres f64 [k, d], of the host or the device, ready for the kernels.

        `drift` is counted from when the rows' bounds were made.
        """

    @abstractmethod
    def reassign(self, chunk: Chunk, centers: Centers) -> Delta:
        """Certified labels and bounds (label; upper, lower, lowers) into the ledger; exact sums of rows that moved."""

    @abstractmethod
    def means(self, sums: Array, old: Array, origin: np.ndarray, delta: Delta | None = None) -> Solved:
        """Centres from exact sums f64 [k, K, d + 1] and what is to be added to them; `old` f64 [k, d] where a cluster
        has no mass. `origin` f64 [d] is that of the terms.
        """

    def settled(self, delta: Delta) -> Delta:
        """The same on the host, as the CPU's `means` takes it.

        Raises
        ------
        ValueError
            If rows got no label.
        """
        return delta

    @abstractmethod
    def relabel(self, chunk: Chunk, centers: Centers) -> Moves:
        """Certified labels and bounds into the ledger, and no sums."""

    @abstractmethod
    def scatter(self, chunk: Chunk, k: int, magic: np.ndarray) -> np.ndarray:
        """Exact sums of the rows and their weights by the ledger's label, f64 [k, K, d + 1]; magic f64 [K, d + 1]."""

    @abstractmethod
    def ranks(self, chunk: Chunk, brackets: Brackets) -> Ranks:
        """Where rows lie about the brackets of the cluster that the ledger's label names."""

    def middles(self, X: Array, label: Array, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The lower and the upper of the middle values of rows X [n, d] by label i32 [n], feature by feature, f64
        [k, d]: for the clusters wanted, bool [k]. NaN for the others and those without rows.
        """
        raise NotImplementedError

    @abstractmethod
    def nearest(self, X: Array, centers: Centers) -> Array:
        """Certified labels i32 [n]; -1 where a value of the row is not finite."""

    @abstractmethod
    def costs(self, X: Array, centers: Array, label: Array, metric: Metric) -> Array:
        """Cost of each row at its own centre, float64, summed directly in feature order. f64 [n]."""

    @abstractmethod
    def total(self, cost: Array, weight: Array | None, label: Array, k: int) -> Cost:
        """Weighted total of costs and the clusters' masses, independent of the order of rows."""

    def nearer(self, chunk: Chunk, centers: Centers, first: int) -> None:
        """The ledger's costs and labels <- those of the centres, numbered from `first`, that are nearer."""
        label = self.nearest(chunk.X, centers)
        cost = self.costs(chunk.X, centers.given, label, centers.frame.metric)
        better = cost < chunk.rows["cost"]
        chunk.rows["cost"][better] = cost[better]
        chunk.rows["label"][better] = label[better] + first

    @abstractmethod
    def farthest(self, chunk: Chunk, centers: Array, m: int, metric: Metric) -> Top:
        """The m rows of positive weight farthest from their own centre."""

    @abstractmethod
    def trials(
        self, chunk: Chunk, frame: Frame, known: np.ndarray | None, trial: np.ndarray, grid: float
    ) -> Potentials:
        """Fold `known` [d] into the ledger's cost, then integer potentials under each trial centre [t, d].

        Without trial centres: one column, the potentials as they stand.
        """

    @abstractmethod
    def potentials(self, chunk: Chunk, frame: Frame, known: np.ndarray | None, grid: float) -> np.ndarray:
        """Integer potential of each row once `known` is folded in (the ledger is left alone). i64 [n]."""

    def plus_plus(self, chunk: Chunk, frame: Frame, first: int, shares: np.ndarray) -> tuple[np.ndarray, int] | None:
        """The rows i64 [k] that greedy k-means++ chooses, beginning with `first`, of a chunk that is all rows, and the
        passes that it took; shares f64 [k - 1, trials] are drawn uniformly. The ledger's costs are infinite before.
        None: it is done step by step.
        """
        return None

    @abstractmethod
    def race(self, chunk: Chunk, seed: int, size: int) -> Top:
        """`size` rows drawn without replacement in proportion to weight times the ledger's cost (exponential keys)."""

    @abstractmethod
    def distances(self, X: Array, centers: np.ndarray, dtype: Any, metric: Metric) -> Array:
        """Distances [n, k], summed in float64."""

    @abstractmethod
    def add_distance_sums(
        self, X: Array, Y: Array, start: np.ndarray, first: int, scale: float, metric: Metric, out: Array
    ) -> None:
        """out f64 [n, k] += distances of rows X [n, d] to those rows of Y [m, d] that belong to each cluster.

        Rows start[c] .. start[c + 1] of Y belong to cluster first + c; start i64, from 0 to m. Distances are in units
        of 1 / scale, a power of two that keeps their squares in range; they are computed in the rows' precision and
        summed in float64, row after row.
        """
