"""Choosing k and stability on a GPU."""

from __future__ import annotations

import numpy as np
import pytest
from laws.cases import blobs

from gpuclust import KMeans, KMedians
from gpuclust.selection import choose_k, stability

from .runs import device_array

pd = pytest.importorskip("pandas")
pytest.importorskip("kneed")


@pytest.mark.parametrize("kind", [KMeans, KMedians])
def test_the_same_choice_on_both(cuda, rng, kind):
    X = blobs(rng, 150, 2, np.float32)
    given = {"ks": [1, 2, 4], "n_references": 1, "random_state": 0}
    here, there = (choose_k(X, estimator=kind(device=device), **given) for device in ("cpu", "cuda"))
    pd.testing.assert_frame_equal(here.table.drop(columns="seconds"), there.table.drop(columns="seconds"), rtol=1e-5)
    np.testing.assert_array_equal(here.table["inertia"], there.table["inertia"])
    assert here.choices == there.choices and there.best_estimator_.device_ == "cuda:0"
    np.testing.assert_array_equal(here.best_estimator_.labels_, there.best_estimator_.labels_)


def test_rows_cross_once(cuda, rng, monkeypatch):
    from gpuclust.backends.cuda import CUDABackend

    X, crossings = blobs(rng, 150, 2, np.float32), []
    plain = CUDABackend.upload

    def upload(self, rows, dtype):
        if isinstance(rows, np.ndarray) and rows.shape == X.shape:
            crossings.append(1)
        return plain(self, rows, dtype)

    monkeypatch.setattr(CUDABackend, "upload", upload)
    names = ["elbow", "silhouette", "davies_bouldin", "calinski_harabasz"]
    choose_k(X, [2, 3, 4], estimator=KMeans(device="cuda"), criteria=names, random_state=0)
    assert len(crossings) == 1
    stability(KMeans(3, device="cuda"), X, method="bootstrap", n_runs=2, random_state=0)
    assert len(crossings) == 2


def test_device_rows_and_stability(cuda, rng):
    X = blobs(rng, 150, 2, np.float32)
    there = device_array(cuda, X)
    given = {"method": "half", "n_runs": 2, "random_state": 0}
    here, on_device = stability(KMeans(3), X, **given), stability(KMeans(3, device="cuda"), there, **given)
    np.testing.assert_array_equal(here.jaccard_runs, on_device.jaccard_runs)
    model = choose_k(there, [2, 4], estimator=KMeans(device="cuda"), criteria="silhouette", random_state=0).best_estimator_
    assert type(model.labels_) is cuda.ndarray
