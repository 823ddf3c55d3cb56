"""Moments of the rows of each label, computed on the host."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Final

import numpy as np

from .kernels import moments as kernel
from .packing import alias
from .statistics import DD, two_sum
from .threads import limited, run, thread_count

COST: Final = 24  # multiply-adds that a value costs
FAR: Final = 2.0**20  # standard deviations: twice as many bits of 104 are lost where a mean is so far from the origin
SPLIT: Final = 2.0**27 + 1  # cuts a float64 into halves (Dekker, Numerische Mathematik 1971)


@dataclass(frozen=True)
class Moments:
    """Of the finite values of each label and feature, about an origin, all [k, d]."""

    count: np.ndarray  # i64
    low: np.ndarray  # f64, inf where there is no value
    high: np.ndarray  # f64, -inf where there is none
    total: DD  # sum of x - origin
    square: DD  # sum of (x - origin)^2

    def merge(self, other: Moments) -> Moments:
        return Moments(
            self.count + other.count, np.minimum(self.low, other.low), np.maximum(self.high, other.high),
            self.total + other.total, self.square + other.square,
        )  # fmt: skip

    def deviation(self) -> np.ndarray:
        """Sum of squared distances to the mean, f64 [k, d]: square - total^2 / count, in double-double; NaN where there
        is no value."""
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            p, e = product(self.total.hi, self.total.hi)
            squared = DD(*two_sum(p, e + 2 * self.total.hi * self.total.lo))
            spread = (self.square + -_quotient(squared, self.count.astype(np.float64))).value()
        spread = np.where(self.low == self.high, 0.0, np.maximum(spread, 0.0))
        return np.where(self.count > 0, spread, np.nan)

    def cancels(self) -> bool:
        """Whether a mean is too far from the origin for the deviation to be right to the last bit."""
        with np.errstate(invalid="ignore", over="ignore"):
            far = self.square.hi > FAR**2 * self.deviation()
        return bool(np.any(far & (self.low < self.high)))


@dataclass(frozen=True)
class Summary:
    """What moments tell of each label and feature, [k, d]."""

    count: np.ndarray  # i64: finite values
    low: np.ndarray
    high: np.ndarray
    total: DD  # sum of x
    deviation: np.ndarray  # f64: sum of squared distances to the mean; NaN where there is no value

    @property
    def mean(self) -> np.ndarray:
        """f64 [k, d]; NaN where there is no value."""
        with np.errstate(invalid="ignore"):
            return self.total.value() / self.count

    @property
    def std(self) -> np.ndarray:
        """Sample standard deviation (divisor n - 1), f64 [k, d]; NaN for fewer than two values."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.sqrt(self.deviation / np.where(self.count > 1, self.count - 1.0, np.nan))

    def of(self, labels: np.ndarray) -> Summary:
        """Those of some labels."""
        total = DD(self.total.hi[labels], self.total.lo[labels])
        return Summary(self.count[labels], self.low[labels], self.high[labels], total, self.deviation[labels])

    def together(self) -> Summary:
        """All rows as one label, k = 1."""
        total = reduce(DD.__add__, (DD(hi[None], lo[None]) for hi, lo in zip(*self.total, strict=True)))
        count = self.count.sum(axis=0, keepdims=True)
        low, high = self.low.min(axis=0, keepdims=True), self.high.max(axis=0, keepdims=True)
        deviation = np.nansum(self.deviation, axis=0, keepdims=True) + self.between()
        return Summary(count, low, high, total, np.where(low == high, 0.0, np.where(count > 0, deviation, np.nan)))

    def between(self) -> np.ndarray:
        """Sum of squared distances of the labels' means to the mean of all rows, by rows, f64 [1, d]."""
        total = reduce(DD.__add__, (DD(hi, lo) for hi, lo in zip(*self.total, strict=True)))
        with np.errstate(invalid="ignore", over="ignore"):
            away = self.mean - total.value() / self.count.sum(axis=0)
            return np.nansum(self.count * away**2, axis=0, keepdims=True)


def of_rows(X: np.ndarray, label: np.ndarray, origin: np.ndarray) -> Moments:
    """Moments of rows X [n, d] on the host by label i32 [n], about an origin f64 [k, d] for each."""
    k, d = origin.shape
    with limited(COST * X.size):
        threads = thread_count()
        count, sums = np.zeros((threads, k, d), np.int64), np.zeros((threads, 4, k, d))
        low, high = np.full((threads, k, d), np.inf), np.full((threads, k, d), -np.inf)
        run(kernel.moments_pass, alias(X), alias(label), alias(origin), count, low, high, sums)
    parts = (Moments(count[t], low[t], high[t], DD(*sums[t, :2]), DD(*sums[t, 2:])) for t in range(threads))
    return reduce(Moments.merge, parts)


def product(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """a b as the rounded product and its exact error (Dekker 1971)."""
    p = a * b
    (high, low), (upper, lower) = _halves(a), _halves(b)
    return p, ((high * upper - p) + high * lower + low * upper) + low * lower


def _halves(a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    big = SPLIT * a
    high = big - (big - a)
    return high, a - high


def _quotient(a: DD, b: np.ndarray) -> DD:
    q = a.hi / b
    p, e = product(q, b)
    return DD(*two_sum(q, (((a.hi - p) - e) + a.lo) / b))
