"""The sections on whether the clusters are good: data, number of clusters, sizes, quality, stability."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import clone

from ..metrics import calinski_harabasz_score, davies_bouldin_score, silhouette_samples
from ..plotting import ClusterSizesDisplay, InertiaHistoryDisplay, SilhouetteDisplay, StabilityDisplay
from ..plotting.number import NAMES, criteria
from ..profiling import check_clusters, check_data
from ..selection import choose_k, stability
from .blocks import Block, Facts, Notes, Section, Table, Text
from .pictures import picture
from .subject import MOST_FEATURES, Subject
from .words import number, percent, quantity, score

CRITERIA = ("elbow", "silhouette", "davies_bouldin", "calinski_harabasz")
BETTER = 0.95  # of the inertia: more than the few rows of a sample can explain
ROWS_PER_K = 2_000  # behind the silhouettes of other numbers of clusters
COLUMNS = {"mean": "mean", "median": "median", "std": "standard deviation", "min": "least", "max": "greatest"}


def data(subject: Subject, overall: Any) -> Section:
    """Rows and features, and what to look out for in them; `overall` is a profile's table by feature."""
    X, _, where = subject.sortable
    checked = check_data(X, feature_names=subject.names)
    rows = [
        [str(name), *(number(values[column]) for column in COLUMNS)]
        for name, values in list(overall.iterrows())[:MOST_FEATURES]
    ]
    more = "" if len(overall) == len(rows) else f": the first {len(rows)} of {len(overall)} features"
    return Section("data", "Data", [
        Facts([("Rows", f"{subject.n_rows:,}"), ("Features", f"{len(subject.names):,}")]),
        *([] if X is subject.X else [Text(f"Scales, outliers and duplicates were looked for on {where}.")]),
        _remarks(checked.warnings, f"On {where}, the checks of scales, outliers and duplicates found nothing."),
        Table(f"Features{more}", ["feature", *COLUMNS.values()], rows),
    ])  # fmt: skip


def _remarks(warnings: Any, otherwise: str) -> Block:
    return Notes([str(warning) for warning in warnings]) if len(warnings) else Text(otherwise)


def chosen(subject: Subject, choice: Any) -> Section:
    """The number of clusters and why; where it was given, what the criteria say about it."""
    better: list[Block] = []
    if choice is not None:
        said = f"{subject.k} clusters were chosen: {choice.reasons.get('recommended', 'recommended')}."
    elif subject.n_rows < 4:
        return Section("k", "Number of clusters", [Text(f"{subject.k} clusters were asked for.")])
    else:
        choice = _compared(subject)
        better = _better(subject, choice)
        said = (
            f"{quantity(subject.k, 'cluster')} were asked for. On {subject.sample_words}, the criteria recommend"
            f" {choice.recommended_k}: {choice.reasons.get('recommended', '')}."
        )
    rows = [
        [NAMES.get(name, (name,))[0], number(k), str(choice.reasons.get(name, ""))]
        for name, k in choice.choices.items()
    ]
    display = criteria(choice)
    chart = picture(
        display.plot, display.figsize,
        f"Lines of {len(rows)} criteria over numbers of clusters from {display.ks.min()} to {display.ks.max()}; "
        + "; ".join(f"{row[0]} chooses {row[1]}" for row in rows) + ".",
        "Criteria by number of clusters. Dashed: what each chooses; grey: the recommendation.", axes=display.subplots,
    )  # fmt: skip
    reasons = Table("What the criteria choose", ["criterion", "k", "reason"], rows, words=frozenset({2}))
    return Section("k", "Number of clusters", [Text(said), *better, reasons, chart, _criteria(choice.table)])


