"""Mini-batch K-Means."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

import numpy as np
from sklearn.base import _fit_context
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval

from ..backends.select import select
from ..backends.threads import limited
from ..data.source import Source
from ..solvers import online
from ..solvers.online import Rules, Running
from ..solvers.scan import scan
from ..validation import open_source
from .base import CenterEstimator, Integral, Real
from .start import check_init, first_centers, starts


class MiniBatchKMeans(CenterEstimator):
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
    device : {'auto', 'cpu', 'cuda', 'cuda:N'}, default='auto'
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

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **CenterEstimator._parameter_constraints,
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "compute_labels": ["boolean"],
        "max_no_improvement": [Interval(Integral, 0, None, closed="left"), None],
        "init_size": [Interval(Integral, 1, None, closed="left"), None],
        "reassignment_ratio": [Interval(Real, 0, None, closed="left")],
    }

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
        device: str = "auto",
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

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> MiniBatchKMeans:
        """Cluster X by steps on mini-batches.

        Parameters
        ----------
        X : array-like, sparse CSR, DataFrame, stream or path of shape (n_samples, n_features)
        y : ignored
        sample_weight : array-like of shape (n_samples,), optional
            Rows are drawn in proportion to their weights; rows of weight 0 count for nothing.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For what scikit-learn rejects too, in its words; if a stream holds NaN or infinite values.
        DataError
            If a file is missing, truncated, empty or not numeric.
        DeviceUnavailableError, DeviceMemoryError
            If the device cannot be used, or the memory budget is too small.
        """
        source = self._source(X, sample_weight, reset=True)
        init = self._check(source)
        with limited(source.n_rows * self.n_clusters * source.n_features):
            return self._fit(source, init)

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> MiniBatchKMeans:
        """One step with X as the batch.

        Parameters
        ----------
        X : array-like, sparse CSR, DataFrame, stream or path of shape (n_samples, n_features)
        y : ignored
        sample_weight : array-like of shape (n_samples,), optional

        Returns
        -------
        self

        Raises
        ------
        ValueError, DataError, DeviceUnavailableError, DeviceMemoryError
            As `fit`; the centres are left as they were.
        """
        first = not hasattr(self, "cluster_centers_")
        source = self._source(X, sample_weight, reset=first)
        with limited(source.n_rows * self.n_clusters * source.n_features):
            return self._step(source, first)

    def _source(self, X: Any, sample_weight: Any, *, reset: bool) -> Source:
        backend = select(self.device).backend
        self.device_ = backend.name
        return open_source(
            self, X, sample_weight, backend, reset=reset, chunk_size=self.chunk_size, clusters=self.n_clusters
        )

    def _fit(self, source: Source, init: Any) -> MiniBatchKMeans:
        random_state = check_random_state(self.random_state)
        n, size = source.n_rows, self._batch_size
        rules = self._rules(size, self.tol and self.tol * scan(source).variance)
        with limited(size * self.n_clusters * source.n_features):
            centers = self._best_start(source, init, random_state)
            running = Running(centers, np.zeros(len(centers)))
            outcome = online.run(source, running, rules, self.max_iter * n // size, random_state)
        self._keep(source, outcome.running, source.dtype, outcome.cost)
        self.n_steps_ = outcome.n_steps
        self.n_iter_ = -(-outcome.n_steps * size // n)
        return self

    def _step(self, source: Source, first: bool) -> MiniBatchKMeans:
        random_state = getattr(self, "_random_state", None) or check_random_state(self.random_state)
        if first:
            centers = self._start(source, self._check(source), random_state)
            running = Running(centers, np.zeros(len(centers)))
        else:
            running = self._running()
        size = getattr(self, "_batch_size", min(self.batch_size, source.n_rows))
        running, _ = online.step(source, running, self._rules(size, 0.0), random_state)
        self._keep(source, running, source.dtype if first else self.cluster_centers_.dtype)
        self._random_state = random_state
        self.n_steps_ = getattr(self, "n_steps_", 0) + 1
        return self

    def _check(self, source: Source) -> Any:
        """The checked `init`; the sizes of batches and of the sample for the first centres."""
        n, k = source.n_rows, self.n_clusters
        if n < k:
            raise ValueError(f"n_samples={n} should be >= n_clusters={k}.")
        self._n_init = starts(self.init, self.n_init, 3, type(self).__name__)
        self._batch_size = min(self.batch_size, n)
        size = 3 * self._batch_size if self.init_size is None else self.init_size
        if size < k and self.init_size is not None:
            warnings.warn(
                f"init_size={size} should be larger than n_clusters={k}. "
                "Setting it to min(3*n_clusters, n_samples)",
                RuntimeWarning,
                stacklevel=4,
            )
        self._init_size = min(size if size >= k else 3 * k, n)
        return check_init(self.init, k, source)

    def _rules(self, size: int, tol: float) -> Rules:
        return Rules(size, self.reassignment_ratio, tol, self.max_no_improvement, self.verbose)

    def _best_start(self, source: Source, init: Any, random_state: Any) -> np.ndarray:
        """The first centres of least inertia on rows drawn for this."""
        drawn = online.sample(source, random_state.randint(0, source.n_rows, self._init_size))
        found = []
        for run in range(self._n_init):
            online.tell(self.verbose, f"Init {run + 1}/{self._n_init} with method {init}")
            centers = self._start(source, init, random_state)
            inertia = float(online.label(drawn, centers).total.value())
            online.tell(self.verbose, f"Inertia for init {run + 1}/{self._n_init}: {inertia}")
            found.append((inertia, centers))
        return min(found, key=lambda start: start[0])[1]

    def _start(self, source: Source, init: Any, random_state: Any) -> np.ndarray:
        rows, frame = online.starting_rows(source, self._init_size, random_state)
        return first_centers(rows, frame, init, self.n_clusters, random_state)

    def _running(self) -> Running:
        """What the next step starts from: the centres last kept, or those that were set or loaded since."""
        reported = self.cluster_centers_
        exact = getattr(self, "_centers", reported)
        if not np.array_equal(exact.astype(reported.dtype), reported):
            exact = reported
        counts = np.asarray(getattr(self, "_counts", np.zeros(len(reported))), np.float64)
        return Running(exact.astype(np.float64), counts, getattr(self, "_n_since_last_reassign", 0))

    def _keep(self, source: Source, running: Running, dtype: Any, cost: float | None = None) -> None:
        """The result; inertia and labels under the reported centres, or `cost` a unit of weight instead."""
        centers = running.centers.astype(dtype)
        if self.compute_labels:
            found = online.label(source, centers.astype(np.float64))
            self.labels_, self.inertia_ = source.placed(source.rows("label")), float(found.total.value())
            if cost is not None:
                online.tell_empty(found)
        else:
            self.__dict__.pop("labels_", None)
            self.__dict__.pop("inertia_", None)
            if cost is not None:
                self.inertia_ = cost * online.mass(source)
        self._centers, self.cluster_centers_ = running.centers, centers
        self._counts, self._n_since_last_reassign = running.counts, running.since
