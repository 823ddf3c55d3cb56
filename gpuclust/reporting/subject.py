"""What is reported on: the model, the rows, their labels, and a sample for what would take too long on all rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ..plotting.distances import metric_of
from ..plotting.rows import Rows, counted, draw, names_of, predicted
from .words import quantity

MOST_CLUSTERS = 40  # that pictures and tables show
MOST_FEATURES = 50
MOST_VALUES = 20_000_000  # that are sorted; of more, those of the sample


@dataclass(frozen=True)
class Subject:
    """A fitted estimator and the rows that it is judged on."""

    estimator: Any
    X: Any
    labels: np.ndarray  # i32 [n]
    sample: Rows
    scaler: Any
    random_state: Any

    @classmethod
    def of(
        cls, estimator: Any, X: Any, feature_names: Sequence[Any] | None, scaler: Any, size: int, random_state: Any
    ) -> Subject:
        """Label all rows and draw the sample."""
        check_is_fitted(estimator, "cluster_centers_")
        sample = draw(X, size, random_state, names_of(estimator, feature_names))
        return cls(estimator, X, predicted(estimator, X), sample, scaler, random_state)

    @property
    def n_rows(self) -> int:
        return self.sample.n_rows

    @property
    def names(self) -> list[str]:
        return self.sample.names

    @property
    def centers(self) -> np.ndarray:
        return np.asarray(self.estimator.cluster_centers_, np.float64)

    @property
    def k(self) -> int:
        return len(self.centers)

    @cached_property
    def sizes(self) -> np.ndarray:
        """Rows of each cluster, i64 [k]."""
        return counted(self.labels, self.k)

    @property
    def there(self) -> int:
        """Clusters that have rows."""
        return int(np.count_nonzero(self.sizes))

    @cached_property
    def shown(self) -> np.ndarray:
        """The clusters of pictures and tables, ascending: the largest."""
        return np.sort(np.argsort(-self.sizes, kind="stable")[:MOST_CLUSTERS])

    @property
    def shown_note(self) -> str:
        """What a caption says where not all clusters are shown."""
        return "" if len(self.shown) == self.k else f" The {len(self.shown)} largest of {self.k} clusters are shown."

    @property
    def sample_labels(self) -> np.ndarray:
        return self.labels[self.sample.index]

    def original(self, rows: Any) -> np.ndarray:
        """Rows in the units before scaling, dense, f64."""
        dense = np.asarray(rows.toarray() if hasattr(rows, "toarray") else rows, np.float64)
        return dense if self.scaler is None else np.asarray(self.scaler.inverse_transform(dense))

    @property
    def sortable(self) -> tuple[Any, np.ndarray, str]:
        """Rows few enough to sort each feature, their labels, and which rows these are."""
        if self.n_rows * len(self.names) > MOST_VALUES:
            return self.sample.X, self.sample_labels, self.sample_words
        return self.X, self.labels, f"all {quantity(self.n_rows, 'row')}"

    @property
    def metric(self) -> str:
        """'euclidean' or 'manhattan', as the clusters were made."""
        return metric_of(self.estimator)

    @property
    def sample_words(self) -> str:
        """'all 120 rows' or 'a random sample of 50 of 120 rows'."""
        return self.sample.note or f"all {quantity(self.n_rows, 'row')}"
