"""What K-Means and K-Medians share: several starts of one loop, of which the best is kept."""

from __future__ import annotations

import os
import warnings
from abc import abstractmethod
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from ..backends.frame import Frame
from ..data.source import Source
from ..solvers.checkpoint import Checkpoint, Keeper
from ..solvers.iterate import Fit, Objective, iterate
from ..solvers.scan import scan
from ..validation import open_source, refusing
from .base import CenterEstimator
from .resume import identity, restored, run_again, state_of
from .start import check_init, first_centers, starts


class LloydEstimator(CenterEstimator):
    """Base of the estimators that iterate over all rows."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **CenterEstimator._parameter_constraints,
        "copy_x": ["boolean"],
        "checkpoint": [None, str, os.PathLike, Checkpoint],
    }

    @abstractmethod
    def _objective(self, source: Source, frame: Frame, centers: np.ndarray) -> tuple[Objective, Any]:
        """The objective and its first parameters; the ledger is made ready."""

    @abstractmethod
    def _tolerance(self, frame: Frame) -> float:
        """`tol` as the objective reads it."""

    def _check_choice(self) -> None:
        """Warn of parameters that make no sense together."""

    def _depends_on(self) -> dict[str, Any]:
        """Parameters beyond the common ones that change the result."""
        return {}

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Cluster X.

        Parameters
        ----------
        X : array-like, sparse CSR, DataFrame, stream, path or dask collection of shape (n_samples, n_features)
            Rows of a dask array or DataFrame, or of `gpuclust.shards`, stay with the workers of the default client, and
            `labels_` is a lazy dask array. Seeding by 'k-means++' is then a round of messages for each centre: at large
            k, init='k-means||' takes seven in all.
        y : ignored
        sample_weight : array-like of shape (n_samples,), optional
            A weight is a number of repetitions; rows of weight 0 count for nothing.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For what scikit-learn rejects too, in its words.
        DataError
            If a file is missing, truncated, empty or not numeric, or the checkpoint is that of another fit.
        ModelFileError
            If the checkpoint is damaged.
        DeviceUnavailableError, DeviceMemoryError
            If the device cannot be used, or the memory budget is too small.
        WorkersLostError
            If a cluster has no worker left, or loses one after the other that holds the same rows. Those of a worker
            that is lost once are made again on another one, and the result stays the same.
        """
        keeper = Keeper.of(self.checkpoint)
        source = open_source(
            self, X, sample_weight, self.device, reset=True, chunk_size=self.chunk_size, clusters=self.n_clusters,
            finite=False, metric=self._metric,
        )  # fmt: skip
        if source.n_rows < self.n_clusters:
            raise ValueError(f"n_samples={source.n_rows} should be >= n_clusters={self.n_clusters}.")
        init = check_init(self.init, self.n_clusters, source)
        n_init = starts(init, self.n_init, 10, type(self).__name__)
        self._n_init = n_init
        self._check_choice()
        with refusing(self, X, self.device):
            frame = scan(source, self._metric)
        best, labels = self._best(source, frame, init, n_init, keeper)
        self._keep(source, best, labels)
        self.device_ = source.device
        if keeper is not None:
            keeper.remove()
        return self

    def _best(self, source: Source, frame: Frame, init: Any, n_init: int, keeper: Keeper | None) -> tuple[Fit, Any]:
        """The start of least inertia and its labels (a copy where another start may overwrite them)."""
        best, labels, state, random_state = None, None, None, check_random_state(self.random_state)
        if keeper is not None:
            state = keeper.resume(identity(self, source, frame, init, n_init) | self._depends_on())
        if state is not None:
            random_state = restored(random_state, state.random_state)
            if state.best is not None:
                best, labels = run_again(source, state.best, self._metric)
        for run in range(0 if state is None else state.run, n_init):
            if state is None:
                centers, place = first_centers(source, frame, init, self.n_clusters, random_state), None
            else:
                centers, place, state = state.initial, state.place, None
            if self.verbose:
                print("Initialization complete" if place is None else f"Resumed after iteration {place.n_iter - 1}")
            if keeper is not None:
                keeper.begin(state_of(run, centers, place, best, random_state))
            objective, params = self._objective(source, frame, centers)
            fit = iterate(
                source, objective, params, max_iter=self.max_iter, tol=self._tolerance(frame), run=run,
                verbose=self.verbose, keeper=keeper, place=place,
            )  # fmt: skip
            if best is None or fit.cost.loss < best.cost.loss:
                best = fit
                labels = source.labels(copy=run < n_init - 1)
        assert best is not None
        return best, labels

    def _keep(self, source: Source, fit: Fit, labels: Any) -> None:
        self.cluster_centers_ = fit.params.centers.astype(source.dtype)
        self.labels_ = self._labels(source, labels)
        self.inertia_ = fit.cost.loss
        self.n_iter_ = fit.n_iter
        self.converged_ = fit.converged
        self.inertia_history_ = fit.history
        self.n_passes_ = source.n_passes
        distinct = int(np.count_nonzero(fit.cost.rows))
        if distinct < self.n_clusters:
            warnings.warn(
                f"Number of distinct clusters ({distinct}) found smaller than n_clusters ({self.n_clusters})."
                " Possibly due to duplicate points in X.",
                ConvergenceWarning,
                stacklevel=3,
            )
