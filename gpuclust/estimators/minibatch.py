"""Mini-batch K-Means."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn import cluster

from ..config import Device
from ..solvers.steps import MeanUpdate
from .online import OnlineEstimator
from .twins import from_twin, to_twin


class MiniBatchKMeans(OnlineEstimator):
    """K-Means in small steps on random rows (Sculley, WWW 2010): for data too large to be read many times.

    A batch is drawn with repeats, in proportion to the weights. Which rows it holds depends on the seed and
    the row index alone: arrays, memmaps and .npy files give the same result, to the bit, for any chunk size.
    Parquet files and iterables cannot be read at random: there a batch is the next `batch_size` rows of
    positive weight in the order of the stream, pass after pass, while the first centres come from rows drawn
    from all of it. Shuffle such data if their order tells something about the clusters.

    Parameters
    ----------
    n_clusters : int, default=8
    init : {'k-means++', 'k-means||', 'random'}, array or callable, default='k-means++'
        Applied to `init_size` random rows.
    max_iter : int, default=100
        At most this many times as many rows as the data has are drawn.
    batch_size : int, default=1024
    verbose : int, default=0
    compute_labels : bool, default=True
        Label all rows in a last pass. Otherwise `inertia_` is an estimate from the last batches, and a stream
        is checked for NaN only where it was read.
    random_state : int, RandomState or None, default=None
    tol : float, default=0.0
        Stop when the sum of squared moves of the centres is at most `tol` times the mean variance of the
        features (which takes a pass over the data). 0: never for this reason.
    max_no_improvement : int or None, default=10
        Stop after this many steps without a better smoothed batch inertia.
    init_size : int or None, default=None
        Default: three times the batch size, or three times the clusters if that is fewer.
    n_init : 'auto' or int, default='auto'
        Starts; the one of least inertia on `init_size` other rows is kept. 'auto' is 3 for 'random' and
        callables, else 1.
    reassignment_ratio : float, default=0.01
        Centres that saw less than this share of what the busiest one saw are placed on rows of the batch.
    device : {'auto', 'cpu', 'cuda', 'cuda:N', 'cuda:all'} or list of 'cuda:N', default='auto'
        Rows are spread over all the GPUs that are named; batches are worked on by the first one. Of a dask collection:
        what each worker uses, one GPU at most; batches travel to the client and are worked on by its CPU.
    chunk_size : int, optional
        Rows per chunk. The result does not depend on it.

    Attributes
    ----------
    cluster_centers_ : ndarray of shape (n_clusters, n_features), float32 for float32 data, else float64
    labels_ : int32 array of shape (n_samples,)
        Equal to ``predict(X)`` for the X of the last `fit` or `partial_fit`; absent without `compute_labels`.
    inertia_ : float
        Weighted sum of squared distances of those rows to `cluster_centers_`.
    n_iter_ : int
        Rows drawn, in multiples of the data, rounded up.
    n_steps_ : int
        Batches seen.
    device_ : str
    n_features_in_ : int
    feature_names_in_ : ndarray of str, where X has names

    Examples
    --------
    >>> from gpuclust import MiniBatchKMeans
    >>> MiniBatchKMeans(2, random_state=0).fit_predict([[0.0], [0.1], [9.0], [9.1]])
    array([1, 1, 0, 0], dtype=int32)
    """

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        init: Any = "k-means++",
        max_iter: int = 100,
        batch_size: int = 1024,
        verbose: int = 0,
        compute_labels: bool = True,
        random_state: Any = None,
        tol: float = 0.0,
        max_no_improvement: int | None = 10,
        init_size: int | None = None,
        n_init: Any = "auto",
        reassignment_ratio: float = 0.01,
        device: Device = "auto",
        chunk_size: int | None = None,
    ):
        self.n_clusters = n_clusters
        self.init = init
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.verbose = verbose
        self.compute_labels = compute_labels
        self.random_state = random_state
        self.tol = tol
        self.max_no_improvement = max_no_improvement
        self.init_size = init_size
        self.n_init = n_init
        self.reassignment_ratio = reassignment_ratio
        self.device = device
        self.chunk_size = chunk_size

    def to_sklearn(self) -> Any:
        """The fitted ``sklearn.cluster.MiniBatchKMeans`` with the same parameters, centres and labels.

        `init='k-means||'` becomes 'k-means++'. Where two centres are as near as rounding, its `predict` may choose the
        other one.

        Raises
        ------
        NotFittedError
            If `fit` was not called.
        """
        return to_twin(self, cluster.MiniBatchKMeans)

    @classmethod
    def from_sklearn(cls, model: Any) -> Self:
        """The estimator with the parameters, centres and labels of a fitted ``sklearn.cluster.MiniBatchKMeans``.

        Raises
        ------
        TypeError
            If `model` is of another class.
        NotFittedError
            If it was not fitted.
        """
        return from_twin(cls, model, cluster.MiniBatchKMeans)

    def _update(self, n_features: int, dtype: np.dtype) -> MeanUpdate:
        return MeanUpdate()
