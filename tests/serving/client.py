"""An application called in this process, from tests that are not coroutines."""

import asyncio
import contextlib
import io
import socket
import threading
import time

import httpx
import numpy as np
import pyarrow as pa

from gpuclust.serving import Settings, create_app
from gpuclust.serving.protocol import TimedServer
from gpuclust.serving.server import config_of

ARROW, NPY = "application/vnd.apache.arrow.stream", "application/x-npy"


class Client:
    """`with Client(path) as client: client.post("/v1/predict", json=...)`."""

    def __init__(self, path, **settings):
        self.app = create_app(path, settings=Settings(**settings))

    def __enter__(self):
        self.runner = asyncio.Runner()
        self.run = self.runner.run
        self.lifespan = self.app.router.lifespan_context(self.app)
        self.run(self.lifespan.__aenter__())
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://test")
        return self

    def __exit__(self, *error):
        self.run(self.http.aclose())
        self.run(self.lifespan.__aexit__(*error))
        self.runner.close()

    def request(self, method, path, **given):
        return self.run(self.http.request(method, path, **given))

    def get(self, path, **given):
        return self.request("GET", path, **given)

    def head(self, path):
        return self.request("HEAD", path)

    def post(self, path, **given):
        return self.request("POST", path, **given)

    def predict(self, rows, **options):
        """The answer to rows as JSON."""
        answer = self.post("/v1/predict", json={"rows": rows, **options})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def bulk(self, body, kind, query="", **headers):
        return self.post(f"/v1/predict{query}", content=body, headers={"content-type": kind, **headers})

    def together(self, *bodies):
        """The answers to requests that arrive at once."""

        async def all_of_them():
            calls = (self.http.post("/v1/predict", json=body) for body in bodies)
            return await asyncio.gather(*calls)

        return self.run(all_of_them())

    def metric(self, line):
        """The value of one line of /metrics."""
        found = [each for each in self.get("/metrics").text.splitlines() if each.startswith(line + " ")]
        return float(found[0].split()[-1]) if found else None


@contextlib.contextmanager
def served(path, **settings):
    """The port of a server that is a thread of this process."""
    settings = Settings(device="cpu", **settings)
    app = create_app(path, settings=settings)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = TimedServer(config_of(app, settings), app.service)
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield listening.getsockname()[1]
        server.should_exit = True
        thread.join()


def refused(answer, status, said=""):
    """Assert that a request was refused with a sentence in the service's form."""
    assert answer.status_code == status, (answer.status_code, answer.text)
    assert answer.headers["content-type"] == "application/json"
    error = answer.json()["error"]
    assert set(error) == {"code", "message"} and error["code"] and error["message"].endswith((".", "?"))
    assert said in error["message"], error["message"]


def npy(array):
    sink = io.BytesIO()
    np.save(sink, array)
    return sink.getvalue()


def arrow(table, **options):
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as stream:
        stream.write_table(table)
    return sink.getvalue().to_pybytes()


def read_arrow(answer):
    assert answer.status_code == 200, answer.text
    return pa.ipc.open_stream(answer.content).read_all()
