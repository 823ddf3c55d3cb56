"""`gpuclust fit --scale ... --categorical ...`: files with columns of all types, in memory and streamed."""

from __future__ import annotations

import csv
import errno
import json
import os
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sklearn
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.utils.fixes import parse_version
from typer.testing import CliRunner

from gpuclust import KMeans, load_model, save_model
from gpuclust.cli.app import app
from gpuclust.cli.frames import open_frames
from gpuclust.cli.kept import kept
from gpuclust.cli.tables import open_table
from gpuclust.config import config_context
from gpuclust.preprocessing import make_preprocessor

pytestmark = pytest.mark.usefixtures("one_thread")
N = 400
SMALL = "40KB"  # less than any of the files: they are streamed


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def df(rng):
    """Two clusters by age, and columns of all types."""
    old = np.arange(N) % 2 == 1
    df = pd.DataFrame(
        {
            "id": np.arange(N), "age": np.where(old, 60.0, 20.0) + rng.normal(size=N),
            "income": np.exp(rng.normal(7, 0.1, N)), "city": np.where(old, "Ulm", "Bonn"),
            "street": [f"s{i}" for i in rng.integers(0, 40, N)], "ok": rng.random(N) > 0.5,
            "w": rng.integers(1, 4, N), "day": pd.Timestamp("2024-05-01") + pd.to_timedelta(rng.integers(0, 9, N), "D"),
        }
    )  # fmt: skip
    df.loc[3, "age"], df.loc[8, "city"] = np.nan, None
    df.loc[[10, 11], "income"] = 1e6
    df.to_parquet("data.parquet", row_group_size=90, index=False)
    df.to_csv("data.csv", index=False)
    return df


