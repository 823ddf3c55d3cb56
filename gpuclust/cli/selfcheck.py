"""Whether a GPU computes what the definitions say: a few iterations on whole numbers."""

from __future__ import annotations

from typing import Final

import numpy as np

STEPS: Final = 4  # iterations; from the third on, rows of K-Medians keep bounds


def check(device: str) -> str | None:
    """What is wrong with K-Means or K-Medians on a device; None where nothing is."""
    from gpuclust import KMeans, KMedians

    X = np.random.default_rng(0).integers(-6, 7, (3000, 40)).astype(np.float32)
    init = X[:70].astype(np.float64)
    for estimator, average, manhattan in ((KMeans, np.mean, False), (KMedians, np.median, True)):
        try:
            model = estimator(len(init), init=init, n_init=1, max_iter=STEPS, tol=0, device=device).fit(X)
        except Exception as error:  # whatever a driver, a compiler or a kernel raises
            return f"{estimator.__name__} fails: {type(error).__name__}: {error}"
        averages = init
        for _ in range(STEPS):
            own = _distances(X, averages, manhattan).argmin(axis=1)
            averages = np.stack([average(X[own == j].astype(np.float64), axis=0) for j in range(len(init))])
        centers = averages.astype(X.dtype)
        if not np.array_equal(model.cluster_centers_, centers):
            return f"{estimator.__name__} finds other centres than the CPU"
        distances = _distances(X, centers.astype(np.float64), manhattan)
        if not np.array_equal(model.labels_, distances.argmin(axis=1)):
            return f"{estimator.__name__} finds other labels than the CPU"
        if not np.isclose(model.inertia_, distances.min(axis=1).sum(), rtol=1e-12):
            return f"{estimator.__name__} finds another inertia than the CPU"
    return None


def _distances(X: np.ndarray, centers: np.ndarray, manhattan: bool) -> np.ndarray:
    """Float64 [n, k], summed over the features in order, as the estimators' documentation defines them."""
    out = np.zeros((len(X), len(centers)))
    for f in range(X.shape[1]):
        diff = X[:, f, None].astype(np.float64) - centers[:, f]
        out += np.abs(diff) if manhattan else diff * diff
    return out
