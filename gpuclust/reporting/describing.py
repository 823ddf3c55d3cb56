"""The sections on what the clusters are: profiles, and what separates them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..plotting import CentersHeatmapDisplay, FeatureDisplay
from ..profiling import profile, separation
from .blocks import Block, Details, Figure, Gallery, Section, Table, Text
from .pictures import picture
from .subject import MOST_FEATURES, Subject
from .words import joined, number, percent, probability, quantity

DRAWN_FEATURES = 4
CELLS = {"rows": "rows", "mean": "mean", "median": "median", "std": "standard deviation", "min": "least", "p5": "5 %",
         "p25": "25 %", "p75": "75 %", "p95": "95 %", "max": "greatest"}  # fmt: skip


class Profiled(NamedTuple):
    """Statistics of the clusters; arrays f64 [k, d], NaN for clusters without rows, and [d] for all rows."""

    overall: Any  # profile's DataFrame of all rows by feature
    statistics: dict[str, np.ndarray]
    share: np.ndarray  # eta squared: share of each feature's variance between the clusters, f64 [d]
    middle: str  # 'mean' or 'median', as the centres are

    @property
    def order(self) -> np.ndarray:
        """Features, those that differ most between the clusters first."""
        return np.argsort(-self.share, kind="stable")

    @property
    def shown(self) -> np.ndarray:
        """The features of pictures and tables, in the order of the data."""
        return np.sort(self.order[:MOST_FEATURES])

    @property
    def standard(self) -> np.ndarray:
        """Middles of the clusters in standard deviations of all rows from their mean, f64 [k, d]."""
        std = self.overall["std"].to_numpy()
        away = self.statistics[self.middle] - self.overall["mean"].to_numpy()
        return np.divide(away, std, out=np.zeros_like(away), where=std > 0)


def profiled(subject: Subject) -> Profiled:
    """Profiles of all rows."""
    found = profile(subject.X, subject.labels, feature_names=subject.names, scaler=subject.scaler)
    present, d = np.flatnonzero(subject.sizes), len(subject.names)
    statistics = {name: np.full((subject.k, d), np.nan) for name in CELLS}
    for name, values in statistics.items():
        values[present] = found.table[name].to_numpy(np.float64).reshape(len(present), d)
    variance, n = found.overall["std"].to_numpy() ** 2, subject.n_rows
    away = statistics["mean"] - found.overall["mean"].to_numpy()
    between = np.nansum(subject.sizes[:, None] * away**2, axis=0)
    share = np.divide(between, (n - 1) * variance, out=np.zeros(d), where=variance > 0)
    middle = "median" if subject.metric == "manhattan" else "mean"
    return Profiled(found.overall, statistics, share, middle)


def profiles(subject: Subject, found: Profiled) -> Section:
    """What the clusters look like, feature by feature."""
    features, clusters = found.shown, subject.shown
    names = [subject.names[f] for f in features]
    standard = found.standard[np.ix_(clusters, features)]
    display = CentersHeatmapDisplay(np.nan_to_num(standard), names, clusters.tolist(), len(names))
    chart = picture(
        display.plot, display.figsize,
        f"Heat map of {found.middle}s of {len(names)} features in {len(clusters)} clusters. " + _extremes(display),
        f"The clusters' {found.middle}s, in standard deviations of all rows from the mean of all rows."
        f" Red is above it, blue below.{subject.shown_note}{_fewer(found, subject)}",
    )  # fmt: skip
    middles, overall = found.statistics[found.middle], found.overall[found.middle].to_numpy()
    rows = [[subject.names[f], number(overall[f]), *(number(middles[c, f]) for c in clusters)] for f in features]
    table = Table(f"{found.middle.capitalize()} of each feature by cluster", ["feature", "all rows",
                  *(f"cluster {c}" for c in clusters)], rows)  # fmt: skip
    each = [_cluster(subject, found, int(c)) for c in clusters]
    words = "" if subject.scaler is None else " All values are in the units before scaling."
    said = (
        f"Statistics of all rows, exact.{words} Open a cluster for its whole profile; σ stands for the standard"
        " deviation of all rows."
    )
    return Section("profiles", "Profiles", [Text(said), chart, table, *each])


def _extremes(display: CentersHeatmapDisplay) -> str:
    """A sentence on the largest value of a heat map, for who cannot see it."""
    at = np.unravel_index(np.abs(display.values).argmax(), display.values.shape)
    clusters = display.clusters or range(len(display.values))
    return (
        f"The farthest from the mean is {display.feature_names[at[1]]} in cluster {clusters[at[0]]}:"
        f" {number(display.values[at], 3)} standard deviations."
    )


def _fewer(found: Profiled, subject: Subject) -> str:
    shown, d = len(found.shown), len(subject.names)
    return "" if shown == d else f" The {shown} of {d} features that differ most between the clusters are shown."


def _cluster(subject: Subject, found: Profiled, cluster: int) -> Block:
    """The whole profile of a cluster, folded away."""
    size = int(subject.sizes[cluster])
    features = found.shown
    standard = found.standard[cluster, features]
    far = features[np.argsort(-np.abs(np.nan_to_num(standard)), kind="stable")[:2]]
    marks = [f"{subject.names[f]} is {_direction(found.standard[cluster, f])}" for f in far if size]
    summary = f"Cluster {cluster}: {quantity(size, 'row')} ({percent(size / subject.n_rows)})"
    columns = [name for name in CELLS if name != "rows"]
    rows = [[subject.names[f], *(number(found.statistics[name][cluster, f]) for name in columns)] for f in features]
    table = Table(f"Cluster {cluster}", ["feature", *(CELLS[name] for name in columns)], rows)
    return Details(summary + (f"; {joined(marks)}" if marks else ""), [table])


def _direction(away: float) -> str:
    """In words: 1.2 σ above the mean."""
    if abs(away) < 0.1:
        return "near the mean"
    return f"{abs(away):.1f} σ {'above' if away > 0 else 'below'} the mean"


EFFECTS = {"eta_squared": "η²", "epsilon_squared": "ε²", "F": "F", "welch_F": "Welch's F", "H": "H"}
CHANCES = {"F_p_adjusted": "p of F", "welch_p_adjusted": "p of Welch", "H_p_adjusted": "p of H"}


def separating(subject: Subject, found: Profiled) -> Section:
    """Which features differ between the clusters."""
    if subject.there < 2:
        return Section("separation", "What separates the clusters", [Text("There is only one cluster.")])
    X, labels, where = subject.sortable
    rows = [
        [str(name), *(number(values[c]) for c in EFFECTS), *(probability(values[c]) for c in CHANCES)]
        for name, values in separation(X, labels, feature_names=subject.names).head(MOST_FEATURES).iterrows()
    ]
    table = Table(
        f"Effects and tests by feature, the largest effect first; on {where}",
        ["feature", *EFFECTS.values(), *CHANCES.values()], rows,
    )  # fmt: skip
    said = (
        "η² is the share of a feature's variance that lies between the clusters: 0 for none of it, 1 for all; ε² is the"
        " same for ranks, by H of Kruskal and Wallis. The p-values (adjusted for the number of features) are no"
        " evidence that the clusters are real: the clusters were made from the rows that they are tested on, so that"
        " almost any feature looks significant. Compare the effects with each other instead."
    )
    charts = [_feature(subject, int(f)) for f in found.order[:DRAWN_FEATURES] if found.share[f] > 0]
    return Section("separation", "What separates the clusters", [Text(said), table, Gallery(charts)])


def _feature(subject: Subject, feature: int) -> Figure:
    values, name = subject.sample.column(feature)
    if subject.scaler is not None:
        values = subject.original(subject.sample.X)[:, feature]
    inside = np.isin(subject.sample_labels, subject.shown)
    code = np.searchsorted(subject.shown, subject.sample_labels[inside])
    display = FeatureDisplay(values[inside], code, subject.shown.tolist(), name, subject.n_rows)
    return picture(
        display.plot, display.figsize, f"Boxes of {name} in {len(subject.shown)} clusters.",
        f"{name} by cluster: median, quartiles, and whiskers from the 5th to the 95th percentile.{subject.shown_note}",
        kind="box",
    )  # fmt: skip
