"""Silhouettes (Rousseeuw, "Silhouettes", Journal of Computational and Applied Mathematics 20, 1987).

Under Euclidean and Manhattan distance from all pairs of rows, O(n^2 d), tile by tile: what is held is one number for
each of some rows and each cluster. Under squares of distances from the clusters' means, see `closed.py`.
"""

from __future__ import annotations

from numbers import Integral
from typing import Any, Final

import numpy as np
import sklearn.metrics
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, validate_params

from ..backends.metric import Metric
from ..config import Device
from ..data.array import ArraySource
from ..data.source import Source
from ..errors import DataError
from ..solvers.scan import scan
from ..validation import is_stream
from .closed import block_rows, coefficients, samples
from .labels import checked, encoded
from .rows import Labelled, Options, check_length, check_number_of_labels, labelled, one_of, opened, put

PAIRWISE: Final = {"euclidean": Metric.EUCLIDEAN, "manhattan": Metric.MANHATTAN}
METRICS: Final = ("euclidean", "sqeuclidean", "manhattan", "cosine")
ROWS_BYTES: Final = 16 << 20  # of a block of rows, and of those that it is compared with


def silhouette_samples(
    X: Any, labels: Any, *, metric: str = "euclidean", device: Device = "auto", chunk_size: int | None = None
) -> Any:
    """Silhouette of each row: (b - a) / max(a, b), where a is its mean distance to the other rows of its cluster and b
    the least mean distance to the rows of another one; 0 for a row that is a cluster of its own.

    Parameters
    ----------
    X : array-like, sparse CSR, DataFrame, CuPy array of shape (n_samples, n_features)
        Under 'sqeuclidean' and 'cosine' also a stream or a path.
    labels : array-like of shape (n_samples,)
        Integers, strings or anything else that can be ordered.
    metric : {'euclidean', 'sqeuclidean', 'manhattan', 'cosine', 'precomputed'}, default='euclidean'
        'euclidean' and 'manhattan' take O(n^2 d) time, 'sqeuclidean' and 'cosine' O(n k d); none holds an n x n array.
        Distances of float32 rows are computed in float32, to (d + 2) 2^-24 of each, and added up in float64.
        'precomputed', where X is an array of distances, is left to scikit-learn.
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
        If the number of labels is not 2 to n_samples - 1, if X and labels differ in length, or X is not finite.
    DataError
        For a stream under 'euclidean' or 'manhattan'.

    Examples
    --------
    >>> from gpuclust.metrics import silhouette_samples
    >>> silhouette_samples([[0.0], [1.0], [4.0], [6.0]], [0, 0, 1, 1])
    array([0.8       , 0.75      , 0.42857143, 0.63636364])
    """
    if metric == "precomputed":
        return sklearn.metrics.silhouette_samples(X, labels, metric=metric)
    rows = _opened(X, labels, metric, Options(device, chunk_size))
    return rows.source.placed(rows.source.backend.upload(_samples(rows, metric), np.float64))


