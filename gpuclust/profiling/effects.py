"""Tests and effect sizes from the moments and the rank sums of clusters, feature by feature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import special, stats

from ..backends.moments import Summary


class Tested(NamedTuple):
    """A statistic and its p-value, f64 [d]; NaN where the data do not allow the test."""

    statistic: np.ndarray
    p: np.ndarray


def adjusted(p: np.ndarray) -> np.ndarray:
    """p-values adjusted for as many tests as there are numbers (Benjamini and Hochberg, JRSS B 1995)."""
    found = np.full(p.shape, np.nan)
    known = ~np.isnan(p)
    if known.any():
        found[known] = stats.false_discovery_control(p[known])
    return found


def anova(found: Summary) -> tuple[Tested, np.ndarray]:
    """One-way ANOVA, and eta squared [d]: the clusters' share of the sum of squares."""
    k, n = len(found.count), found.count.sum(axis=0)
    between, within = found.between()[0], found.deviation.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        F = (between / (k - 1)) / (within / (n - k))
        return Tested(F, stats.f.sf(F, k - 1, n - k)), between / (between + within)


def welch(found: Summary) -> Tested:
    """Welch's F for unequal variances (Biometrika 1951); NaN where a cluster has one row or no variance."""
    k, n = len(found.count), found.count
    with np.errstate(invalid="ignore", divide="ignore"):
        weight = n / np.where(found.deviation > 0, found.std**2, np.nan)
        total = weight.sum(axis=0)
        mean = (weight * found.mean).sum(axis=0) / total
        away = (weight * (found.mean - mean) ** 2).sum(axis=0) / (k - 1)
        spread = ((1 - weight / total) ** 2 / (n - 1)).sum(axis=0)
        F = away / (1 + 2 * (k - 2) / (k**2 - 1) * spread)
        return Tested(F, stats.f.sf(F, k - 1, (k**2 - 1) / (3 * spread)))


@dataclass(frozen=True)
class RankSums:
    """Sums of the ranks (mean ranks on ties) of a column in each cluster, and what ties do to their variance."""

    total: np.ndarray  # f64 [k]
    ties: float  # 1 - sum(t^3 - t) / (n^3 - n)

    @classmethod
    def of(cls, column: np.ndarray, code: np.ndarray, k: int) -> RankSums:
        order = np.argsort(column)
        values, n = column[order], len(column)
        first = np.concatenate([[0], np.flatnonzero(values[1:] != values[:-1]) + 1, [n]])
        t = np.diff(first)
        rank = np.repeat((first[:-1] + first[1:] + 1) / 2, t)
        cubes = float(np.sum(t.astype(np.float64) ** 3 - t))
        return cls(np.bincount(code[order], rank, minlength=k), 1 - cubes / max(float(n) ** 3 - n, 1))


def kruskal(sums: list[RankSums], rows: np.ndarray) -> tuple[Tested, np.ndarray]:
    """Kruskal and Wallis' H (JASA 1952), and epsilon squared [d], H / (n - 1) (Tomczak and Tomczak, Trends in Sport
    Sciences 2014); rows i64 [k].
    """
    k, n = len(rows), int(rows.sum())
    total, ties = np.array([each.total for each in sums]), np.array([each.ties for each in sums])
    away = (rows * (total / rows - (n + 1) / 2) ** 2).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        H = 12 / (n * (n + 1)) * away / ties
        return Tested(H, stats.chi2.sf(H, k - 1)), H / (n - 1)


def welch_t(one: Summary, two: Summary) -> Tested:
    """Welch's t-test between two clusters."""
    sides = [(side.mean[0], np.sqrt(side.deviation[0] / (side.count[0] - 1)), side.count[0]) for side in (one, two)]
    with np.errstate(invalid="ignore", divide="ignore"):
        found = stats.ttest_ind_from_stats(*sides[0], *sides[1], equal_var=False)
    return Tested(np.asarray(found.statistic), np.asarray(found.pvalue))


def cohens_d(one: Summary, two: Summary) -> tuple[np.ndarray, np.ndarray]:
    """The difference of the means in pooled standard deviations, and without bias (Hedges 1981)."""
    free = one.count[0] + two.count[0] - 2
    with np.errstate(invalid="ignore", divide="ignore"):
        pooled = np.sqrt((one.deviation[0] + two.deviation[0]) / free)
        d = (one.mean[0] - two.mean[0]) / pooled
    log = special.gammaln(free / 2) - special.gammaln((free - 1) / 2) - np.log(free / 2) / 2
    return d, d * np.exp(log)
