"""The centres as a heat map: what is high and what is low in each cluster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.preprocessing import StandardScaler

from .rows import centers_of, matching, named, names_of, opened
from .style import Display, name_features, number_clusters, title, within, write_numbers


@dataclass(eq=False)
class CentersHeatmapDisplay(Display):
    """Centres in standard units: standard deviations of all rows away from their mean.

    Parameters
    ----------
    values : float array of shape (n_clusters, n_features)
        Centres in standard units.
    feature_names : sequence of str
    clusters : sequence, optional
        Names of the clusters. Default: 0, 1, ...
    max_features : int, default=40
        Of more features those are drawn whose centres differ most (largest standard deviation of `values` over the
        clusters), in the order of the data; the title says so.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure, once drawn
    image_ : matplotlib AxesImage, clusters in columns
    """

    values: np.ndarray
    feature_names: Sequence[Any]
    clusters: Sequence[Any] | None = None
    max_features: int = 40

    @property
    def figsize(self) -> tuple[float, float]:
        k, d = len(self.values), min(self.max_features, len(self.feature_names))
        return within(2.8 + 0.26 * k, 5.0), within(1.2 + 0.24 * d, 3.4)

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, *, feature_names: Sequence[Any] | None = None, max_features: int = 40,
        ax: Any = None,
    ) -> CentersHeatmapDisplay:  # fmt: skip
        """The centres of a fitted estimator.

        Parameters
        ----------
        estimator : fitted, with `cluster_centers_`
        X : array-like, sparse CSR, stream or path of shape (n_samples, n_features)
            Whose mean and standard deviation are the standard; read once, in chunks.
        feature_names : sequence of str, optional
        max_features : int, default=40
        ax : matplotlib Axes, optional
        """
        scaler, names = _standard(X)
        names = named(names_of(estimator, feature_names), names)
        centers = centers_of(estimator)
        values = (centers - scaler.mean_) / scaler.scale_
        return cls(values, names, max_features=max_features).plot(ax)

    @classmethod
    def from_predictions(
        cls, X: Any, labels: Any, *, feature_names: Sequence[Any] | None = None, max_features: int = 40, ax: Any = None
    ) -> CentersHeatmapDisplay:
        """The means of X under given labels, integers or strings of shape (n_samples,)."""
        source, names = opened(X)
        clusters, code = np.unique(matching(labels, source.n_rows), return_inverse=True)
        total, scaler = np.zeros((len(clusters), source.n_features)), StandardScaler(with_mean=not source.sparse)
        for chunk in source.chunks():
            rows = source.backend.to_host(chunk.X)
            scaler.partial_fit(rows)
            total += _sums(rows, code[chunk.start : chunk.start + rows.shape[0]], len(clusters))
        means = total / np.bincount(code)[:, None]
        values = (means - scaler.mean_) / scaler.scale_
        return cls(values, named(feature_names, names), clusters.tolist(), max_features).plot(ax)

    def plot(self, ax: Any = None) -> CentersHeatmapDisplay:
        """Draw on `ax`, or on a new figure."""
        ax = self._begin(ax)
        k, d = self.values.shape
        shown = np.sort(np.argsort(-self.values.std(axis=0), kind="stable")[: self.max_features])
        values = self.values[:, shown].T
        limit = max(1e-12, min(3.0, float(np.abs(values).max(initial=0.0))))
        self.image_ = ax.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
        write_numbers(ax, self.image_, values)
        number_clusters(ax.xaxis, range(k), range(k) if self.clusters is None else self.clusters)
        name_features(ax.yaxis, [self.feature_names[at] for at in shown])
        ax.set_xlabel("cluster")
        beyond = np.abs(values).max(initial=0.0) > limit
        bar = ax.figure.colorbar(self.image_, ax=ax, extend="both" if beyond else "neither")
        bar.set_label("standard deviations from mean")
        note = "" if len(shown) == d else f"the {len(shown)} of {d} features whose centers differ most"
        title(ax, "Centers in standard units", note)
        return self


def _standard(X: Any) -> tuple[StandardScaler, list[str]]:
    """Mean and standard deviation of all rows (constant features: 1), chunk by chunk."""
    source, names = opened(X)
    scaler = StandardScaler(with_mean=not source.sparse)
    for chunk in source.chunks():
        scaler.partial_fit(source.backend.to_host(chunk.X))
    return scaler, names


def _sums(rows: Any, code: np.ndarray, k: int) -> np.ndarray:
    """Sums of rows [m, d] by cluster, f64 [k, d]."""
    member = sp.csr_array((np.ones(len(code)), (code, np.arange(len(code)))), shape=(k, len(code)))
    total = member @ rows
    return np.asarray(total.toarray() if sp.issparse(total) else total)
