"""Tests of new counts against shares that were found in a sample, and how large the differences are."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from scipy import stats

FEWEST: Final = 10.0  # rows that a cell of a chi-squared test is expected to have in the smaller sample: Cochran's 5
# (Biometrics 1954) are for p-values of 0.01, and those that count among many tests are smaller
FEWEST_CUT: Final = 20.0  # of cells that were cut at quantiles of one of the samples


class Found(NamedTuple):
    """A statistic, how large the difference is, and its p-value."""

    statistic: float
    effect: float
    p: float


NOTHING: Final = Found(0.0, 0.0, 1.0)  # there is nothing to compare


def holm(p: np.ndarray) -> np.ndarray:
    """p-values adjusted so that no true hypothesis is refused but with probability alpha (Holm, Scandinavian Journal of
    Statistics 1979)."""
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(steps, 1)
    return adjusted


def psi(p: np.ndarray, m: float, q: np.ndarray, n: float) -> float:
    """Population stability index: sum of (q - p) ln(q / p) over cells of shares p [b] in a sample of m, q in one of n.

    An empty cell counts as half a row. Without a change it is (b - 1)(1/m + 1/n) in the mean (Yurdakul and Naranjo,
    Journal of Risk Model Validation 2020).
    """
    some = (p > 0) | (q > 0)
    p, q = np.maximum(p[some], 0.5 / m), np.maximum(q[some], 0.5 / n)
    return float(np.sum((q - p) * np.log(q / p)))


def stability(p: np.ndarray, m: float, q: np.ndarray, n: float, fewest: float = FEWEST) -> Found:
    """PSI; its part that is not chance's as the effect; the chi-squared test that both samples have the same shares."""
    if n == 0 or m <= 0:
        return NOTHING
    index = psi(p, m, q, n)
    cells = int(np.count_nonzero((p > 0) | (q > 0)))
    effect = max(0.0, index - (cells - 1) * (1 / m + 1 / n))
    return Found(index, effect, homogeneity(*merged(p * m, q * n, fewest)))


def merged(old: np.ndarray, new: np.ndarray, fewest: float = FEWEST) -> tuple[np.ndarray, np.ndarray]:
    """Neighbouring cells put together until each is expected to have as many rows in both samples."""
    m, n = old.sum(), new.sum()
    least = fewest * (m + n) / min(m, n)
    kept: list[tuple[float, float]] = []
    a = b = 0.0
    for one, two in zip(old.tolist(), new.tolist(), strict=True):
        a, b = a + one, b + two
        if a + b >= least:
            kept.append((a, b))
            a = b = 0.0
    if a + b > 0:
        last = kept.pop() if kept else (0.0, 0.0)
        kept.append((last[0] + a, last[1] + b))
    table = np.array(kept).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def homogeneity(old: np.ndarray, new: np.ndarray) -> float:
    """p of Pearson's chi-squared test that two samples have the same shares."""
    if len(old) < 2:
        return 1.0
    m, n = old.sum(), new.sum()
    both = (old + new) / (m + n)
    chi2 = np.sum((old - m * both) ** 2 / (m * both)) + np.sum((new - n * both) ** 2 / (n * both))
    return float(stats.chi2.sf(chi2, len(old) - 1))


def kolmogorov(
    share: np.ndarray, m: float, counts: np.ndarray, allowed: float = 0.0, later: np.ndarray | None = None
) -> Found:
    """Kolmogorov and Smirnov's two-sample test, at the values that are known.

    `share` f64 [b] of a sample of m is at most the end of each cell, where `counts` [b + 1] lie; the last cell is
    beyond all. The distance is at most the one over all values, so that p is not too small. The effect is the distance:
    at least so many of the rows would have to be others for the samples to agree. The test is for more than `allowed`.
    Where values are known within bounds only, `counts` are of the lower ones and `later` of the upper ones: many rows
    may share a value, and a bound that passes it by a hair is no difference.
    """
    n = float(counts.sum())
    if n == 0 or m <= 0:
        return NOTHING
    most, least = (np.cumsum(each[:-1]) / n for each in (counts, counts if later is None else later))
    D = float(np.maximum(share - most, least - share).max(initial=0))
    over = D - allowed
    return Found(D, D, float(stats.kstwo.sf(over, max(1, round(m * n / (m + n))))) if over > 0 else 1.0)


def wasserstein(share: np.ndarray, edges: np.ndarray, counts: np.ndarray) -> float:
    """First Wasserstein distance between the two, in the values' units; values between edges count as being at the next
    one, values beyond the first or the last as being there."""
    n = float(counts.sum())
    if n == 0:
        return 0.0
    return float(np.sum(np.abs(np.cumsum(counts[:-1])[:-1] / n - share[:-1]) * np.diff(edges)))


def more(count: int, n: float, before: float, m: float) -> float:
    """p of `count` of n new rows where `before` of m had it, against: a row is no more likely to have it now.

    Binomial, given how many have it in all. That holds for a limit, too, that was set at one of the m values with
    `before` of them beyond it: of the largest before + count values of both samples, at least `count` are new. (The
    exact tail is hypergeometric, and no larger where it is small.)
    """
    if count == 0 or n == 0:
        return 1.0
    return float(stats.binom.sf(count - 1, round(count + before), n / (n + m)))


def changed(count: int, n: float, before: float, m: float) -> float:
    """p of `count` of n new rows where `before` of m had it, against: a row is as likely to have it now."""
    old, new = np.array([before, m - before]), np.array([count, n - count], np.float64)
    if len(merged(old, new)[0]) == 2:
        return homogeneity(old, new)
    rare = (count, before) if count + before <= (n + m) / 2 else (n - count, m - before)
    total, share = round(sum(rare)), n / (n + m)
    fewer, above = stats.binom.cdf(rare[0], total, share), stats.binom.sf(rare[0] - 1, total, share)
    return float(min(1.0, 2 * min(fewer, above)))


def deciles(share: np.ndarray) -> np.ndarray:
    """Where cells are cut for the PSI: indices of the values that are the first to have 10, 20, ... 90 % of the rows at
    most them; fewer where many rows share a value."""
    places = np.unique(np.searchsorted(share, np.arange(1, 10) / 10 * (1 - 1e-12)))
    return places[share[places] < 1]


def rare(share: np.ndarray, m: float) -> int:
    """From which category on (shares f64 [b] of a sample of m, falling) all are put together, those included that the
    sample did not have.

    Where no category was there exactly r + 1 times, those that were there up to r times, 0 included, are expected to
    have the share that they had in the sample, of which the unseen ones then take a part (Good, Biometrika 1953).
    """
    times = np.round(share * m)
    few = max(FEWEST, 1.0)
    while np.any(times == few + 1):
        few += 1
    return int(np.searchsorted(-times, -few))


def unknown(share: np.ndarray, m: float) -> tuple[float, float]:
    """The share that categories not in a sample of m are expected to have, by those that were there once (Good 1953),
    and the size of a sample in which a share is known as well as that is (Robbins, Annals of Mathematical Statistics
    1968; Esty 1983)."""
    times = np.round(share * m)
    once, twice = float(np.count_nonzero(times <= 1)), float(np.count_nonzero(times == 2))
    return once / m, m * once / (once + 2 * twice) if once else m
