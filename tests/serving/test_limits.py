"""Limits, tokens, and times that are up."""

import asyncio
import threading
import time

import numpy as np
import pyarrow as pa
import pytest

from gpuclust.serving import Settings, batching
from gpuclust.serving.loaded import Loaded

from .client import ARROW, NPY, Client, arrow, npy, refused
from .conftest import NAMES, NEW

GOOD = {"rows": [[1, 2, 3]]}


@pytest.fixture
def held(monkeypatch):
    """Scoring waits for this event, in the thread."""
    event, whole = threading.Event(), Loaded.answers
    monkeypatch.setattr(batching, "AT_ONCE", -1)
    monkeypatch.setattr(Loaded, "answers", lambda self, asks: event.wait(20) and whole(self, asks))
    yield event
    event.set()


def test_rows_and_bytes(model_path):
    with Client(model_path, max_rows=5, max_body=4000, max_values=5) as client:
        refused(client.post("/v1/predict", json={"rows": [[1, 2, 3]] * 6}), 413, "6 rows are more than the 5")
        refused(client.bulk(npy(NEW[:6]), NPY), 413, "6 rows")
        table = pa.table(dict(zip(NAMES, NEW[:6].T, strict=True)))
        halves = pa.concat_tables([table.slice(0, 3), table.slice(3)])
        for each in (table, halves):
            refused(client.bulk(arrow(each), ARROW), 413, "6 rows")
        refused(client.post("/v1/predict", json={"rows": [[1, 2, 3]] * 2, "distances": True}), 413, "6 distances")
        answer = client.bulk(b"x" * 4001, NPY)
        refused(answer, 413, "longer than the 4000 bytes")
        assert answer.headers["connection"] == "close"
        assert client.bulk(npy(NEW[:5]), NPY).status_code == 200


def test_a_body_without_a_length_is_counted_as_it_comes(model_path):
    sent = []

    async def endless():
        while True:
            sent.append(1)
            yield b"x" * 1000

    with Client(model_path, max_body=5000) as client:
        refused(client.bulk(endless(), NPY), 413)
        assert len(sent) < 10


def test_a_full_queue(model_path, held):
    with Client(model_path, queue=3) as client:

        async def crowd():
            calls = [asyncio.create_task(client.http.post("/v1/predict", json=GOOD)) for _ in range(5)]
            early, late = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
            while len(early) < 2:
                early, late = await asyncio.wait(calls, timeout=0.05)
            held.set()
            return [task.result() for task in early], [await task for task in late]

        turned_away, answered = client.run(crowd())
        for answer in turned_away:
            refused(answer, 429, "3 requests wait")
            assert answer.headers["retry-after"] == "1"
        assert [answer.status_code for answer in answered] == [200] * 3
        assert client.predict(**GOOD)


def test_bodies_that_fill_the_memory(model_path, held):
    with Client(model_path, max_body=1000, queue_bytes=1500) as client:

        async def crowd():
            body, headers = npy(np.ones((30, 3))), {"content-type": NPY}
            calls = [client.http.post("/v1/predict", content=body, headers=headers) for _ in range(4)]
            asyncio.get_running_loop().call_later(0.3, held.set)
            return await asyncio.gather(*calls)

        assert sorted(answer.status_code for answer in client.run(crowd())) == [200, 429, 429, 429]


def test_time_is_up(model_path, held):
    with Client(model_path, timeout=0.1) as client:

        async def crowd():
            first = asyncio.create_task(client.http.post("/v1/predict", json=GOOD))
            await asyncio.sleep(0.05)
            return await asyncio.gather(first, client.http.post("/v1/predict", json=GOOD))

        running, queued = client.run(crowd())
        refused(running, 504, "No answer within 0.1 seconds")
        refused(queued, 503, "No answer within 0.1 seconds")
        held.set()
        time.sleep(0.1)
        assert client.predict(**GOOD)


def test_what_was_accepted_is_answered_before_the_end(model_path, held):
    client = Client(model_path).__enter__()

    async def end():
        call = asyncio.create_task(client.http.post("/v1/predict", json=GOOD))
        await asyncio.sleep(0.05)
        asyncio.get_running_loop().call_later(0.2, held.set)
        await client.lifespan.__aexit__(None, None, None)
        ready = await client.http.get("/readyz")
        return await call, ready

    answer, ready = client.run(end())
    assert answer.status_code == 200
    refused(ready, 503, "stopping")
    client.runner.close()


def test_a_defect_is_a_sentence_and_not_the_end(client, monkeypatch, caplog):
    def broken(self, asks):
        raise RuntimeError("secret details")

    with monkeypatch.context() as patch:
        patch.setattr(Loaded, "answers", broken)
        answer = client.post("/v1/predict", json=GOOD)
        refused(answer, 500, "could not be scored")
        assert "secret" not in answer.text and "secret details" in caplog.text
    assert client.predict(**GOOD)


@pytest.mark.parametrize("header", [None, "Bearer", "Bearer wrong", "Basic s3cret", "s3cret", "Bearer s3cret2", "Bearer s3cré"])
def test_a_token_is_wanted(model_path, header):
    headers = {} if header is None else {"authorization": header.encode()}
    with Client(model_path, token="s3cret") as client:
        for method, path in (("POST", "/v1/predict"), ("POST", "/v1/reload"), ("GET", "/v1/model"), ("GET", "/metrics")):
            answer = client.request(method, path, headers=headers, **({"json": GOOD} if method == "POST" else {}))
            refused(answer, 401, "Authorization")
            assert answer.headers["www-authenticate"] == "Bearer"
        assert client.get("/healthz").status_code == client.get("/readyz").status_code == 200


def test_the_token_opens(model_path):
    with Client(model_path, token="s3cret") as client:
        for value in ("Bearer s3cret", "bearer  s3cret "):
            assert client.post("/v1/predict", json=GOOD, headers={"authorization": value}).status_code == 200
            assert client.get("/v1/model", headers={"authorization": value}).status_code == 200
        assert "s3cret" not in repr(client.app.service.settings)


@pytest.mark.parametrize(
    "wrong", [{"timeout": 0}, {"queue": -1}, {"port": 70000}, {"token": " "}, {"token": "é"}, {"workers": 2, "allow_updates": True}]
)  # fmt: skip
def test_settings_that_cannot_be(wrong):
    with pytest.raises(ValueError, match=r"positive|port|token|single worker"):
        Settings(**wrong)


def test_a_limit_that_is_no_number():
    with pytest.raises(ValueError, match="timeout=nan must be positive"):
        Settings(timeout=float("nan"))
