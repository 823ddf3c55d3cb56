"""One feature, cluster by cluster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .rows import coded, draw, matching, names_of, predicted, sample_note
from .style import Display, cluster_colors, number_clusters, plain, quiet, title, within

KINDS = ("hist", "box", "violin")
BINS = 60
OVERLAP = 1.6  # height of the tallest histogram, in steps between clusters


@dataclass(eq=False)
class FeatureDisplay(Display):
    """The distribution of a feature in each cluster.

    Parameters
    ----------
    values : float array of shape (n_drawn,)
    labels : int array of shape (n_drawn,)
        Places in `clusters`.
    clusters : sequence
        Names of the clusters.
    name : str
        Of the feature.
    n_rows : int, optional
        Rows of the whole data. Default: those drawn.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure, once drawn
    hist_ : list of matplotlib StepPatch, one a cluster, each scaled to a height of its own
    box_ : dict of lists of artists, as of matplotlib's `boxplot`
    violins_ : list of matplotlib PolyCollection, one a cluster with rows
    """

    values: np.ndarray
    labels: np.ndarray
    clusters: Sequence[Any]
    name: str
    n_rows: int | None = None

    @property
    def figsize(self) -> tuple[float, float]:
        return within(1.2 + 0.2 * len(self.clusters), 6.4), within(1.2 + 0.16 * len(self.clusters), 4.2)

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, feature: Any = 0, *, kind: str = "hist", max_rows: int | None = 100_000,
        random_state: Any = 0, feature_names: Sequence[Any] | None = None, ax: Any = None,
    ) -> FeatureDisplay:  # fmt: skip
        """A feature under a fitted estimator.

        Parameters
        ----------
        estimator : fitted, with `predict` and `cluster_centers_`
        X : array-like, sparse CSR, stream or path of shape (n_samples, n_features)
        feature : str or int, default=0
            Its name or number.
        kind : {'hist', 'box', 'violin'}, default='hist'
            Boxes reach from the first to the third quartile, their whiskers from the 5th to the 95th percentile.
        max_rows : int or None, default=100000
            Of more rows a random sample of so many is drawn; the title says so. None: all.
        random_state : int, RandomState or None, default=0
        feature_names : sequence of str, optional
        ax : matplotlib Axes, optional

        Raises
        ------
        ValueError
            If X has no such feature.
        """
        rows = draw(X, max_rows, random_state, names_of(estimator, feature_names))
        values, name = rows.column(feature)
        labels, clusters = predicted(estimator, rows.X), range(len(estimator.cluster_centers_))
        return cls(values, labels, clusters, name, rows.n_rows).plot(ax, kind=kind)

    @classmethod
    def from_predictions(
        cls, X: Any, labels: Any, feature: Any = 0, *, kind: str = "hist", max_rows: int | None = 100_000,
        random_state: Any = 0, feature_names: Sequence[Any] | None = None, ax: Any = None,
    ) -> FeatureDisplay:  # fmt: skip
        """A feature under given labels, integers or strings of shape (n_samples,); the rest as `from_estimator`."""
        rows = draw(X, max_rows, random_state, feature_names)
        labels = matching(labels, rows.n_rows)
        clusters = np.unique(labels)
        values, name = rows.column(feature)
        code = coded(labels[rows.index], clusters)
        return cls(values, code, clusters.tolist(), name, rows.n_rows).plot(ax, kind=kind)

    def plot(self, ax: Any = None, *, kind: str = "hist") -> FeatureDisplay:
        """Draw on `ax`, or on a new figure."""
        if kind not in KINDS:
            raise ValueError(f"kind={kind!r} is none of {', '.join(map(repr, KINDS))}.")
        ax = self._begin(ax)
        parts = [self.values[self.labels == cluster] for cluster in range(len(self.clusters))]
        {"hist": self._draw_hist, "box": self._draw_box, "violin": self._draw_violin}[kind](ax, parts)
        along, across = (ax.set_xlabel, ax.set_ylabel) if kind == "hist" else (ax.set_ylabel, ax.set_xlabel)
        along(plain(self.name), parse_math=False)
        across("cluster")
        quiet(ax)
        drawn = len(self.values)
        note = sample_note(drawn, drawn if self.n_rows is None else self.n_rows)
        title(ax, f"{plain(self.name)} by cluster", note)
        return self

    def _draw_hist(self, ax: Any, parts: list[np.ndarray]) -> None:
        """Histograms one behind the other, so that thirty of them can be read."""
        k, colors = len(parts), cluster_colors(len(parts))
        edges = np.histogram_bin_edges(self.values, BINS)
        self.hist_ = []
        for cluster, part in enumerate(parts):
            count = np.histogram(part, edges)[0]
            base = float(k - 1 - cluster)
            top = base + OVERLAP * count / max(1, count.max())
            self.hist_.append(
                ax.stairs(
                    top, edges, baseline=base, fill=True, facecolor=(*colors[cluster][:3], 0.8), edgecolor="white",
                    linewidth=0.8, zorder=2 + cluster,
                )
            )  # fmt: skip
            ax.axhline(base, color="0.8", linewidth=0.5, zorder=1)
        number_clusters(ax.yaxis, np.arange(k)[::-1], self.clusters)
        ax.set_ylim(-0.2, k - 1 + OVERLAP + 0.1)

    def _draw_box(self, ax: Any, parts: list[np.ndarray]) -> None:
        k = len(parts)
        self.box_ = ax.boxplot(
            parts, positions=range(k), whis=(5, 95), showfliers=False, widths=0.7, patch_artist=True,
            medianprops={"color": "black", "linewidth": 1.6},
        )  # fmt: skip
        for box, color in zip(self.box_["boxes"], cluster_colors(k), strict=True):
            box.set(facecolor=color, alpha=0.8)
        number_clusters(ax.xaxis, range(k), self.clusters)

    def _draw_violin(self, ax: Any, parts: list[np.ndarray]) -> None:
        k, colors = len(parts), cluster_colors(len(parts))
        there = [cluster for cluster in range(k) if len(parts[cluster])]
        drawn = ax.violinplot(
            [parts[cluster] for cluster in there], there, widths=0.9, showextrema=False, showmedians=True
        )
        self.violins_ = drawn["bodies"]
        for body, cluster in zip(self.violins_, there, strict=True):
            body.set(facecolor=colors[cluster], edgecolor="black", linewidth=0.5, alpha=0.85)
        drawn["cmedians"].set(color="black", linewidth=1.6)
        number_clusters(ax.xaxis, range(k), self.clusters)
