"""How far the clusters lie from each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import eigh
from scipy.spatial.distance import cdist

from ..backends.metric import Metric
from .rows import centers_of, counted, on_host, predicted
from .style import Display, cluster_colors, number_clusters, plain, quiet, readable, title, within, write_numbers

AREA = 2600  # points squared of the largest cluster's circle
KINDS = ("matrix", "map")


@dataclass(eq=False)
class ClusterDistanceDisplay(Display):
    """Distances between centres, as a matrix or as a map.

    The map is classical multidimensional scaling (Torgerson, Psychometrika 17, 1952): in the plane, distances between
    circles are as near to those between centres as two dimensions allow. Areas are proportional to rows.

    Parameters
    ----------
    distances : float array of shape (n_clusters, n_clusters)
    sizes : int array of shape (n_clusters,), optional
        Rows of the clusters. Default: equal.
    clusters : sequence, optional
        Names of the clusters. Default: 0, 1, ...
    metric : str
        Named beside the colours.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure, once drawn
    image_ : matplotlib AxesImage (matrix)
    circles_ : matplotlib PathCollection (map)
    """

    distances: np.ndarray
    sizes: np.ndarray | None = None
    clusters: Sequence[Any] | None = None
    metric: str = "euclidean"

    @property
    def figsize(self) -> tuple[float, float]:
        side = within(1.6 + 0.21 * len(self.distances), 4.8)
        return side + 0.8, side

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any = None, *, kind: str = "matrix", metric: str | None = None, ax: Any = None
    ) -> ClusterDistanceDisplay:
        """Distances between the centres of a fitted estimator.

        Parameters
        ----------
        estimator : fitted, with `cluster_centers_`
        X : array-like, sparse CSR, stream or path of shape (n_samples, n_features), optional
            Rows to count for the sizes. Default: the estimator's `labels_`, where it has them.
        kind : {'matrix', 'map'}, default='matrix'
        metric : {'euclidean', 'manhattan'}, optional
            Default: Manhattan for K-Medians, else Euclidean.
        ax : matplotlib Axes, optional
        """
        labels = getattr(estimator, "labels_", None) if X is None else predicted(estimator, X)
        centers = centers_of(estimator)
        sizes = None if labels is None else counted(on_host(labels), len(centers))
        metric = metric or metric_of(estimator)
        return cls(between(centers, metric), sizes, metric=metric).plot(ax, kind=kind)

    @classmethod
    def from_predictions(
        cls, centers: Any, labels: Any = None, *, kind: str = "matrix", metric: str = "euclidean", ax: Any = None
    ) -> ClusterDistanceDisplay:
        """Distances between centres of shape (n_clusters, n_features); `labels` are their numbers, one a row."""
        centers = np.asarray(centers, np.float64)
        sizes = None if labels is None else counted(on_host(labels), len(centers))
        return cls(between(centers, metric), sizes, metric=metric).plot(ax, kind=kind)

    def plot(self, ax: Any = None, *, kind: str = "matrix") -> ClusterDistanceDisplay:
        """Draw on `ax`, or on a new figure."""
        if kind not in KINDS:
            raise ValueError(f"kind={kind!r} is none of {', '.join(map(repr, KINDS))}.")
        ax = self._begin(ax)
        names = range(len(self.distances)) if self.clusters is None else self.clusters
        (self._draw_matrix if kind == "matrix" else self._draw_map)(ax, names)
        return self

    def _draw_matrix(self, ax: Any, names: Sequence[Any]) -> None:
        k = len(names)
        self.image_ = ax.imshow(self.distances, cmap="cividis")
        write_numbers(ax, self.image_, self.distances)
        number_clusters(ax.xaxis, range(k), names)
        number_clusters(ax.yaxis, range(k), names)
        ax.set(xlabel="cluster", ylabel="cluster")
        ax.figure.colorbar(self.image_, ax=ax, label=f"{self.metric} distance", shrink=0.8)
        title(ax, "Distances between centers")

    def _draw_map(self, ax: Any, names: Sequence[Any]) -> None:
        k, places = len(names), _scaled(self.distances)
        sizes = np.ones(k) if self.sizes is None else np.asarray(self.sizes, float)
        areas = AREA * sizes / max(1.0, sizes.max())
        colors = cluster_colors(k)
        order = np.argsort(-areas, kind="stable")  # small circles on top
        self.circles_ = ax.scatter(
            *places[order].T, s=areas[order], c=colors[order], alpha=0.75, edgecolors="black", linewidths=0.8
        )
        for at in order:
            inside = areas[at] > 120
            ax.annotate(
                plain(names[at]), places[at], (0, 0 if inside else np.sqrt(areas[at]) / 2 + 5), ha="center",
                va="center_baseline", textcoords="offset points", fontsize=8, parse_math=False,
                color=readable(colors[at]) if inside else "black",
            )  # fmt: skip
        ax.set_aspect("equal", adjustable="datalim")
        ax.margins(0.15)
        ax.set(xlabel=f"{self.metric} distance, scaled to the plane")
        quiet(ax)
        title(ax, "Map of the centers", "" if self.sizes is None else "areas are numbers of rows")


def metric_of(estimator: Any) -> str:
    """The distance that an estimator's clusters are made with."""
    return "manhattan" if getattr(estimator, "_metric", Metric.EUCLIDEAN).l1 else "euclidean"


def between(centers: np.ndarray, metric: str) -> np.ndarray:
    names = {"euclidean": "euclidean", "manhattan": "cityblock"}
    if metric not in names:
        raise ValueError(f"metric={metric!r} is none of {', '.join(map(repr, names))}.")
    return cdist(centers, centers, names[metric])


def _scaled(distances: np.ndarray) -> np.ndarray:
    """Classical multidimensional scaling to two dimensions, f64 [k, 2]."""
    squares = np.square(distances)
    centred = squares - squares.mean(axis=0) - squares.mean(axis=1)[:, None] + squares.mean()
    k = len(squares)
    values, vectors = eigh(-centred / 2, subset_by_index=(max(0, k - 2), k - 1))
    places = (vectors * np.sqrt(np.maximum(values, 0)))[:, ::-1]
    places *= np.where(places[np.abs(places).argmax(axis=0), np.arange(places.shape[1])] < 0, -1, 1)
    return np.pad(places, ((0, 0), (0, 2 - places.shape[1])))
