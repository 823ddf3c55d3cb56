"""Rows and centres in the plane: two features, or the first two principal components."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from .rows import Rows, centers_of, coded, draw, matching, names_of, predicted, sample_note
from .style import Display, cluster_colors, marker, plain, quiet, title

MOST = {"points": 20_000, "density": 1_000_000}  # rows that are drawn where the caller leaves it open


@dataclass(eq=False)
class ScatterDisplay(Display):
    """Points of the rows, or their density, with the centres, which carry the clusters' names.

    Parameters
    ----------
    points : float array of shape (n_drawn, 2)
    labels : int array of shape (n_drawn,)
        Places in `clusters`.
    centers : float array of shape (n_clusters, 2)
    clusters : sequence
        Names of the clusters.
    axis_names : tuple of two str
    n_rows : int, optional
        Rows of the whole data. Default: those drawn.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure, once drawn
    points_ : list of matplotlib PathCollection, one a cluster; of one PolyCollection for a density
    centers_ : list of matplotlib Text, one a cluster
    """

    points: np.ndarray
    labels: np.ndarray
    centers: np.ndarray
    clusters: Sequence[Any]
    axis_names: tuple[str, str]
    n_rows: int | None = None

    @property
    def figsize(self) -> tuple[float, float]:
        return 6.8, 5.4

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, *, features: tuple[Any, Any] | None = None, kind: str = "points",
        max_rows: int | None = None, random_state: Any = 0, feature_names: Sequence[Any] | None = None, ax: Any = None,
    ) -> ScatterDisplay:  # fmt: skip
        """Rows under a fitted estimator.

        Parameters
        ----------
        estimator : fitted, with `predict` and `cluster_centers_`
        X : array-like, sparse CSR, stream or path of shape (n_samples, n_features)
        features : two names or numbers of features, optional
            Default: the first two principal components of the rows drawn; the features themselves where there are two.
        kind : {'points', 'density'}, default='points'
        max_rows : int, optional
            Of more rows a random sample of so many is drawn; the title says so. Default: 20 000 points, 1 000 000 for
            a density.
        random_state : int, RandomState or None, default=0
        feature_names : sequence of str, optional
        ax : matplotlib Axes, optional

        Raises
        ------
        ValueError
            If X has only one feature or not the features asked for.
        """
        rows = draw(X, _most(kind, max_rows), random_state, names_of(estimator, feature_names))
        centers = centers_of(estimator)
        labels, clusters = predicted(estimator, rows.X), np.arange(len(centers))
        points, placed, axes = _flatten(rows, centers, features)
        return cls(points, labels, placed, clusters.tolist(), axes, rows.n_rows).plot(ax, kind=kind)

    @classmethod
    def from_predictions(
        cls, X: Any, labels: Any, *, centers: Any = None, features: tuple[Any, Any] | None = None,
        kind: str = "points", max_rows: int | None = None, random_state: Any = 0,
        feature_names: Sequence[Any] | None = None, ax: Any = None,
    ) -> ScatterDisplay:  # fmt: skip
        """Rows under given labels, integers or strings of shape (n_samples,).

        `centers`, of shape (n_clusters, n_features) in the order of the sorted labels, default to the means of the
        rows drawn; the rest as `from_estimator`.
        """
        rows = draw(X, _most(kind, max_rows), random_state, feature_names)
        labels = matching(labels, rows.n_rows)
        clusters = np.unique(labels)
        code = coded(labels[rows.index], clusters)
        points, placed, axes = _flatten(rows, None if centers is None else np.asarray(centers, np.float64), features)
        if placed is None:
            placed = np.array([points[code == c].mean(axis=0) if (code == c).any() else [np.nan] * 2
                               for c in range(len(clusters))])  # fmt: skip
        return cls(points, code, placed, clusters.tolist(), axes, rows.n_rows).plot(ax, kind=kind)

    def plot(self, ax: Any = None, *, kind: str = "points") -> ScatterDisplay:
        """Draw on `ax`, or on a new figure."""
        ax = self._begin(ax)
        if _most(kind, None) == MOST["points"]:
            self._draw_points(ax)
        else:
            self._draw_density(ax)
        self._draw_centers(ax)
        ax.set_xlabel(self.axis_names[0], parse_math=False)
        ax.set_ylabel(self.axis_names[1], parse_math=False)
        quiet(ax)
        drawn = len(self.points)
        title(ax, "Rows and centers", sample_note(drawn, drawn if self.n_rows is None else self.n_rows))
        return self

    def _draw_points(self, ax: Any) -> None:
        k, colors = len(self.clusters), cluster_colors(len(self.clusters))
        size = float(np.clip(30_000 / max(1, len(self.points)), 3, 24))
        self.points_ = []
        for cluster in range(k):
            x, y = self.points[self.labels == cluster].T
            self.points_.append(
                ax.scatter(
                    x, y, s=size, color=colors[cluster], marker=marker(cluster, k), alpha=0.6, linewidths=0,
                    rasterized=True,
                )
            )  # fmt: skip

    def _draw_density(self, ax: Any) -> None:
        x, y = self.points.T
        cells = ax.hexbin(x, y, gridsize=70, bins="log", cmap=_blues(), mincnt=1, linewidths=0.1)
        ax.figure.colorbar(cells, ax=ax, label="rows in a cell")
        self.points_ = [cells]

    def _draw_centers(self, ax: Any) -> None:
        """The clusters' names, each in a frame of its colour, so that one that lies on another can be read."""
        from matplotlib.patheffects import withStroke

        size, outline = 9 if len(self.clusters) <= 12 else 7, [withStroke(linewidth=3.5, foreground="black")]
        self.centers_ = []
        for place, cluster, color in zip(self.centers, self.clusters, cluster_colors(len(self.clusters)), strict=True):
            if np.isfinite(place).all():
                text = ax.text(
                    *place, plain(cluster), ha="center", va="center", fontsize=size, weight="bold", parse_math=False,
                    bbox={"boxstyle": "round,pad=0.25", "fc": "white", "ec": color, "lw": 2}, zorder=5,
                )  # fmt: skip
                text.get_bbox_patch().set_path_effects(outline)
                self.centers_.append(text)


