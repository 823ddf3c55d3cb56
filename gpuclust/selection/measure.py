"""Criteria of one clustering whose labels stand in the source's ledger."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from ..data.array import ArraySource
from ..metrics import calinski_harabasz_score, davies_bouldin_score, silhouette_samples
from .sweep import Found, Opened

MEASURES: Final = ("silhouette", "davies_bouldin", "calinski_harabasz")


def measure(opened: Opened, found: Found, names: Sequence[str], sample_size: int, seed: int) -> dict[str, float]:
    """The criteria asked for, and rows behind the silhouette; NaN where they do not exist: for one cluster, for
    clusters without rows, and where every row is a cluster."""
    source = opened.source
    values = dict.fromkeys(names, float("nan"))
    if "silhouette" in names:
        values["silhouette_rows"] = 0
    if found.k < 2 or found.distinct < found.k or found.k >= source.n_rows:
        return values
    labels = source.backend.to_host(source.rows("label"))
    for name in names:
        if name == "silhouette":
            values[name], values["silhouette_rows"] = silhouette(opened, labels, sample_size, seed)
        elif name == "davies_bouldin" or found.mass.sum() > found.k:
            values[name] = _whole(opened, labels, name)
    return values


def _whole(opened: Opened, labels: np.ndarray, name: str) -> float:
    """Davies-Bouldin or Calinski-Harabasz, of all rows and their weights, by passes over the source."""
    score = davies_bouldin_score if name == "davies_bouldin" else calinski_harabasz_score
    return score(opened.source, labels, metric=opened.model._metric.value)


def silhouette(opened: Opened, labels: np.ndarray, sample_size: int, seed: int) -> tuple[float, int]:
    """Mean silhouette of all rows, or its estimate from a stratified sample: each cluster's mean by its share."""
    source = opened.source
    index = stratified(labels, sample_size, np.random.default_rng(seed))
    rows = source.gather(index)[0]
    if not source.sparse:
        rows = ArraySource(rows, None, source.backend)
    each = silhouette_samples(rows, labels[index], metric=opened.model._metric.value)
    count, drawn = np.bincount(labels), np.bincount(labels[index])
    return float(np.bincount(labels[index], each) @ (count / np.maximum(drawn, 1))) / len(labels), len(index)


def stratified(labels: np.ndarray, size: int, random: np.random.Generator) -> np.ndarray:
    """Ascending rows: all, or about `size` of them, each cluster by its share and two rows at least."""
    if len(labels) <= size:
        return np.arange(len(labels))
    count = np.bincount(labels)
    quota = np.minimum(np.maximum(np.rint(count * (size / len(labels))).astype(np.int64), 2), count)
    drawn = [random.choice(np.flatnonzero(labels == c), q, replace=False) for c, q in enumerate(quota) if q]
    return np.sort(np.concatenate(drawn))
