"""One opened source, fits for many numbers of clusters.

First centres are shared: the first k rows that greedy k-means++ draws are its draw of k, so one seeding (with the
trials of the largest k, the same for all) serves every k. Downwards, each k is also started from the fit above it,
whose cheapest pairs of clusters are merged (Ward's criterion; Kaukoranta, Franti and Nevalainen, "Iterative split-and-
merge algorithm for VQ codebook generation", 1998); the better of the two is kept. The descent begins above the largest
k, so that all k have both starts. Where the inertia would still rise with k, the fit below is given the seeds farthest
from its centres, and it does not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from scipy.spatial.distance import cdist, pdist, squareform
from sklearn.base import clone
from sklearn.utils import check_random_state

from ..backends.frame import Frame
from ..data.source import Source
from ..estimators.lloyd import LloydEstimator
from ..estimators.online import OnlineEstimator
from ..estimators.start import first_centers, starts
from ..solvers.iterate import Fit, Reported, iterate
from ..solvers.nearest import label
from ..solvers.scan import scan
from ..solvers.seeding import plus_plus, random_rows
from ..validation import open_source, refusing

Tell = Callable[[str, int, int], None]


class Opened(NamedTuple):
    """Rows that were validated and copied to the device once, and an estimator that saw their features."""

    source: Source
    frame: Frame
    model: Any


@dataclass(frozen=True)
class Found:
    """The best fit for one number of clusters."""

    k: int
    centers: np.ndarray  # f64 [k, d], as reported
    inertia: float
    mass: np.ndarray  # f64 [k]
    distinct: int  # clusters that have rows
    n_iter: int
    seconds: float
    fit: Fit | None  # of the estimators that iterate over all rows
    seed: int = 0  # of the mini-batch estimators


def check_estimator(estimator: Any) -> None:
    """Refuse estimators that are none of ours.

    Raises
    ------
    TypeError
        That names those that are.
    """
    if not isinstance(estimator, (LloydEstimator, OnlineEstimator)):
        raise TypeError(
            f"estimator={estimator!r} is none of gpuclust's: pass KMeans, KMedians, MiniBatchKMeans or"
            " MiniBatchKMedians."
        )


def open_rows(estimator: Any, X: Any, sample_weight: Any, clusters: int) -> Opened:
    """X behind one Source, scanned.

    Raises
    ------
    ValueError
        For parameters and X that `fit` rejects.
    """
    model = clone(estimator)
    model._validate_params()
    source = open_source(
        model, X, sample_weight, model.device, reset=True, chunk_size=model.chunk_size, clusters=clusters,
        finite=isinstance(model, OnlineEstimator), metric=model._metric,
    )  # fmt: skip
    if source.n_rows < clusters:
        raise ValueError(f"n_samples={source.n_rows} should be >= the largest number of clusters, {clusters}.")
    with refusing(model, X, model.device):
        frame = scan(source, model._metric)
    return Opened(source, frame, model)


def sweep(opened: Opened, ks: Sequence[int], seed: int, tell: Tell | None = None) -> dict[int, Found]:
    """The best fit found for each of `ks`, ascending; inertia never rises with k (mini-batches: each k on its own)."""
    ks = sorted(ks)
    if isinstance(opened.model, OnlineEstimator):
        return {k: _told(tell, i, len(ks), batch_fit(opened, k, seed)) for i, k in enumerate(ks)}
    descent = _Descent(opened, ks, seed)
    found: dict[int, Found] = {}
    above = descent.top()
    for i, k in enumerate(reversed(ks)):
        above = found[k] = _told(tell, i, len(ks), descent.fit(k, above))
    for low, high in pairwise(ks):
        if found[high].inertia > found[low].inertia:
            found[high] = descent.repaired(found[high], found[low])
    return {k: found[k] for k in ks}


def _told(tell: Tell | None, done: int, of: int, found: Found) -> Found:
    if tell is not None:
        tell(f"k={found.k}", done + 1, of)
    return found


class _Descent:
    """Fits from the largest number of clusters down."""

    def __init__(self, opened: Opened, ks: Sequence[int], seed: int):
        self.opened, self.random_state = opened, np.random.RandomState(seed)
        source, model = opened.source, opened.model
        most = ks[-1] + max(2, ks[-1] // 4)
        self.most = min(most, _rows_that_count(source) if model.init == "random" else source.n_rows)
        self.most = max(self.most, ks[-1])
        n_init = starts(model.init, model.n_init, 10, type(model).__name__)
        self.shared = [self._drawn(self.most) for _ in range(n_init)]

    def _drawn(self, k: int) -> np.ndarray:
        """First centres f64 [k, d] of which the first few are as good a draw, where the method allows."""
        source, frame, model = self.opened
        if model.init == "k-means++":
            return plus_plus(source, frame, k, self.random_state)[0].astype(np.float64)
        if model.init == "random":
            return random_rows(source, k, self.random_state).astype(np.float64)
        return first_centers(source, frame, model.init, k, self.random_state)

    def _seeds(self, k: int) -> list[np.ndarray]:
        nested = self.opened.model.init in ("k-means++", "random")
        return [shared[:k] if nested else self._drawn(k) for shared in self.shared]

    def top(self) -> Found:
        """The fit that the descent begins from."""
        return min((run(self.opened, seeds) for seeds in self.shared), key=lambda found: found.inertia)

    def fit(self, k: int, above: Found) -> Found:
        begin = time.perf_counter()
        merged_centers = merged(above.centers, above.mass, k, self.opened.model._metric.l1)
        found = [run(self.opened, centers) for centers in (*self._seeds(k), merged_centers)]
        best = min(found, key=lambda one: one.inertia)
        return replace(best, seconds=time.perf_counter() - begin)

    def repaired(self, found: Found, below: Found) -> Found:
        """The fit with more centres than `below`, started from those."""
        again = run(self.opened, grown(below.centers, self._seeds(found.k)[0], self.opened.model._metric.value))
        best = min(found, again, key=lambda one: one.inertia)
        return replace(best, seconds=found.seconds + again.seconds)


def _rows_that_count(source: Source) -> int:
    weight = source.host_weight if source.weighted else None
    return source.n_rows if weight is None else int(np.count_nonzero(weight))


def run(opened: Opened, centers: np.ndarray) -> Found:
    """One fit from `centers`, f64 [k, d]."""
    source, frame, model = opened
    begin = time.perf_counter()
    objective, params = model._objective(source, frame, centers)
    fit = iterate(
        source, objective, params, max_iter=model.max_iter, tol=model._tolerance(frame), verbose=model.verbose
    )
    cost = fit.cost
    return Found(
        len(centers), fit.params.centers, cost.loss, cost.mass.value(),
        int(np.count_nonzero(cost.rows)), fit.n_iter, time.perf_counter() - begin,
        fit._replace(params=Reported(fit.params.centers)),
    )  # fmt: skip


def batch_fit(opened: Opened, k: int, seed: int) -> Found:
    """One fit of a mini-batch estimator, and what its labels cost."""
    source, _, model = opened
    begin = time.perf_counter()
    fitted = batch_model(opened, k, seed, compute_labels=False)
    centers = fitted.cluster_centers_.astype(np.float64)
    cost = label(source, centers, model._metric)
    return Found(
        k, centers, cost.loss, cost.mass.value(), int(np.count_nonzero(cost.rows)), fitted.n_iter_,
        time.perf_counter() - begin, None, seed,
    )  # fmt: skip


def batch_model(opened: Opened, k: int, seed: int, compute_labels: bool) -> Any:
    fitted = unfitted(opened, k).set_params(random_state=seed, compute_labels=compute_labels)
    return fitted._fit(opened.source, fitted._check(opened.source))


def unfitted(opened: Opened, k: int) -> Any:
    """The estimator for k clusters, with what is known of the features."""
    model = clone(opened.model).set_params(n_clusters=k)
    for name in ("n_features_in_", "feature_names_in_"):
        if hasattr(opened.model, name):
            setattr(model, name, getattr(opened.model, name))
    model.device_ = opened.source.device
    return model


def fitted(opened: Opened, found: Found) -> Any:
    """The estimator as its `fit` leaves it."""
    source, model = opened.source, opened.model
    source.release("label")  # other results may still hold the column
    if found.fit is None:
        made = batch_model(opened, found.k, found.seed, model.compute_labels)
    else:
        label(source, found.centers, model._metric)
        made = unfitted(opened, found.k)
        made._keep(source, found.fit, source.labels(copy=False))
    source.release("label")
    return made


def merged(centers: np.ndarray, mass: np.ndarray, k: int, l1: bool) -> np.ndarray:
    """k centres of more: pairs are merged whose merging costs least, about.

    Squared Euclidean: Ward's m n / (m + n) |x - y|^2, and the pair's mean. Manhattan: min(m, n) |x - y|_1, which is
    what it costs at most to keep the heavier of the two.
    """
    centers, mass = centers.copy(), mass.copy()
    while len(centers) > k:
        apart = squareform(pdist(centers, "cityblock" if l1 else "sqeuclidean"))
        total = np.add.outer(mass, mass)
        share = np.minimum.outer(mass, mass) if l1 else np.multiply.outer(mass, mass) / np.where(total > 0, total, 1.0)
        cost = np.where(np.eye(len(mass), dtype=bool), np.inf, share * apart)
        i, j = divmod(int(np.argmin(cost)), len(mass))
        keep, drop = (i, j) if mass[i] >= mass[j] else (j, i)
        if not l1 and total[i, j] > 0:
            centers[keep] += (centers[drop] - centers[keep]) * (mass[drop] / total[i, j])
        mass[keep] = total[i, j]
        centers, mass = np.delete(centers, drop, 0), np.delete(mass, drop)
    return centers


def grown(centers: np.ndarray, seeds: np.ndarray, metric: str) -> np.ndarray:
    """As many centres as seeds: those given and the seeds farthest from them, one by one."""
    name = {"manhattan": "cityblock"}.get(metric, metric)
    while len(centers) < len(seeds):
        nearest = cdist(seeds, centers, name).min(axis=1)
        centers = np.vstack([centers, seeds[nearest.argmax()]])
    return centers


def seeds_of(random_state: Any, estimator: Any, count: int) -> list[int]:
    """Independent seeds; the estimator's own `random_state` where none is given."""
    state = check_random_state(estimator.random_state if random_state is None else random_state)
    return [int(seed) for seed in state.randint(np.iinfo(np.int32).max, size=count)]
