"""Moments of every feature over all rows, in folds: missing values are left out, infinite ones are refused."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce

import numpy as np

from ..backends.base import Backend, Chunk
from ..backends.moments import Moments, Summary, of_rows, product
from ..backends.statistics import DD, two_sum
from ..data.source import Source
from ..profiling.rows import blocks, host


@dataclass(frozen=True)
class Seen:
    """Moments of rows, and how many rows that are."""

    rows: int
    moments: Moments

    def merge(self, other: Seen) -> Seen:
        return Seen(self.rows + other.rows, self.moments.merge(other.moments))


def moments(source: Source) -> tuple[Summary, int]:
    """Moments of the values that are there, [1, d], and the number of rows. One pass, or two where values lie far from
    0 for their spread.

    Raises
    ------
    ValueError
        If a value is infinite.
    """
    seen: Seen = source.fold(_moments, np.zeros((1, source.n_features)))
    first = seen.moments
    found = Summary(first.count, first.low, first.high, first.total, first.deviation())
    if first.cancels():
        about: Seen = source.fold(_moments, np.nan_to_num(found.mean))
        found = replace(found, deviation=about.moments.deviation())
    return found, seen.rows


def _moments(backend: Backend, chunk: Chunk, origin: np.ndarray) -> Seen:
    parts = []
    for _, rows in blocks(chunk):
        X = host(backend, rows)
        refuse_infinity(X)
        parts.append(of_rows(X, np.zeros(len(X), np.int32), origin))
    return Seen(chunk.X.shape[0], reduce(Moments.merge, parts))


def refuse_infinity(X: np.ndarray) -> None:
    if np.isinf(X).any():
        raise ValueError(f"Input X contains infinity or a value too large for {X.dtype!r}.")


@dataclass(frozen=True)
class Weighted:
    """Sums over the values that are there, of their weights and of weight times distance to an origin, all [d]."""

    weight: DD
    total: DD
    square: DD

    def merge(self, other: Weighted) -> Weighted:
        return Weighted(self.weight + other.weight, self.total + other.total, self.square + other.square)


def weighted_moments(source: Source) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sum of weights, mean and variance by feature, f64 [d], where rows count by their weights. Two passes."""
    first: Weighted = source.fold(_weighted, np.zeros(source.n_features))
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = first.total.value() / first.weight.value()
        about: Weighted = source.fold(_weighted, np.nan_to_num(mean))
        shift = about.total.value() / about.weight.value()
        variance = about.square.value() / about.weight.value() - shift**2
    return first.weight.value(), mean, np.maximum(variance, 0.0)


def _weighted(backend: Backend, chunk: Chunk, origin: np.ndarray) -> Weighted:
    return reduce(Weighted.merge, (_block(backend, chunk, where, rows, origin) for where, rows in blocks(chunk)))


def _block(backend: Backend, chunk: Chunk, where: slice, rows: object, origin: np.ndarray) -> Weighted:
    X = host(backend, rows).astype(np.float64)
    refuse_infinity(X)
    assert chunk.weight is not None
    weight = backend.to_host(chunk.weight[where.start - chunk.start : where.stop - chunk.start])[:, None]
    there = ~np.isnan(X)
    w, way = np.where(there, weight, 0.0), np.where(there, X - origin, 0.0)
    p, e = product(w, way)
    return Weighted(summed(w, np.zeros_like(w)), summed(p, e), summed(p * way, e * way))


def summed(values: np.ndarray, errors: np.ndarray) -> DD:
    """Sum of values + errors f64 [m, d] over the rows, in double-double."""
    pair = DD(values, errors)
    while len(pair.hi) > 1:
        half = len(pair.hi) // 2
        odd = DD(pair.hi[2 * half :], pair.lo[2 * half :])
        added = DD(pair.hi[:half], pair.lo[:half]) + DD(pair.hi[half : 2 * half], pair.lo[half : 2 * half])
        pair = DD(*(np.concatenate(parts) for parts in zip(added, odd, strict=True)))
    return DD(*two_sum(pair.hi[0], pair.lo[0]))
