"""What the service counts, for Prometheus."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector

SECONDS: Final = 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0
ROWS: Final = 1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576
MOST_CLUSTERS: Final = 1000  # that are told apart
MODEL: Final = 16  # characters of a model's digest that name it, as in the answers' header
FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"  # where several workers put their counts


class Measures:
    """Counters of one application; in a folder that all workers share, where there is one."""

    def __init__(self, model: str) -> None:
        self._model = model[:MODEL]
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
        self._clusters = Counter(
            "gpuclust_cluster_rows", "Rows scored, by cluster and model.", ["cluster", "model"], registry=registry
        )
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
        self._drift = Gauge(
            "gpuclust_drift", "Effect of each test of drift against the training rows; the worst worker's.",
            ["check", "feature"], registry=registry, multiprocess_mode="livemax",
        )  # fmt: skip
        self._children: dict[tuple[Any, ...], Any] = {}

    def answered(self, path: str, status: int, code: str | None, seconds: float) -> None:
        self._child(self._requests, path, str(status)).inc()
        self._child(self._seconds, path).observe(seconds)
        if code is not None:
            self._child(self._errors, code).inc()

    def scored(self, label: np.ndarray, n_clusters: int, model: str) -> None:
        self._rows.inc(len(label))
        self._batch.observe(len(label))
        if n_clusters <= MOST_CLUSTERS:
            counts = np.bincount(label)
            for cluster in counts.nonzero()[0].tolist():
                self._child(self._clusters, str(cluster), model[:MODEL]).inc(int(counts[cluster]))

    def reloaded(self, well: bool) -> None:
        self._child(self._reloads, "done" if well else "failed").inc()

    def updated(self) -> None:
        self._updates.inc()

    def drifted(self, verdict: int, values: dict[tuple[str, str], float]) -> None:
        self._verdict.set(verdict)
        for (measure, feature), value in values.items():
            self._child(self._drift, measure, feature).set(value)

    def renewed(self, model: str) -> None:
        """Another model is served: what was found of the rows of the one before it is neither drift nor a share of its
        own clusters.
        """
        self._model = model[:MODEL]
        old = [key[1:] for key in self._children if key[0] is self._drift]
        self.drifted(0, dict.fromkeys(old, 0.0))
        if os.environ.get(FOLDER) is None:  # files of several workers keep what is in them
            self._clusters.clear()
            self._children = {key: child for key, child in self._children.items() if key[0] is not self._clusters}

    def text(self) -> bytes:
        """All of it in Prometheus's text format, summed over the workers."""
        folder, registry = os.environ.get(FOLDER), CollectorRegistry()
        inner = self._registry if folder is None else MultiProcessCollector(None, folder)  # type: ignore[no-untyped-call]
        registry.register(_WithShares(inner, self._model))
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
