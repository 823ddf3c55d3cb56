"""Rows that stand for their cluster, and rows that do not belong to any."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import reduce
from numbers import Integral
from typing import Any, ClassVar

import numpy as np

from ..backends.base import Backend, Centers, Chunk
from .fitted import distances, fitted
from .rows import blocks, pandas


@dataclass(frozen=True)
class _Nearest:
    """The m rows nearest to each centre: by cluster, nearest first, lowest row on ties."""

    ordered: ClassVar[bool] = True  # merged in the order of the rows only
    m: int
    label: np.ndarray
    row: np.ndarray
    distance: np.ndarray

    @classmethod
    def of(cls, m: int, label: np.ndarray, row: np.ndarray, distance: np.ndarray) -> _Nearest:
        order = np.lexsort((distance, label))  # ties stay in the order of rows
        label = label[order]
        first = np.arange(len(label)) - np.searchsorted(label, label) < m
        return cls(m, label[first], row[order][first], distance[order][first])

    def merge(self, other: _Nearest) -> _Nearest:
        pairs = (self.label, other.label), (self.row, other.row), (self.distance, other.distance)
        return _Nearest.of(self.m, *map(np.concatenate, pairs))


def typical_rows(estimator: Any, X: Any, n_rows: int = 5) -> Any:
    """The rows nearest to each centre: examples to look at.

    Parameters
    ----------
    estimator : fitted estimator with `cluster_centers_`
    X : array-like, sparse CSR, DataFrame, stream or path of shape (n_samples, n_features)
    n_rows : int, default=5
        Rows of each cluster; fewer where it has fewer.

    Returns
    -------
    DataFrame indexed by (cluster, rank)
        row (number from 0) and distance to the cluster's centre (Euclidean, or Manhattan for K-Medians); nearest first,
        lowest row on ties.

    Raises
    ------
    NotFittedError
        If `fit` was not called.
    ValueError
        If `n_rows` is no whole number above 0, or X has another number of features, or NaN or infinite values.
    DataError
        If a file cannot be read, or a stream comes with weights.
    ImportError
        If pandas is not installed.
    """
    pd = pandas()
    if not isinstance(n_rows, Integral) or n_rows < 1:
        raise ValueError(f"n_rows={n_rows!r} must be a whole number, 1 or more.")
    with fitted(estimator, X) as rows:
        found: _Nearest = rows.source.fold(_nearest, rows.stage(), n_rows)
    rank = np.arange(len(found.label)) - np.searchsorted(found.label, found.label)
    index = pd.MultiIndex.from_arrays([found.label, rank], names=["cluster", "rank"])
    return pd.DataFrame({"row": found.row, "distance": found.distance}, index=index)


def _nearest(backend: Backend, chunk: Chunk, stage: Centers, m: int) -> _Nearest:
    parts = []
    for where, rows in blocks(chunk):
        label, distance = distances(backend, rows, where.start, stage)
        parts.append(_Nearest.of(m, label, np.arange(where.start, where.stop), distance))
    return reduce(_Nearest.merge, parts)


@dataclass(frozen=True, eq=False)
class AnomalyScores:
    """How odd rows are; see `anomaly_scores`.

    Attributes
    ----------
    scores : float64 ndarray of shape (n_samples,)
        Distance of each row to its own centre, in typical distances of that cluster.
    flags : bool ndarray of shape (n_samples,)
        Rows whose score is above the threshold.
    labels : int32 ndarray of shape (n_samples,)
        The cluster of each row.
    threshold : float
        The quantile of the scores of the rows that `anomaly_scores` was given.
    typical : float64 ndarray of shape (n_clusters,)
        The typical distance in each cluster, of those rows.
    """

    scores: np.ndarray
    flags: np.ndarray
    labels: np.ndarray
    threshold: float
    typical: np.ndarray
    _estimator: Any = field(repr=False)

    def apply(self, X: Any) -> AnomalyScores:
        """Scores and flags of other rows, by the typical distances and the threshold of these.

        Parameters
        ----------
        X : array-like, sparse CSR, DataFrame, stream or path of shape (n_samples, n_features)

        Raises
        ------
        ValueError, DataError
            As `anomaly_scores`.
        """
        with fitted(self._estimator, X) as rows:
            label, distance = rows.assign()
        scores = distance / self.typical[label]
        return AnomalyScores(scores, scores > self.threshold, label, self.threshold, self.typical, self._estimator)


def anomaly_scores(estimator: Any, X: Any, *, quantile: float = 0.99) -> AnomalyScores:
    """How far rows are from their own centre, for what is usual in their cluster, and which are farther than most.

    The score of a row is its distance to its own centre (Euclidean, or Manhattan for K-Medians), divided by the median
    distance of that cluster's rows: 1 is usual, and within a cluster the farther row scores higher. Where the median is
    0 (half of the rows lie on the centre), the mean takes its place; where there are no rows, or all lie on the centre,
    the median of all rows. Rows are flagged whose score is above the `quantile` of all scores.

    Parameters
    ----------
    estimator : fitted estimator with `cluster_centers_`
    X : array-like, sparse CSR, DataFrame, stream or path of shape (n_samples, n_features)
        The rows that say what is usual: those that the estimator was fitted on. To judge others, use
        ``anomaly_scores(estimator, X).apply(X_new)``.
    quantile : float, default=0.99
        In [0, 1]; a share of 1 - quantile of X is flagged.

    Returns
    -------
    AnomalyScores

    Raises
    ------
    NotFittedError
        If `fit` was not called.
    ValueError
        If `quantile` is outside [0, 1], or X has another number of features, or NaN or infinite values.
    DataError
        If a file cannot be read, or a stream comes with weights.
    """
    if not 0 <= quantile <= 1:
        raise ValueError(f"quantile={quantile!r} must lie in [0, 1].")
    with fitted(estimator, X) as rows:
        label, distance = rows.assign()
    typical = _typical(label, distance, len(rows.centers))
    scores = distance / typical[label]
    threshold = float(np.quantile(scores, quantile))
    return AnomalyScores(scores, scores > threshold, label, threshold, typical, estimator)


def _typical(label: np.ndarray, distance: np.ndarray, k: int) -> np.ndarray:
    """Typical distance in each cluster, f64 [k], positive."""
    order = np.argsort(label, kind="stable")
    parts = np.split(distance[order], np.cumsum(np.bincount(label, minlength=k))[:-1])
    every = _usual(distance) or 1.0
    return np.array([_usual(part) or every for part in parts])


def _usual(distance: np.ndarray) -> float:
    if not len(distance):
        return 0.0
    return float(np.median(distance)) or float(np.mean(distance))
