"""One adapter per library: ``fit(X, init, max_iter, tol)`` -> centres, labels or None, inertia, iterations.

All of them get the same float32 rows and the same initial centres. What a library cannot do is said in its
``note`` and printed with its times; none of those limits makes the peer slower:

* faiss returns no labels, so it is spared the last labelling pass; its only stopping rule is an unchanged
  objective, so it takes part with ``tol=0`` only. Its sub-sampling (256 rows per centre by default) is off.
* fastkmeans draws its own initial centres, so its inertia cannot be compared; it returns no labels either.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata
from typing import Any, NamedTuple

import numpy as np


class Fit(NamedTuple):
    """What a library returned."""

    centres: np.ndarray
    labels: np.ndarray | None
    inertia: float
    n_iter: int


FitFunction = Callable[[np.ndarray, np.ndarray, int, float], Fit]


class Peer(NamedTuple):
    """A library: how to import it (returns its fit function), and how it may be compared."""

    load: Callable[[str], FitFunction]
    packages: tuple[str, ...]
    comparable: bool = True  # same initial centres, so the same local minimum
    any_tol: bool = True  # has scikit-learn's stopping rule
    rival: bool = True  # counts among the peers whose fastest is the yardstick
    note: str = ""


def _of_estimator(model: Any) -> Fit:
    return Fit(model.cluster_centers_, model.labels_, float(model.inertia_), int(model.n_iter_))


def _sklearn_like(make: Callable[..., Any], **fixed: Any) -> FitFunction:
    def fit(X: np.ndarray, init: np.ndarray, max_iter: int, tol: float) -> Fit:
        model = make(len(init), init=init, n_init=1, max_iter=max_iter, tol=tol, **fixed)
        return _of_estimator(model.fit(X))

    return fit


def _sklearn(algorithm: str) -> Callable[[str], FitFunction]:
    def load(device: str) -> FitFunction:
        from sklearn.cluster import KMeans

        return _sklearn_like(KMeans, algorithm=algorithm)

    return load


def _sklearn_float64(device: str) -> FitFunction:
    fit = _sklearn("lloyd")(device)
    copies: dict[int, np.ndarray] = {}  # the copy is made in the warm-up fit

    def reference(X: np.ndarray, init: np.ndarray, max_iter: int, tol: float) -> Fit:
        exact = copies.setdefault(id(X), np.asarray(X, dtype=np.float64))
        return fit(exact, init.astype(np.float64), max_iter, tol)

    return reference


def _sklearnex(device: str) -> FitFunction:
    import logging

    from sklearnex.cluster import KMeans

    refused: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: refused.append(record.getMessage())  # type: ignore[method-assign]
    handler.addFilter(lambda record: "fallback" in record.getMessage())
    log = logging.getLogger("sklearnex")
    log.handlers = [handler]  # its own handler prints a line per fit
    log.setLevel(logging.INFO)
    log.propagate = False
    fit = _sklearn_like(KMeans, algorithm="lloyd")

    def accelerated(X: np.ndarray, init: np.ndarray, max_iter: int, tol: float) -> Fit:
        result = fit(X, init, max_iter, tol)
        if refused:  # it would be scikit-learn under another name
            raise RuntimeError(f"scikit-learn-intelex did not run its own code: {refused[0]}")
        return result

    return accelerated


def _faiss(device: str) -> FitFunction:
    import faiss

    def fit(X: np.ndarray, init: np.ndarray, max_iter: int, tol: float) -> Fit:
        model = faiss.Kmeans(
            X.shape[1], len(init), niter=max_iter, max_points_per_centroid=len(X), min_points_per_centroid=1
        )
        model.train(X, init_centroids=init)
        return Fit(model.centroids, None, float(model.obj[-1]), len(model.obj))

    return fit


def _fastkmeans(device: str) -> FitFunction:
    from fastkmeans import FastKMeans

    def fit(X: np.ndarray, init: np.ndarray, max_iter: int, tol: float) -> Fit:
        model = FastKMeans(X.shape[1], len(init), niter=max_iter, tol=tol, gpu=device != "cpu", device=device)
        model.train(X)
        return Fit(model.centroids, None, float("nan"), max_iter)

    return fit


def _gpuclust(device: str) -> FitFunction:
    from gpuclust import KMeans

    return _sklearn_like(KMeans, device=device)


OURS = "gpuclust"
PEERS: dict[str, Peer] = {
    "sklearnex": Peer(_sklearnex, ("scikit-learn-intelex", "daal")),
    "sklearn-lloyd": Peer(_sklearn("lloyd"), ("scikit-learn",)),
    OURS: Peer(_gpuclust, ("gpuclust", "numba", "numpy"), rival=False),
    "faiss": Peer(_faiss, ("faiss-cpu",), any_tol=False, note="no labels"),
    "fastkmeans": Peer(
        _fastkmeans, ("fastkmeans", "torch"), comparable=False, any_tol=False, note="own start"
    ),
    "sklearn-elkan": Peer(_sklearn("elkan"), ("scikit-learn",)),
    "sklearn-float64": Peer(_sklearn_float64, ("scikit-learn",), rival=False, note="reference inertia"),
}


def package_version(package: str) -> str | None:
    """Return an installed version; gpuclust may run from its source tree."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        if package != "gpuclust":
            return None
    try:
        import gpuclust
    except ImportError:
        return None
    return str(getattr(gpuclust, "__version__", None))


def versions(libraries: list[str]) -> dict[str, str | None]:
    """Return the versions of the packages behind some libraries."""
    packages = sorted({package for name in libraries for package in PEERS[name].packages})
    return {package: package_version(package) for package in packages}
