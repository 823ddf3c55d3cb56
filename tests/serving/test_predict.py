"""What the service answers is what the model says."""

import io

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from gpuclust import KMeans, KMedians

from .client import ARROW, NPY, arrow, npy, read_arrow, refused
from .conftest import FRAME, NAMES, NEW, X, fitted


@pytest.mark.parametrize("Class", [KMeans, KMedians])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_labels_and_distances_are_the_models(serving, Class, dtype):
    model = fitted(Class, X.astype(dtype))
    found = serving(model).predict(NEW.tolist(), distances=True)
    every = model.transform(NEW)
    assert found["labels"] == model.predict(NEW).tolist()
    assert found["distances"] == every.tolist()
    np.testing.assert_array_equal(found["distance"], every.min(axis=1))
    assert found["anomaly_score"] is None


def test_rows_by_name_in_any_order(client, model):
    rows = [dict(zip(NAMES[::-1], row[::-1].tolist(), strict=True)) for row in NEW]
    found = client.predict(rows)
    assert found == client.predict(NEW.tolist())
    assert found["labels"] == model.predict(pd.DataFrame(NEW, columns=NAMES)).tolist()
    assert found["distances"] is None


def test_a_model_without_names_takes_x0_x1(serving):
    client = serving(fitted(data=X))
    assert client.predict([{"x1": 6, "x0": 6.5, "x2": 5}]) == client.predict([[6.5, 6, 5]])


def test_one_feature(serving):
    model = fitted(data=FRAME[["age"]])
    client = serving(model)
    assert client.predict([[1], [14.5]]) == client.predict([{"age": 1.0}, {"age": 14.5}])


@pytest.mark.parametrize("dtype", ["<f4", "<f8", ">f8", "<f2", "i4", "u2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy(client, model, dtype, order):
    rows = np.asarray(np.abs(NEW), dtype, order=order)
    answer = client.bulk(npy(rows), NPY, accept="application/json").json()
    assert answer["labels"] == model.predict(pd.DataFrame(rows.astype(float), columns=NAMES)).tolist()


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_arrow(client, model, dtype):
    table = pd.DataFrame(NEW.astype(dtype), columns=NAMES)
    body = arrow(pa.Table.from_pandas(table[NAMES[::-1]], preserve_index=False))
    found = read_arrow(client.bulk(body, ARROW, "?distances=true"))
    assert found.schema.names == ["labels", "distance", "distances"]
    assert found["labels"].type == pa.int32() and found["labels"].to_pylist() == model.predict(table).tolist()
    every = np.stack(found["distances"].to_numpy())
    np.testing.assert_array_equal(every, model.transform(table.astype(np.float64)))
    np.testing.assert_array_equal(found["distance"].to_numpy(), every.min(axis=1))


def test_arrow_without_names_goes_by_position(serving):
    client = serving(fitted(data=X))
    body = arrow(pa.table(dict(zip("cab", NEW.T, strict=True))))
    assert read_arrow(client.bulk(body, ARROW))["labels"].to_pylist() == client.predict(NEW.tolist())["labels"]


def test_arrow_in_several_batches(client):
    table = pa.Table.from_pandas(pd.DataFrame(NEW, columns=NAMES), preserve_index=False)
    parts = pa.concat_tables([table.slice(0, 7), table.slice(7)])
    assert read_arrow(client.bulk(arrow(parts), ARROW)) == read_arrow(client.bulk(arrow(table), ARROW))


@pytest.mark.parametrize(
    ("sent", "accept", "given"),
    [
        (NPY, None, NPY), (NPY, "*/*", NPY), (NPY, "text/html, */*;q=0.8", NPY), (ARROW, "application/json", "application/json"),
        ("application/json", ARROW, ARROW), ("application/json", f"{NPY};q=0.5", NPY), (ARROW, "text/html", "application/json"),
    ],
)  # fmt: skip
def test_the_format_of_the_answer(client, sent, accept, given):
    body = {NPY: npy(NEW), ARROW: arrow(pa.table(dict(zip(NAMES, NEW.T, strict=True))))}
    body = body.get(sent, b'{"rows":[[1,2,3]]}')
    answer = client.bulk(body, sent, **({} if accept is None else {"accept": accept}))
    assert answer.status_code == 200 and answer.headers["content-type"] == given


def test_a_structured_npy_answer(client):
    answer = client.bulk(npy(NEW), NPY, "?distances=1")
    found = np.load(io.BytesIO(answer.content), allow_pickle=False)
    expected = client.predict(NEW.tolist(), distances=True)
    assert found.dtype.names == ("labels", "distance", "distances")
    for name in found.dtype.names:
        assert found[name].tolist() == expected[name]


def test_requests_that_come_together_are_scored_together(client):
    bodies = [{"rows": NEW[i : i + 3].tolist(), "distances": i % 2 == 0} for i in range(30)]
    alone = [client.predict(**body) for body in bodies]
    before = client.metric("gpuclust_batch_rows_count")
    assert [answer.json() for answer in client.together(*bodies)] == alone
    assert client.metric("gpuclust_batch_rows_count") - before < len(bodies) / 2


def test_one_bad_request_does_not_spoil_the_others(client):
    good, far = {"rows": [[1, 2, 3]]}, {"rows": [[1e200, 0, 0]]}
    first, second, third = client.together(good, far, good)
    assert first.json() == third.json() == client.predict(**good)
    refused(second, 422, "so far from every centre")


def test_large_batches_go_through_the_thread(client, model):
    rows = np.resize(NEW, (120_000, 3))
    answer = read_arrow(client.bulk(arrow(pa.table(dict(zip(NAMES, rows.T, strict=True)))), ARROW))
    np.testing.assert_array_equal(answer["labels"].to_numpy(), model.predict(pd.DataFrame(rows, columns=NAMES)))


def test_anomaly_scores_need_a_summary(client):
    refused(client.post("/v1/predict", json={"rows": [[1, 2, 3]], "anomaly": True}), 409, "training_data=")


def test_what_is_served(client, model):
    found = client.get("/v1/model").json()
    assert found["estimator"] == "KMeans" and found["n_clusters"] == 3 and found["metric"] == "euclidean"
    assert [feature["name"] for feature in found["features"]] == NAMES
    assert client.get("/healthz").json() == client.get("/readyz").json() == {"status": "ok"}
    assert client.head("/healthz").status_code == client.head("/readyz").status_code == 200
