"""Profiles, scores and checks of rows that live on a GPU: what the same rows give on the host."""

from __future__ import annotations

import numpy as np
import pytest

from gpuclust import KMeans, KMedians
from gpuclust.profiling import (
    anomaly_scores,
    check_clusters,
    check_data,
    permutation_importance,
    profile,
    rows,
    search,
    separation,
    typical_rows,
)

from .runs import device_array

pd = pytest.importorskip("pandas")


def test_profiles_of_device_rows(cuda, rng, dtype, monkeypatch):
    X, labels = rng.normal(size=(500, 4)).astype(dtype), rng.integers(-1, 3, 500)
    X[:, 1] = np.round(X[:, 1])
    there = device_array(cuda, X)
    whole, data, tests = profile(X, labels), check_data(X), separation(X, labels)
    monkeypatch.setattr(rows, "BLOCK_BYTES", 8 * 4 * 150)
    for room in (1 << 20, 60):
        monkeypatch.setattr(search, "ROOM", room)
        monkeypatch.setattr(rows, "COLUMN_BYTES", 0)
        found = profile(there, device_array(cuda, labels))
        pd.testing.assert_frame_equal(found.table, whole.table, check_exact=True)
        pd.testing.assert_frame_equal(found.overall, whole.overall, check_exact=True)
        pd.testing.assert_frame_equal(profile(X, labels, device="cuda").table, whole.table, check_exact=True)
    pd.testing.assert_frame_equal(check_data(there).table, data.table, check_exact=True)
    pd.testing.assert_frame_equal(separation(there, labels), tests, check_exact=True)
    there[3, 2] = np.nan
    assert check_data(there).table["missing"].tolist() == [0, 0, 1, 0]
    with pytest.raises(ValueError, match="NaN"):
        profile(there, labels)


@pytest.mark.parametrize("estimator", [KMeans, KMedians])
def test_clusters_of_device_rows(cuda, rng, estimator, monkeypatch):
    X = rng.normal(size=(400, 3)).astype(np.float32)
    model = estimator(4, random_state=0, device="cpu").fit(X)
    asked = (
        lambda X: typical_rows(model, X),
        lambda X: check_clusters(model, X).table,
        lambda X: permutation_importance(model, X, n_repeats=2, random_state=0),
    )
    wanted, scores = [ask(X) for ask in asked], anomaly_scores(model, X)
    monkeypatch.setattr(rows, "BLOCK_BYTES", 8 * 4 * 150)
    there = device_array(cuda, X)
    model.set_params(device="cuda")
    for ask, table in zip(asked, wanted, strict=True):
        pd.testing.assert_frame_equal(ask(there), table, rtol=1e-12)
    np.testing.assert_array_equal(anomaly_scores(model, there).scores, scores.scores)
