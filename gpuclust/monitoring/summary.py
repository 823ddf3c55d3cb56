"""What a model file tells of the rows that the model was fitted on, so that new rows can be compared without them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np


@dataclass(frozen=True)
class TrainingSummary:
    """Order statistics of the training rows, before any preprocessing, and of their distances to the centres."""

    n_rows: int
    probabilities: np.ndarray  # f64 [q], rising from 0 to 1
    quantiles: np.ndarray  # f64 [d, q] of each column of numbers, missing values apart; NaN for columns of categories
    missing: np.ndarray  # f64 [d]: share of rows without a value
    categories: tuple[dict[str, float] | None, ...]  # by column: share of each value among those there; None: numbers
    counts: np.ndarray  # i64 [k]: rows of each cluster
    distances: np.ndarray  # f64 [q]: quantiles of the rows' distance to their own centre
    far: float  # the distance that 99.9 % of the rows do not exceed

    def as_dict(self) -> dict[str, Any]:
        """Plain values and NumPy arrays by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_dict(cls, values: dict[str, Any], n_features: int, n_clusters: int) -> Self:
        """The summary that `as_dict` told of a model with so many columns and clusters.

        Raises
        ------
        ValueError
            If something is missing, or is not what a summary holds.
        """
        names = [field.name for field in fields(cls)]
        if sorted(values) != sorted(names):
            raise ValueError(f"a training summary has {', '.join(names)}, not {', '.join(map(str, values))}")
        q = np.size(values["probabilities"])
        shapes = {
            "probabilities": (q,), "quantiles": (n_features, q), "missing": (n_features,),
            "counts": (n_clusters,), "distances": (q,),
        }  # fmt: skip
        for name, shape in shapes.items():
            if np.shape(values[name]) != shape:
                raise ValueError(f"{name} of the training summary has shape {np.shape(values[name])}, not {shape}")
        return cls(**values)
