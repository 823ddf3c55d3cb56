"""How a fit went, and whether others would have found the same clusters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .style import ACCENT, LINE, Display, cluster_colors, number_clusters, quiet, title, within

KINDS = ("ari", "jaccard")
# Hennig, Comput. Statist. Data Anal. 52 (2007) and the documentation of his `clusterboot`.
LEVELS = {0.6: "pattern", 0.75: "stable", 0.85: "highly stable"}


@dataclass(eq=False)
class InertiaHistoryDisplay(Display):
    """Inertia of each iteration of a fit.

    Parameters
    ----------
    history : float array of shape (n_iter,)
    converged : bool or None
        Whether the fit converged; None: not known.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure, once drawn
    line_ : matplotlib Line2D
    """

    history: np.ndarray
    converged: bool | None = None

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None) -> InertiaHistoryDisplay:
        """The history of a fitted KMeans or KMedians.

        Raises
        ------
        ValueError
            If the estimator has no `inertia_history_`: mini-batches have none.
        """
        history = getattr(estimator, "inertia_history_", None)
        if history is None:
            check_is_fitted(estimator, "cluster_centers_")
            raise ValueError(
                f"This {type(estimator).__name__} has no inertia_history_: fit a KMeans or KMedians; mini-batches"
                " keep none."
            )
        return cls(np.asarray(history), getattr(estimator, "converged_", None)).plot(ax)

    def plot(self, ax: Any = None) -> InertiaHistoryDisplay:
        """Draw on `ax`, or on a new figure."""
        ax, n = self._begin(ax), len(self.history)
        marker = "o" if n <= 40 else ""
        (self.line_,) = ax.plot(np.arange(1, n + 1), self.history, color=LINE, marker=marker, markersize=4)
        ax.set(xlabel="iteration", ylabel="inertia")
        ax.xaxis.get_major_locator().set_params(integer=True)
        quiet(ax)
        end = {True: ", converged", False: ", not converged", None: ""}[self.converged]
        title(ax, f"Inertia over {n} iteration{'s' if n != 1 else ''}{end}")
        return self


@dataclass(eq=False)
class StabilityDisplay(Display):
    """Agreement of repeated fits: as a whole (adjusted Rand index), or cluster by cluster (Jaccard similarity).

    Parameters
    ----------
    ari : float array of shape (n_pairs,)
        Adjusted Rand index of pairs of fits; 1 is the same clusters, 0 what chance gives.
    jaccard : float array of shape (n_clusters,), optional
        Mean Jaccard similarity of each cluster with the most similar one of other fits. From 0.6 on a cluster is
        taken for a pattern in the data, from 0.75 for stable, from 0.85 for highly stable (Hennig 2007).
    clusters : sequence, optional
        Names of the clusters. Default: 0, 1, ...

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure, once drawn
    bars_ : matplotlib BarContainer
    """

    ari: np.ndarray
    jaccard: np.ndarray | None = None
    clusters: Sequence[Any] | None = None

    @property
    def figsize(self) -> tuple[float, float]:
        return 6.4, 4.2 if self.jaccard is None else within(1.0 + 0.2 * len(self.jaccard), 4.2)

    @classmethod
    def from_result(cls, stability: Any, *, kind: str | None = None, ax: Any = None) -> StabilityDisplay:
        """What `gpuclust.selection.stability` returned."""
        return cls(np.ravel(stability.ari), np.asarray(stability.jaccard)).plot(ax, kind=kind)

    def plot(self, ax: Any = None, *, kind: str | None = None) -> StabilityDisplay:
        """Draw on `ax`, or on a new figure. `kind` is 'ari' or 'jaccard' (default where it is known)."""
        kind = kind or ("ari" if self.jaccard is None else "jaccard")
        if kind not in KINDS or (kind == "jaccard" and self.jaccard is None):
            raise ValueError(f"kind={kind!r} cannot be drawn; give 'ari', or 'jaccard' where similarities are known.")
        ax = self._begin(ax)
        if kind == "ari":
            self._draw_ari(ax)
        else:
            self._draw_jaccard(ax, np.asarray(self.jaccard))
        quiet(ax)
        title(ax, f"Stability: mean adjusted Rand index {np.mean(self.ari):.3f}", f"{len(self.ari):,} pairs of fits")
        return self

    def _draw_ari(self, ax: Any) -> None:
        low = min(0.0, float(np.min(self.ari)))
        self.bars_ = ax.hist(self.ari, bins=np.linspace(low, 1, 41), color=LINE)[2]
        ax.axvline(np.mean(self.ari), color=ACCENT, linestyle="--", linewidth=1.4)
        ax.set(xlabel="adjusted Rand index of two fits", ylabel="pairs", xlim=(low - 0.02, 1.02))

    def _draw_jaccard(self, ax: Any, jaccard: np.ndarray) -> None:
        k = len(jaccard)
        self.bars_ = ax.barh(np.arange(k), jaccard, color=cluster_colors(k), height=0.8)
        for level in LEVELS:
            ax.axvline(level, color="0.4", linewidth=0.8, linestyle=":")
        names = ax.secondary_xaxis("top")
        names.set_xticks(list(LEVELS), labels=list(LEVELS.values()), fontsize=8, rotation=20, ha="left")
        number_clusters(ax.yaxis, np.arange(k), range(k) if self.clusters is None else self.clusters)
        ax.set(xlabel="mean Jaccard similarity with the same cluster of other fits", ylabel="cluster")
        ax.set(xlim=(0, 1), ylim=(k - 0.4, -0.6))
