"""`compare` for rows that come one after the other, as in a service."""

from __future__ import annotations

import copy
import threading
from typing import Any, Final

import numpy as np

from .. import models
from .columns import columns_of
from .comparing import given
from .judging import Thresholds
from .report import DriftReport
from .summary import TrainingSummary
from .tally import Tally

PENDING: Final = 4096  # rows that a monitor keeps before it counts them
FEWEST_ROWS: Final = 100  # that a monitor reports on


class DriftMonitor:
    """`compare` for rows that come one after the other, as in a service: counts are all that is kept of them.

    Threads may share a monitor. Its memory does not grow with the rows: a count for each value that the summary keeps,
    and up to 4096 rows that are waiting to be counted together.

    Parameters
    ----------
    model : fitted clustering estimator or Pipeline
    summary : TrainingSummary
        Of the model's training rows.
    thresholds : Thresholds, optional
    min_rows : int, default=100
        There is no report on fewer.
    """

    def __init__(
        self, model: Any, summary: TrainingSummary, *, thresholds: Thresholds | None = None,
        min_rows: int = FEWEST_ROWS,
    ) -> None:  # fmt: skip
        model, summary = given(model, summary)
        self.summary, self.thresholds, self.min_rows = summary, thresholds or Thresholds(), min_rows
        self._names, self._used = models.feature_names(model), models.used_features(model)
        self._lock = threading.Lock()
        self.reset()

    @property
    def n_rows(self) -> int:
        """Rows since the beginning, or since `reset`."""
        with self._lock:
            return self._n_rows

    def reset(self) -> None:
        """Forget all rows."""
        with self._lock:
            self._tally, self._n_rows = Tally.of(self.summary, self._used), 0
            self._pending: list[tuple[list[np.ndarray], np.ndarray, np.ndarray, np.ndarray]] = []
            self._waiting = 0

    def add(self, X: Any, labels: Any, distances: Any) -> None:
        """Rows as the model was given them, with what it found.

        Parameters
        ----------
        X : array, list of rows or DataFrame of shape (n_samples, n_features)
            Before any preprocessing; None or NaN where a value is missing. Copied.
        labels : int array of shape (n_samples,)
            -1 for rows that have no cluster.
        distances : float array of shape (n_samples,)
            To the centre of that cluster.

        Raises
        ------
        ValueError
            If the shapes do not fit, or a column of numbers has something else.
        """
        columns = [np.array(column) for column in columns_of(X, self._names, self._tally)]
        label, distance = np.array(labels, np.int32), np.array(distances, np.float64)
        if not label.shape == distance.shape == columns[0].shape:
            raise ValueError(f"{len(columns[0])} rows, labels {label.shape} and distances {distance.shape} do not fit.")
        if label.size and label.max() >= len(self.summary.counts):
            raise ValueError(f"There are clusters 0 to {len(self.summary.counts) - 1}, but a label is {label.max()}.")
        with self._lock:
            number = np.arange(self._n_rows, self._n_rows + len(label))
            self._pending.append((columns, label, distance, number))
            self._n_rows += len(label)
            self._waiting += len(label)
            if self._waiting >= PENDING:
                self._count()

    def _count(self) -> None:
        """What is waiting; the lock is held."""
        if not self._pending:
            return
        columns, *others = zip(*self._pending, strict=True)
        self._tally.add([np.concatenate(each) for each in zip(*columns, strict=True)], *map(np.concatenate, others))
        self._pending, self._waiting = [], 0

    def report(self) -> DriftReport | None:
        """On the rows since the beginning, or since `reset`; None where there are fewer than `min_rows`."""
        with self._lock:
            if self._n_rows < max(1, self.min_rows):
                return None
            self._count()
            tally = copy.deepcopy(self._tally, {id(self.summary): self.summary})
        return DriftReport.of(tally, self._names, self.thresholds)
