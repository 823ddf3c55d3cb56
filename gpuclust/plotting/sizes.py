"""How many rows each cluster has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .rows import centers_of, counted, on_host, predicted
from .style import Display, cluster_colors, number_clusters, quiet, title, within


@dataclass(eq=False)
class ClusterSizesDisplay(Display):
    """Bars of the clusters' rows, with their number and share; a line at equal shares.

    Parameters
    ----------
    sizes : int array of shape (n_clusters,)
    clusters : sequence, optional
        Names of the clusters. Default: 0, 1, ...

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure, once drawn
    bars_ : matplotlib BarContainer
    line_ : matplotlib Line2D at equal shares

    Examples
    --------
    >>> from gpuclust.plotting import ClusterSizesDisplay
    >>> ClusterSizesDisplay.from_predictions([0, 0, 1]).sizes
    array([2, 1])
    """

    sizes: np.ndarray
    clusters: Sequence[Any] | None = None

    @property
    def figsize(self) -> tuple[float, float]:
        return 6.4, within(0.9 + 0.22 * len(self.sizes), 2.4)

    @classmethod
    def from_estimator(cls, estimator: Any, X: Any, *, ax: Any = None) -> ClusterSizesDisplay:
        """The sizes of the clusters that a fitted estimator predicts for X.

        Parameters
        ----------
        estimator : fitted, with `cluster_centers_`
        X : array-like, sparse CSR, stream or path of shape (n_samples, n_features)
        ax : matplotlib Axes, optional
        """
        sizes = counted(predicted(estimator, X), len(centers_of(estimator)))
        return cls(sizes).plot(ax)

    @classmethod
    def from_predictions(cls, labels: Any, *, ax: Any = None) -> ClusterSizesDisplay:
        """The sizes of given labels, integers or strings of shape (n_samples,)."""
        clusters, sizes = np.unique(on_host(labels), return_counts=True)
        return cls(sizes, clusters.tolist()).plot(ax)

    def plot(self, ax: Any = None) -> ClusterSizesDisplay:
        """Draw on `ax`, or on a new figure."""
        ax, k, total = self._begin(ax), len(self.sizes), max(1, int(np.sum(self.sizes)))
        self.bars_ = ax.barh(np.arange(k), self.sizes, color=cluster_colors(k), height=0.8)
        texts = [f"{size:,} ({size / total:.1%})" for size in self.sizes]
        ax.bar_label(self.bars_, texts, padding=3, fontsize=9 if k <= 12 else 7)
        self.line_ = ax.axvline(total / k, color="black", linewidth=0.8, linestyle=":")
        number_clusters(ax.yaxis, np.arange(k), range(k) if self.clusters is None else self.clusters)
        ax.set(xlabel="rows (dotted line: equal shares)", ylabel="cluster", ylim=(k - 0.4, -0.6))
        ax.margins(x=0.22)
        ax.xaxis.set_major_formatter("{x:,.0f}")
        ax.locator_params(axis="x", nbins=5)
        quiet(ax, "top", "right", "left")
        title(ax, f"Sizes of {k} clusters, {total:,} rows")
        return self
