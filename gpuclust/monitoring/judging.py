"""The tests of a tally against the summary that it was counted by, and a verdict on each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, Final

import numpy as np

from . import statistics as st
from .summary import MOST_CATEGORIES, TrainingSummary
from .tally import Tally, edges_of

VERDICTS: Final = ("ok", "watch", "retrain")


@dataclass(frozen=True)
class Thresholds:
    """What a change must be to count: significant, and so large.

    Pairs are of a size from which on a change is to be watched, and one from which on it asks for a new model.

    Parameters
    ----------
    alpha : float, default=0.01
        Chance that any change at all is called significant where there is none: the p-values of all tests are adjusted
        together (Holm 1979).
    psi : (float, float), default=(0.1, 0.25)
        Population stability index of a column or of the clusters' shares, less what chance adds to it. The limits are
        the convention of credit scoring (Siddiqi, "Credit Risk Scorecards", 2006): below 0.1 little has changed, above
        0.25 much has.
    distance : (float, float), default=(0.05, 0.2)
        Kolmogorov-Smirnov distance of a column, or of the rows' distances to their centres: at least so large a share
        of the rows is other than before. Ours: a normal column has 0.08 where its mean moves by 0.2 standard
        deviations, and 0.197 where it moves by half of one.
    missing : (float, float), default=(0.05, 0.2)
        By how much the share of missing values differs, on the same scale.
    unseen : (float, float), default=(0.01, 0.05)
        Share of the values that are outside the training's range, or of categories that it did not have. Ours: a model
        knows nothing about such rows.
    far : (float, float), default=(0.01, 0.05)
        Share of the rows beyond the training's 99.9 % distance: ten and fifty times what it was there. Ours.
    """

    alpha: float = 0.01
    psi: tuple[float, float] = (0.1, 0.25)
    distance: tuple[float, float] = (0.05, 0.2)
    missing: tuple[float, float] = (0.05, 0.2)
    unseen: tuple[float, float] = (0.01, 0.05)
    far: tuple[float, float] = (0.01, 0.05)

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1:
            raise ValueError(f"alpha={self.alpha!r} must lie between 0 and 1.")
        for each in fields(self)[1:]:
            pair = getattr(self, each.name)
            if not (isinstance(pair, tuple | list) and len(pair) == 2 and 0 <= pair[0] <= pair[1]):
                raise ValueError(f"{each.name}={pair!r} must be two numbers from 0 on, the smaller one first.")


@dataclass(frozen=True)
class Check:
    """One test.

    Attributes
    ----------
    check : str
        stability (PSI; chi-squared), distribution (Kolmogorov-Smirnov), missing, unseen: of a column. clusters (PSI of
        the clusters' shares; chi-squared), distances (Kolmogorov-Smirnov), far (share beyond the training's 99.9 %
        distance; binomial): of the rows.
    feature : str or None
    statistic, effect : float
        The effect is what is held against the limits.
    p_value, p_adjusted : float
    watch_at, retrain_at : float
    training, new : float
        What is told of both: medians of a column of numbers and of the distances, shares of all else; NaN where there
        is no single number.
    wasserstein : float
        First Wasserstein distance in the column's units; NaN for other tests.
    verdict : {'ok', 'watch', 'retrain'}
    """

    check: str
    feature: str | None
    statistic: float
    effect: float
    p_value: float
    watch_at: float
    retrain_at: float
    training: float = np.nan
    new: float = np.nan
    wasserstein: float = np.nan
    p_adjusted: float = 1.0
    verdict: str = "ok"

    def as_dict(self) -> dict[str, Any]:
        """Values that JSON has: None for NaN."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: None if value != value else value for name, value in values.items()}


def judge(tally: Tally, names: list[str], limits: Thresholds) -> tuple[Check, ...]:
    """All tests, adjusted for each other: first those of the rows, then column by column."""
    found = [*_of_rows(tally, limits), *_of_columns(tally, names, limits)]
    adjusted = st.holm(np.array([each.p_value for each in found]))
    return tuple(_judged(each, float(p), limits.alpha) for each, p in zip(found, adjusted, strict=True))


def _judged(each: Check, p: float, alpha: float) -> Check:
    level = 0 if p > alpha or each.effect <= 0 else (each.effect >= each.watch_at) + (each.effect >= each.retrain_at)
    return replace(each, p_adjusted=p, verdict=VERDICTS[level])


