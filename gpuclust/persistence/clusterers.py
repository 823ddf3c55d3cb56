"""Clustering estimators in model files: what they learn, and what must hold of it."""

from __future__ import annotations

from typing import Any

import numpy as np

from .kind import EVERY, Checks, Kind

_CENTERS = EVERY | {
    "cluster_centers_": "finite[k,d]", "inertia_?": "cost", "n_iter_?": "count", "n_steps_?": "count",
    "converged_?": "bool", "inertia_history_?": "number[i]", "n_passes_?": "count",
}  # fmt: skip
_STEPS = {
    "_counts?": "cost[k]", "_centers?": "finite[k,d]", "_sketch?": "finite[k,d,s] | none", "_batch_size?": "size",
    "_n_since_last_reassign?": "count",
}  # fmt: skip
_NEEDLESS = frozenset({"labels_", "device_", "_n_init", "_init_size", "_random_state"})


def _check_centers(fitted: Any) -> Checks:
    centers = fitted.cluster_centers_
    k = fitted.n_clusters
    yield centers.dtype in (np.float32, np.float64), f"the centers are {centers.dtype}, not float32 or float64"
    yield len(centers) == k, f"the centers have shape {centers.shape}, not {(k, fitted.n_features_in_)}"
    kept = getattr(fitted, "_sketch", None)
    if kept is not None:
        size = kept.shape[2]
        yield size > 0 and size % 2 == 0, f"the sketch has {size} values a feature, not an even number"
        yield kept.dtype == centers.dtype, f"the sketch is {kept.dtype}, not {centers.dtype} as the centers"
        yield bool((kept[:, :, 1:] >= kept[:, :, :-1]).all()), "the values of the sketch are not in order"
    exact = getattr(fitted, "_centers", None)
    yield exact is None or exact.dtype == np.float64, "the exact centers are not float64"


def _rebuild(fitted: Any) -> None:
    fitted.device_ = "cpu"
    if "cuda" in str(fitted.device):
        fitted.device = "auto"  # this machine may have none


def _clusters(module: str, more: dict[str, str] | None = None) -> Kind:
    return Kind(
        f"gpuclust.estimators.{module}", state=_CENTERS | (more or {}), needless=_NEEDLESS, check=_check_centers,
        rebuild=_rebuild, width=lambda fitted: len(fitted.cluster_centers_),
    )  # fmt: skip


CLUSTERERS: dict[str, Kind] = {
    "gpuclust.KMeans": _clusters("kmeans"),
    "gpuclust.MiniBatchKMeans": _clusters("minibatch", _STEPS),
    "gpuclust.KMedians": _clusters("kmedians"),
    "gpuclust.MiniBatchKMedians": _clusters("minibatch_kmedians", _STEPS),
}