def call(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def succeed(*arguments):
    result = call(*arguments)
    assert result.exit_code == 0, result.output + repr(result.exception)
    return result.output


def refuse(code, message, *arguments):
    result = call(*arguments)
    assert result.exit_code == code, result.output + repr(result.exception)
    assert message in result.output and "Traceback" not in result.output, result.output


def labels(path):
    return pq.read_table(path).column("label").to_numpy()


def centers(path):
    with open(path, newline="") as file:
        rows = list(csv.reader(file))
    return rows[0], np.array(rows[1:], float)


def test_centers_are_in_the_units_of_the_file(df):
    told = succeed("fit", "data.parquet", "-k", 2, "--scale", "robust", "--impute", "median", "--categorical", "onehot",
                   "--out", "out")  # fmt: skip
    for text in ("id: dropped, because it numbers the rows", "day: dropped", "street: frequencies", "centers, in the units"):
        assert text in told
    found = labels("out/labels.parquet")
    names, values = centers("out/centers.csv")
    expected = ["age", "income", "city=Bonn", "city=Ulm", "city=missing", "street frequency", "ok", "w"]
    assert names == ["cluster", *expected]
    filled = df.assign(age=df["age"].fillna(df["age"].median()))
    street = df["street"].map(df["street"].value_counts(normalize=True))
    for cluster in (0, 1):
        own = found == cluster
        part = [
            filled["age"][own].mean(), df["income"][own].mean(), (df["city"][own] == "Bonn").mean(),
            (df["city"][own] == "Ulm").mean(), df["city"][own].isna().mean(), street[own].mean(), df["ok"][own].mean(),
            df["w"][own].mean(),
        ]  # fmt: skip
        np.testing.assert_allclose(values[cluster, 1:], part, rtol=1e-9, atol=1e-12)
    summary = json.loads(Path("out/summary.json").read_text())
    assert summary["preparation"]["options"] == {"scale": "robust", "impute": "median", "categorical": "onehot"}
    assert summary["preparation"]["columns"] == ["age", "income", "city", "street", "ok", "w"]
    assert summary["centers"]["columns"] == expected
    np.testing.assert_array_equal(summary["centers"]["values"], values[:, 1:])
    assert summary["preparation"]["rows_dropped"] == 0


@pytest.mark.parametrize(
    "how", [["--scale", "standard"], ["--scale", "minmax", "--outliers", "winsorize", "--categorical", "frequency"],
            ["--missing", "drop", "--outliers", "drop", "--weight", "w"]], ids=lambda how: how[1]
)  # fmt: skip
def test_files_streamed_and_in_memory_give_the_same(df, how):
    succeed("fit", "data.parquet", "-k", 2, *how, "--out", "one", "-q")
    succeed("fit", "data.parquet", "-k", 2, *how, "--out", "two", "-q", "--memory", SMALL)
    succeed("fit", "data.csv", "-k", 2, *how, "--out", "three", "-q")
    for other in ("two", "three"):
        np.testing.assert_array_equal(labels("one/labels.parquet"), labels(f"{other}/labels.parquet"))
        assert centers("one/centers.csv")[0] == centers(f"{other}/centers.csv")[0]
        np.testing.assert_allclose(centers("one/centers.csv")[1], centers(f"{other}/centers.csv")[1], rtol=1e-12)
    kept = labels("one/labels.parquet") >= 0
    assert kept.all() == ("drop" not in how)
    for given, model in (("data.csv", "two"), ("data.parquet", "three")):
        if kept.all():
            succeed("predict", f"{model}/model.gpuclust", given, "--out", "new.parquet", "-q")
            np.testing.assert_array_equal(labels("new.parquet"), labels("one/labels.parquet"))
            succeed("predict", f"{model}/model.gpuclust", given, "--out", "new.parquet", "-q", "--memory", SMALL)
            np.testing.assert_array_equal(labels("new.parquet"), labels("one/labels.parquet"))
        else:
            refuse(3, "NaN or nothing in column 'age', row 3", "predict", f"{model}/model.gpuclust", given)


@pytest.mark.parametrize("weight", [[], ["--weight", "w"]], ids=["", "weights"])
@pytest.mark.parametrize(
    ("room", "told"),
    [("enough", "in a temporary file of"), ("little", "bytes of them, more than half"), ("none", "kept in a file (No space")],
)
def test_prepared_rows_that_are_streamed_are_prepared_once(df, monkeypatch, tmp_path, weight, room, told):
    """And kept in a file, where the disk has the room for that."""
    from gpuclust.preprocessing import RobustScaler

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("gpuclust.cli.kept.MOST", 0.0 if room == "little" else 0.5)
    if room == "none":
        monkeypatch.setattr("gpuclust.cli.kept._header", full)
    succeed("fit", "data.parquet", "-k", 2, "--scale", "robust", *weight, "--out", "one", "-q")
    seen, transform = [], RobustScaler.transform
    monkeypatch.setattr(RobustScaler, "transform", lambda *args: seen.append(len(args[1])) or transform(*args))
    assert told in succeed(
        "fit", "data.parquet", "-k", 2, "--scale", "robust", *weight, "--out", "two", "-q", "--memory", SMALL
    )
    assert (sum(seen) < 4 * N) == (room == "enough")  # once for the fit, and in the passes of the summary over the columns
    assert not list(tmp_path.glob("gpuclust-fit-*"))
    np.testing.assert_array_equal(labels("one/labels.parquet"), labels("two/labels.parquet"))
    np.testing.assert_allclose(centers("one/centers.csv")[1], centers("two/centers.csv")[1], rtol=1e-12)


def test_single_rows_with_weights_stay_single(df, monkeypatch, tmp_path):
    """And their weights double: a third is no float32."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    df[["age", "income"]].fillna(0).astype(np.float32).assign(w=df["w"] / 3).to_parquet("single.parquet")
    how = ["single.parquet", "-k", 2, "--scale", "robust", "--weight", "w", "-q"]
    succeed("fit", *how, "--out", "one")
    told = succeed("fit", *how, "--out", "two", "--memory", "20KB")
    assert f"temporary file of {N * (2 * 4 + 8):,} bytes" in told
    one, two = (json.loads(Path(name, "summary.json").read_text())["clusters"] for name in ("one", "two"))
    assert [each["weight"] for each in one] == pytest.approx([each["weight"] for each in two], rel=1e-15)
    one, two = (load_model(f"{name}/model.gpuclust")[-1].cluster_centers_ for name in ("one", "two"))
    assert one.dtype == two.dtype == np.float32
    np.testing.assert_array_equal(labels("one/labels.parquet"), labels("two/labels.parquet"))


@pytest.mark.skipif(os.name != "posix", reason="there are no such signals")
@pytest.mark.parametrize("number", ["SIGTERM", "SIGHUP"])
def test_signals_leave_no_prepared_rows_behind(rng, monkeypatch, tmp_path, number):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    np.save("rows.npy", rng.normal(size=(50, 2)))
    before = signal.signal(getattr(signal, number), signal.SIG_DFL)
    try:
        with pytest.raises(SystemExit), kept(open_table(Path("rows.npy"))):
            assert len(list(tmp_path.glob("gpuclust-fit-*/rows.npy"))) == 1
            signal.raise_signal(getattr(signal, number))
        assert signal.getsignal(getattr(signal, number)) == signal.SIG_DFL
    finally:
        signal.signal(getattr(signal, number), before)
    assert not list(tmp_path.glob("gpuclust-fit-*"))


def test_pieces_of_text_stay_within_the_budget():
    long = pd.DataFrame({"x": np.arange(5000.0), "text": [f"{i:0200d}" for i in range(5000)]})
    long.to_parquet("long.parquet", index=False)
    long.to_csv("long.csv", index=False)
    with config_context(memory=1_600_000):
        for name in ("long.parquet", "long.csv"):
            frames = list(open_frames(Path(name)).frames())
            assert max(frame.memory_usage(deep=True).sum() for frame in frames) <= 160_000
            assert sum(map(len, frames)) == 5000


def test_rows_that_are_dropped(df):
    told = succeed("fit", "data.parquet", "-k", 2, "--missing", "drop", "--outliers", "drop", "--out", "out")
    found = labels("out/labels.parquet")
    assert "2 of 400 rows miss a value" in told and "income" in told
    assert (found[[3, 8, 10, 11]] == -1).all()
    dropped = json.loads(Path("out/summary.json").read_text())["preparation"]["rows_dropped"]
    assert dropped == (found == -1).sum() < 40
    own = found == found[0]
    np.testing.assert_allclose(centers("out/centers.csv")[1][found[0], 1], df["age"][own].mean())


def test_the_model_is_a_pipeline_for_frames(df):
    succeed("fit", "data.csv", "-k", 2, "--impute", "knn", "--out", "out", "-q")
    model = load_model("out/model.gpuclust")
    np.testing.assert_array_equal(model.predict(df), labels("out/labels.parquet"))
    df[["city", "street", "w", "age", "income", "ok"]].to_csv("other.csv", index=False)
    succeed("predict", "out/model.gpuclust", "other.csv", "--out", "new.parquet", "-q")
    np.testing.assert_array_equal(labels("new.parquet"), labels("out/labels.parquet"))
    df.drop(columns="age").to_csv("less.csv", index=False)
    refuse(3, "the model was fitted on age, income", "predict", "out/model.gpuclust", "less.csv")
    df.assign(age="old").to_csv("text.csv", index=False)
    told = "column 'age' must hold numbers, but has the text 'old'. Replace such values"
    refuse(3, told, "predict", "out/model.gpuclust", "text.csv")
    refuse(3, "KNNImputer needs all rows in memory", "fit", "data.parquet", "-k", 2, "--impute", "knn", "--memory", SMALL)


def test_digits_as_categories_in_a_csv(rng):
    pd.DataFrame({"a": rng.normal(size=60), "code": np.repeat(["1", "2", "x"], 20)}).to_csv("train.csv", index=False)
    succeed("fit", "train.csv", "-k", 3, "--scale", "standard", "--out", "out", "-q")
    pd.read_csv("train.csv", dtype={"code": str})[:40].to_csv("new.csv", index=False)
    succeed("predict", "out/model.gpuclust", "new.csv", "--out", "new.parquet", "-q")
    np.testing.assert_array_equal(labels("new.parquet"), labels("out/labels.parquet")[:40])


def test_arrays_and_a_chosen_k(rng):
    X = np.concatenate([rng.normal(size=(20, 3)), rng.normal(9, 1, (20, 3))]).astype(np.float32)
    X[5, 1] = np.nan
    np.save("data.npy", X)
    told = succeed("fit", "data.npy", "-k", "auto", "--max-k", 2, "--impute", "mean", "--out", "out")
    assert "0: numbers, because it is a number" in told
    succeed("predict", "out/model.gpuclust", "data.npy", "--out", "new.parquet", "-q")
    np.testing.assert_array_equal(labels("new.parquet"), labels("out/labels.parquet"))


@pytest.mark.parametrize("memory", [[], ["--memory", SMALL]], ids=["held", "streamed"])
def test_reports_are_in_the_units_of_the_file(df, memory, monkeypatch):
    pages = []

    def written(estimator, X, **how):
        blocks = [X] if isinstance(X, np.ndarray) else [x.copy() for x, w in X.open().blocks(50) if w is None]
        pages.append((estimator, np.concatenate(blocks), how))
        return b"x"

    monkeypatch.setattr("gpuclust.reporting.report.report_bytes", written)
    succeed("fit", "data.parquet", "-k", 2, "--scale", "robust", "--weight", "w", "--out", "out", "--report", "a.html",
            "-q", *memory)  # fmt: skip
    succeed("report", "out/model.gpuclust", "data.parquet", "--out", "page.html", "-q", *memory)
    for estimator, rows, how in pages:
        assert how["feature_names"] == ["age", "income", "ok", "city=Bonn", "city=Ulm", "city=missing", "street frequency"]
        np.testing.assert_array_equal(estimator.predict(rows), labels("out/labels.parquet"))
        np.testing.assert_allclose(how["scaler"].inverse_transform(rows)[:, 0], df["age"].fillna(df["age"].median()))


def test_what_cannot_be_prepared(df):
    refuse(3, "let fit encode the others: --scale robust --impute median --categorical onehot", "fit", "data.parquet",
           "-k", 2)  # fmt: skip
    refuse(3, "let fit encode the others", "fit", "data.csv", "-k", 2)
    refuse(2, "is not one of", "fit", "data.parquet", "-k", 2, "--scale", "loud")
    refuse(2, "has no column 'nothing'", "fit", "data.parquet", "-k", 2, "--scale", "robust", "--columns", "nothing")
    refuse(3, "No column is left", "fit", "data.parquet", "-k", 2, "--scale", "robust", "--columns", "day,id")
    refuse(3, "weights in column 'city' are not numbers", "fit", "data.parquet", "-k", 2, "--scale", "robust",
           "--weight", "city")  # fmt: skip
    refuse(3, "cannot read 'none.csv'", "fit", "none.csv", "-k", 2, "--scale", "robust")
    Path("broken.parquet").write_bytes(b"no")
    refuse(3, "truncated, damaged", "fit", "broken.parquet", "-k", 2, "--scale", "robust")
    refuse(3, "has 400 rows, fewer than 500", "fit", "data.parquet", "-k", 500, "--scale", "robust")
    df.assign(age=np.nan, income=np.arange(N) % 3).to_parquet("holes.parquet")
    succeed("fit", "holes.parquet", "-k", 2, "--scale", "robust", "--columns", "age,income", "--out", "holes", "-q")
    refuse(3, "NaN or nothing in column 'age', row 3", "fit", "data.parquet", "-k", 2, "--impute", "none")


@pytest.mark.parametrize("columns", [(), ("--columns", "number,place")], ids=["by name", "renamed"])
def test_text_of_digits_is_text_to_a_model_that_was_fitted_on_text(columns):
    """A .csv does not say which "007" is a number."""
    frame = pd.DataFrame({"age": [1.0, 2.0, 50.0, 51.0], "code": ["007", "008", "7", None]}, dtype=object)
    frame = frame.astype({"age": float})
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    made = ColumnTransformer([("age", "passthrough", ["age"]), ("code", encoder, ["code"])])
    model = make_pipeline(made, KMeans(4, init=made.fit_transform(frame), n_init=1, device="cpu")).fit(frame)
    save_model(model, "model.gpuclust")
    names = {"age": "number", "code": "place"} if columns else {}
    shuffled = frame.iloc[[1, 2, 3, 0]].rename(columns=names)
    shuffled.to_csv("new.csv", index=False)
    shuffled.to_parquet("new.parquet", index=False)
    for data in ("new.csv", "new.parquet"):
        succeed("predict", "model.gpuclust", data, *columns, "--out", "new-labels.parquet", "-q")
        np.testing.assert_array_equal(labels("new-labels.parquet"), [1, 2, 3, 0])


@pytest.mark.skipif(parse_version(sklearn.__version__) < parse_version("1.9"), reason="its ColumnTransformer takes pandas only")
@pytest.mark.parametrize("memory", [[], ["--memory", "50KB"]], ids=["held", "streamed"])
@pytest.mark.parametrize("kind", ["whole", "missing", "fractions", "ordered"])
def test_numbers_that_are_categories_are_such_in_every_container(rng, kind, memory):
    """Parquet has them as numbers; frames, tables and what was written of them are to give the same clusters."""
    values, n = {"fractions": [1.5, 2.5, 30.0]}.get(kind, [30, 1, 2]), 600
    codes = rng.integers(0 - (kind == "missing"), 3, n)
    key = pd.Categorical.from_codes(codes, values, ordered=kind == "ordered")
    frame = pd.DataFrame({"x": rng.normal(size=n), "key": key, "text": pd.Categorical.from_codes(codes, ["p", "q", "r"])})
    frame.to_parquet("data.parquet", row_group_size=170, index=False)
    pq.write_table(pa.table(frame).replace_schema_metadata(None), "bare.parquet", row_group_size=100)
    tables = [frame, pa.table(frame), pq.read_table("data.parquet")]
    made = [make_preprocessor(each, scale="standard").fit(each) for each in tables]
    assert {"onehot": ["key", "text"]}.items() <= {name: names for name, _, names in made[2]["columns"].transformers}.items()
    expected = made[0].transform(frame)
    assert expected.shape[1] == 1 + 6 + 2 * (kind == "missing")
    for preprocessor in made:
        for each in tables:
            np.testing.assert_array_equal(preprocessor.transform(each), expected)
    for name in ("data", "bare"):
        succeed("fit", f"{name}.parquet", "-k", 3, "--scale", "standard", "--out", name, "-q", *memory)
        model = load_model(f"{name}/model.gpuclust")
        for each in tables:
            np.testing.assert_allclose(model[:-1].transform(each), expected, rtol=1e-12)
            np.testing.assert_array_equal(model.predict(each), labels(f"{name}/labels.parquet"))
        for data in ("data.parquet", "bare.parquet"):
            succeed("predict", f"{name}/model.gpuclust", data, "--out", "new.parquet", "-q", *memory)
            np.testing.assert_array_equal(labels("new.parquet"), labels(f"{name}/labels.parquet"))
        assert any(column.startswith(f"key={values[1]}") for column in centers(f"{name}/centers.csv")[0])


def test_a_model_of_numbers_takes_them_as_categories_too(rng):
    frame = pd.DataFrame({"x": rng.normal(size=60), "key": rng.integers(0, 5, 60)})
    frame.to_parquet("train.parquet", index=False)
    frame.astype({"key": "category"}).to_parquet("new.parquet", index=False)
    succeed("fit", "train.parquet", "-k", 3, "--scale", "robust", "--out", "out", "-q")
    succeed("predict", "out/model.gpuclust", "new.parquet", "--out", "labels.parquet", "-q")
    np.testing.assert_array_equal(labels("labels.parquet"), labels("out/labels.parquet"))
    model = load_model("out/model.gpuclust")
    np.testing.assert_array_equal(model.predict(frame.astype({"key": "category"})), labels("out/labels.parquet"))
    succeed("drift", "out/model.gpuclust", "new.parquet", "-q")
    succeed("refit", "out/model.gpuclust", "new.parquet", "--out", "again", "-q")
    np.testing.assert_array_equal(labels("again/labels.parquet"), labels("out/labels.parquet"))
