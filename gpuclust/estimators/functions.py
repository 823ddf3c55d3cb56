"""K-Means and k-means++ as functions."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.utils import check_array, check_random_state
from sklearn.utils._param_validation import Interval, validate_params

from ..config import Device
from ..data.stream import Stream
from ..solvers.scan import scan
from ..solvers.seeding import plus_plus
from ..validation import open_source
from .base import Integral
from .kmeans import KMeans

_ROWS = ["array-like", "sparse matrix", str, os.PathLike, Stream]


@validate_params(
    {
        "X": _ROWS,
        "n_clusters": [Interval(Integral, 1, None, closed="left")],
        "sample_weight": ["array-like", None],
        "x_squared_norms": ["array-like", None],
        "random_state": ["random_state"],
        "n_local_trials": [Interval(Integral, 1, None, closed="left"), None],
        "device": [str, list, tuple],
    },
    prefer_skip_nested_validation=True,
)
def kmeans_plusplus(
    X: Any,
    n_clusters: int,
    *,
    sample_weight: Any = None,
    x_squared_norms: Any = None,
    random_state: Any = None,
    n_local_trials: int | None = None,
    device: Device = "auto",
) -> tuple[np.ndarray, np.ndarray]:
    """Rows that make good first centres: greedy k-means++ (Arthur and Vassilvitskii, SODA 2007).

    Parameters
    ----------
    X : array-like, sparse CSR, DataFrame, stream or path of shape (n_samples, n_features)
    n_clusters : int
    sample_weight : array-like of shape (n_samples,), optional
        Rows of weight 0 are not chosen.
    x_squared_norms : array-like of shape (n_samples,), optional
        Accepted for compatibility; distances are not computed from norms.
    random_state : int, RandomState or None, default=None
    n_local_trials : int, optional
        Rows tried for each centre, of which the best is kept; default 2 + log(n_clusters).
    device : {'auto', 'cpu', 'cuda', 'cuda:N', 'cuda:all'} or list of 'cuda:N', default='auto'

    Returns
    -------
    centers : ndarray of shape (n_clusters, n_features)
        Rows of X.
    indices : int64 ndarray of shape (n_clusters,)
        Which ones.

    Raises
    ------
    ValueError
        For what scikit-learn rejects too, in its words.
    DataError
        If a file is missing, truncated, empty or not numeric.

    Examples
    --------
    >>> from gpuclust import kmeans_plusplus
    >>> kmeans_plusplus([[0.0], [0.1], [9.0]], 2, random_state=0)[1]
    array([1, 2])
    """
    source = open_source(KMeans(), X, sample_weight, device, reset=True)
    n = source.n_rows
    if n < n_clusters:
        raise ValueError(f"n_samples={n} should be >= n_clusters={n_clusters}.")
    if x_squared_norms is not None:
        given = len(check_array(x_squared_norms, dtype=source.dtype, ensure_2d=False))
        if given != n:
            raise ValueError(
                f"The length of x_squared_norms {given} should be equal to the length of n_samples {n}."
            )
    frame = scan(source)
    centers, index = plus_plus(source, frame, n_clusters, check_random_state(random_state), n_local_trials)
    if isinstance(X, np.ndarray) or sp.issparse(X):  # integers stay integers
        centers = centers.astype(X.dtype, copy=False)
    return centers, index


@validate_params(
    {"X": _ROWS, "sample_weight": ["array-like", None], "return_n_iter": [bool]},
    prefer_skip_nested_validation=False,
)
def k_means(
    X: Any,
    n_clusters: int,
    *,
    sample_weight: Any = None,
    init: Any = "k-means++",
    n_init: Any = "auto",
    max_iter: int = 300,
    verbose: bool = False,
    tol: float = 1e-4,
    random_state: Any = None,
    copy_x: bool = True,
    algorithm: str = "lloyd",
    return_n_iter: bool = False,
    device: Device = "auto",
) -> tuple[Any, ...]:
    """K-Means clustering; see `KMeans` for the parameters.

    Parameters
    ----------
    X : array-like, sparse CSR, DataFrame, stream or path of shape (n_samples, n_features)
    n_clusters : int
    sample_weight : array-like of shape (n_samples,), optional
    init : {'k-means++', 'k-means||', 'random'}, array or callable, default='k-means++'
    n_init : 'auto' or int, default='auto'
    max_iter : int, default=300
    verbose : bool, default=False
    tol : float, default=1e-4
    random_state : int, RandomState or None, default=None
    copy_x : bool, default=True
    algorithm : {'lloyd', 'elkan', 'auto'}, default='lloyd'
    return_n_iter : bool, default=False
    device : {'auto', 'cpu', 'cuda', 'cuda:N', 'cuda:all'} or list of 'cuda:N', default='auto'

    Returns
    -------
    centroid : ndarray of shape (n_clusters, n_features)
    label : int32 array of shape (n_samples,)
    inertia : float
    best_n_iter : int
        Only with `return_n_iter`.

    Raises
    ------
    ValueError, DataError, DeviceUnavailableError, DeviceMemoryError
        As `KMeans.fit`.

    Examples
    --------
    >>> from gpuclust import k_means
    >>> k_means([[0.0], [2.0], [9.0]], 2, random_state=0)[2]
    2.0
    """
    model = KMeans(
        n_clusters=n_clusters,
        init=init,
        n_init=n_init,
        max_iter=max_iter,
        verbose=verbose,
        tol=tol,
        random_state=random_state,
        copy_x=copy_x,
        algorithm=algorithm,
        device=device,
    ).fit(X, sample_weight=sample_weight)
    found = model.cluster_centers_, model.labels_, model.inertia_
    return (*found, model.n_iter_) if return_n_iter else found
