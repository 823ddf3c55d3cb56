"""The service with its centres on a GPU answers what it answers without one."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from gpuclust import KMeans, KMedians, save_model

Batcher = pytest.importorskip("gpuclust.serving.batching", exc_type=ImportError).Batcher
Ask = pytest.importorskip("gpuclust.serving.columns", exc_type=ImportError).Ask
Loaded = pytest.importorskip("gpuclust.serving.loaded", exc_type=ImportError).Loaded


@pytest.mark.parametrize("estimator", [KMeans, KMedians])
def test_answers_of_a_gpu(cuda, rng, estimator, tmp_path):
    X = rng.normal(size=(40, 5)).round(3)
    path = tmp_path / "m.gpuclust"
    save_model(estimator(6, random_state=0, device="cpu").fit(X), path)
    there, here = (Loaded.read(path, device) for device in ("cuda", "cpu"))
    assert there.scorer.backend.name.startswith("cuda") and there.scorer.work(1) == np.inf
    asks = [Ask(X[:1]), Ask(X[1:15], distances=True), Ask(X[15:].astype(np.float32).astype(np.float64))]

    async def answers(loaded):
        batcher = Batcher(60.0, lambda loaded, seen: None)
        batcher.start()
        found = await asyncio.gather(*(batcher.submit(loaded, ask) for ask in asks))
        await batcher.close()
        return found

    for mine, other in zip(asyncio.run(answers(there)), asyncio.run(answers(here)), strict=True):
        np.testing.assert_array_equal(mine.label, other.label)
        np.testing.assert_allclose(mine.distance, other.distance, rtol=1e-12)
        assert (mine.distances is None) == (other.distances is None)
    assert isinstance(mine.label, np.ndarray) and mine.distance.dtype == np.float64
