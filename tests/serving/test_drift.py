"""What the service says of its rows, by the training summary in the model file."""

import asyncio

import numpy as np
import pandas as pd
import pytest

from gpuclust import save_model
from gpuclust.monitoring import compare, summarize
from gpuclust.persistence import read_model
from gpuclust.profiling import anomaly_scores
from gpuclust.serving.loaded import typical_distance

from .client import Client
from .conftest import FRAME, NAMES, NEW, X, fitted


@pytest.fixture
def path(tmp_path):
    save_model(fitted(), tmp_path / "m.gpuclust", training_data=FRAME)
    return tmp_path / "m.gpuclust"


def test_anomaly_scores_are_distances_in_typical_ones(path, model):
    with Client(path) as client:
        found = client.predict(NEW.tolist(), anomaly=True)
    own = model.transform(FRAME).min(axis=1)
    np.testing.assert_allclose(found["anomaly_score"], np.array(found["distance"]) / np.median(own), rtol=0.02)
    within = anomaly_scores(model, FRAME)
    assert within.typical.min() < np.array(found["distance"][0]) / found["anomaly_score"][0] < within.typical.max()


def test_typical_distances_of_rows_on_their_centre():
    model = fitted(data=np.repeat([[0.0], [5.0], [9.0]], [50, 50, 3], axis=0), k=2)
    summary = summarize(model, np.repeat([[0.0], [5.0], [9.0]], [50, 50, 3], axis=0))
    assert typical_distance(summary) > 0


@pytest.mark.parametrize("drifted", [False, True])
def test_gauges_of_drift(path, drifted):
    rows = X[::-1].copy()
    rows[:, 0] += 30.0 * drifted
    with Client(path, drift_every=0.05) as client:
        assert client.metric("gpuclust_drift_verdict") == 0
        for start in range(0, len(rows), 20):
            client.predict(rows[start : start + 20].tolist())
        client.run(asyncio.sleep(0.3))
        report = compare(read_model(path), pd.DataFrame(rows, columns=NAMES))
        assert client.metric("gpuclust_drift_verdict") == {"ok": 0, "watch": 1, "retrain": 2}[report.verdict] == 2 * drifted
        for check in report.checks:
            line = f'gpuclust_drift{{check="{check.check}",feature="{check.feature or ""}"}}'
            assert client.metric(line) == pytest.approx(check.effect)


def test_another_model_starts_without_drift(path):
    """Else an alarm that had the model fitted again would go on after that."""
    with Client(path, drift_every=0.05) as client:
        client.predict((X + 30).tolist())
        client.run(asyncio.sleep(0.3))
        line = 'gpuclust_drift{check="far",feature=""}'
        assert client.metric("gpuclust_drift_verdict") == 2 and client.metric(line) > 0.5
        assert not client.post("/v1/reload").json()["changed"] and client.metric("gpuclust_drift_verdict") == 2
        save_model(fitted(data=FRAME + 30), path, training_data=FRAME + 30)
        assert client.post("/v1/reload").json()["changed"]
        client.run(asyncio.sleep(0.2))
        assert client.metric("gpuclust_drift_verdict") == 0 and client.metric(line) is None