def _better(subject: Subject, choice: Any) -> list[Block]:
    """A remark where the comparison found much tighter clusters of the same number on the same rows."""
    found = choice.table.loc[choice.table["k"] == subject.k, "inertia"]
    own = -subject.estimator.score(subject.sample.X)
    if not len(found) or not found.iloc[0] < BETTER * own:
        return []
    best = float(found.iloc[0])
    said = (
        f"On {subject.sample_words}, {quantity(subject.k, 'cluster')} with an inertia of {number(best)} were found;"
        f" this model's is {number(own)}, {percent(own / best - 1)} more. If it was fitted on these rows, and without"
        " weights, fit it again from other first centers: a larger n_init or another seed."
    )
    return [Notes([said])]


def _compared(subject: Subject) -> Any:
    """Criteria for numbers of clusters around the one that was asked for, on the sample."""
    most = min(max(10, round(1.5 * subject.k)), len(subject.sample.index) - 1)
    ks = set(np.linspace(2, max(2, most), 12).round().astype(int).tolist())
    ks |= {subject.k} if 1 < subject.k < most else set()
    estimator = clone(subject.estimator)
    if not (isinstance(estimator.init, str) or callable(estimator.init)):  # centres serve their own number only
        estimator.set_params(init="k-means++")
    return choose_k(
        subject.sample.X, sorted(ks), estimator=estimator, criteria=CRITERIA, sample_size=ROWS_PER_K,
        random_state=subject.random_state,
    )  # fmt: skip


def _criteria(table: Any) -> Table:
    columns = [name for name in table.columns if name in ("inertia", *NAMES, "gap_se") and name != "elbow"]
    rows = [[number(row["k"]), *(number(row[name]) for name in columns)] for _, row in table.iterrows()]
    names = [NAMES[name][0] if name in NAMES else name.replace("gap_se", "standard error") for name in columns]
    return Table("Criteria by number of clusters", ["k", *names], rows)


def sizes(subject: Subject) -> Section:
    """How many rows each cluster has."""
    shown, total = subject.shown, subject.n_rows
    display = ClusterSizesDisplay(subject.sizes[shown], shown.tolist())
    chart = picture(
        display.plot, display.figsize,
        f"Bars of the rows of {len(shown)} clusters, from {subject.sizes[shown].min():,} to"
        f" {subject.sizes[shown].max():,}.",
        f"Rows of each cluster.{subject.shown_note}",
    )  # fmt: skip
    rows = [[str(cluster), f"{subject.sizes[cluster]:,}", percent(subject.sizes[cluster] / total)] for cluster in shown]
    found = check_clusters(subject.estimator, subject.X)
    return Section("sizes", "Sizes", [
        _remarks(found.warnings, "No cluster is remarkably small, elongated or out of balance."),
        chart, Table("Rows of each cluster", ["cluster", "rows", "share"], rows),
    ])  # fmt: skip


def quality(subject: Subject, found: Mapping[str, float], silhouettes: np.ndarray | None) -> Section:
    """The measures, and the silhouettes row by row."""
    words = {
        "Inertia": f"sum of {'distances' if subject.metric == 'manhattan' else 'squared distances'} to the centers;"
        " less is tighter",
        "Silhouette": f"from -1 to 1, more is better separated; on {subject.sample_words}",
        "Davies-Bouldin": "0 or more, less is better separated; on all rows",
        "Calinski-Harabasz": "0 or more, more is better separated; on all rows",
    }
    rows = [[name, number(value), words[name]] for name, value in found.items()]
    blocks: list[Block] = [Table("Measures", ["measure", "value", "meaning"], rows, words=frozenset({2}))]
    if silhouettes is None:
        blocks.append(Text("With fewer than two clusters in the data, nothing can be said about their separation."))
    else:
        blocks.append(_knives(subject, silhouettes))
    if getattr(subject.estimator, "inertia_history_", None) is not None:
        blocks.append(_history(subject.estimator))
    return Section("quality", "Quality", blocks)


