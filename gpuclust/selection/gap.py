"""The gap statistic (Tibshirani, Walther and Hastie, "Estimating the number of clusters in a data set via the gap
statistic", JRSS B 63, 2001): how much lower log W_k is than on rows without clusters.

W_k is the inertia: for squared Euclidean distances the pooled within-cluster sum of squares of the paper's section 3,
for K-Medians the pooled Manhattan distance. Rows without clusters are uniform in the box of the rows, or in the box
aligned with their principal components (the paper's choices (a) and (b)). They are clustered exactly as the rows are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..data.array import ArraySource
from ..solvers.scan import scan
from .sweep import Found, Opened, Tell, sweep


class Gap(NamedTuple):
    """By k: log of the references' mean dispersion minus the rows' own, its standard error, and rows behind it."""

    value: np.ndarray  # f64 [len(ks)]
    error: np.ndarray
    rows: int


def gap(
    opened: Opened, found: dict[int, Found], seed: int, *, n_references: int, reference: str, sample_size: int,
    tell: Tell | None = None,
) -> Gap:  # fmt: skip
    """The statistic for the k of `found`; of more rows than `sample_size`, on a sample of so many, which is clustered
    anew: fewer rows lie closer to as many centres."""
    ks = list(found)
    random = np.random.default_rng(seed)
    rows, weight, whole = _rows(opened, sample_size, random)
    fits = found if whole else sweep(_opened(opened, rows, weight), ks, seed)
    draw = _Uniform(rows, reference)
    logs = np.empty((n_references, len(ks)))
    for b, child in enumerate(random.spawn(n_references)):
        drawn = draw(child).astype(rows.dtype)
        logs[b] = _logs(sweep(_opened(opened, drawn, weight), ks, int(child.integers(1 << 31))))
        if tell is not None:
            tell("references", b + 1, n_references)
    value = logs.mean(axis=0) - _logs(fits)  # NaN where an inertia is 0
    return Gap(value, logs.std(axis=0) * np.sqrt(1 + 1 / n_references), len(rows))


def _rows(opened: Opened, size: int, random: np.random.Generator) -> tuple[np.ndarray, Any, bool]:
    """Rows that count on the host, their weights, and whether these are all."""
    source = opened.source
    weight = source.host_weight if source.weighted else None
    usable = None if weight is None else np.flatnonzero(weight > 0)
    count = source.n_rows if usable is None else len(usable)
    whole = count <= size
    index = np.arange(count) if whole else np.sort(random.choice(count, size, replace=False))
    index = index if usable is None else usable[index]
    X, _ = source.gather(index)
    return source.backend.to_host(X), None if weight is None else weight[index], whole


def _opened(opened: Opened, rows: np.ndarray, weight: np.ndarray | None) -> Opened:
    backend, model = opened.source.backend, opened.model
    on_device = None if weight is None else backend.upload(weight, np.float64)
    source = ArraySource(backend.upload(np.ascontiguousarray(rows), rows.dtype), on_device, backend, model.chunk_size)
    return Opened(source, scan(source, model._metric), model)


def _logs(found: dict[int, Found]) -> np.ndarray:
    inertia = np.array([one.inertia for one in found.values()])
    return np.log(inertia, out=np.full(len(inertia), np.nan), where=inertia > 0)


class _Uniform:
    """Rows drawn uniformly from the box of the data, along the axes or the principal components."""

    def __init__(self, rows: np.ndarray, reference: str):
        self.center = rows.mean(axis=0, dtype=np.float64)
        centred = rows - self.center
        self.axes = None
        if reference == "pca":
            self.axes = np.linalg.svd(centred, full_matrices=False)[2]
            centred = centred @ self.axes.T
        self.low, self.high, self.count = centred.min(axis=0), centred.max(axis=0), len(rows)

    def __call__(self, random: np.random.Generator) -> np.ndarray:
        drawn = random.uniform(self.low, self.high, (self.count, len(self.low)))
        return self.center + (drawn if self.axes is None else drawn @ self.axes)


def first_within_error(ks: Sequence[int], value: np.ndarray, error: np.ndarray) -> int | None:
    """The smallest k with gap(k) >= gap(next k) - its standard error; None where the gap rises to the end."""
    for i in range(len(ks) - 1):
        if value[i] >= value[i + 1] - error[i + 1]:
            return int(ks[i])
    return None
