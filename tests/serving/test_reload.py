"""Another model, or one that learned, in the place of the old one."""

import re
import threading

import numpy as np
import pandas as pd
import pytest

from gpuclust import KMedians, MiniBatchKMeans, MiniBatchKMedians, load_model, save_model
from gpuclust.serving import batching
from gpuclust.serving.loaded import Loaded

from .client import Client, refused
from .conftest import FRAME, NAMES, NEW, X, fitted

ROWS = {"rows": NEW.tolist()}


@pytest.fixture
def path(tmp_path):
    save_model(fitted(), tmp_path / "m.gpuclust")
    return tmp_path / "m.gpuclust"


def test_reload(path):
    with Client(path) as client:
        first = client.post("/v1/predict", json=ROWS)
        assert client.post("/v1/reload").json()["changed"] is False
        other = fitted(KMedians, k=5)
        save_model(other, path)
        assert client.post("/v1/predict", json=ROWS).json() == first.json()
        told = client.post("/v1/reload").json()
        assert told["changed"] is True and told["workers"] == told["workers_reloaded"] == 1
        second = client.post("/v1/predict", json=ROWS)
        assert second.json()["labels"] == other.predict(pd.DataFrame(NEW, columns=NAMES)).tolist()
        assert told["sha256"].startswith(second.headers["x-model"]) and second.headers["x-model"] != first.headers["x-model"]
        assert client.metric('gpuclust_reloads_total{result="done"}') == 2
        text = client.get("/metrics").text
        assert set(re.findall(r'_cluster_(?:rows|share)\S*model="(\w+)"', text)) == {second.headers["x-model"]}


def test_a_bad_file_keeps_the_old_model(path):
    with Client(path) as client:
        before = client.predict(**ROWS)
        for wrong in (path.read_bytes()[:-9], b"", b"x" * 100, None):
            path.unlink() if wrong is None else path.write_bytes(wrong)
            answer = client.post("/v1/reload")
            assert answer.status_code == 409 and answer.json()["error"]["code"] == "model_file"
            assert str(path) in answer.json()["error"]["message"]
            assert client.predict(**ROWS) == before
        assert client.metric('gpuclust_reloads_total{result="failed"}') == 4


def test_features_of_the_new_model_are_asked_for(path):
    with Client(path) as client:
        schema = client.get("/openapi.json").text
        save_model(fitted(data=FRAME.rename(columns={"kids": "cats"})), path)
        client.post("/v1/reload")
        refused(client.post("/v1/predict", json={"rows": [dict.fromkeys(NAMES, 1.0)]}), 422, "lacks 'cats'")
        new = client.get("/openapi.json").text
        assert '"cats"' in new and '"cats"' not in schema


def test_requests_that_wait_are_answered_by_the_model_that_read_them(path, monkeypatch):
    event, whole = threading.Event(), Loaded.answers
    monkeypatch.setattr(batching, "AT_ONCE", -1)
    monkeypatch.setattr(Loaded, "answers", lambda self, asks: event.wait(20) and whole(self, asks))
    wide = fitted(data=np.column_stack([X, X[:, 0]]))
    with Client(path) as client:

        async def meanwhile():
            import asyncio

            old = asyncio.create_task(client.http.post("/v1/predict", json=ROWS))
            await asyncio.sleep(0.05)
            save_model(wide, path)
            await client.http.post("/v1/reload")
            queued = asyncio.create_task(client.http.post("/v1/predict", json={"rows": [[1, 2, 3, 4]]}))
            await asyncio.sleep(0.05)
            event.set()
            return await old, await queued

        old, new = client.run(meanwhile())
        assert old.json()["labels"] == fitted().predict(pd.DataFrame(NEW, columns=NAMES)).tolist()
        assert new.json()["labels"] == wide.predict([[1, 2, 3, 4]]).tolist()


@pytest.mark.parametrize("Class", [MiniBatchKMeans, MiniBatchKMedians])
def test_updates_are_those_of_partial_fit(tmp_path, Class):
    path = tmp_path / "m.gpuclust"
    save_model(fitted(Class), path)
    with Client(path, allow_updates=True) as client:
        model, before = load_model(path), client.predict(**ROWS, distances=True)
        for step in range(1, 4):
            part = X[step * 20 : step * 40] + step
            told = client.post("/v1/partial_fit", json={"rows": part.tolist()})
            assert told.json() == {"rows": len(part), "updates": step}, told.text
            model.partial_fit(pd.DataFrame(part, columns=NAMES))
        after = client.predict(**ROWS, distances=True)
        assert after["distances"] == model.transform(pd.DataFrame(NEW, columns=NAMES)).tolist() != before["distances"]
        assert client.get("/v1/model").json()["updates"] == 3
        assert client.post("/v1/reload").json()["changed"] is True
        assert client.predict(**ROWS, distances=True) == before


def test_updates_that_cannot_be(path, tmp_path):
    with Client(path, allow_updates=True) as client:
        refused(client.post("/v1/partial_fit", json=ROWS), 409, "mini-batch")
        refused(client.post("/v1/partial_fit", json={"rows": [[1]]}), 422, "1 values")
        refused(client.get("/v1/partial_fit"), 405)
    save_model(fitted(MiniBatchKMeans), path)
    with Client(path, allow_updates=True) as client:
        refused(client.post("/v1/partial_fit", json={"rows": [[1e200, 0, 0]]}), 422, "beyond 1e+150")
        assert client.get("/v1/model").json()["updates"] == 0
    with Client(path) as client:
        refused(client.post("/v1/partial_fit", json=ROWS), 404)
        assert "partial_fit" not in client.get("/openapi.json").text
