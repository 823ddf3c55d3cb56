"""How far rows lie from their centres, and centres from each other: inertia, Davies-Bouldin, Calinski-Harabasz."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from scipy.spatial.distance import cdist

from ..backends.base import Backend, Chunk
from ..backends.metric import Metric
from ..backends.statistics import Cost
from ..config import Device
from ..solvers.nearest import label
from .closed import block_rows
from .rows import (
    Centred,
    Labelled,
    Options,
    check_held,
    check_number_of_labels,
    checked_centers,
    labelled,
    means,
    middles,
    one_of,
    opened,
    put,
    spread,
)
from .simplified import indices

METRICS: Final = {"euclidean": Metric.EUCLIDEAN, "manhattan": Metric.MANHATTAN}
COSTS: Final = {"sqeuclidean": Metric.EUCLIDEAN, "manhattan": Metric.MANHATTAN}
NOISE: Final = 2.0**-51  # of the largest coordinate: what the rounding of two centres alone may set them apart


def inertia(
    X: Any,
    centers: Any,
    *,
    labels: Any = None,
    metric: str = "sqeuclidean",
    sample_weight: Any = None,
    device: Device = "auto",
    chunk_size: int | None = None,
) -> float:
    """Weighted sum of the squared Euclidean or the Manhattan distances of the rows to their centres: the cost of
    K-Means or K-Medians.

    Parameters
    ----------
    X : array-like, sparse CSR, DataFrame, CuPy array, stream or path of shape (n_samples, n_features)
    centers : array-like of shape (n_clusters, n_features)
    labels : array-like of int of shape (n_samples,), optional
        Index of each row's centre; default: the nearest one.
    metric : {'sqeuclidean', 'manhattan'}, default='sqeuclidean'
    sample_weight : array-like of shape (n_samples,), optional
    device : {'auto', 'cpu', 'cuda', 'cuda:N', 'cuda:all'} or list of 'cuda:N', default='auto'
    chunk_size : int, optional
        Rows per chunk. No result depends on it.

    Returns
    -------
    float
        In the units of X, squared for 'sqeuclidean'.

    Raises
    ------
    ValueError
        If the shapes do not fit, or a label is none of 0 to n_clusters - 1.

    Examples
    --------
    >>> from gpuclust.metrics import inertia
    >>> inertia([[0.0], [2.0], [9.0]], [[1.0], [9.0]])
    2.0
    """
    kind = COSTS[one_of(metric, tuple(COSTS))]
    source = opened(X, Options(device, chunk_size, sample_weight), metric=kind)
    centers = checked_centers(centers, source)
    if labels is None:
        total = label(source, centers, kind).loss
    else:
        put(source, indices(labels, source, len(centers)), len(centers))
        total = source.fold(_cost, centers, kind).loss
    check_held(total)
    return total


def _cost(backend: Backend, chunk: Chunk, centers: np.ndarray, metric: Metric) -> Cost:
    return backend.cost(chunk, centers, metric)


def _centred(
    X: Any, labels: Any, metric: str, options: Options
) -> tuple[Labelled, Centred, np.ndarray]:
    """The rows, the means or medians of their clusters, and which of these have a mass."""
    kind = METRICS[one_of(metric, tuple(METRICS))]
    rows = labelled(X, labels, options, kind)
    centred = middles(rows) if kind.l1 else means(rows)
    there = centred.mass > 0
    if not there.all():
        check_number_of_labels(int(there.sum()), rows.source.n_rows)
    return rows, centred, there


def davies_bouldin_score(
    X: Any,
    labels: Any,
    *,
    metric: str = "euclidean",
    sample_weight: Any = None,
    device: Device = "auto",
    chunk_size: int | None = None,
) -> float:
    """Davies-Bouldin index: the mean over the clusters i of the largest (s_i + s_j) / m_ij; the lower the better.

    'euclidean': s_i is the mean Euclidean distance of the rows of cluster i to their mean, m_ij the distance of two
    means (Davies and Bouldin, "A cluster separation measure", IEEE TPAMI 1, 1979, with p = 2 and q = 1), as in
    scikit-learn. 'manhattan': s_i is the mean Manhattan distance of the rows to their median (feature by feature), m_ij
    that of two medians: the same paper's measure for the centres and distances of K-Medians.

    Parameters
    ----------
    X : array-like, sparse CSR, DataFrame, CuPy array, stream or path of shape (n_samples, n_features)
    labels : array-like of shape (n_samples,)
        Integers, strings or anything else that can be ordered.
    metric : {'euclidean', 'manhattan'}, default='euclidean'
    sample_weight : array-like of shape (n_samples,), optional
        A weight is a number of repetitions; rows of weight 0 count for nothing.
    device : {'auto', 'cpu', 'cuda', 'cuda:N', 'cuda:all'} or list of 'cuda:N', default='auto'
    chunk_size : int, optional
        Rows per chunk. No result depends on it.

    Returns
    -------
    float
        Not negative; 0 where all rows lie on their centres, or all centres are the same.

    Raises
    ------
    ValueError
        If the number of labels is not 2 to n_samples - 1, or X and labels differ in length.

    Examples
    --------
    >>> from gpuclust.metrics import davies_bouldin_score
    >>> davies_bouldin_score([[0.0], [2.0], [10.0], [14.0]], [0, 0, 1, 1])
    0.2727272727272727
    """
    rows, centred, there = _centred(X, labels, metric, Options(device, chunk_size, sample_weight))
    kind = METRICS[metric]
    away = spread(rows, np.nan_to_num(centred.centers), kind, root=not kind.l1)[there] / centred.mass[there]
    check_held(away)
    return _worst(away, centred.centers[there], kind)


def _worst(away: np.ndarray, centers: np.ndarray, metric: Metric) -> float:
    """Mean over the clusters of their worst ratio; some rows of the k x k distances at a time."""
    k, d = centers.shape
    nothing = NOISE * float(np.abs(centers).max()) * (d if metric.l1 else d**0.5)
    worst, step, apart = np.zeros(k), block_rows(k), False
    for low in range(0, k, step):
        between = cdist(centers[low : low + step], centers, "cityblock" if metric.l1 else "euclidean")
        apart |= bool(np.any(between > nothing))
        between[between == 0] = np.inf
        worst[low : low + step] = ((away[low : low + step, None] + away) / between).max(axis=1)
    return math.fsum(worst) / k if apart and np.any(away > nothing) else 0.0


def calinski_harabasz_score(
    X: Any,
    labels: Any,
    *,
    metric: str = "euclidean",
    sample_weight: Any = None,
    device: Device = "auto",
    chunk_size: int | None = None,
) -> float:
    """Calinski-Harabasz index: (B / (k - 1)) / (W / (n - k)); the higher the better.

    'euclidean': B is the sum over the clusters of their number of rows times the squared distance of their mean to the
    mean of all rows, W the sum of the squared distances of the rows to their means (Calinski and Harabasz, "A dendrite
    method for cluster analysis", Communications in Statistics 3, 1974), as in scikit-learn. 'manhattan': the same with
    Manhattan distances in place of squares and medians (feature by feature) in place of means, of all rows too.

    Parameters
    ----------
    X : array-like, sparse CSR, DataFrame, CuPy array, stream or path of shape (n_samples, n_features)
    labels : array-like of shape (n_samples,)
        Integers, strings or anything else that can be ordered.
    metric : {'euclidean', 'manhattan'}, default='euclidean'
    sample_weight : array-like of shape (n_samples,), optional
        A weight is a number of repetitions: n is their sum, and must be larger than the number of labels.
    device : {'auto', 'cpu', 'cuda', 'cuda:N', 'cuda:all'} or list of 'cuda:N', default='auto'
    chunk_size : int, optional
        Rows per chunk. No result depends on it.

    Returns
    -------
    float
        Not negative; 1 where all rows lie on their centres.

    Raises
    ------
    ValueError
        If the number of labels is not 2 to n_samples - 1, or X and labels differ in length.

    Examples
    --------
    >>> from gpuclust.metrics import calinski_harabasz_score
    >>> calinski_harabasz_score([[0.0], [2.0], [10.0], [14.0]], [0, 0, 1, 1])
    24.2
    """
    rows, centred, there = _centred(X, labels, metric, Options(device, chunk_size, sample_weight))
    kind, mass, centers = METRICS[metric], centred.mass[there], centred.centers[there]
    n, k = float(mass.sum()), len(centers)
    if not k < n:
        raise ValueError(f"sample_weight sums to {n:g}, which is not more than the {k} labels: weights repeat rows.")
    way = centers - centred.overall
    between = math.fsum(mass * (np.abs(way) if kind.l1 else way**2).sum(axis=1))
    within = math.fsum(spread(rows, np.nan_to_num(centred.centers), kind))
    check_held(between, within)
    return between * (n - k) / (within * (k - 1)) if within else 1.0
