"""Models with preprocessing: rows go in as they are."""

import asyncio
import io

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder

from gpuclust import KMeans, MiniBatchKMeans
from gpuclust.models import Feature
from gpuclust.preprocessing import RobustScaler, SimpleImputer, make_preprocessor
from gpuclust.serving.columns import Columns
from gpuclust.serving.problems import Refused

from .client import ARROW, NPY, arrow, npy, read_arrow, refused
from .conftest import FRAME, NEW, X

RNG = np.random.default_rng(3)
PEOPLE = FRAME.assign(
    city=RNG.choice(["Oslo", "Rome", "Kiew"], len(FRAME)), kids=np.where(RNG.random(len(FRAME)) < 0.1, np.nan, FRAME["kids"])
)
ROWS = [
    {"age": 3.5, "income": 1, "kids": None, "city": "Rome"},
    {"age": 14, "income": 12.5, "kids": 14, "city": "Oslo"},
    {"city": "Atlantis", "kids": 6, "income": 5, "age": 7},
    {"city": None, "kids": 6, "income": 5, "age": 7},
]


@pytest.fixture
def people():
    numbers = make_pipeline(SimpleImputer(strategy="median"), RobustScaler())
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    made = ColumnTransformer([("numbers", numbers, ["age", "income", "kids"]), ("city", encoder, ["city"])])
    return make_pipeline(made, KMeans(3, random_state=0, device="cpu")).fit(PEOPLE)


def test_numbers_and_categories(serving, people):
    client = serving(people)
    expected = people.predict(pd.DataFrame(ROWS))
    found = client.predict(ROWS, distances=True)
    assert found["labels"] == expected.tolist()
    np.testing.assert_array_equal(found["distances"], people.transform(pd.DataFrame(ROWS)))
    listed = [[row["age"], row["income"], row["kids"], row["city"]] for row in ROWS]
    assert client.predict(listed)["labels"] == expected.tolist()
    alone = [client.predict([row])["labels"][0] for row in ROWS]
    assert alone == expected.tolist()
    together = client.together(*({"rows": [row]} for row in ROWS))
    assert [answer.json()["labels"][0] for answer in together] == expected.tolist()


def test_a_row_is_scored_alike_alone_and_in_company(serving, people):
    """Rows of other requests are in the same batch by chance: what becomes of a row must not depend on them."""
    client = serving(people)
    strange = [ROWS[0] | {"city": city} for city in (5, 2.5, 10**19)]
    together = client.predict([*ROWS, *strange], distances=True)["distances"]
    assert [client.predict([row], distances=True)["distances"][0] for row in [*ROWS, *strange]] == together


def test_float32_rows_are_scored_alike_alone_and_beside_float64(serving):
    """A scaler computes in the type of the rows."""
    client = serving(make_pipeline(RobustScaler(), KMeans(3, random_state=0, device="cpu")).fit(X))
    bodies = [npy(NEW[i : i + 5].astype(dtype)) for i in range(0, 40, 5) for dtype in (np.float32, np.float64)]
    alone = [client.bulk(body, NPY).content for body in bodies]
    before = client.metric("gpuclust_batch_rows_count")

    async def all_of_them(bodies):
        calls = (client.http.post("/v1/predict", content=body, headers={"content-type": NPY}) for body in bodies)
        return [answer.content for answer in await asyncio.gather(*calls)]

    assert client.run(all_of_them(bodies)) == alone
    assert client.run(all_of_them(bodies[::2])) == alone[::2]
    assert client.metric("gpuclust_batch_rows_count") - before < len(bodies) + 4  # those of one type share batches


@pytest.mark.parametrize("categorical", ["onehot", "frequency"])
def test_categories_that_are_numbers(serving, categorical):
    table = PEOPLE.assign(city=RNG.choice([10, 20, 30], len(PEOPLE))).astype({"city": "category"})
    model = make_pipeline(make_preprocessor(table, categorical=categorical), KMeans(3, random_state=0, device="cpu"))
    client = serving(model.fit(table))
    rows = table.astype({"city": object}).fillna({"kids": 1.0}).to_dict("records")
    assert client.predict(rows)["labels"] == model.predict(table.fillna({"kids": 1.0})).tolist()
    alone = [client.predict([row], distances=True)["distances"][0] for row in rows[:3]]
    assert alone == client.predict([*rows[:3], rows[0] | {"city": "Rome"}], distances=True)["distances"][:3]
    expected = model.predict(table).tolist()
    for each in (pa.table(table), pa.table(table.astype({"city": int})), pa.table(table.astype({"kids": "category"}))):
        assert read_arrow(client.bulk(arrow(each), ARROW))["labels"].to_pylist() == expected