@validate_params(
    {"sample_size": [Interval(Integral, 1, None, closed="left"), None], "random_state": ["random_state"]},
    prefer_skip_nested_validation=True,
)
def silhouette_score(
    X: Any,
    labels: Any,
    *,
    metric: str = "euclidean",
    sample_size: int | None = None,
    random_state: Any = None,
    device: Device = "auto",
    chunk_size: int | None = None,
) -> float:
    """Mean silhouette of all rows, or of those that are drawn.

    Parameters
    ----------
    X : array-like, sparse CSR, DataFrame, CuPy array of shape (n_samples, n_features)
        Under 'sqeuclidean' and 'cosine', or with `sample_size`, also a stream or a path.
    labels : array-like of shape (n_samples,)
    metric : {'euclidean', 'sqeuclidean', 'manhattan', 'cosine', 'precomputed'}, default='euclidean'
    sample_size : int, optional
        Draw so many rows, without replacement, and use only those. Given the seed, the same rows as scikit-learn.
    random_state : int, RandomState or None, default=None
    device : {'auto', 'cpu', 'cuda', 'cuda:N', 'cuda:all'} or list of 'cuda:N', default='auto'
    chunk_size : int, optional

    Returns
    -------
    float

    Raises
    ------
    ValueError, DataError
        As `silhouette_samples`.

    Examples
    --------
    >>> from gpuclust.metrics import silhouette_score
    >>> round(silhouette_score([[0.0], [1.0], [4.0], [6.0]], ["a", "a", "b", "b"]), 4)
    0.6537
    """
    if metric == "precomputed":
        return float(
            sklearn.metrics.silhouette_score(
                X, labels, metric=metric, sample_size=sample_size, random_state=random_state
            )
        )
    options = Options(device, chunk_size)
    if sample_size is None:
        rows = _opened(X, labels, metric, options)
    else:
        source = opened(X, options, metric=_kind(metric))
        rows = _drawn(source, checked(labels, "labels"), sample_size, random_state)
    return float(_samples(rows, metric).mean())


def _opened(X: Any, labels: Any, metric: str, options: Options) -> Labelled:
    """All rows and their labels.

    Raises
    ------
    DataError
        If they are read in chunks and all pairs are wanted.
    """
    kind = _kind(metric)
    if metric in PAIRWISE and is_stream(X):
        raise DataError(
            f"The exact silhouette under metric={metric!r} compares every row with every other: it is not computed of"
            " data that are read in chunks. Pass sample_size= to silhouette_score, or use metric='sqeuclidean' or"
            " simplified_silhouette_samples."
        )
    return labelled(X, labels, options, kind)


def _kind(metric: str) -> Metric:
    """What a source is opened for: one for Manhattan distances makes sparse rows dense, some at a time."""
    one_of(metric, METRICS)
    return Metric.MANHATTAN if metric in PAIRWISE else Metric.EUCLIDEAN


def _drawn(source: Source, labels: np.ndarray, size: int, random_state: Any) -> Labelled:
    """Some rows in memory, and their labels: drawn as scikit-learn draws them."""
    _check_no_weights(source)
    check_length(source, labels)
    index = check_random_state(random_state).permutation(source.n_rows)[:size]
    codes, k = encoded(labels[index])
    check_number_of_labels(k, len(codes))
    return put(ArraySource(source.gather(index)[0], None, source.backend), codes, k)


def _check_no_weights(source: Source) -> None:
    if source.weighted:
        raise DataError("Silhouettes have no weights: pass gpuclust.stream(...) of rows alone, without weight=.")


def _samples(rows: Labelled, metric: str) -> np.ndarray:
    _check_no_weights(rows.source)
    if metric not in PAIRWISE:
        return samples(rows, cosine=metric == "cosine")
    return _pairwise(rows, PAIRWISE[metric])


def _pairwise(rows: Labelled, metric: Metric) -> np.ndarray:
    """Silhouettes f64 [n] from all pairs of rows, which are taken in the order of their clusters."""
    source, n = rows.source, len(rows.codes)
    sizes, order = np.bincount(rows.codes, minlength=rows.k), np.argsort(rows.codes, kind="stable")
    scale, width = float(scan(source, metric).scale), max(16, ROWS_BYTES // (source.n_features * source.dtype.itemsize))
    step = min(block_rows(rows.k), width // 16 * 16)
    found = np.empty(n)
    for low in range(0, n, step):
        here = order[low : low + step]
        X, sums = source.gather(here)[0], source.backend.full((len(here), rows.k), 0.0, np.float64)
        for left in range(0, n, width):
            index = order[left : left + width]
            first, last = rows.codes[index[0]], rows.codes[index[-1]]
            start = np.searchsorted(rows.codes[index], np.arange(first, last + 2))
            Y = source.gather(index)[0]
            source.backend.add_distance_sums(X, Y, start, int(first), scale, metric, sums)
        found[here] = coefficients(source.backend.to_host(sums), rows.codes[here], sizes)
    return found
