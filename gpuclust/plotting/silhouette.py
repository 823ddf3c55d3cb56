"""The silhouette (knife) plot (Rousseeuw, J. Comput. Appl. Math. 20, 1987)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..metrics import silhouette_samples
from .distances import metric_of
from .rows import Rows, centers_of, coded, draw, matching, on_host, predicted, sample_note
from .style import ACCENT, Display, cluster_colors, number_clusters, quiet, title, within

POINTS = 8.5  # height of a cluster's number with some air


@dataclass(eq=False)
class SilhouetteDisplay(Display):
    """Silhouettes of the rows, cluster by cluster, sorted; a line at their mean.

    Parameters
    ----------
    silhouettes : float array of shape (n_drawn,)
        Silhouettes, from -1 to 1.
    labels : int array of shape (n_drawn,)
        Places in `clusters`.
    clusters : sequence
        Names of the clusters.
    n_rows : int, optional
        Rows of the whole data. Default: those drawn.

    Attributes
    ----------
    score : float
        Mean silhouette of the rows drawn.
    ax_, figure_ : matplotlib Axes and Figure, once drawn
    knives_ : list of matplotlib PolyCollection, one a cluster
    line_ : matplotlib Line2D at the score
    """

    silhouettes: np.ndarray
    labels: np.ndarray
    clusters: Sequence[Any]
    n_rows: int | None = None

    @property
    def score(self) -> float:
        return float(np.mean(self.silhouettes))

    @property
    def figsize(self) -> tuple[float, float]:
        return 6.4, within(1.2 + 1.6 * POINTS / 72 * len(self.clusters), 4.8)

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, *, metric: str | None = None, max_rows: int | None = 10_000,
        random_state: Any = 0, ax: Any = None,
    ) -> SilhouetteDisplay:  # fmt: skip
        """Silhouettes of the clusters that a fitted estimator predicts.

        Parameters
        ----------
        estimator : fitted, with `predict`
        X : array-like, sparse CSR, stream or path of shape (n_samples, n_features)
        metric : {'euclidean', 'sqeuclidean', 'manhattan', 'cosine'}, optional
            Default: Manhattan for K-Medians, else Euclidean.
        max_rows : int or None, default=10000
            Of more rows a random sample of so many is drawn, and their silhouettes are those within the sample; the
            title says so. None: all rows, which takes time in proportion to their square.
        random_state : int, RandomState or None, default=0
        ax : matplotlib Axes, optional

        Raises
        ------
        ValueError
            If the rows drawn lie in one cluster, or each in its own.
        """
        rows = draw(X, max_rows, random_state)
        metric = metric or metric_of(estimator)
        clusters = np.arange(len(centers_of(estimator)))
        return cls._of(rows, predicted(estimator, rows.X), clusters, metric).plot(ax)

    @classmethod
    def from_predictions(
        cls, X: Any, labels: Any, *, metric: str = "euclidean", max_rows: int | None = 10_000, random_state: Any = 0,
        ax: Any = None,
    ) -> SilhouetteDisplay:  # fmt: skip
        """Silhouettes of given labels, integers or strings of shape (n_samples,); the rest as `from_estimator`."""
        rows = draw(X, max_rows, random_state)
        labels = matching(labels, rows.n_rows)
        return cls._of(rows, labels[rows.index], np.unique(labels), metric).plot(ax)

    @classmethod
    def _of(cls, rows: Rows, labels: np.ndarray, clusters: np.ndarray, metric: str) -> SilhouetteDisplay:
        values = on_host(silhouette_samples(rows.X, labels, metric=metric))
        return cls(values, coded(labels, clusters), clusters.tolist(), rows.n_rows)

    def plot(self, ax: Any = None) -> SilhouetteDisplay:
        """Draw on `ax`, or on a new figure."""
        ax, k = self._begin(ax), len(self.clusters)
        drawn = len(self.silhouettes)
        gap, colors = self._gap(ax), cluster_colors(k)
        self.knives_, middles, low = [], [], gap
        for cluster in range(k):
            knife = np.sort(self.silhouettes[self.labels == cluster])
            levels = low + np.arange(len(knife) + 1)
            edge = np.append(knife, knife[-1:])
            self.knives_.append(
                ax.fill_betweenx(levels[: len(edge)], 0, edge, color=colors[cluster], step="post", linewidth=0.3)
            )
            middles.append(low + len(knife) / 2)
            low += len(knife) + gap
        self.line_ = ax.axvline(self.score, color=ACCENT, linestyle="--", linewidth=1.2)
        ax.axvline(0, color="black", linewidth=0.8)
        number_clusters(ax.yaxis, middles, self.clusters)
        least = float(np.min(self.silhouettes))
        ax.set(xlabel="silhouette", ylabel="cluster", ylim=(low, 0), xlim=(min(-0.1, least - 0.02), 1))
        quiet(ax, "top", "right", "left")
        note = sample_note(drawn, drawn if self.n_rows is None else self.n_rows)
        title(ax, f"Silhouettes, mean {self.score:.3f}", note)
        return self

    def _gap(self, ax: Any) -> float:
        """Rows of air between clusters: as many as keep the numbers of neighbours POINTS apart."""
        k, drawn = len(self.clusters), len(self.silhouettes)
        size = np.bincount(self.labels, minlength=k)
        nearest = float(np.min(size[1:] + size[:-1], initial=2 * drawn)) / 2
        share = min(POINTS / (ax.get_window_extent().height / ax.figure.dpi * 72), 0.5 / (k + 1))
        return max(0.01 * drawn, (share * drawn - nearest) / (1 - share * (k + 1)))
