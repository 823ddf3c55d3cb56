"""One fit of one library on two worker processes of one thread each (scikit-learn: on this process, two threads).

Run as a file (``python -P``, which leaves this folder out of the path), by the interpreter of the environment that
has the library; imports nothing of this package:
``python -P distributed_peer.py gpuclust|dask-ml|scikit-learn X.npy init.npy ITERATIONS`` prints a line of JSON.
The second of two fits is timed: the first one loads kernels and starts threads.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

SHARDS = 8


@contextmanager
def cluster(workers: int = 2) -> Iterator[Any]:
    """Yield a client of two worker processes, or more."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=":0", silence_logs=40) as made,
        Client(made) as client,
    ):
        client.wait_for_workers(workers)
        yield client


def _part(path: str, start: int, stop: int) -> np.ndarray:
    return np.array(np.load(path, mmap_mode="r")[start:stop])


def chunked(path: Path | str, shards: int) -> Any:
    """Return the rows of a file as a dask array in so many chunks, read by the workers."""
    import dask
    import dask.array as da

    (n, d), dtype = np.load(path, mmap_mode="r").shape, np.float32
    ends = np.linspace(0, n, shards + 1).astype(int)
    pieces = [
        da.from_delayed(dask.delayed(_part)(str(path), a, b), (b - a, d), dtype)
        for a, b in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)
    ]
    return da.concatenate(pieces)


def fit(library: str, X: Any, init: np.ndarray, iterations: int) -> Any:
    """Return the fitted model."""
    options: dict[str, Any] = {"init": init, "max_iter": iterations, "tol": 0}
    if library == "gpuclust":
        from gpuclust import KMeans
    elif library == "dask-ml":
        from dask_ml.cluster import KMeans
    else:
        from sklearn.cluster import KMeans

        options |= {"n_init": 1, "algorithm": "lloyd"}
    return KMeans(n_clusters=len(init), **options).fit(X)


def inertia(path: str, centers: np.ndarray) -> float:
    """Return the sum of squared distances to the nearest center: dask-ml's own `inertia_` sums distances."""
    X, centers, total = np.load(path, mmap_mode="r"), np.asarray(centers, np.float64), 0.0
    for start in range(0, len(X), 1 << 14):
        rows = np.asarray(X[start : start + (1 << 14)], np.float64)
        squares = (rows**2).sum(axis=1)[:, None] - 2 * rows @ centers.T + (centers**2).sum(axis=1)
        total += float(squares.min(axis=1).sum())
    return total


def timed(library: str, X: Any, init: np.ndarray, iterations: int) -> dict[str, Any]:
    """Return the second fit's centers, iterations and seconds."""
    fit(library, X, init, 2)
    start = time.perf_counter()
    model = fit(library, X, init, iterations)
    seconds = time.perf_counter() - start
    return {"centers": model.cluster_centers_, "n_iter": int(model.n_iter_), "seconds": seconds}


def main() -> None:
    """Run one fit."""
    library, path, init, iterations = sys.argv[1], sys.argv[2], np.load(sys.argv[3]), int(sys.argv[4])
    if library == "scikit-learn":
        found = timed(library, np.load(path), init, iterations)
    else:
        from distributed import wait

        with cluster() as client:
            X = client.persist(chunked(path, SHARDS))
            wait(X)
            found = timed(library, X, init, iterations)
    found |= {"inertia": inertia(path, found.pop("centers")), "version": version(library)}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