def _blues() -> Any:
    """The map Blues without its white end: a cell of one row must be seen."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    return ListedColormap(colormaps["Blues"](np.linspace(0.25, 1, 256)))


def _most(kind: str, max_rows: int | None) -> int:
    if kind not in MOST:
        raise ValueError(f"kind={kind!r} is none of {', '.join(map(repr, MOST))}.")
    return MOST[kind] if max_rows is None else max_rows


def _flatten(rows: Rows, centers: Any, features: Any) -> tuple[np.ndarray, Any, tuple[str, str]]:
    """Points f64 [m, 2], the centres beside them, and the names of both axes."""
    if len(rows.names) < 2:
        raise ValueError("X has only one feature; draw it with FeatureDisplay.")
    if features is None and len(rows.names) > 2:
        return _components(rows, centers)
    pair = [rows.position(feature) for feature in features or (0, 1)]
    if len(pair) != 2:
        raise ValueError(f"features has {len(pair)} entries; give two names or numbers of features.")
    columns = [rows.column(at) for at in pair]
    x, y = (plain(name) for _, name in columns)
    return np.stack([values for values, _ in columns], axis=1), None if centers is None else centers[:, pair], (x, y)


def _components(rows: Rows, centers: Any) -> tuple[np.ndarray, Any, tuple[str, str]]:
    from sklearn.decomposition import PCA

    X = rows.X if sp.issparse(rows.X) else rows.X.astype(np.float64)
    pca = PCA(2, svd_solver="arpack" if sp.issparse(X) else "auto", random_state=0).fit(X)
    shares = np.nan_to_num(pca.explained_variance_ratio_)
    x, y = (f"principal component {at} ({share:.0%} of the variance)" for at, share in enumerate(shares, start=1))
    return pca.transform(X), None if centers is None else pca.transform(centers), (x, y)