def _of_rows(tally: Tally, limits: Thresholds) -> Iterator[Check]:
    summary, n = tally.summary, int(tally.counts.sum())
    m = summary.n_effective * float(summary.counts.sum()) / summary.n_rows
    order = np.argsort(summary.shares, kind="stable")  # those that are too small for a test are put together
    now = tally.counts / max(n, 1)
    yield Check("clusters", None, *st.stability(summary.shares[order], m, now[order], n), *limits.psi)
    share, slack = np.concatenate([[0.0], summary.distance_probabilities]), _slack(summary)
    medians = _medians(summary.distances, share, tally.distances)
    steep = np.sqrt(summary.n_features / np.pi)  # of the share within a distance, by the logarithm of the distance
    found = st.kolmogorov(share, m, tally.distances, slack * steep, tally.given)
    moved = st.wasserstein(share, edges_of(summary.distances), tally.distances)
    yield Check("distances", None, *found, *limits.distance, *medians, moved)
    beyond, allowed = (1 - _within(summary, summary.far / each) for each in (1.0, 1 + slack))
    far = tally.far / max(n, 1)
    p = st.more(tally.far, n, allowed * m, m)
    yield Check("far", None, float(tally.far), far - beyond, p, *limits.far, beyond, far)


def _slack(summary: TrainingSummary) -> float:
    """By what part new rows may lie farther from the centres than `unseen` tells: clusters that touch follow their
    rows more than a mean does. As much again; the mean over the rows of 1/n of their clusters."""
    return np.count_nonzero(summary.counts) / float(summary.counts.sum())


def _within(summary: TrainingSummary, distance: float) -> float:
    """Share of the training rows whose distance is at most so much."""
    place = np.searchsorted(summary.distances, distance, "right")
    return float(summary.distance_probabilities[place - 1]) if place else 0.0


def _of_columns(tally: Tally, names: list[str], limits: Thresholds) -> Iterator[Check]:
    summary = tally.summary
    for f, name in enumerate(names):
        if not tally.used[f]:
            continue
        there, before = tally.n_rows - int(tally.missing[f]), float(summary.missing[f])
        m = summary.n_effective * (1 - before)
        if summary.categories[f] is None:
            yield from _of_numbers(tally, f, name, m, limits)
        else:
            yield from _of_categories(tally, f, name, m, limits)
        now = 1 - there / tally.n_rows
        p = st.changed(int(tally.missing[f]), tally.n_rows, before * summary.n_effective, summary.n_effective)
        yield Check("missing", name, now - before, abs(now - before), p, *limits.missing, before, now)


def _of_numbers(tally: Tally, f: int, name: str, m: float, limits: Thresholds) -> Iterator[Check]:
    cells, edges = tally.cells[f], tally.edges[f]
    n = int(cells.sum())
    if not len(edges) or n == 0:
        return
    share = np.concatenate([[0.0], tally.summary.probabilities[f]])
    medians = _medians(tally.summary.quantiles[f], share, cells)
    cuts = st.deciles(share)
    tenths, now = (np.diff(each[cuts], prepend=0.0, append=1.0) for each in (share, np.cumsum(cells) / n))
    yield Check("stability", name, *st.stability(tenths, m, now, n, st.FEWEST_CUT), *limits.psi, *medians)
    moved = st.wasserstein(share, edges, cells)
    yield Check("distribution", name, *st.kolmogorov(share, m, cells), *limits.distance, *medians, moved)
    outside = int(cells[0] + cells[-1])
    p = st.more(outside, n, 1.0, m)  # two limits, of which either has no training row beyond it
    yield Check("unseen", name, float(outside), outside / n, p, *limits.unseen, 0.0, outside / n)


def _of_categories(tally: Tally, f: int, name: str, m: float, limits: Thresholds) -> Iterator[Check]:
    listed: Any = tally.summary.categories[f]
    counts = np.array([*(tally.known[f][each] for each in listed), tally.unknown[f]], np.float64)
    n, shares = float(counts.sum()), np.array(list(listed.values()))
    if n == 0 or not len(listed):
        return
    rest = max(0.0, 1 - float(shares.sum())) if len(listed) == MOST_CATEGORIES else 0.0
    before = np.append(shares, rest)
    first = st.rare(before, m)
    pooled = [np.append(each[:first], each[first:].sum()) for each in (before, counts / n)]
    yield Check("stability", name, *st.stability(pooled[0], m, pooled[1], n), *limits.psi)
    if rest > 0:
        return  # which of the others are new is not known
    unknown, (expected, size) = int(tally.unknown[f]), st.unknown(shares, m)
    p = st.more(unknown, n, expected * size, size)
    yield Check("unseen", name, float(unknown), unknown / n - expected, p, *limits.unseen, expected, unknown / n)


def _medians(values: np.ndarray, share: np.ndarray, cells: np.ndarray) -> tuple[float, float]:
    """The kept values that are the first to have half of the rows at most them; the largest, where none has."""
    n = cells.sum()
    if n == 0:
        return np.nan, np.nan
    before = np.searchsorted(share[1:], 0.5 * (1 - 1e-12))
    now = np.searchsorted(np.cumsum(cells)[1:-2] / n, 0.5)
    return float(values[before]), float(values[now])


