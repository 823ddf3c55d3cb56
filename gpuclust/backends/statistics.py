"""What comes out of a chunk: small, mergeable, on the host. Merging is associative and commutative, to the bit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, NamedTuple, Protocol, Self, TypeVar

import numpy as np

from ..errors import TURNED

Array = Any
Rows = tuple[np.ndarray, np.ndarray | None]  # on the host: X [n, d], weight f64 [n] or None


def two_sum(a: Any, b: Any) -> tuple[Any, Any]:
    """a + b as the rounded sum and its exact error (Knuth, TAOCP 2, 4.2.2)."""
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


class DD(NamedTuple):
    """Unevaluated sum hi + lo, about 104 bits; elementwise where the fields are arrays."""

    hi: Any
    lo: Any

    def __add__(self, other: DD) -> DD:  # type: ignore[override]
        s, e = two_sum(self.hi, other.hi)
        return DD(*two_sum(s, e + (self.lo + other.lo)))

    def __neg__(self) -> DD:
        return DD(-self.hi, -self.lo)

    def value(self) -> Any:
        return self.hi + self.lo


def loss(total: DD) -> float:
    """A sum of costs, rounded; inf where it overflowed. Rows are finite, so that nothing else makes it no number."""
    value = float(total.value())
    return np.inf if np.isnan(value) else value


def check_labels(lacking: int) -> None:
    """Refuse `lacking` rows without a label.

    Raises
    ------
    ValueError
        If there are any.
    """
    if lacking:
        raise ValueError(f"{lacking} rows {TURNED}")


def check_labelled(label: np.ndarray) -> None:
    """The same of labels on the host, below 0 where there is none."""
    check_labels(int(np.count_nonzero(label < 0)))


class Statistic(Protocol):
    def merge(self, other: Self) -> Self: ...


S = TypeVar("S", bound=Statistic)


def merged(parts: Iterable[S]) -> S:
    """All of them, one at least, together."""
    return reduce(lambda a, b: a.merge(b), parts)


@dataclass(frozen=True)
class Scan:
    """Count, range and moments of rows about `origin`; weights matter for the mass and its range only."""

    rows: int
    mass: DD  # sum of weights
    heaviest: float
    lightest: float  # the least positive weight; inf where there is none
    low: np.ndarray  # f64 [d]
    high: np.ndarray
    least: np.ndarray  # the least positive |x|; inf for a feature of zeros
    total: DD  # [d]: sum of x - origin
    square: DD  # sum of |x - origin|^2

    def merge(self, other: Scan) -> Scan:
        return Scan(
            self.rows + other.rows,
            self.mass + other.mass,
            max(self.heaviest, other.heaviest),
            min(self.lightest, other.lightest),
            np.minimum(self.low, other.low),
            np.maximum(self.high, other.high),
            np.minimum(self.least, other.least),
            self.total + other.total,
            self.square + other.square,
        )


@dataclass(frozen=True)
class Delta:
    """Exact sums over the rows that changed cluster: in minus out. sums f64 [k, K, d + 1], column d is the mass.

    Both stay on the device until `Backend.means` reads them.
    """

    sums: Array
    moved: Any  # how many rows; on CUDA counts i64 [2 k + 1], see `cuda_moves.Groups`
    scored: int = 0  # rows that neither bounds nor cells settled; one of which half the groups were scored counts half

    def merge(self, other: Delta) -> Delta:
        return Delta(self.sums + other.sums, self.moved + other.moved, self.scored + other.scored)


class Solved(NamedTuple):
    """What follows from sums."""

    sums: Array  # f64 [k, K, d + 1] on the device, the rows that moved among them
    centers: Array  # f64 [k, d] on the device
    mass: np.ndarray  # f64 [k]
    terms: np.ndarray  # f64 [2, k]: cost of the rows at the old centres, up to sum w|x - o|^2
    shift: float  # sum of the squared ways from the old centres
    moved: int  # rows


@dataclass(frozen=True)
class Cost:
    """Total weighted cost; weight and number of rows of each cluster."""

    total: DD
    mass: DD
    rows: np.ndarray  # i64 [k]

    @classmethod
    def none(cls, k: int) -> Cost:
        """That of no rows."""
        return cls(DD(0.0, 0.0), DD(np.zeros(k), np.zeros(k)), np.zeros(k, np.int64))

    @property
    def loss(self) -> float:
        return loss(self.total)

    def merge(self, other: Cost) -> Cost:
        return Cost(self.total + other.total, self.mass + other.mass, self.rows + other.rows)


class Inside(NamedTuple):
    """Values that lie in brackets: of which pair, and their weights, if any."""

    pair: np.ndarray  # i32
    value: np.ndarray
    weight: np.ndarray  # f64, or [0]


@dataclass(frozen=True)
class Ranks:
    """Where rows lie about the brackets of k * d pairs of cluster and feature; masses are exact, in K pieces."""

    less: np.ndarray  # f64 [k * d, K]: mass below the bracket
    same: np.ndarray  # f64 [k * d, K]: mass at its middle
    total: np.ndarray  # f64 [k, K]: mass of the cluster
    lost: np.ndarray  # i64 [k * d]: values inside for which there was no room
    inside: tuple[Inside, ...]
    fine: np.ndarray | None  # i64 [u, buckets]: rows in the buckets of `brackets.Fine`

    def merge(self, other: Ranks) -> Ranks:
        fine = None if self.fine is None or other.fine is None else self.fine + other.fine
        return Ranks(
            self.less + other.less, self.same + other.same, self.total + other.total, self.lost + other.lost,
            self.inside + other.inside, fine,
        )  # fmt: skip


@dataclass(frozen=True)
class Moves:
    """Rows that changed cluster."""

    moved: int
    scored: int  # rows that bounds did not settle; see `Delta`
    flow: np.ndarray  # i64 [k]: rows that came to a cluster or left it

    def merge(self, other: Moves) -> Moves:
        return Moves(self.moved + other.moved, self.scored + other.scored, self.flow + other.flow)


class Placement(NamedTuple):
    """What an assignment did, what it costs, and the middle values of the clusters that it changed."""

    moves: Moves
    cost: Cost
    middles: tuple[np.ndarray, np.ndarray] | None  # f64 [k, d] each, NaN for the other clusters


@dataclass(frozen=True)
class Top:
    """The m rows of highest key: highest first, lowest row on ties."""

    size: int
    key: np.ndarray  # f64 [<= m]
    row: np.ndarray  # i64 [<= m], global
    X: np.ndarray  # [<= m, d]
    weight: np.ndarray  # f64 [<= m]
    label: np.ndarray  # i32 [<= m]

    def merge(self, other: Top) -> Top:
        both = [np.concatenate(pair) for pair in zip(self._columns(), other._columns(), strict=True)]
        first = np.lexsort((both[1], -both[0]))[: self.size]
        return Top(self.size, *(column[first] for column in both))

    def _columns(self) -> Sequence[np.ndarray]:
        return self.key, self.row, self.X, self.weight, self.label


@dataclass(frozen=True)
class Potentials:
    """Integer potentials by block of rows under each trial centre, and the largest cost left."""

    blocks: dict[tuple[int, int], np.ndarray]  # (first row, first block) of a chunk -> i64 [trials, blocks]
    largest: np.ndarray  # f64 [trials]

    def merge(self, other: Potentials) -> Potentials:
        return Potentials({**self.blocks, **other.blocks}, np.maximum(self.largest, other.largest))

    def dense(self, blocks: int) -> np.ndarray:
        """All blocks, i64 [trials, blocks]; chunks may share a block at their border."""
        out = np.zeros((len(self.largest), blocks), np.int64)
        for (_, first), part in self.blocks.items():
            out[:, first : first + part.shape[1]] += part
        return out
