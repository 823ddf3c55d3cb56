"""Labels of rows that nobody has looked at yet: a pass that only looks for NaN is saved."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backends.base import Backend, Centers, Chunk, sets_labels
from ..backends.frame import Frame
from ..backends.layout import Layout
from ..backends.metric import Metric
from ..backends.statistics import Cost
from ..data.source import Source
from ..errors import NotFiniteError


def staged(source: Source, centers: np.ndarray, metric: Metric = Metric.EUCLIDEAN) -> Centers:
    """Centres f64 [k, d] ready to label rows that were not scanned."""
    return packed(source.backend, centers, source.dtype, metric, sparse=source.sparse)


def packed(backend: Backend, centers: np.ndarray, dtype: Any, metric: Metric, *, sparse: bool = False) -> Centers:
    """The same for any rows of a dtype."""
    frame = Frame.around(centers, dtype, metric, centre=not sparse)
    return backend.pack(centers, frame, Layout.build(centers, 1), None)


def nearest(backend: Backend, chunk: Chunk, stage: Centers) -> Any:
    """Labels i32 [n] of a chunk.

    Raises
    ------
    NotFiniteError
        With the row and the feature.
    """
    label = backend.nearest(chunk.X, stage)
    if label.min() < 0:
        row = int(np.flatnonzero(backend.to_host(label) < 0)[0])
        values = backend.to_host(chunk.X[row : row + 1])[0]
        feature = int(np.flatnonzero(~np.isfinite(values))[0])
        raise NotFiniteError(
            f"Input X contains NaN or infinity: row {chunk.start + row}, feature {feature}. Drop or impute such rows"
            " first, for example with sklearn.impute.SimpleImputer."
        )
    return label


def label(source: Source, centers: np.ndarray, metric: Metric = Metric.EUCLIDEAN) -> Cost:
    """The ledger's labels <- nearest of `centers` (f64 [k, d]); what that costs. One pass."""
    source.allocate("label", np.int32, 0)
    return source.fold(_label, staged(source, centers, metric))


@sets_labels
def _label(backend: Backend, chunk: Chunk, centers: Centers) -> Cost:
    for part in backend.blocks(chunk):
        part.rows["label"][...] = nearest(backend, part, centers)
    return backend.cost(chunk, centers.given, centers.frame.metric)
