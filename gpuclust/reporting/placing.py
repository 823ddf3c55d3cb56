"""The sections on where the clusters lie and which rows are typical or odd."""

from __future__ import annotations

from functools import partial

import numpy as np

from ..plotting import ClusterDistanceDisplay, ScatterDisplay
from ..plotting.distances import between
from ..plotting.rows import taken
from ..profiling import anomaly_scores, typical_rows
from .blocks import Block, Gallery, Section, Table, Text
from .describing import Profiled
from .pictures import picture
from .subject import Subject
from .words import number, percent, quantity

QUANTILE = 0.99
ODD_ROWS = 20
VALUES = 8  # features of a row that are told


def places(subject: Subject) -> Section:
    """Pictures of rows and centres."""
    blocks: list[Block] = []
    if len(subject.names) > 1 and len(subject.sample.index) > 2:
        blocks.append(_scatter(subject))
    if subject.k > 1:
        blocks.append(_distances(subject))
    blocks = blocks or [Text("There is one feature and one cluster: see its profile.")]
    return Section("places", "Where the clusters lie", blocks)


def _scatter(subject: Subject) -> Block:
    inside = np.isin(subject.sample_labels, subject.shown)
    X, labels = subject.sample.X[np.flatnonzero(inside)], subject.sample_labels[inside]
    draw = partial(
        ScatterDisplay.from_predictions, X, labels, centers=subject.centers[np.unique(labels)],
        feature_names=subject.names,
    )  # fmt: skip
    what = f"{subject.names[0]} and {subject.names[1]}" if len(subject.names) == 2 else "two principal components"
    return picture(
        draw, (6.8, 5.4), f"Points of the rows and numbers at the {len(np.unique(labels))} centers, by {what}.",
        f"Rows and centers, {subject.sample_words}, by {what}. Clusters that overlap here may lie apart in other"
        f" directions.{subject.shown_note}",
    )  # fmt: skip


def _distances(subject: Subject) -> Gallery:
    shown = subject.shown
    distances = between(subject.centers[shown], subject.metric)
    display = ClusterDistanceDisplay(distances, subject.sizes[shown], shown.tolist(), subject.metric)
    apart = np.where(np.eye(len(shown), dtype=bool), np.inf, distances)
    near = np.unravel_index(apart.argmin(), apart.shape)
    far = np.unravel_index(distances.argmax(), distances.shape)
    said = f"The two centers are {number(distances[far])} apart." if len(shown) == 2 else (
        f"Clusters {shown[near[0]]} and {shown[near[1]]} are nearest to each other ({number(distances[near])}),"
        f" {shown[far[0]]} and {shown[far[1]]} farthest apart ({number(distances[far])})."
    )
    return Gallery([
        picture(
            display.plot, display.figsize, f"Map of {len(shown)} centers as circles. {said}",
            f"Map of the centers ({subject.metric} distances, scaled to the plane); areas are numbers of rows."
            f"{subject.shown_note}", kind="map",
        ),
        picture(
            display.plot, display.figsize, f"Matrix of the distances between {len(shown)} centers. {said}",
            f"Distances between centers. {said}{subject.shown_note}", kind="matrix",
        ),
    ])  # fmt: skip


def odd(subject: Subject, found: Profiled) -> Section:
    """Rows that stand for their cluster, and rows that do not fit into any."""
    scores = anomaly_scores(subject.estimator, subject.X, quantile=QUANTILE)
    flagged = int(np.count_nonzero(scores.flags))
    said = (
        "A row's score is its distance to its own center in units of the distance that is usual in its cluster."
        f" {quantity(flagged, 'row')} of {subject.n_rows:,} ({percent(flagged / subject.n_rows)}) score above"
        f" {number(scores.threshold)}, the {100 * QUANTILE:g}th percentile."
    )
    odd_rows = np.argsort(-scores.scores, kind="stable")[:ODD_ROWS]
    cells = [[f"{scores.scores[row]:.2f}"] for row in odd_rows]
    return Section("odd-rows", "Typical and odd rows", [
        Text(said),
        _rows(subject, found, odd_rows, ["score"], cells, f"The {len(odd_rows)} oddest rows"),
        _typical(subject, found),
        Text("Rows are numbered from 0, in the order of the data."),
    ])  # fmt: skip


def _typical(subject: Subject, found: Profiled) -> Block:
    nearest = typical_rows(subject.estimator, subject.X, n_rows=1)
    nearest = nearest[nearest.index.get_level_values("cluster").isin(subject.shown)]
    cells = [[number(distance)] for distance in nearest["distance"]]
    return _rows(
        subject, found, nearest["row"].to_numpy(), ["distance"], cells,
        f"The row nearest to each center{subject.shown_note and '.'}{subject.shown_note}",
    )  # fmt: skip


def _rows(
    subject: Subject, found: Profiled, index: np.ndarray, columns: list[str], cells: list[list[str]], caption: str
) -> Table:
    """Rows with their cluster and their values of the features that separate the clusters best."""
    features = np.sort(found.order[:VALUES])
    values = subject.original(taken(subject.X, index))[:, features]
    rows = [
        [str(row), str(subject.labels[row]), *cell, *(number(value) for value in of_row)]
        for row, cell, of_row in zip(index, cells, values, strict=True)
    ]
    more = "" if len(features) == len(subject.names) else f"; the {len(features)} features that differ most"
    return Table(caption + more, ["row", "cluster", *columns, *(subject.names[f] for f in features)], rows)
