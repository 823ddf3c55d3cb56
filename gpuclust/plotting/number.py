"""Choosing the number of clusters: the elbow, and criteria over k."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn.base import clone

from ..extras import require
from .style import ACCENT, LINE, Display, pyplot, quiet, title

NAMES = {
    "elbow": ("inertia", "elbow"),
    "silhouette": ("silhouette", "highest"),
    "davies_bouldin": ("Davies-Bouldin", "lowest"),
    "calinski_harabasz": ("Calinski-Harabasz", "highest"),
    "gap": ("gap", "one-standard-error rule"),
}


@dataclass(eq=False)
class ElbowDisplay(Display):
    """Inertia over the number of clusters, with the knee marked where there is one.

    Parameters
    ----------
    ks : int array of shape (n,)
    inertia : float array of shape (n,)
    knee : int or None
        The number of clusters at the elbow.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure, once drawn
    line_ : matplotlib Line2D
    knee_line_ : matplotlib Line2D, or None
    """

    ks: np.ndarray
    inertia: np.ndarray
    knee: int | None = None

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, ks: Iterable[int] = range(1, 11), *, ax: Any = None
    ) -> ElbowDisplay:
        """Fit a copy of the estimator for each k; the knee is found by `kneed` (Satopaa et al., ICDCSW 2011).

        Parameters
        ----------
        estimator : KMeans, KMedians or alike
            With `n_clusters` and `inertia_`; is not changed.
        X : array-like, sparse CSR, stream or path of shape (n_samples, n_features)
        ks : iterable of int, default=range(1, 11)
        ax : matplotlib Axes, optional

        Raises
        ------
        ImportError
            If `kneed` is not installed.
        """
        knee = _knee_finder()
        numbers = np.array(sorted(ks))
        inertia = np.array([clone(estimator).set_params(n_clusters=int(k)).fit(X).inertia_ for k in numbers])
        return cls(numbers, inertia, knee(numbers, inertia)).plot(ax)

    @classmethod
    def from_result(cls, choice: Any, *, ax: Any = None) -> ElbowDisplay:
        """The elbow of what `gpuclust.selection.choose_k` returned."""
        table = choice.table
        return cls(table["k"].to_numpy(), table["inertia"].to_numpy(), choice.choices.get("elbow")).plot(ax)

    def plot(self, ax: Any = None) -> ElbowDisplay:
        """Draw on `ax`, or on a new figure."""
        ax = self._begin(ax)
        self.line_, self.knee_line_ = _line(ax, self.ks, self.inertia, self.knee)
        ax.set(xlabel="number of clusters k", ylabel="inertia")
        if self.knee is not None:
            ax.legend([self.knee_line_], [f"elbow at k = {self.knee}"], frameon=False)
        title(ax, "Inertia over the number of clusters" + ("" if self.knee is not None else ": no clear elbow"))
        return self


@dataclass(eq=False)
class CriteriaDisplay(Display):
    """Criteria over the number of clusters, one below the other, each with the k that it chooses.

    Parameters
    ----------
    ks : int array of shape (n,)
    values : mapping of str to float array of shape (n,)
        Criteria: 'elbow' (the inertia), 'silhouette', 'davies_bouldin', 'calinski_harabasz', 'gap' or others.
    choices : mapping of str to int or None, optional
        The k that each criterion chooses.
    errors : mapping of str to float array of shape (n,), optional
        Standard errors.
    recommended : int, optional

    Attributes
    ----------
    ax_ : array of matplotlib Axes, one a criterion, once drawn
    figure_ : matplotlib Figure
    lines_, choice_lines_ : dict of criterion to matplotlib Line2D (or None)
    """

    ks: np.ndarray
    values: Mapping[str, np.ndarray]
    choices: Mapping[str, int | None] = field(default_factory=dict)
    errors: Mapping[str, np.ndarray] = field(default_factory=dict)
    recommended: int | None = None

    @property
    def figsize(self) -> tuple[float, float]:
        rows = -(-len(self.values) // self._columns)
        return 4.2 * self._columns, 0.5 + 2.5 * rows

    @property
    def _columns(self) -> int:
        return min(2, len(self.values))

    @classmethod
    def from_result(cls, choice: Any, *, ax: Any = None) -> CriteriaDisplay:
        """The criteria of what `gpuclust.selection.choose_k` returned."""
        return criteria(choice).plot(ax)

    def plot(self, ax: Any = None) -> CriteriaDisplay:
        """Draw on `ax`, an Axes for each criterion, or on a new figure."""
        axes = np.ravel(self._grid() if ax is None else ax)
        if len(axes) < len(self.values):
            raise ValueError(f"ax has {len(axes)} axes for {len(self.values)} criteria; give one each.")
        self.ax_, self.figure_ = axes[: len(self.values)], axes[0].figure
        for spare in axes[len(self.values) :]:
            spare.set_visible(False)
        self.lines_: dict[str, Any] = {}
        self.choice_lines_: dict[str, Any] = {}
        for each, name in zip(self.ax_, self.values, strict=True):
            self._draw(each, name)
        return self

    def subplots(self, figure: Any) -> Any:
        """Axes for the criteria on a figure of one's own."""
        rows = -(-len(self.values) // self._columns)
        return figure.subplots(rows, self._columns, squeeze=False)

    def _grid(self) -> Any:
        return self.subplots(pyplot().figure(figsize=self.figsize, layout="constrained"))

    def _draw(self, ax: Any, name: str) -> None:
        label, rule = NAMES.get(name, (name, ""))
        chosen = self.choices.get(name)
        self.lines_[name], self.choice_lines_[name] = _line(ax, self.ks, self.values[name], chosen)
        if name in self.errors:
            ax.errorbar(self.ks, self.values[name], self.errors[name], fmt="none", ecolor=LINE, elinewidth=1, capsize=2)
        ax.set_xlabel("number of clusters k")
        said = "chooses none" if chosen is None else f"chooses {chosen}"
        title(ax, f"{label}: {said}" + (f" ({rule})" if rule and chosen is not None else ""))
        if self.recommended is not None:
            ax.axvline(self.recommended, color="0.85", linewidth=6, zorder=0)


def criteria(choice: Any) -> CriteriaDisplay:
    """The criteria of what `gpuclust.selection.choose_k` returned, not drawn yet."""
    table = choice.table
    values = {name: table["inertia" if name == "elbow" else name].to_numpy() for name in choice.choices}
    errors = {"gap": table["gap_se"].to_numpy()} if "gap" in values and "gap_se" in table else {}
    return CriteriaDisplay(table["k"].to_numpy(), values, choice.choices, errors, choice.recommended_k)


def _line(ax: Any, ks: np.ndarray, values: np.ndarray, chosen: int | None) -> tuple[Any, Any]:
    (line,) = ax.plot(ks, values, color=LINE, marker="o", markersize=4, linewidth=1.5)
    mark = None if chosen is None else ax.axvline(chosen, color=ACCENT, linestyle="--", linewidth=1.4)
    if chosen is not None:
        at = np.flatnonzero(np.asarray(ks) == chosen)
        ax.plot(np.asarray(ks)[at], np.asarray(values)[at], "o", color=ACCENT, markersize=8, zorder=3)
    ax.xaxis.get_major_locator().set_params(integer=True)
    quiet(ax)
    return line, mark


def _knee_finder() -> Any:
    locate = require("kneed", "The elbow").KneeLocator

    def find(ks: np.ndarray, inertia: np.ndarray) -> int | None:
        if len(ks) < 3 or not inertia.min() < inertia.max():
            return None
        knee = locate(ks, inertia, curve="convex", direction="decreasing").knee
        return None if knee is None else int(knee)

    return find
