"""Nothing that a client sends is answered with a 5xx, and nothing ends the service."""

import json
import os
import pickle
import struct

import numpy as np
import pyarrow as pa
import pytest

from .client import ARROW, NPY, arrow, npy, refused
from .conftest import NAMES, NEW

JSON = "application/json"
GOOD = {"rows": [[1, 2, 3]]}
TABLE = pa.table(dict(zip(NAMES, NEW.T, strict=True)))

BODIES = {
    b"": (400, "empty"), b"{": (400, "not JSON"), b"\xff\xfe": (400, "not JSON"), b"null": (422, "object"),
    b"[]": (422, "object"), b"3": (422, "object"), b'"rows"': (422, "object"), b"{}": (422, "object"),
    b'{"rows": []}': (422, "one row or more"), b'{"rows": {}}': (422, "one row or more"),
    b'{"rows": null}': (422, "one row or more"), b'{"rows": [[]]}': (422, "0 values"),
    b'{"rows": [[1, 2]]}': (422, "2 values"), b'{"rows": [[1, 2, 3], [1, 2, 3, 4]]}': (422, "Row 1 has 4 values"),
    b'{"rows": [[1, 2, NaN]]}': (400, "not JSON"), b'{"rows": [[1, 2, Infinity]]}': (400, "not JSON"),
    b'{"rows": [[1, 2, 1e999]]}': (400, "infinity"), b'{"rows": [[1, 2, null]]}': (422, "missing"),
    b'{"rows": [[1, 2, "3"]]}': (422, "must be a number, not text ('3'). Send a number."), b'{"rows": [[1, 2, true]]}': (422, "true or false"),
    b'{"rows": [[1, 2, [3]]]}': (422, "an array"), b'{"rows": [[1, 2, {}]]}': (422, "an object"),
    b'{"rows": [1, 2, 3]}': (422, "array of values"), b'{"rows": ["abc"]}': (422, "array of values"),
    b'{"rows": [[1, 2, 1e308]]}': (422, "beyond float64"), b'{"rows": [[1, 2, 1%s]]}' % (b"0" * 400): (400, "infinity"),
    b'{"rows": [[1, 2, 3]], "rows": [[4, 5, 6]]}': (422, "twice"), b'{"rows": [[1, 2, 3]], "row": 1}': (422, "'row'"),
    b'{"rows": [[1, 2, 3]], "distances": 1}': (422, "true or false"),
    b'{"rows": [[1, 2, 3]], "anomaly": "true"}': (422, "true or false"),
    b'{"rows": [[1, 2, true]], "anomaly": false}': (422, "must be a number"),
    b'{"rows": [{"age": 1, "income": 2}]}': (422, "lacks 'kids'"),
    b'{"rows": [{"age": 1, "income": 2, "kids": 3, "cats": 4}]}': (422, "unknown 'cats'"),
    b'{"rows": [{"age": 1, "income": 2, "cats": 4}]}': (422, "lacks 'kids' and has unknown 'cats'"),
    b'{"rows": [{"age": 1, "age": 1, "income": 2, "kids": 3}]}': (422, "twice"),
    b'{"rows": [{"age": "1", "income": 2, "kids": 3}]}': (422, "not text"),
    b'{"rows": [{"age": null, "income": 2, "kids": 3}]}': (422, "missing"),
    b'{"rows": [[1, 2, 3], {"age": 1}]}': (422, "Row 1 lacks"), b'{"rows": [{"age": 1, "income": 2, "kids": 3}, 5]}': (422, "Row 1"),
    b"[" * 100_000 + b"]" * 100_000: (400, "depth"), b'{"rows": %s}' % (b"[" * 900 + b"]" * 900): (422, ""),
    b'{"rows": [[1, 2, 3]]} trailing': (400, "not JSON"),
}  # fmt: skip


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body[:60].decode(errors="replace"))
def test_json(client, body):
    status, said = BODIES[body]
    refused(client.bulk(body, JSON), status, said)
    assert client.predict(**GOOD)["labels"]


def test_every_mistake_is_found_by_either_way_of_reading(client):
    """Mistakes late in many rows are no different from those in the first."""
    row = dict(zip(NAMES, (1, 2, 3), strict=True))
    for wrong in (True, "3", None, [3], {}, {"a": "b"}):
        rows = [[1, 2, 3]] * 50 + [[1, 2, wrong]]
        refused(client.post("/v1/predict", json={"rows": rows}), 422, "Row 50")
        refused(client.post("/v1/predict", json={"rows": [row] * 50 + [row | {"kids": wrong}]}), 422, "Row 50")


@pytest.mark.parametrize(
    "kind", [None, "text/plain", "application/xml", "application/json; charset=latin-1", "multipart/form-data", "json", ";"]
)  # fmt: skip
def test_content_types(client, kind):
    headers = {} if kind is None else {"content-type": kind}
    refused(client.post("/v1/predict", content=json.dumps(GOOD), headers=headers), 415, "content type must be one of")


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", 'Application/JSON;charset="UTF-8"'])
def test_content_types_that_are_json(client, kind):
    assert client.bulk(json.dumps(GOOD), kind).status_code == 200


def test_encoded_bodies(client):
    refused(client.bulk(b"x", JSON, **{"content-encoding": "gzip"}), 415, "Content-Encoding")


@pytest.mark.parametrize("query", ["?distances=maybe", "?rows=1", "?distances", "?%ff=%ff", "?a&" + "b=1&" * 50])
def test_queries(client, query):
    refused(client.bulk(npy(NEW), NPY, query), 422, "query")