def _knives(subject: Subject, silhouettes: np.ndarray) -> Block:
    inside = np.isin(subject.sample_labels, subject.shown)
    code = np.searchsorted(subject.shown, subject.sample_labels[inside])
    display = SilhouetteDisplay(silhouettes[inside], code, subject.shown.tolist(), subject.n_rows)
    means = {c: float(silhouettes[subject.sample_labels == c].mean()) for c in np.unique(subject.sample_labels)}
    best, worst = max(means, key=means.__getitem__), min(means, key=means.__getitem__)
    return picture(
        display.plot, display.figsize,
        f"Silhouettes of the rows, cluster by cluster, {score(silhouettes.mean())} on average; highest for cluster"
        f" {best} ({score(means[best])}), lowest for cluster {worst} ({score(means[worst])}).",
        "Silhouettes, sorted within each cluster. Rows below 0 lie nearer to another cluster. Dashed: the mean."
        + subject.shown_note,
    )  # fmt: skip


def _history(estimator: Any) -> Block:
    display = InertiaHistoryDisplay(np.asarray(estimator.inertia_history_), getattr(estimator, "converged_", None))
    first, last = display.history[0], display.history[-1]
    return picture(
        display.plot, (6.4, 3.6),
        f"Inertia falls from {number(first)} to {number(last)} in {quantity(len(display.history), 'iteration')}.",
        "Inertia by iteration of the fit.",
    )  # fmt: skip


def measures(subject: Subject) -> tuple[dict[str, float], np.ndarray | None]:
    """The measures by name, and the silhouettes of the sample's rows."""
    found = {"Inertia": -float(subject.estimator.score(subject.X))}  # of these rows, each once; `inertia_` may not be
    present = len(np.unique(subject.sample_labels))
    silhouettes = None
    if 1 < present < len(subject.sample.index):
        silhouettes = np.asarray(silhouette_samples(subject.sample.X, subject.sample_labels, metric=subject.metric))
        found["Silhouette"] = float(silhouettes.mean())
    if 1 < subject.there < subject.n_rows:
        found["Davies-Bouldin"] = float(davies_bouldin_score(subject.X, subject.labels, metric=subject.metric))
        found["Calinski-Harabasz"] = float(calinski_harabasz_score(subject.X, subject.labels, metric=subject.metric))
    return found, silhouettes


def stable(subject: Subject, n_runs: int) -> tuple[Section, float | None]:
    """Whether other samples give the same clusters; and the mean adjusted Rand index."""
    half = len(subject.sample.index) // 2
    if subject.there < 2 or half < subject.k or n_runs < 2:
        return Section("stability", "Stability", [Text("Not looked at: too few clusters, rows or runs.")]), None
    found = stability(
        subject.estimator, subject.sample.X, method="half", n_runs=n_runs, random_state=subject.random_state
    )
    jaccard, shown = np.asarray(found.jaccard), subject.shown
    display = StabilityDisplay(np.ravel(found.ari), jaccard[shown], shown.tolist())
    mean = float(np.mean(found.ari))
    chart = picture(
        display.plot, display.figsize,
        f"Bars of the mean Jaccard similarity of each cluster, from {score(np.nanmin(jaccard))} to"
        f" {score(np.nanmax(jaccard))}.",
        "How similar each cluster is to the most similar one of other fits (Hennig 2007)." + subject.shown_note,
    )  # fmt: skip
    verdicts = found.table
    rows = [
        [str(c), score(jaccard[c]), percent(verdicts["recovered"].iloc[c]), str(verdicts["verdict"].iloc[c])]
        for c in shown
    ]
    said = (
        f"{n_runs} new fits, each to a random half of {subject.sample_words}: the adjusted Rand index of two of them is"
        f" {score(mean)} on average (1: the same clusters, 0: what chance gives)."
    )
    table = Table("Verdicts", ["cluster", "Jaccard", "runs that found it", "verdict"], rows, words=frozenset({3}))
    return Section("stability", "Stability", [Text(said), chart, table]), mean
