"""The gap statistic (Tibshirani, Walther and Hastie, "Estimating the number of clusters in a data set via the gap
statistic", JRSS B 63, 2001): how much lower log W_k is than on rows without clusters.

W_k is the inertia: for squared Euclidean distances the pooled within-cluster sum of squares of the paper's section 3,
for K-Medians the pooled Manhattan distance. Rows without clusters are uniform in the box of the rows, or in the box
aligned with their principal components (the paper's choices (a) and (b)). They are clustered exactly as the rows are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs

from ..backends.base import Backend
from ..backends.cpu import CPUBackend
from ..data.array import ArraySource
from ..solvers.scan import scan
from .sweep import Found, Opened, Tell, sweep

PROCESS_BYTES: Final = 400 << 20  # what a process takes without rows
ROW_COPIES: Final = 6  # of them while they are drawn and clustered


class Gap(NamedTuple):
    """By k: log of the references' mean dispersion minus the rows' own, its standard error, and rows behind it."""

    value: np.ndarray  # f64 [len(ks)]
    error: np.ndarray
    rows: int


def gap(
    opened: Opened, found: dict[int, Found], seed: int, *, n_references: int, reference: str, sample_size: int,
    n_jobs: int | None = None, tell: Tell | None = None,
) -> Gap:  # fmt: skip
    """The statistic for the k of `found`; of more rows than `sample_size`, on a sample of so many, which is clustered
    anew: fewer rows lie closer to as many centres. NaN for sparse rows: those without clusters are not sparse."""
    if opened.source.sparse:
        nothing = np.full(len(found), np.nan)
        return Gap(nothing, nothing, 0)
    ks, backend, model = list(found), opened.source.backend, opened.model
    random = np.random.default_rng(seed)
    rows, weight, whole = _rows(opened, sample_size, random)
    fits = found if whole else sweep(_opened(backend, model, rows, weight), ks, seed)
    one, draw = delayed(_reference), _Uniform(rows, reference)
    calls = (one(backend, model, draw, weight, ks, child) for child in random.spawn(n_references))
    logs = np.empty((n_references, len(ks)))
    for b, found_logs in enumerate(Parallel(_jobs(n_jobs, backend, rows), return_as="generator")(calls)):
        logs[b] = found_logs
        if tell is not None:
            tell("references", b + 1, n_references)
    value = logs.mean(axis=0) - _logs(fits)  # NaN where an inertia is 0
    return Gap(value, logs.std(axis=0) * np.sqrt(1 + 1 / n_references), len(rows))


def _jobs(n_jobs: int | None, backend: Backend, rows: np.ndarray) -> int:
    """Processes to cluster references in: as many as asked for, and as there is memory for; a GPU serves one."""
    asked = effective_n_jobs(n_jobs)
    if asked == 1 or not isinstance(backend, CPUBackend):
        return 1
    return max(1, min(asked, backend.free_bytes() // (PROCESS_BYTES + ROW_COPIES * rows.nbytes)))


def _reference(
    backend: Backend, model: Any, draw: _Uniform, weight: np.ndarray | None, ks: Sequence[int],
    random: np.random.Generator,
) -> np.ndarray:  # fmt: skip
    """Logarithms of the dispersion of rows without clusters, by k."""
    drawn = draw(random)
    return _logs(sweep(_opened(backend, model, drawn, weight), ks, int(random.integers(1 << 31))))


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


def _opened(backend: Backend, model: Any, rows: np.ndarray, weight: np.ndarray | None) -> Opened:
    on_device = None if weight is None else backend.upload(weight, np.float64)
    source = ArraySource(backend.upload(np.ascontiguousarray(rows), rows.dtype), on_device, backend, model.chunk_size)
    return Opened(source, scan(source, model._metric), model)


def _logs(found: dict[int, Found]) -> np.ndarray:
    inertia = np.array([one.inertia for one in found.values()])
    return np.log(inertia, out=np.full(len(inertia), np.nan), where=inertia > 0)


class _Uniform:
    """Rows drawn uniformly from the box of the data, along the axes or the principal components."""

    def __init__(self, rows: np.ndarray, reference: str):
        self.dtype, self.center = rows.dtype, rows.mean(axis=0, dtype=np.float64)
        centred = rows - self.center
        self.axes = None
        if reference == "pca":
            self.axes = np.linalg.svd(centred, full_matrices=False)[2]
            centred = centred @ self.axes.T
        self.low, self.high, self.count = centred.min(axis=0), centred.max(axis=0), len(rows)

    def __call__(self, random: np.random.Generator) -> np.ndarray:
        drawn = random.uniform(self.low, self.high, (self.count, len(self.low)))
        return (self.center + (drawn if self.axes is None else drawn @ self.axes)).astype(self.dtype)


def first_within_error(ks: Sequence[int], value: np.ndarray, error: np.ndarray) -> int | None:
    """The smallest k with gap(k) >= gap(next k) - its standard error; None where the gap rises to the end."""
    for i in range(len(ks) - 1):
        if value[i] >= value[i + 1] - error[i + 1]:
            return int(ks[i])
    return None
