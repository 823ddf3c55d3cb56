"""gpuclust: clustering of large data on NVIDIA GPUs and CPUs, with scikit-learn's interface."""

from __future__ import annotations

import importlib
from typing import Any

from ._version import __version__

_HOME = {
    "KMeans": "estimators.kmeans",
    "MiniBatchKMeans": "estimators.minibatch",
    "KMedians": "estimators.kmedians",
    "MiniBatchKMedians": "estimators.minibatch_kmedians",
    "kmeans_plusplus": "estimators.functions",
    "k_means": "estimators.functions",
    "Checkpoint": "solvers.checkpoint",
    "stream": "data.stream",
    "shards": "data.collection",
    "get_config": "config",
    "set_config": "config",
    "config_context": "config",
    "save_model": "persistence",
    "load_model": "persistence",
    "GpuclustError": "errors",
    "DataError": "errors",
    "DeviceUnavailableError": "errors",
    "DeviceMemoryError": "errors",
    "ModelFileError": "errors",
    "WorkersLostError": "errors",
    "DeviceFallbackWarning": "errors",
}
_PACKAGES: tuple[str, ...] = (
    "metrics", "plotting", "profiling", "selection", "preprocessing", "monitoring", "reporting",
)  # fmt: skip
_NEEDS_AN_EXTRA: tuple[str, ...] = ("serving",)  # so `from gpuclust import *` leaves it out
__all__ = ["__version__", *_HOME, *_PACKAGES]


def __getattr__(name: str) -> Any:
    """Public names, imported when they are first used (PEP 562)."""
    if name in _PACKAGES or name in _NEEDS_AN_EXTRA:
        return importlib.import_module(f".{name}", __name__)
    if name not in _HOME:
        raise AttributeError(f"module 'gpuclust' has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, *_NEEDS_AN_EXTRA])
