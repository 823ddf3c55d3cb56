"""Simplified silhouettes: distances to centres instead of rows, O(n k d) time, no n x k array.

Hruschka, Campello and de Castro, "Evolving clusters in gene-expression data", Information Sciences 176, 2006.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backends.base import Array, Backend
from ..backends.metric import Metric
from ..config import Device
from ..data.source import Source
from .closed import block_rows, relative
from .labels import checked
from .rows import Options, check_held, check_length, checked_centers, one_of, opened
from .silhouette import METRICS
from .unit import UnitSource


def simplified_silhouette_samples(
    X: Any,
    centers: Any,
    *,
    labels: Any = None,
    metric: str = "euclidean",
    device: Device = "auto",
    chunk_size: int | None = None,
) -> Any:
    """Simplified silhouette of each row: (b - a) / max(a, b), where a is its distance to its own centre and b that to
    the nearest of the others; 0 where both are 0.

    Parameters
    ----------
    X : array-like, sparse CSR, DataFrame, CuPy array, stream or path of shape (n_samples, n_features)
    centers : array-like of shape (n_clusters, n_features)
        Two at least.
    labels : array-like of int of shape (n_samples,), optional
        Index of each row's own centre; default: the nearest one, so that no silhouette is negative.
    metric : {'euclidean', 'sqeuclidean', 'manhattan', 'cosine'}, default='euclidean'
    device : {'auto', 'cpu', 'cuda', 'cuda:N', 'cuda:all'} or list of 'cuda:N', default='auto'
    chunk_size : int, optional
        Rows per chunk. No result depends on it.

    Returns
    -------
    silhouette : float64 array of shape (n_samples,)
        In [-1, 1]; where X lives: NumPy for host data, CuPy for CuPy.

    Raises
    ------
    ValueError
        If there are fewer than two centres, or labels that are none of 0 to n_clusters - 1.

    Examples
    --------
    >>> from gpuclust.metrics import simplified_silhouette_samples
    >>> simplified_silhouette_samples([[0.0], [1.0], [4.0]], [[0.0], [4.0]])
    array([1.        , 0.66666667, 1.        ])
    """
    source, found = _measured(X, centers, labels, metric, Options(device, chunk_size))
    return source.placed(source.backend.upload(found, np.float64))


def simplified_silhouette_score(
    X: Any,
    centers: Any,
    *,
    labels: Any = None,
    metric: str = "euclidean",
    device: Device = "auto",
    chunk_size: int | None = None,
) -> float:
    """Mean of `simplified_silhouette_samples`.

    Parameters
    ----------
    X : array-like, sparse CSR, DataFrame, CuPy array, stream or path of shape (n_samples, n_features)
    centers : array-like of shape (n_clusters, n_features)
    labels : array-like of int of shape (n_samples,), optional
    metric : {'euclidean', 'sqeuclidean', 'manhattan', 'cosine'}, default='euclidean'
    device : {'auto', 'cpu', 'cuda', 'cuda:N', 'cuda:all'} or list of 'cuda:N', default='auto'
    chunk_size : int, optional

    Returns
    -------
    float

    Raises
    ------
    ValueError
        As `simplified_silhouette_samples`.
    """
    return float(_measured(X, centers, labels, metric, Options(device, chunk_size))[1].mean())


def _measured(X: Any, centers: Any, labels: Any, metric: str, options: Options) -> tuple[Source, np.ndarray]:
    """The rows, and their silhouettes f64 [n] on the host."""
    one_of(metric, METRICS)
    kind = Metric.MANHATTAN if metric == "manhattan" else Metric.EUCLIDEAN
    source = opened(X, options, metric=kind)
    centers = checked_centers(centers, source)
    if len(centers) < 2:
        raise ValueError(f"Number of centers is {len(centers)}: a silhouette needs 2 at least.")
    own = None if labels is None else indices(labels, source, len(centers))
    if metric == "cosine":
        source, centers = UnitSource(source), _unit(centers)
    return source, _samples(source, centers, own, kind, metric)


def indices(labels: Any, source: Source, k: int) -> np.ndarray:
    """Labels that name centres, i32 [n].

    Raises
    ------
    ValueError
        If one is none of 0 to k - 1, or they are not as many as the rows.
    """
    given = checked(labels, "labels")
    check_length(source, given)
    if given.dtype.kind not in "iub" or given.min() < 0 or given.max() >= k:
        raise ValueError(f"labels must be indices of centers, integers from 0 to {k - 1}.")
    return given.astype(np.int32)


def _unit(centers: np.ndarray) -> np.ndarray:
    size = np.linalg.norm(centers, axis=1, keepdims=True)
    return centers / np.where(size > 0, size, 1.0)


def _samples(
    source: Source, centers: np.ndarray, own: np.ndarray | None, kind: Metric, metric: str
) -> np.ndarray:
    """f64 [n] on the host."""
    parts, step = [], block_rows(len(centers))
    for chunk in source.chunks():
        for low in range(0, chunk.X.shape[0], step):
            distance = _distances(source.backend, chunk.X[low : low + step], centers, kind, metric)
            check_held(distance)
            row, start = np.arange(len(distance)), chunk.start + low
            mine = distance.argmin(axis=1) if own is None else own[start : start + len(row)]
            nearest = distance[row, mine]
            distance[row, mine] = np.inf
            parts.append(relative(nearest, distance.min(axis=1)))
    return np.concatenate(parts)


def _distances(backend: Backend, X: Array, centers: np.ndarray, kind: Metric, metric: str) -> np.ndarray:
    """f64 [rows, k] on the host. Cosine: half the squares between unit vectors; 1 from rows and centres of zeros."""
    found = backend.to_host(backend.distances(X, centers, np.float64, kind))
    if metric == "sqeuclidean":
        return found**2
    if metric != "cosine":
        return found
    size = backend.to_host(backend.distances(X, np.zeros((1, centers.shape[1])), np.float64, kind))
    zeros = (size == 0) | ~centers.any(axis=1)
    return np.where(zeros, 1.0, found**2 / 2)
