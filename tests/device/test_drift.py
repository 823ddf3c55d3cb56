"""Summaries and comparisons of rows that live on a GPU: what the same rows give on the host."""

from __future__ import annotations

import numpy as np
import pytest

from gpuclust import KMeans, KMedians
from gpuclust.monitoring import DriftMonitor, compare, summarize
from gpuclust.profiling import rows

from .runs import device_array


@pytest.mark.parametrize("kind", [KMeans, KMedians])
def test_drift_of_device_rows(cuda, rng, kind, monkeypatch):
    X, new = rng.normal(size=(400, 3)), rng.normal(0.3, 1, (200, 3))
    new[::20, 1] = np.nan
    model = kind(3, random_state=0, device="cpu").fit(X)
    summary = summarize(model, X)
    expected = compare((model, summary), new).as_dict()
    model.set_params(device="cuda")
    monkeypatch.setattr(rows, "BLOCK_BYTES", 8 * 3 * 150)
    there = summarize(model, device_array(cuda, X))
    for name, value in summary.as_dict().items():
        np.testing.assert_array_equal(there.as_dict()[name], value)
    assert compare((model, summary), device_array(cuda, new)).as_dict() == expected
    monitor = DriftMonitor(model, summary)
    fine = np.isfinite(new).all(axis=1)
    monitor.add(device_array(cuda, new[fine]), model.predict(new[fine]), model.transform(new[fine]).min(axis=1))
    assert monitor.report().n_rows == fine.sum()
