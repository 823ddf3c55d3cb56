"""What every estimator with centres shares: prediction, distances, score."""

from __future__ import annotations

from copy import copy
from functools import reduce
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, ClusterMixin, TransformerMixin
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from ..backends.base import Backend, Centers, Chunk
from ..backends.metric import Metric
from ..backends.statistics import Cost
from ..data.collection import fetched, has_rows, is_collection, mapped
from ..data.source import Source
from ..solvers.nearest import nearest, staged
from ..validation import open_source, refusing


class CenterEstimator(ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClusterMixin, BaseEstimator):
    """Base of the estimators whose clusters are centres. State is held in host arrays only."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_clusters": [Interval(Integral, 1, None, closed="left")],
        "init": [StrOptions({"k-means++", "random", "k-means||"}), callable, "array-like"],
        "n_init": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
        "device": [str, list, tuple],
        "chunk_size": [None, Interval(Integral, 1, None, closed="left")],
    }

    _metric: ClassVar[Metric] = Metric.EUCLIDEAN
    cluster_centers_: np.ndarray

    @property
    def _n_features_out(self) -> int:
        return len(self.cluster_centers_)

    def predict(self, X: Any) -> Any:
        """Nearest centre of each row (lowest index on ties), exact in float64.

        Parameters
        ----------
        X : array-like, sparse CSR, stream, path or dask collection of shape (n_samples, n_features)

        Returns
        -------
        labels : int32 array of shape (n_samples,)
            Where X lives: NumPy for host data, CuPy for CuPy, a lazy dask array for a dask collection.

        Raises
        ------
        NotFittedError
            If `fit` was not called.
        ValueError
            If X has another number of features, or NaN or infinite values.
        """
        if is_collection(X):
            check_is_fitted(self)
            return mapped(Predict(self), X, np.int32)
        source = self._open(X, finite=False)
        stage = self._stage(source)
        with refusing(self, X, self.device):
            parts = source.collect(nearest, stage)
        return self._return(source.backend, parts)

    def transform(self, X: Any) -> Any:
        """Distances to the centres, Euclidean or Manhattan as the cost is.

        Parameters
        ----------
        X : array-like, sparse CSR, stream, path or dask collection of shape (n_samples, n_features)

        Returns
        -------
        distances : array of shape (n_samples, n_clusters)
            In X's dtype.

        Raises
        ------
        NotFittedError, ValueError
            As `predict`.
        """
        if is_collection(X):
            check_is_fitted(self)
            return mapped(Transform(self), X, self.cluster_centers_.dtype, len(self.cluster_centers_))
        source = self._open(X)
        centers = self.cluster_centers_.astype(np.float64)
        parts = source.collect(_distances, centers, source.dtype, self._metric)
        return self._return(source.backend, parts)

    def fit_predict(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """`fit(X).labels_`."""
        return self.fit(X, sample_weight=sample_weight).labels_

    def fit_transform(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """`fit(X).transform(X)`."""
        return self.fit(X, sample_weight=sample_weight).transform(X)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Minus the cost of X under the fitted centres.

        Parameters
        ----------
        X : array-like, sparse CSR, stream, path or dask collection of shape (n_samples, n_features)
        y : ignored
        sample_weight : array-like of shape (n_samples,), optional

        Returns
        -------
        float

        Raises
        ------
        NotFittedError, ValueError
            As `predict`.
        """
        source = self._open(X, sample_weight, finite=False)
        with refusing(self, X, self.device):
            cost: Cost = source.fold(_score, self._stage(source))
        return -cost.loss

    def _open(self, X: Any, sample_weight: Any = None, *, finite: bool = True) -> Source:
        """X as a source; `finite=False` where `nearest` sees to it that its values are."""
        check_is_fitted(self)
        return open_source(
            self, X, sample_weight, self.device, reset=False, chunk_size=self.chunk_size, finite=finite,
            metric=self._metric,
        )  # fmt: skip

    def _labels(self, source: Source, labels: Any) -> Any:
        """Labels as the user gets them: those of a collection are lazy (None), and a column is where the data are."""
        return source.lazily(Predict(self), np.int32) if labels is None else source.placed(labels)

    def _stage(self, source: Source) -> Centers:
        return staged(source, self.cluster_centers_.astype(np.float64), self._metric)

    def _return(self, backend: Backend, parts: list[Any]) -> Any:
        """Parts joined where they are: on the device for device input, on the host for everything else."""
        if len(parts) == 1:
            return parts[0]
        return np.concatenate(parts) if isinstance(parts[0], np.ndarray) else backend.joined(parts)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


class Predict:
    """A fitted estimator's `predict` as a function of a block, without what the estimator holds for each row; on the
    host, wherever the block is, as lazy arrays say they are."""

    def __init__(self, estimator: CenterEstimator):
        self.estimator = copy(estimator)
        self.estimator.__dict__.pop("labels_", None)

    def __call__(self, block: Any) -> Any:
        return fetched(self.estimator.predict(block)) if has_rows(block) else np.empty(0, np.int32)


class Transform(Predict):
    """`transform`, likewise."""

    def __call__(self, block: Any) -> Any:
        centers = self.estimator.cluster_centers_
        if not has_rows(block):
            return np.empty((0, len(centers)), centers.dtype)
        return fetched(self.estimator.transform(block))


def _distances(backend: Backend, chunk: Chunk, centers: np.ndarray, dtype: Any, metric: Metric) -> Any:
    return backend.distances(chunk.X, centers, dtype, metric)


def _score(backend: Backend, chunk: Chunk, stage: Centers) -> Cost:
    return reduce(Cost.merge, (_score_block(backend, part, stage) for part in backend.blocks(chunk)))


def _score_block(backend: Backend, chunk: Chunk, stage: Centers) -> Cost:
    label = nearest(backend, chunk, stage)
    cost = backend.costs(chunk.X, stage.given, label, stage.frame.metric)
    return backend.total(cost, chunk.weight, label, len(stage.given))
