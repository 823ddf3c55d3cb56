"""k-means|| (Bahmani et al., "Scalable K-Means++", VLDB 2012): a handful of passes instead of one a centre.

Each round draws 2 k rows at once in proportion to their cost, by exponential keys (Efraimidis and Spirakis, 2006):
the rows of the 2 k largest keys. A key is a function of the seed and the row index, so the draw does not depend on
chunks. The candidates, weighted by the rows nearest to them, are then clustered in memory.
"""

from __future__ import annotations

import numpy as np

from ..backends.base import Backend, Centers, Chunk
from ..backends.cpu import CPUBackend
from ..backends.frame import Frame
from ..backends.layout import Layout
from ..backends.metric import Metric
from ..backends.statistics import Cost, Top, merged
from ..data.array import ArraySource
from ..data.source import Source
from ..objectives.mean import Mean
from ..objectives.median import Median
from . import progress
from .iterate import iterate
from .scan import scan
from .seeding import first_row, plus_plus

ROUNDS = 5
OVERSAMPLING = 2


def parallel(source: Source, frame: Frame, k: int, random_state: np.random.RandomState) -> np.ndarray:
    """k centres f64 [k, d]."""
    found = [source.take(np.array([first_row(source, frame, random_state)]))]
    source.allocate("cost", np.float64, np.inf)
    source.allocate("label", np.int32, 0)
    seeds = random_state.randint(np.iinfo(np.int32).max, size=ROUNDS)
    for seed in seeds:
        top: Top = source.fold(_draw, _packed(source, frame, found[-1]), sum(map(len, found[:-1])), int(seed), k)
        if not np.any(top.key > 0):
            break
        found.append(top.X[top.key > 0])
    stage = _packed(source, frame, found[-1])
    cost: Cost = source.fold(_close, stage, sum(map(len, found[:-1])), sum(map(len, found)))
    source.release("cost")
    rows = np.ascontiguousarray(np.concatenate(found), np.float64)
    if len(rows) <= k:
        return rows[np.arange(k) % len(rows)]
    return _recluster(source.backend, rows, cost.mass.value(), k, frame.metric, random_state)


def _packed(source: Source, frame: Frame, centers: np.ndarray) -> Centers:
    centers = centers.astype(np.float64)
    return source.backend.pack(centers, frame, Layout.build(centers, 1), None)


def _nearer(backend: Backend, chunk: Chunk, stage: Centers, first: int) -> None:
    """Fold new candidates, numbered from `first`, into the rows' costs and labels."""
    for part in backend.blocks(chunk):
        backend.nearer(part, stage, first)


def _draw(backend: Backend, chunk: Chunk, stage: Centers, first: int, seed: int, k: int) -> Top:
    _nearer(backend, chunk, stage, first)
    return merged(backend.race(part, seed, OVERSAMPLING * k) for part in backend.blocks(chunk))


def _close(backend: Backend, chunk: Chunk, stage: Centers, first: int, count: int) -> Cost:
    _nearer(backend, chunk, stage, first)
    return backend.total(chunk.rows["cost"], chunk.weight, chunk.rows["label"], count)


def _recluster(
    backend: Backend, rows: np.ndarray, mass: np.ndarray, k: int, metric: Metric, random_state: np.random.RandomState
) -> np.ndarray:
    """Weighted k-means++ and Lloyd on the candidates, f64 [m, d], where there is room for them."""
    backend = backend.members[0]
    if not backend.holds(4 * rows.nbytes):
        backend = CPUBackend()
    small = ArraySource(backend.upload(rows, rows.dtype), backend.upload(mass, mass.dtype), backend)
    frame = scan(small, metric)
    centers, _ = plus_plus(small, frame, k, random_state)
    start, tol = (Median.start, 1e-4) if metric.l1 else (Mean.start, 1e-4 * frame.variance)
    objective, params = start(small, frame, centers)
    with progress.listen(None):  # these iterations are not those of the fit
        return iterate(small, objective, params, max_iter=20, tol=tol).params.centers
