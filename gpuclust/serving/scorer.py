"""Labels and distances of rows under a fitted model, with nothing done twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..backends.base import Centers
from ..backends.select import select
from ..data.readers import float_type
from ..models import Given, feature_names, input_features, parts
from ..profiling.fitted import metric_of, placed
from ..solvers.nearest import packed

DTYPES = np.float32, np.float64


class Scored(NamedTuple):
    """What is known of rows: arrays of one entry a row."""

    label: np.ndarray  # i32 [n]
    distance: np.ndarray  # f64 [n], to the own centre


class Scorer:
    """A model with its centres on the device, packed once: rows need no checks here, the service has seen to those.

    `label` is what the model's `predict` says and `distance` the smallest of what its `transform` says, in float64.
    """

    def __init__(self, model: Any, device: str = "auto") -> None:
        self.model = model
        self.preprocessor, estimator = parts(model)
        self.backend, self.metric = select(device).backend, metric_of(estimator)
        self.centers = np.ascontiguousarray(estimator.cluster_centers_, np.float64)
        self.names = feature_names(model)
        self.n_clusters = len(self.centers)
        self._named = hasattr(model, "feature_names_in_")
        self._given = Given(model)
        self._numbers = [feature.name for feature in input_features(model) if feature.categories is None]
        self._stages: dict[Any, Centers] = {
            np.dtype(dtype): packed(self.backend, self.centers, dtype, self.metric) for dtype in DTYPES
        }

    def warm_up(self) -> None:
        """Have compiled what requests will need."""
        for dtype in DTYPES:
            rows = self.centers[:1].astype(dtype)
            self.assign(rows)
            self.distances(rows)

    def work(self, rows: int) -> float:
        """Multiply-adds of so many rows; infinite where more than this module has a part in them."""
        away = self.preprocessor is not None or self.backend.name != "cpu"
        return np.inf if away else rows * self.centers.size

    def prepared(self, rows: np.ndarray) -> np.ndarray:
        """Rows as the clusters see them: float32 or float64 [n, d of the centres]."""
        if self.preprocessor is None:
            return rows
        table = self._given(as_table(rows, self.names if self._named else None, self._numbers))
        found = self._given.preprocessed(table)
        found = np.asarray(found.toarray() if hasattr(found, "toarray") else found)
        if len(found) != len(rows):
            raise ValueError("The model's preprocessing leaves out some of these rows, which get no label then.")
        return np.ascontiguousarray(found, float_type(found.dtype))

    def assign(self, rows: np.ndarray) -> Scored:
        """Label and distance of prepared rows; label -1 where a value is not finite."""
        return Scored(*placed(self.backend, self.backend.upload(rows, rows.dtype), self._stages[rows.dtype]))

    def distances(self, rows: np.ndarray) -> np.ndarray:
        """Distances of prepared rows to all centres, f64 [n, k]."""
        device_rows = self.backend.upload(rows, rows.dtype)
        return self.backend.to_host(self.backend.distances(device_rows, self.centers, np.float64, self.metric))


def as_table(rows: np.ndarray, names: Sequence[str] | None, numbers: Sequence[str] = ()) -> Any:
    """Rows as a DataFrame where columns have names: transformers choose them by those, estimators compare them.

    What a column is does not depend on the rows: categories stay objects, whatever they look like in this batch.
    """
    if names is None:
        return rows
    import pandas as pd

    table = pd.DataFrame(rows, columns=list(names))
    return table.astype(dict.fromkeys(numbers, np.float64)) if rows.dtype == object else table