def test_arrow_with_text(serving, people):
    client, table = serving(people), pa.Table.from_pylist(ROWS)
    encoded = table.set_column(table.schema.get_field_index("city"), "city", table["city"].dictionary_encode())
    views = pa.array([row["city"] for row in ROWS], pa.string_view())
    views = table.set_column(table.schema.get_field_index("city"), "city", views)
    for each in (table, encoded, views):
        found = read_arrow(client.bulk(arrow(each), ARROW))
        assert found["labels"].to_pylist() == people.predict(pd.DataFrame(ROWS)).tolist()


def test_arrow_columns_without_any_value(serving, people):
    """They have no type: missing numbers, or missing text."""
    client, table = serving(people), pa.Table.from_pylist(ROWS)
    for name in ("kids", "city"):
        empty = table.set_column(table.schema.get_field_index(name), name, pa.nulls(len(ROWS)))
        typed = table.set_column(table.schema.get_field_index(name), name, pa.nulls(len(ROWS), table[name].type))
        answers = [client.bulk(arrow(each), ARROW) for each in (empty, typed)]
        assert [answer.status_code for answer in answers] == [200, 200]
        assert answers[0].content == answers[1].content


def test_few_bytes_of_arrow_are_no_great_many_values(serving, people):
    client, n, long = serving(people), 3000, 400_000
    numbers = {name: np.zeros(n) for name in ("age", "income", "kids")}
    dictionary = pa.DictionaryArray.from_arrays(np.zeros(n, np.int8), pa.array(["x" * long]))
    for city in (dictionary, dictionary.cast(pa.dictionary(pa.int8(), pa.large_string()))):
        refused(client.bulk(arrow(pa.table(numbers | {"city": city})), ARROW), 422, "'city' repeats long text")
    nulls = pa.table({name: pa.nulls(n) for name in (*numbers, "city")})
    refused(client.bulk(arrow(nulls), ARROW), 422, "more values of type null than bytes")


def test_few_bytes_of_views_are_no_long_text(serving, people):
    pytest.importorskip("pyarrow", "19", reason="older versions make no views of buffers")
    client, n, long = serving(people), 3000, 400_000
    numbers = {name: np.zeros(n) for name in ("age", "income", "kids")}
    view = np.array([long, 0, 0, 0], np.int32).tobytes() * n
    views = pa.Array.from_buffers(pa.string_view(), n, [None, pa.py_buffer(view), pa.py_buffer(bytes(long))])
    refused(client.bulk(arrow(pa.table(numbers | {"city": views})), ARROW), 422, "'city' repeats long text")
    offset = views.slice(n - 2).cast(pa.string()).cast(pa.string_view())
    short = pa.chunked_array([offset, views.slice(0, 1), pa.array([None, "Rome", "Oslo"] * 999, pa.string_view())])
    assert client.bulk(arrow(pa.table(numbers | {"city": short})), ARROW).status_code == 200


def test_what_such_a_model_cannot_take(serving, people):
    client = serving(people)

    def send(**changed):
        return client.post("/v1/predict", json={"rows": [ROWS[0], ROWS[1] | changed]})

    refused(send(age="old"), 422, "Row 1: 'age' must be a number, not text ('old'). Send a number, or null where it is")
    refused(send(city=True), 422, "Row 1: 'city' must be text or a number")
    refused(send(city=["Rome"]), 422, "'city'")
    refused(send(age=1, town="Rome"), 422, "unknown 'town'")
    refused(client.bulk(npy(NEW), NPY), 422, "JSON or Arrow")
    table = pa.Table.from_pylist([ROWS[0] | {"city": 3.5}])
    assert client.bulk(arrow(table), ARROW).status_code in (200, 422)
    features = {each["name"]: each for each in client.get("/v1/model").json()["features"]}
    assert features["city"]["type"] == "category" and set(features["city"]["categories"]) == {"Oslo", "Rome", "Kiew"}
    assert features["kids"]["missing_allowed"] and features["age"]["type"] == "number"


