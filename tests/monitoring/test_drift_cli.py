"""`gpuclust drift` and `gpuclust refit`: exit codes, what is written, what is said."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from gpuclust import KMeans, load_model, save_model
from gpuclust.cli.app import app
from gpuclust.monitoring import compare, summarize
from gpuclust.persistence import read_model

pytestmark = pytest.mark.usefixtures("one_thread")
RNG = np.random.default_rng(8)


def rows(n, shift=0.0):
    spend = RNG.exponential(100, n)
    return pd.DataFrame({"age": RNG.normal(40 + shift, 10, n), "spend": spend, "kind": RNG.choice(["a", "b"], n)})


def call(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model of numbers, one of prepared columns, and files with and without drift."""
    path = tmp_path_factory.mktemp("drift")
    train = rows(1500)
    train.to_parquet(path / "train.parquet")
    for name, shift in (("same", 0), ("near", 2.5), ("moved", 9)):
        rows(600 if name != "near" else 6000, shift).to_csv(path / f"{name}.csv", index=False)
    common = "-k", 3, "--quiet"
    for arguments in (("plain", "--columns", "age,spend"), ("piped", "--scale", "robust", "--categorical", "onehot")):
        done = call("fit", path / "train.parquet", *common, "--out", path / arguments[0], *arguments[1:])
        assert done.exit_code == 0, done.output
    return path


@pytest.mark.parametrize("model", ["plain", "piped"])
@pytest.mark.parametrize(("data", "code"), [("same", 0), ("near", 10), ("moved", 20)])
def test_exit_codes_say_the_verdict(folder, model, data, code):
    done = call("drift", folder / model / "model.gpuclust", folder / f"{data}.csv")
    assert done.exit_code == code, done.output
    assert {0: "ok:", 10: "watch:", 20: "retrain:"}[code] in done.output
    assert code == 0 or "Column age" in done.output


def test_json_is_the_report_of_the_library(folder, tmp_path):
    file = folder / "piped" / "model.gpuclust"
    done = call("drift", file, folder / "moved.csv", "--json", "--out", tmp_path / "d.json", "--plot", tmp_path / "d.png")
    expected = compare(read_model(file), pd.read_csv(folder / "moved.csv")).as_dict()
    assert done.exit_code == 20 and json.loads(done.stdout) == expected
    assert json.loads((tmp_path / "d.json").read_text()) == expected
    assert (tmp_path / "d.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d.json", "d.png"]


def test_limits_are_options(folder):
    file, data = folder / "plain" / "model.gpuclust", folder / "moved.csv"
    lax = ["--psi", "5,9", "--distance", "0.9,1", "--far", "1,1", "--unseen", "1,1", "--missing", "1,1"]
    assert call("drift", file, data, *lax).exit_code == 0
    assert call("drift", file, data, "--alpha", "1e-300", "--quiet").exit_code == 0
    assert call("drift", file, folder / "near.csv", "--distance", "0.01,0.02", "--quiet").exit_code == 20


def refuse(code, message, *arguments):
    done = call(*arguments)
    assert done.exit_code == code and message in done.output, done.output + repr(done.exception)
    assert "Traceback" not in done.output and len(done.output.splitlines()) == 1


def test_what_cannot_be_done_keeps_its_exit_codes(folder, tmp_path):
    file, data = folder / "plain" / "model.gpuclust", folder / "same.csv"
    refuse(2, "two numbers with a comma", "drift", file, data, "--psi", "0.1")
    refuse(2, "the smaller one first", "drift", file, data, "--psi", "0.2,0.1")
    refuse(2, "must lie between 0 and 1", "drift", file, data, "--alpha", "0")
    refuse(2, "ends in none of .png", "drift", file, data, "--plot", "x.txt")
    refuse(3, "cannot read", "drift", file, tmp_path / "none.csv")
    refuse(3, "not a gpuclust model", "drift", data, data)
    (tmp_path / "less.csv").write_text("age\n1\n2\n")
    for model in ("plain", "piped"):
        refuse(3, "spend", "drift", folder / model / "model.gpuclust", tmp_path / "less.csv")
    refuse(5, "cannot write", "drift", file, data, "--quiet", "--out", data / "x.json")


