"""Fits in every layout, and comparison to the last bit."""

from __future__ import annotations

import os
import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

import gpuclust
from gpuclust import KMeans

FULL = os.environ.get("GPUCLUST_FUZZ") == "full"
RESULTS = ("cluster_centers_", "labels_", "inertia_", "n_iter_", "inertia_history_", "converged_")


def seeds(reduced, full):
    """Return seeds of fuzz cases: a few by default, many with GPUCLUST_FUZZ=full."""
    return range(full if FULL else reduced)


def fit(X, weight=None, estimator=KMeans, **parameters):
    """Return a fitted model; fewer distinct rows than clusters are no news here."""
    parameters = {"random_state": 0, "device": "cpu"} | parameters
    if "init" in parameters and not isinstance(parameters["init"], str) and not callable(parameters["init"]):
        parameters.setdefault("n_clusters", len(parameters["init"]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return estimator(**parameters).fit(X, sample_weight=weight)


def differences(a, b):
    """Return the fitted attributes that differ in any bit, dtype or shape."""
    pairs = {name: (np.asarray(getattr(a, name)), np.asarray(getattr(b, name))) for name in RESULTS}
    return [
        name for name, (x, y) in pairs.items() if (x.shape, x.dtype, x.tobytes()) != (y.shape, y.dtype, y.tobytes())
    ]


def assert_same_bits(model, reference):
    assert differences(model, reference) == []


def ragged(X, weight, rng):
    """Return a list of chunks of random lengths, with their weights if there are any."""
    cuts = np.sort(rng.integers(0, len(X) + 1, 5))
    parts = [slice(a, b) for a, b in zip([0, *cuts], [*cuts, len(X)], strict=True)]
    return [X[p] if weight is None else (X[p], weight[p]) for p in parts]


def write_npy(path, X):
    np.save(path, X)
    return path


def write_parquet(path, X, weight=None, group=100, **how):
    """Write columns x0, x1, ... (and w) in row groups of `group` rows."""
    pq = pytest.importorskip("pyarrow.parquet")
    columns = {f"x{f}": X[:, f] for f in range(X.shape[1])}
    if weight is not None:
        columns["w"] = weight
    pq.write_table(pytest.importorskip("pyarrow").table(columns), path, row_group_size=group, **how)
    return path


def streams(X, weight, directory, rng):
    """Yield (name, X, sample_weight) of the same rows behind every kind of stream."""
    npy = write_npy(directory / "x.npy", X)
    yield "npy", npy, weight
    yield "memmap", gpuclust.stream(np.load(npy, mmap_mode="r")), weight
    if weight is not None:
        yield "parquet with weights", gpuclust.stream(
            write_parquet(directory / "xw.parquet", X, weight), weight="w"
        ), None
    yield "parquet", write_parquet(directory / "x.parquet", X), weight
    chunks = ragged(X, weight, rng)
    yield "list", gpuclust.stream(chunks), None
    yield "function", gpuclust.stream(lambda: iter(chunks)), None
