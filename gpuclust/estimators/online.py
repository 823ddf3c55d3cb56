"""What mini-batch K-Means and K-Medians share: steps on random rows, or with what `partial_fit` is given."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import _fit_context
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval

from ..backends.threads import limited
from ..data.source import Source
from ..solvers import online
from ..solvers.batches import mass, sample, starting_rows
from ..solvers.nearest import label
from ..solvers.online import Rules
from ..solvers.scan import scan
from ..solvers.steps import Running, Update
from ..validation import open_source
from .base import CenterEstimator, Integral, Real
from .start import check_init, first_centers, starts


class OnlineEstimator(CenterEstimator):
    """Base of the estimators that learn from mini-batches."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **CenterEstimator._parameter_constraints,
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "compute_labels": ["boolean"],
        "max_no_improvement": [Interval(Integral, 0, None, closed="left"), None],
        "init_size": [Interval(Integral, 1, None, closed="left"), None],
        "reassignment_ratio": [Interval(Real, 0, None, closed="left")],
    }

    @abstractmethod
    def _update(self, n_features: int, dtype: np.dtype) -> Update:
        """How a centre learns; `dtype`: of the centres."""

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Cluster X by steps on mini-batches.

        Parameters
        ----------
        X : array-like, sparse CSR, DataFrame, stream, path or dask collection of shape (n_samples, n_features)
            The rows of a mini-batch travel from the workers of a cluster to the client, those between do not.
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
        WorkersLostError
            As the estimators that iterate over all rows.
        """
        source = self._source(X, sample_weight, reset=True)
        init = self._check(source)
        with limited(source.n_rows * self.n_clusters * source.n_features):
            return self._fit(source, init)

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
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
        source = open_source(
            self, X, sample_weight, self.device, reset=reset, chunk_size=self.chunk_size, clusters=self.n_clusters,
            metric=self._metric,
        )  # fmt: skip
        self.device_ = source.device
        return source

    def _fit(self, source: Source, init: Any) -> Self:
        random_state = check_random_state(self.random_state)
        n, size = source.n_rows, self._batch_size
        rules = self._rules(size, self.tol and self.tol * scan(source).variance)
        with limited(size * self.n_clusters * source.n_features):
            centers = self._best_start(source, init, random_state)
            update = self._update(source.n_features, source.dtype)
            running = update.start(centers, np.zeros(len(centers)))
            outcome = online.run(source, running, update, rules, self.max_iter * n // size, random_state)
        self._keep(source, outcome.running, source.dtype, outcome.cost)
        self.n_steps_ = outcome.n_steps
        self.n_iter_ = -(-outcome.n_steps * size // n)
        return self

    def _step(self, source: Source, first: bool) -> Self:
        random_state = getattr(self, "_random_state", None) or check_random_state(self.random_state)
        dtype = source.dtype if first else self.cluster_centers_.dtype
        update = self._update(source.n_features, dtype)
        if first:
            centers = self._start(source, self._check(source), random_state)
            running = update.start(centers, np.zeros(len(centers)))
        else:
            running = self._running(update)
        size = getattr(self, "_batch_size", min(self.batch_size, source.n_rows))
        running, _ = online.step(source, running, update, self._rules(size, 0.0), random_state)
        self._keep(source, running, dtype)
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
        drawn = sample(source, random_state.randint(0, source.n_rows, self._init_size))
        found = []
        for run in range(self._n_init):
            online.tell(self.verbose, f"Init {run + 1}/{self._n_init} with method {init}")
            centers = self._start(source, init, random_state)
            inertia = label(drawn, centers, self._metric).loss
            online.tell(self.verbose, f"Inertia for init {run + 1}/{self._n_init}: {inertia}")
            found.append((inertia, centers))
        return min(found, key=lambda start: start[0])[1]

    def _start(self, source: Source, init: Any, random_state: Any) -> np.ndarray:
        rows, frame = starting_rows(source, self._init_size, random_state, self._metric)
        return first_centers(rows, frame, init, self.n_clusters, random_state)

    def _running(self, update: Update) -> Running:
        """What the next step starts from: the centres last kept, or those that were set or loaded since."""
        reported = self.cluster_centers_
        exact, kept = getattr(self, "_centers", reported), getattr(self, "_sketch", None)
        if not np.array_equal(exact.astype(reported.dtype), reported):
            exact, kept = reported, None
        counts = np.asarray(getattr(self, "_counts", np.zeros(len(reported))), np.float64)
        since = getattr(self, "_n_since_last_reassign", 0)
        if kept is None:
            return update.start(exact.astype(np.float64), counts, since)
        return Running(exact.astype(np.float64), counts, since, kept.copy())  # a step that fails leaves ours alone

    def _keep(self, source: Source, running: Running, dtype: Any, cost: float | None = None) -> None:
        """The result; inertia and labels under the reported centres, or `cost` a unit of weight instead."""
        centers = running.centers.astype(dtype)
        if self.compute_labels:
            found = label(source, centers.astype(np.float64), self._metric)
            self.inertia_ = found.loss
            if cost is not None:
                online.tell_empty(found)
        else:
            self.__dict__.pop("labels_", None)
            self.__dict__.pop("inertia_", None)
            if cost is not None:
                self.inertia_ = cost * mass(source)
        self._centers, self.cluster_centers_ = running.centers, centers
        self._counts, self._n_since_last_reassign = running.counts, running.since
        self._sketch = running.sketch
        if self.compute_labels:
            self.labels_ = self._labels(source, source.labels(copy=False))
