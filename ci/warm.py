"""Compile the CPU kernels for one dtype: `python ci/warm.py float32`.

Tests run in several processes, each of which would compile them all for itself. So would the processes that this is run
in: whatever works in float64 for rows of any dtype is left to that for float64.
"""

import logging
import sys
import warnings

import numpy as np
import scipy.sparse as sp
from sklearn.exceptions import ConvergenceWarning

import gpuclust
from gpuclust import KMeans, KMedians, MiniBatchKMeans, MiniBatchKMedians, metrics, preprocessing

# rows, features, clusters: cells; bounds to groups; wide rows; a first look in integers
SHAPES = (33_000, 2, 8), (600, 8, 200), (120, 300, 60), (120, 40, 40)


def fits(dtype):
    """Every estimator on dense rows, with weights, in chunks, seeded in all ways; sparse rows; silhouettes; moments."""
    everywhere = [{"init": "k-means||"}] if dtype == np.float64 else []  # its candidates are clustered in float64
    shapes = SHAPES if everywhere else SHAPES[::-1]  # kernels that know no dtype: who comes second finds them
    for n, d, k in shapes:
        X = np.random.default_rng(0).normal(size=(n, d)).astype(dtype)
        weight = np.linspace(0.5, 2.0, n)
        for kind in (KMeans, KMedians, MiniBatchKMeans, MiniBatchKMedians):
            for how in ({"init": X[:k], "n_init": 1}, {"init": "random", "n_init": 1}, *everywhere):
                model = kind(k, max_iter=6, device="cpu", random_state=0, **how).fit(X)
            model.transform(X[:50]), model.score(X[:50])
            kind(k, max_iter=3, device="cpu", random_state=0).fit(X, sample_weight=weight)
        for kind in (KMeans, KMedians):
            kind(k, max_iter=3, device="cpu", random_state=0, chunk_size=n // 3).fit(X, sample_weight=weight)
            kind(k, max_iter=3, device="cpu", random_state=0).fit(gpuclust.stream([X, X]))
        rows = sp.csr_matrix(np.where(X > 1, X, 0).astype(dtype))
        for kind in (KMeans, MiniBatchKMeans):
            kind(k, max_iter=6, device="cpu", random_state=0).fit(rows, sample_weight=weight).predict(rows)
            kind(k, max_iter=6, device="cpu", random_state=0).fit(rows).transform(rows[:50])
    preprocessing.StandardScaler().fit(X[:100])
    for metric in ("euclidean", "manhattan"):
        metrics.silhouette_samples(X[:100], np.arange(100) % 3, metric=metric)
        metrics.davies_bouldin_score(X[:100], np.arange(100) % 3, metric=metric)


if __name__ == "__main__":
    warnings.simplefilter("ignore", ConvergenceWarning)
    logging.disable()
    fits(np.dtype(sys.argv[1]))