class Bomb:
    def __reduce__(self):
        return os.abort, ()


def header(text, version=1):
    size = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + size + text


FLOATS = b"{'descr': '<f8', 'fortran_order': False, 'shape': %s}"
ARRAYS = {
    "nothing": (b"", 400), "text": (b"hello", 400), "magic only": (b"\x93NUMPY\x01\x00", 400),
    "objects": (npy(np.array([[Bomb()] * 3], object)), 422), "pickle": (pickle.dumps([1]), 400),
    "booleans": (npy(np.ones((2, 3), bool)), 422), "complex": (npy(np.ones((2, 3), complex)), 422),
    "text values": (npy(np.array([["a", "b", "c"]])), 422), "long doubles": (npy(np.ones((2, 3), np.longdouble)), 422),
    "times": (npy(np.ones((2, 3), "M8[s]")), 422), "fields": (npy(np.zeros(2, [("a", float), ("b", float)])), 422),
    "one dimension": (npy(np.ones(3)), 422), "three": (npy(np.ones((1, 1, 3))), 422), "no rows": (npy(np.ones((0, 3))), 422),
    "width": (npy(np.ones((2, 4))), 422), "NaN": (npy(np.full((2, 3), np.nan)), 422), "inf": (npy(np.full((2, 3), -np.inf)), 422),
    "cut": (npy(NEW)[:-1], 400), "longer": (npy(NEW) + b"x", 400),
    "version 3": (header(FLOATS % b"(1, 3)", 3) + bytes(24), 400), "version 9": (header(b"", 9), 400),
    "absurd shape": (header(FLOATS % b"(10**9, 3)") + bytes(24), 400), "huge": (header(FLOATS % b"(999999999999, 3)"), 413),
    "true for a length": (header(FLOATS % b"(True, 3)") + bytes(24), 422),
    "negative": (header(FLOATS % b"(-1, 3)"), 422), "deep": (header(b"(" * 3000), 400),
    "long header": (header(b" " * 60_000 + FLOATS % b"(1, 3)") + bytes(24), 400), "code": (header(b"__import__('os').abort()"), 400),
}  # fmt: skip


@pytest.mark.parametrize("name", ARRAYS)
def test_npy(client, name):
    body, status = ARRAYS[name]
    refused(client.bulk(body, NPY), status)
    assert client.bulk(npy(NEW), NPY).status_code == 200


def columns(**changed):
    return pa.table({**{name: TABLE[name] for name in NAMES}, **changed})


STREAMS = {
    "nothing": (b"", 400), "text": (b"hello there", 400), "cut": (arrow(TABLE)[:-200], 400), "a file": (b"ARROW1" + arrow(TABLE), 400),
    "no rows": (arrow(TABLE.slice(0, 0)), 422), "a column too few": (arrow(TABLE.drop_columns("age")), 422),
    "a column more": (arrow(columns(cats=NEW[:, 0])), 422), "text values": (arrow(columns(age=["1"] * len(NEW))), 422),
    "booleans": (arrow(columns(age=[True] * len(NEW))), 422), "nulls": (arrow(columns(age=[None] + [1.0] * (len(NEW) - 1))), 422),
    "a null column": (arrow(columns(age=pa.nulls(len(NEW)))), 422), "NaN": (arrow(columns(age=np.full(len(NEW), np.nan))), 422),
    "lists": (arrow(columns(age=[[1.0]] * len(NEW))), 422), "times": (arrow(columns(age=np.ones(len(NEW), "M8[s]"))), 422),
    "decimals": (arrow(columns(age=pa.array([1] * len(NEW), pa.decimal128(5, 2)))), 422),
    "a dictionary": (arrow(columns(age=pa.array(["a"] * len(NEW)).dictionary_encode())), 422),
    "twice": (arrow(pa.Table.from_arrays([TABLE["age"]] * 3, ["age", "age", "kids"])), 422),
    "compressed": (arrow(TABLE, compression="zstd"), 422), "compressed lz4": (arrow(TABLE, compression="lz4"), 422),
}  # fmt: skip


@pytest.mark.parametrize("name", STREAMS)
def test_arrow(client, name):
    body, status = STREAMS[name]
    refused(client.bulk(body, ARROW), status)
    assert client.bulk(arrow(TABLE), ARROW).status_code == 200


@pytest.mark.parametrize(("kind", "body"), [(ARROW, arrow(TABLE)), (NPY, npy(NEW)), (JSON, json.dumps({"rows": NEW.tolist()}).encode())])
def test_damaged_bodies(client, kind, body):
    rng = np.random.default_rng(0)
    times = 3000 if os.environ.get("GPUCLUST_FUZZ") == "full" else 150
    for _ in range(times):
        damaged = bytearray(body)
        for at in rng.integers(0, len(body), rng.integers(1, 5)):
            damaged[at] = rng.integers(0, 256)
        answer = client.bulk(bytes(damaged[: rng.integers(1, len(body) + 1)] if rng.random() < 0.2 else damaged), kind)
        assert answer.status_code in (200, 400, 413, 422), answer.text
        assert answer.status_code == 200 or answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1/predict", 405), ("DELETE", "/v1/model", 405), ("GET", "/v1/reload", 405), ("GET", "/", 404),
     ("POST", "/v1/predict/", 404), ("GET", "/docs", 404), ("POST", "/v1/partial_fit", 404), ("GET", "/%00", 404)],
)  # fmt: skip
def test_other_paths_and_methods(client, method, path, status):
    answer = client.request(method, path)
    refused(answer, status)
    assert status == 404 or answer.headers["allow"] in ("GET", "POST")
