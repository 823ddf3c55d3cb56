"""The same bits on the CPU and on CUDA for real data: sets that ship with scikit-learn; and, on a GPU, those in the
folder $GPUCLUST_BENCH_DATA."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from laws.runs import assert_same_bits
from sklearn import datasets

from gpuclust import KMeans, KMedians

from .runs import both

SHIPPED = ["iris", "wine", "breast_cancer", "digits"]
FOLDER = os.environ.get("GPUCLUST_BENCH_DATA")


def tables():
    """Every two-dimensional table of numbers in the folder: file and name."""
    found = []
    for path in sorted(Path(FOLDER).glob("*.npz")) if FOLDER else []:
        with np.load(path, allow_pickle=False) as file:
            found += [(path, name) for name in file.files if file[name].ndim == 2 and file[name].dtype.kind in "fiu"]
    return found


@pytest.mark.parametrize("Class", [KMeans, KMedians])
@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_sets(cuda, name, Class):
    X = getattr(datasets, f"load_{name}")(return_X_y=True)[0]
    for dtype in (np.float32, np.float64):
        assert_same_bits(*both(X.astype(dtype), estimator=Class, n_clusters=5, max_iter=20))


@pytest.mark.gpu
@pytest.mark.parametrize("Class", [KMeans, KMedians])
def test_sets_in_the_folder(request, Class):
    """Rows by the hundred thousand, and as many centres as a set of its size is likely to get."""
    if not tables():
        pytest.skip("$GPUCLUST_BENCH_DATA names no folder with .npz files")
    from .conftest import real_cupy

    real_cupy()
    for path, name in tables():
        with np.load(path, allow_pickle=False) as file:
            X = file[name][:300_000].astype(np.float32)
        k = int(min(200, max(2, len(X) // 50)))
        how = {"estimator": Class, "init": X[np.linspace(0, len(X) - 1, k).astype(int)], "max_iter": 5}
        assert_same_bits(*both(X, **how))