def test_a_model_without_a_summary_says_how_to_get_one(folder, tmp_path):
    done = call("fit", folder / "train.parquet", "-k", 2, "--columns", "age", "--no-summary", "-q", "--out", tmp_path)
    assert done.exit_code == 0 and read_model(tmp_path / "model.gpuclust").summary is None
    refuse(3, "without --no-summary", "drift", tmp_path / "model.gpuclust", folder / "same.csv")
    X = pd.read_parquet(folder / "train.parquet", columns=["age"])
    save_model(load_model(tmp_path / "model.gpuclust"), tmp_path / "again", training_data=X)
    assert call("drift", tmp_path / "again", folder / "same.csv").exit_code == 0


def test_fit_stores_the_summary_of_the_files_rows(folder, tmp_path):
    train = pd.read_parquet(folder / "train.parquet").assign(w=lambda f: np.arange(len(f)) % 3)
    train.loc[::10, "age"] = np.nan
    train.to_parquet(tmp_path / "t.parquet")
    for options in (["--columns", "spend"], ["--scale", "standard", "--missing", "drop", "--categorical", "onehot"]):
        out = tmp_path / str(len(options))
        done = call("fit", tmp_path / "t.parquet", "-k", 2, "-q", "--weight", "w", "--out", out, *options)
        assert done.exit_code == 0, done.output
        file = read_model(out / "model.gpuclust")
        expected = summarize(file.model, train[list(file.model.feature_names_in_)], sample_weight=train["w"].to_numpy())
        for name in ("n_rows", "quantiles", "probabilities", "missing", "counts"):
            np.testing.assert_array_equal(getattr(file.summary, name), getattr(expected, name))
        assert (file.summary.missing.max() > 0) == (len(options) > 2)  # of all rows, those that were dropped included


@pytest.mark.parametrize("model", ["plain", "piped"])
def test_refit_writes_what_fit_writes_and_what_moved(folder, tmp_path, model):
    file, out = folder / model / "model.gpuclust", tmp_path / "out"
    done = call("refit", file, folder / "moved.csv", "--out", out)
    assert done.exit_code == 0, done.output
    names = ["centers.csv", "labels.parquet", "model.gpuclust", "refit.json", "summary.json"]
    assert sorted(path.name for path in out.iterdir()) == names
    moved, new = json.loads((out / "refit.json").read_text()), load_model(out / "model.gpuclust")
    frame = pd.read_csv(folder / "moved.csv")[list(new.feature_names_in_)]
    labels = pd.read_parquet(out / "labels.parquet")["label"]
    np.testing.assert_array_equal(labels, new.predict(frame))
    assert moved["n_changed"] == np.sum(labels != load_model(file).predict(frame))
    assert len(moved["clusters"]) == len(moved["moves"]) == 3 and "changed their cluster" in done.output
    assert "age" in pd.read_csv(out / "centers.csv").columns
    assert call("drift", out / "model.gpuclust", folder / "moved.csv", "-q").exit_code == 0


def test_refit_of_preprocessing_and_refusals(folder, tmp_path):
    file = folder / "piped" / "model.gpuclust"
    done = call("refit", file, folder / "moved.csv", "--out", tmp_path, "--refit-preprocessing", "-q", "--no-summary")
    assert done.exit_code == 0, done.output
    again = read_model(tmp_path / "model.gpuclust")
    assert again.summary is None
    refuse(3, "cannot read", "refit", file, tmp_path / "none.csv")
    pd.read_csv(folder / "moved.csv").assign(kind="new", age=np.nan).to_csv(tmp_path / "bad.csv", index=False)
    refuse(3, "bad.csv", "refit", folder / "plain" / "model.gpuclust", tmp_path / "bad.csv", "--out", tmp_path / "o")
    assert not (tmp_path / "o").exists()


def test_arrays_have_no_names(tmp_path):
    X = RNG.normal(size=(900, 3))
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", X[:300] + [3, 0, 0])
    save_model(KMeans(2, random_state=0, device="cpu").fit(X), tmp_path / "m", training_data=X)
    assert call("drift", tmp_path / "m", tmp_path / "x.npy", "-q").exit_code == 0
    assert call("drift", tmp_path / "m", tmp_path / "y.npy", "--memory", "1MB", "-q").exit_code == 20
