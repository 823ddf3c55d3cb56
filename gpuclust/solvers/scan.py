"""The first pass: how many rows, their range and moments; finite or not."""

from __future__ import annotations

import numpy as np

from ..backends.base import Backend, Chunk
from ..backends.frame import Frame
from ..backends.metric import Metric
from ..backends.statistics import Scan
from ..data.source import Source
from ..errors import NotFiniteError


def scan(source: Source, metric: Metric = Metric.EUCLIDEAN) -> Frame:
    """The frame of a fit. Sparse rows are not centred.

    Raises
    ------
    NotFiniteError
        If a value is NaN or infinite: neither streams nor dense rows are checked before this pass.
    """
    centre = not source.sparse
    origin = source.take(np.array([0]))[0].astype(np.float64) if centre else np.zeros(source.n_features)
    with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is reported below
        found: Scan = source.fold(_step, np.where(np.isfinite(origin), origin, 0.0))
    bad = np.flatnonzero(~np.isfinite(found.total.hi))
    if len(bad):
        _refuse_vast(found, origin, int(bad[0]))
        raise NotFiniteError(
            f"Input X contains NaN or infinity: feature {bad[0]}"
            + (f" and {len(bad) - 1} more." if len(bad) > 1 else ".")
            + " Drop or impute those rows first, for example with sklearn.impute.SimpleImputer."
        )
    return Frame.of(found, origin, source.dtype, metric, centre=centre)


def _refuse_vast(found: Scan, origin: np.ndarray, feature: int) -> None:
    """Raise where all values of a feature may be finite, and their sum is not."""
    low, high = float(found.low[feature]), float(found.high[feature])
    with np.errstate(over="ignore", invalid="ignore"):
        most = found.rows * np.maximum(high - origin[feature], origin[feature] - low)
    if np.isfinite([low, high]).all() and np.isinf(most):
        raise NotFiniteError(
            f"Input X contains values from {low:g} to {high:g} in feature {feature}, whose sum float64 cannot hold."
            " Leave such rows out, or divide the feature by a large number."
        )


def _step(backend: Backend, chunk: Chunk, origin: np.ndarray) -> Scan:
    return backend.scan(chunk, origin)
