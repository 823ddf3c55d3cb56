"""What a comparison of new rows with the training rows found."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from scipy import stats

from ..profiling.rows import listed, pandas
from .judging import VERDICTS, Check, Thresholds, judge
from .tally import Tally


@dataclass(frozen=True, eq=False)
class DriftReport:
    """New rows against those that a model was fitted on; see `compare`.

    Attributes
    ----------
    verdict : {'ok', 'watch', 'retrain'}
        The worst of all tests.
    checks : tuple of Check
        Every test: those of the rows first, then column by column.
    n_rows, n_training : int
        New rows, and training rows.
    n_unassigned : int
        New rows that the model cannot take because of missing or infinite values.
    shares : float64 ndarray of shape (n_clusters, 2)
        Share of each cluster in training and now.
    far_rows : list of (int, float)
        Number (from 0) and distance of new rows beyond the training's 99.9 % distance, at most 20, farthest first.
    unknown : dict of str to list of str
        By column, categories that training did not have, at most 20 of each.
    thresholds : Thresholds
    """

    verdict: str
    checks: tuple[Check, ...]
    n_rows: int
    n_training: int
    n_unassigned: int
    shares: np.ndarray
    far_rows: list[tuple[int, float]]
    unknown: dict[str, list[str]]
    thresholds: Thresholds
    _tally: Tally = field(repr=False)

    @classmethod
    def of(cls, tally: Tally, names: list[str], thresholds: Thresholds) -> DriftReport:
        """The report on what was counted, which must not change any more."""
        checks, summary = judge(tally, names, thresholds), tally.summary
        now = tally.counts / max(1, tally.counts.sum())
        return cls(
            max((each.verdict for each in checks), key=VERDICTS.index), checks, tally.n_rows, summary.n_rows,
            tally.n_rows - int(tally.counts.sum()), np.stack([summary.shares, now], axis=1), tally.far_rows,
            {name: sorted(some) for name, some in zip(names, tally.strange, strict=True) if some}, thresholds, tally,
        )  # fmt: skip

    @property
    def table(self) -> Any:
        """The tests as a DataFrame, the worst first.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        return pandas().DataFrame([vars(each) for each in self.ordered])

    @property
    def ordered(self) -> list[Check]:
        """The tests, the worst first."""
        return sorted(self.checks, key=lambda each: (-VERDICTS.index(each.verdict), each.p_adjusted, -each.effect))

    @cached_property
    def detectable(self) -> float:
        """The Kolmogorov-Smirnov distance of a column from which on its test is sure to be significant, with so many
        rows."""
        m, n = self._tally.summary.n_effective, self.n_rows
        return float(stats.kstwo.isf(self.thresholds.alpha / len(self.checks), max(1, round(m * n / (m + n)))))

    @property
    def distances(self) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
        """Distances to the own centre, and the share of the rows that are at most as far: in training, and now."""
        summary, cells = self._tally.summary, self._tally.distances
        within = np.cumsum(cells)[1:-1] / max(1, cells.sum())
        return (summary.distances, summary.distance_probabilities), (summary.distances, within)

    @property
    def sentences(self) -> list[str]:
        """The verdict, and what it rests on, in words."""
        head = {
            "ok": "The new rows are like the training rows, as far as they tell.",
            "watch": "The new rows differ from the training rows: watch them.",
            "retrain": "The new rows differ much from the training rows: fit the model again.",
        }[self.verdict]
        told = [f"{head} ({self.n_rows:,} new rows, {self.n_training:,} training rows.)"]
        told += [_sentence(each) for each in self.ordered if each.verdict != "ok"]
        told += [f"Column {name} has categories that training did not: {listed(values)}." for name, values in
                 self.unknown.items()]  # fmt: skip
        if self.n_unassigned:
            told.append(f"{self.n_unassigned:,} rows were not assigned: the model cannot take what is missing in them.")
        gone = np.flatnonzero((self.shares[:, 0] > 0) & (self.shares[:, 1] == 0))
        if len(gone) and self.n_rows > self.n_unassigned:
            told.append(f"No new row is in cluster {listed(gone.tolist())}.")
        if self.detectable > self.thresholds.distance[0]:
            told.append(
                f"So few rows cannot tell small changes: columns that differ in less than {self.detectable:.0%} of the"
                " rows may pass."
            )
        return told

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain values, for JSON: None for NaN, and for distances beyond float64."""
        return {
            "verdict": self.verdict,
            "n_rows": self.n_rows,
            "n_training": self.n_training,
            "n_unassigned": self.n_unassigned,
            "sentences": self.sentences,
            "checks": [each.as_dict() for each in self.checks],
            "clusters": [
                {"cluster": j, "training": float(before), "new": float(now)}
                for j, (before, now) in enumerate(self.shares)
            ],
            "far_rows": [
                {"row": row, "distance": distance if distance < np.inf else None} for row, distance in self.far_rows
            ],
            "unknown": self.unknown,
            "thresholds": {
                name: list(each) if isinstance(each, tuple) else each for name, each in asdict(self.thresholds).items()
            },
        }

    def plot(self, axes: Any = None) -> Any:
        """Draw columns, clusters and distances; see `DriftDisplay`."""
        from .display import DriftDisplay

        return DriftDisplay(self).plot(axes)


def _sentence(each: Check) -> str:
    """One test in words."""
    where, p = f"Column {each.feature}", f"p {_small(each.p_adjusted)}"
    return {
        "stability": f"{where} is spread otherwise: PSI {each.statistic:.3g}{_moved(each)} ({p}).",
        "distribution": f"{where} differs in at least {each.effect:.1%} of the rows{_moved(each)} ({p}).",
        "missing": f"{where} lacks {each.new:.1%} of its values, {each.training:.1%} in training ({p}).",
        "unseen": f"{where} has {each.new:.1%} values that training did not have or was not near ({p}).",
        "clusters": f"The clusters have other shares: PSI {each.statistic:.3g} ({p}).",
        "distances": f"Rows lie otherwise about their centers: {each.effect:.1%} of the distances differ{_moved(each)}"
        f" ({p}).",
        "far": f"{each.new:.2%} of the rows are far from every center, {each.training:.2%} in training ({p}).",
    }[each.check]


def _moved(each: Check) -> str:
    return "" if each.training != each.training else f", median {each.training:.4g} before and {each.new:.4g} now"


def _small(p: float) -> str:
    return f"{p:.2g}" if p >= 1e-4 else "< 0.0001"