ODD = ["x", "", True, None, 2, 1e300, [1, "2"], {"a": []}, "NaN"]  # what no column of numbers may hold


@pytest.mark.parametrize("named", [True, False], ids=["names", "none"])
@pytest.mark.parametrize("scaled", [True, False], ids=["scaled", "categories"])
def test_columns_that_the_model_drops_may_hold_anything(serving, people, named, scaled):
    """As they may in files."""
    table = PEOPLE.assign(note="x") if named else PEOPLE.assign(note="x").to_numpy(object)
    where = {name: name if named else at for at, name in enumerate([*PEOPLE.columns, "note"])}
    parts = [("numbers", RobustScaler(), [where["age"], where["income"]])]
    if not scaled:
        encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
        parts.append(("city", encoder, [where["city"]]))
    model = make_pipeline(ColumnTransformer(parts), KMeans(3, random_state=0, device="cpu")).fit(table)
    client, rows = serving(model), [ROWS[at % 2] | {"note": odd} for at, odd in enumerate(ODD)]
    rows = [row | {"kids": odd} for row, odd in zip(rows, ODD[::-1], strict=True)]
    listed = [[row[name] for name in where] for row in rows]
    given = pd.DataFrame(rows) if named else pd.DataFrame(rows)[list(where)].to_numpy(object)
    expected = model.transform(given).tolist()
    assert client.predict(listed, distances=True)["distances"] == expected
    assert client.predict(rows, distances=True)["distances"] == expected if named else True
    if named:
        left = ["age", "income", *([] if scaled else ["city"])]
        few = [{name: row[name] for name in left} for row in rows]
        assert client.predict([*few, rows[0]], distances=True)["distances"] == [*expected, expected[0]]
        sent = arrow(pa.Table.from_pylist(few).select(left[::-1]))
        assert read_arrow(client.bulk(sent, ARROW))["labels"].to_pylist() == model.predict(given).tolist()
        for name in left:
            lacking = [{other: value for other, value in few[0].items() if other != name} | {"kids": 1}]
            refused(client.post("/v1/predict", json={"rows": lacking}), 422, f"lacks '{name}'")
            refused(client.bulk(arrow(pa.Table.from_pylist(lacking)), ARROW), 422, f"lacks '{name}'")
        twice = pa.table([pa.array([1.0])] * 2 + [pa.array(["x"])] * (len(left) - 1), names=["age", *left])
        refused(client.bulk(arrow(twice), ARROW), 422, "a feature twice")
        schema = str(client.get("/openapi.json").json()["paths"]["/v1/predict"])
        assert f"'required': {left}" in schema
    numbers = [[1.0 if name in ("kids", "note") else row[name] for name in where] for row in rows]
    assert client.predict(numbers, distances=True)["distances"] == expected
    columns = {name: pa.array([row[name] for row in rows]) for name in ("age", "income", "city")}
    for odd in (pa.array(["x"] * 9), pa.array(["x"] * 9).dictionary_encode(), pa.array([[1], None, [2]] * 3), pa.nulls(9),
                pa.array([True, None, False] * 3), pa.array([10**17, None, -1] * 3, pa.timestamp("us", "No/Place"))):  # fmt: skip
        sent = pa.table({name: columns.get(name, odd) for name in where})
        assert read_arrow(client.bulk(arrow(sent), ARROW))["labels"].to_pylist() == model.predict(given).tolist()
    features = {each["name"]: each["type"] for each in client.get("/v1/model").json()["features"]}
    assert list(features.values()) == ["number", "number", "unused", "unused" if scaled else "category", "unused"]
    if scaled:
        sent = np.array([[row["age"], row["income"], np.inf, np.nan, 1] for row in rows])
        assert np.load(io.BytesIO(client.bulk(npy(sent), NPY).content))["labels"].tolist() == model.predict(given).tolist()


def test_a_column_that_is_dropped_late_must_hold_what_the_steps_before_take(serving):
    model = make_pipeline(
        SimpleImputer(), RobustScaler(), ColumnTransformer([("x", "passthrough", [0])]), KMeans(2, device="cpu")
    ).fit(X)
    client = serving(model)
    assert client.predict([[1, None, 2]])["labels"] == [model.predict([[1.0, np.nan, 2]])[0]]
    refused(client.post("/v1/predict", json={"rows": [[1, "x", 2]]}), 422, "'x1' must be a number, not text ('x')")


