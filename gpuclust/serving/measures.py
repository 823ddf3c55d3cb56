"""What the service counts, for Prometheus."""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector

from .series import FOLDER, ModelSeries, remove_left

SECONDS: Final = 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0
ROWS: Final = 1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576
MOST_CLUSTERS: Final = 1000  # that are told apart
MODEL: Final = 16  # characters of a model's digest that name it, as in the answers' header
TRIES: Final = 5  # to read all files while other workers remove theirs and make new ones


class Measures:
    """Counters of one application; in a folder that all workers share, where there is one."""

    def __init__(self, model: str) -> None:
        # What is chosen on import does not know of a folder that was made since.
        values.ValueClass = values.get_value_class()  # type: ignore[no-untyped-call]
        self._registry = registry = CollectorRegistry()
        self._requests = Counter("gpuclust_requests", "Requests answered.", ["path", "status"], registry=registry)
        self._seconds = Histogram(
            "gpuclust_request_seconds", "Time from a request's header to its answer.", ["path"], buckets=SECONDS,
            registry=registry,
        )  # fmt: skip
        self._errors = Counter("gpuclust_errors", "Requests refused, by code of error.", ["code"], registry=registry)
        self._rows = Counter("gpuclust_rows", "Rows scored.", registry=registry)
        self._batch = Histogram("gpuclust_batch_rows", "Rows scored together.", buckets=ROWS, registry=registry)
        self._reloads = Counter("gpuclust_reloads", "Reloads of the model.", ["result"], registry=registry)
        self._updates = Counter("gpuclust_updates", "Steps of partial_fit.", registry=registry)
        self.in_flight = Gauge(
            "gpuclust_requests_in_flight", "Requests not answered yet.", registry=registry, multiprocess_mode="livesum"
        )
        self._verdict = Gauge(
            "gpuclust_drift_verdict", "Drift of the rows: 0 ok, 1 watch, 2 retrain; the worst worker's.",
            registry=registry, multiprocess_mode="livemax",
        )  # fmt: skip
        self._children: dict[tuple[Any, ...], Any] = {}
        self._own = self._series(model)

    def answered(self, path: str, status: int, code: str | None, seconds: float) -> None:
        self._child(self._requests, path, str(status)).inc()
        self._child(self._seconds, path).observe(seconds)
        if code is not None:
            self._child(self._errors, code).inc()

    def scored(self, label: np.ndarray, n_clusters: int, model: str) -> None:
        self._rows.inc(len(label))
        self._batch.observe(len(label))
        if n_clusters <= MOST_CLUSTERS and model[:MODEL] == self._own.model:  # it may have been replaced meanwhile
            counts = np.bincount(label)
            for cluster in counts.nonzero()[0].tolist():
                self._own.scored(str(cluster), int(counts[cluster]))

    def reloaded(self, well: bool) -> None:
        self._child(self._reloads, "done" if well else "failed").inc()

    def updated(self) -> None:
        self._updates.inc()

    def drifted(self, verdict: int, values: dict[tuple[str, str], float]) -> None:
        self._verdict.set(verdict)
        self._own.drifted(values)

    def renewed(self, model: str, workers: set[int] | None) -> None:
        """A model is read anew: what was found of the rows of the one before is neither drift nor, if that was another,
        a share of its own clusters. `workers`: the processes that are at work now, if there are several.
        """
        self._verdict.set(0)
        if model[:MODEL] == self._own.model:
            self._own.undrifted()
            return
        self._own.close()
        self._registry.unregister(self._own)
        self._own = self._series(model)
        self.joined(workers)

    def joined(self, workers: set[int] | None) -> None:
        """Remove what workers that are no more counted of other models: nobody else may have come by since."""
        folder = os.environ.get(FOLDER)
        if folder is not None and workers is not None:
            remove_left(folder, self._own.model, workers)

    def _series(self, model: str) -> ModelSeries:
        series = ModelSeries(model[:MODEL], os.environ.get(FOLDER))
        self._registry.register(series)
        return series

    def text(self) -> bytes:
        """All of it in Prometheus's text format, summed over the workers."""
        folder, registry = os.environ.get(FOLDER), CollectorRegistry()
        inner = self._registry if folder is None else MultiProcessCollector(None, folder)  # type: ignore[no-untyped-call]
        registry.register(_WithShares(inner, self._own.model))
        for _ in range(TRIES):
            with contextlib.suppress(FileNotFoundError, struct.error):  # a worker took another model just now
                return generate_latest(registry)
        return generate_latest(registry)

    def _child(self, metric: Any, *labels: str) -> Any:
        key = (metric, *labels)
        found = self._children.get(key)
        if found is None:
            found = self._children[key] = metric.labels(*labels)
        return found


class _WithShares:
    """The counters, and which share of the rows each cluster of the model has."""

    def __init__(self, inner: Any, model: str) -> None:
        self._inner, self._model = inner, model

    def collect(self) -> Iterator[Any]:
        for family in self._inner.collect():
            yield family
            if family.name == "gpuclust_cluster_rows":
                yield _shares(family, self._model)


def _shares(family: Any, model: str) -> GaugeMetricFamily:
    text = "Share of the rows that the model scored, by cluster."
    found = GaugeMetricFamily("gpuclust_cluster_share", text, labels=["cluster", "model"])
    own = [each for each in family.samples if each.name.endswith("_total") and each.labels["model"] == model]
    total = sum(each.value for each in own) or 1.0  # another worker may have begun to count, and have counted none yet
    for each in own:
        found.add_metric([each.labels["cluster"], model], each.value / total)
    return found
