"""A picture of a drift report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from ..plotting.style import ACCENT, LINE, Display, plain, pyplot, quiet, title
from .report import DriftReport

MOST: Final = 20  # columns, and clusters
COLORS: Final = {"ok": LINE, "watch": "#e69f00", "retrain": ACCENT}


@dataclass(eq=False)
class DriftDisplay(Display):
    """How stable the columns are, the shares of the clusters, and the distances to the centres, before and now.

    Parameters
    ----------
    report : DriftReport

    Attributes
    ----------
    ax_ : ndarray of 3 matplotlib Axes, once drawn
    figure_ : matplotlib Figure
    """

    report: DriftReport

    @property
    def figsize(self) -> tuple[float, float]:
        return 13.0, 4.6

    def plot(self, axes: Any = None) -> DriftDisplay:
        """Draw on three Axes, or on a new figure."""
        if axes is None:
            axes = pyplot().subplots(1, 3, figsize=self.figsize, layout="constrained")[1]
        self.ax_, self.figure_ = np.asarray(axes), axes[0].figure
        self._columns(axes[0])
        self._clusters(axes[1])
        self._distances(axes[2])
        return self

    def _columns(self, ax: Any) -> None:
        """The population stability index of the columns, the largest ones."""
        checks = [each for each in self.report.checks if each.check == "stability"]
        checks = sorted(checks, key=lambda each: -each.effect)[:MOST]
        colors = [COLORS[self._verdict(each.feature)] for each in checks]
        at = np.arange(len(checks))
        ax.barh(at, [each.effect for each in checks], color=colors, height=0.8)
        for limit, style in zip(self.report.thresholds.psi, (":", "--"), strict=True):
            ax.axvline(limit, color="black", linewidth=0.8, linestyle=style)
        ax.set_yticks(at, labels=[plain(each.feature) for each in checks], parse_math=False)
        ax.set(xlabel="PSI beyond chance (lines: watch, retrain)", ylim=(max(len(checks), 1) - 0.4, -0.6))
        quiet(ax)
        title(ax, f"Columns: {self.report.verdict}", "color: the worst of a column's tests")

    def _verdict(self, feature: str | None) -> str:
        return max((c.verdict for c in self.report.checks if c.feature == feature), key=list(COLORS).index)

    def _clusters(self, ax: Any) -> None:
        """The clusters whose shares changed most."""
        shares = self.report.shares
        order = np.sort(np.argsort(-np.abs(shares[:, 1] - shares[:, 0]), kind="stable")[:MOST])
        at = np.arange(len(order))
        for side, name, color in ((0, "training", "#6e6e6e"), (1, "now", LINE)):
            ax.barh(at + 0.4 * side - 0.2, shares[order, side], height=0.4, color=color, label=name)
        ax.set_yticks(at, labels=order.tolist())
        ax.set(xlabel="share of the rows", ylabel="cluster", ylim=(len(order) - 0.4, -0.6))
        ax.xaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
        ax.legend(frameon=False)
        quiet(ax)
        title(ax, "Clusters")

    def _distances(self, ax: Any) -> None:
        """Share of rows that lie within a distance of their centre."""
        before, now = self.report.distances
        ax.step(*before, where="post", color="#6e6e6e", label="training")
        ax.step(*now, where="post", color=LINE, label="now")
        ax.set(xlabel="distance to the own center", ylabel="share of rows within", ylim=(0, 1.02))
        ax.legend(frameon=False, loc="lower right")
        quiet(ax)
        title(ax, "Distances")
