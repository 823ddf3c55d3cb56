"""Rows under the centres of a fitted estimator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ..backends.base import Array, Backend, Centers, Chunk
from ..backends.metric import Metric
from ..data.source import Source
from ..solvers.nearest import nearest, staged
from ..validation import open_source, refusing
from .rows import Parts, blocks, check_unweighted


@dataclass(frozen=True)
class Fitted:
    """Rows, and the centres that they are assigned to."""

    source: Source
    centers: np.ndarray  # f64 [k, d]
    metric: Metric

    def stage(self) -> Centers:
        return staged(self.source, self.centers, self.metric)

    def assign(self) -> tuple[np.ndarray, np.ndarray]:
        """Label i32 and distance f64 of each row, on the host. One pass."""
        found: Parts = self.source.fold(_assign, self.stage())
        label, distance = (np.concatenate(column) for column in zip(*found.parts, strict=True))
        return label, distance


@contextmanager
def fitted(estimator: Any, X: Any) -> Iterator[Fitted]:
    """Rows of X on the estimator's device; values that are not finite are refused inside, in scikit-learn's words.

    Raises
    ------
    NotFittedError
        If the estimator has no centres.
    ValueError
        If X has another number of features.
    """
    check_is_fitted(estimator, "cluster_centers_")
    device, metric = getattr(estimator, "device", "auto"), metric_of(estimator)
    chunk_size = getattr(estimator, "chunk_size", None)
    source = open_source(
        estimator, X, None, device, reset=False, chunk_size=chunk_size, finite=False, metric=metric
    )  # fmt: skip
    check_unweighted(source)
    with refusing(estimator, X, device):
        yield Fitted(source, estimator.cluster_centers_.astype(np.float64), metric)


def metric_of(estimator: Any) -> Metric:
    """The distance of an estimator; Euclidean for those of others, such as scikit-learn's KMeans."""
    return getattr(estimator, "_metric", Metric.EUCLIDEAN)


def costs(backend: Backend, rows: Array, start: int, stage: Centers) -> tuple[Array, Array]:
    """Label and cost of rows [n, d], the first of which is row `start`."""
    label = nearest(backend, Chunk(rows, None, start, {}), stage)
    return label, backend.costs(rows, stage.given, label, stage.frame.metric)


def distances(backend: Backend, rows: Array, start: int, stage: Centers) -> tuple[np.ndarray, np.ndarray]:
    """Label and distance of rows, on the host; NotFiniteError for a value that is not."""
    return _on_host(backend, *costs(backend, rows, start, stage), stage)


def placed(backend: Backend, rows: Array, stage: Centers) -> tuple[np.ndarray, np.ndarray]:
    """The same, with label -1 where a value is not finite."""
    label = backend.nearest(rows, stage)
    return _on_host(backend, label, backend.costs(rows, stage.given, label, stage.frame.metric), stage)


def _on_host(backend: Backend, label: Array, cost: Array, stage: Centers) -> tuple[np.ndarray, np.ndarray]:
    """Label i32 [n] and distance f64 [n]: the cost itself, or its root where the cost is a square."""
    label, cost = backend.to_host(label), backend.to_host(cost)
    return label, cost if stage.frame.metric.l1 else np.sqrt(cost)


def _assign(backend: Backend, chunk: Chunk, stage: Centers) -> Parts:
    return Parts(tuple(distances(backend, rows, where.start, stage) for where, rows in blocks(chunk)))