@pytest.mark.parametrize("sign", [None, np.nan], ids=["None", "NaN"])
def test_a_missing_category_is_what_it_was_in_training(serving, sign):
    """scikit-learn's encoders tell None from NaN; JSON and Arrow know null alone."""
    city = pd.Series(np.array([sign if at % 3 == 0 else "Oslo" for at in range(len(FRAME))], object), dtype=object)
    table = PEOPLE[["age"]].assign(city=city)
    for encoder in (OneHotEncoder(sparse_output=False), OrdinalEncoder(encoded_missing_value=7)):
        made = ColumnTransformer([("age", RobustScaler(), ["age"]), ("city", encoder, ["city"])])
        model = make_pipeline(made, KMeans(3, random_state=0, device="cpu")).fit(table)
        client, expected = serving(model), model.transform(table[:1]).tolist()
        row = {"age": float(table["age"][0]), "city": None}
        assert client.predict([row], distances=True)["distances"] == expected
        assert read_arrow(client.bulk(arrow(pa.Table.from_pylist([row])), ARROW))["labels"].to_pylist() == [
            model.predict(table[:1])[0]
        ]


def test_missing_numbers_where_something_fills_them(serving):
    given = np.where(RNG.random(X.shape) < 0.1, np.nan, X)
    model = make_pipeline(SimpleImputer(), RobustScaler(), KMeans(3, random_state=0, device="cpu")).fit(given)
    client = serving(model)
    new = np.where(RNG.random(NEW.shape) < 0.2, np.nan, NEW)
    rows = [[None if value != value else value for value in row] for row in new.tolist()]
    assert client.predict(rows)["labels"] == model.predict(new).tolist()
    assert np.load(io.BytesIO(client.bulk(npy(new), NPY).content))["labels"].tolist() == model.predict(new).tolist()
    table = pa.table({"a": pa.nulls(len(NEW)), "b": new[:, 1], "c": new[:, 2]})
    expected = model.predict(new * [np.nan, 1, 1]).tolist()
    assert read_arrow(client.bulk(arrow(table), ARROW))["labels"].to_pylist() == expected
    refused(client.bulk(npy(np.full((1, 3), np.inf)), NPY), 422, "infinite")


def test_missing_numbers_are_not_looked_at_one_by_one():
    """A small request may have a great many of them, and nothing else is answered meanwhile."""

    class Whole(tuple):
        def __getitem__(self, at):
            raise AssertionError

    Columns(Whole([Feature("a", None, True)] * 2), False).check_finite(np.array([[np.nan, 1.0], [np.nan, np.nan]]))
    for rows in ([[1, np.nan], [np.inf, 1], [np.nan, 1]], [[np.nan, 0], [np.nan, -np.inf]]):
        at = 1 if len(rows) == 2 else 0
        with pytest.raises(Refused, match=f"Row 1: '{'ab'[at]}' is missing"):
            Columns((Feature("a", None, at == 1), Feature("b", None, True)), False).check_finite(np.array(rows))


def test_names_are_not_compared_pair_by_pair():
    """Rows of a thousand features, of which one is left out, would take seconds."""
    compared = 0

    class Name(str):
        __hash__ = str.__hash__

        def __eq__(self, other):
            nonlocal compared
            compared += 1
            return str.__eq__(self, other)

    features = [Feature(Name(f"f{at}"), used=at > 0) for at in range(300)]
    Columns(tuple(features), True).check_names([Name(f"f{at}") for at in range(299, 0, -1)], "Row 0")
    assert 299 <= compared < 3000


def test_a_pipeline_learns(serving):
    model = make_pipeline(RobustScaler(), MiniBatchKMeans(3, random_state=0, device="cpu")).fit(X)
    client = serving(model, allow_updates=True)
    assert client.post("/v1/partial_fit", json={"rows": (X + 2).tolist()}).status_code == 200
    model[-1].partial_fit(model[:-1].transform(X + 2))
    assert client.predict(NEW.tolist(), distances=True)["distances"] == model.transform(NEW).tolist()
