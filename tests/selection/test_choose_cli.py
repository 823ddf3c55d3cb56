"""`gpuclust choose-k` and `gpuclust fit -k auto`."""

import csv
import json
import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from command_line import refuse, succeed
from rich.console import Console
from sklearn.datasets import make_blobs

from gpuclust import KMedians, MiniBatchKMeans, load_model
from gpuclust.selection import choose_k

BLOBS = make_blobs(120, centers=[(0, 0), (9, 0), (0, 9)], cluster_std=0.6, random_state=0)[0].round(4)
FILES = ["choice.json", "criteria.csv", "criteria.png"]
QUICK = ("--max-k", 6, "--references", 2)


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("data.npy", BLOBS)


def choice(folder="out"):
    return json.loads(Path(folder, "choice.json").read_text(encoding="utf-8"))


def test_what_is_written_and_printed():
    result = succeed("choose-k", "data.npy", *QUICK, "--out", "out")
    assert sorted(os.listdir("out")) == FILES
    found = choose_k(BLOBS, range(2, 7), n_references=2, random_state=0)
    read = pd.read_csv("out/criteria.csv")
    pd.testing.assert_frame_equal(read.drop(columns="seconds"), found.table.drop(columns="seconds"), check_dtype=False)
    told = choice()
    assert told["recommended_k"] == 3 and told["choices"] == found.choices and told["reasons"] == found.reasons
    assert told["data"]["rows"] == 120 and told["model"]["class"] == "KMeans" and told["agreement"] == found.agreement
    assert [row["k"] for row in told["criteria"]] == [2, 3, 4, 5, 6]
    assert Path("out/criteria.png").read_bytes().startswith(b"\x89PNG")
    for text in ("recommended: k=3", found.reasons["silhouette"], "Davies-Bouldin", "criteria.png"):
        assert text in result.output
    assert "*" in next(line for line in result.output.splitlines() if line.startswith("│  3 ") or line.startswith("│ 3 "))


def test_the_default_directory_and_quiet():
    assert succeed("choose-k", "data.npy", *QUICK, "--quiet").output == ""
    assert sorted(os.listdir("data-choose-k")) == FILES


def test_options_reach_the_choice():
    succeed(
        "choose-k", "data.npy", "--max-k", 5, "--min-k", 1, "--estimator", "kmedians", "--criteria",
        "gap,davies-bouldin", "--references", 3, "--sample", 60, "--seed", 4, "--device", "cpu", "--init", "random",
        "--n-init", 2, "--out", "out",
    )  # fmt: skip
    found = choose_k(
        BLOBS, range(1, 6), estimator=KMedians(init="random", n_init=2), criteria=("gap", "davies_bouldin"),
        n_references=3, sample_size=60, random_state=4,
    )  # fmt: skip
    read = pd.read_csv("out/criteria.csv")
    pd.testing.assert_frame_equal(read.drop(columns="seconds"), found.table.drop(columns="seconds"), check_dtype=False)
    assert choice()["criteria"][0]["davies_bouldin"] is None  # JSON has no NaN
    assert choice()["model"]["parameters"]["device"] == "cpu"


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_tables_with_weights(suffix):
    weight = np.random.default_rng(0).integers(1, 4, len(BLOBS)).astype(float)
    frame = pd.DataFrame(BLOBS, columns=["a", "b"]).assign(w=weight)
    frame.to_csv("table.csv", index=False) if suffix == "csv" else frame.to_parquet("table.parquet")
    succeed("choose-k", f"table.{suffix}", *QUICK, "--weight", "w", "--out", "out")
    found = choose_k(BLOBS, range(2, 7), n_references=2, random_state=0, sample_weight=weight)
    with open("out/criteria.csv", newline="") as file:  # to the last digit, which not every pandas reads
        read = [float(row["inertia"]) for row in csv.DictReader(file)]
    np.testing.assert_array_equal(read, found.table["inertia"])
    assert choice()["data"]["columns"] == ["a", "b"] and choice()["data"]["weight"] == "w"


def test_fit_auto():
    result = succeed("fit", "data.npy", "-k", "auto", "--max-k", 6, "--out", "out")
    written = ["centers.csv", "criteria.csv", "criteria.png", "labels.parquet", "model.gpuclust", "summary.json"]
    assert sorted(os.listdir("out")) == written
    model, found = load_model("out/model.gpuclust"), choose_k(BLOBS, range(2, 7), random_state=0)
    assert model.n_clusters == 3
    np.testing.assert_array_equal(model.cluster_centers_, found.best_estimator_.cluster_centers_)
    told = json.loads(Path("out/summary.json").read_text(encoding="utf-8"))
    assert told["choice"]["recommended_k"] == 3 and told["choice"]["reasons"] == found.reasons
    assert len(told["clusters"]) == 3 and told["inertia"] == found.best_estimator_.inertia_
    assert "recommended: k=3" in result.output and "KMeans: inertia" in result.output


def test_fit_auto_of_mini_batches():
    succeed("fit", "data.npy", "-k", "auto", "--max-k", 4, "--method", "minibatch", "--quiet")
    assert isinstance(load_model("data-kauto/model.gpuclust"), MiniBatchKMeans)


def test_a_given_number_is_not_judged():
    succeed("fit", "data.npy", "-k", 3, "--out", "out")
    assert "criteria.csv" not in os.listdir("out")
    assert "choice" not in json.loads(Path("out/summary.json").read_text(encoding="utf-8"))


def test_few_rows():
    np.save("few.npy", BLOBS[:5])
    result = succeed("choose-k", "few.npy", "--references", 2, "--out", "out")
    assert "5 clusters at most are tried" in result.output and choice()["criteria"][-1]["k"] == 5
    np.save("one.npy", BLOBS[:1])
    refuse(3, "one.npy' has 1 row(s)", "choose-k", "one.npy")


def test_without_matplotlib(monkeypatch):
    from gpuclust.cli import choose as module

    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    succeed("choose-k", "data.npy", *QUICK, "--out", "out")
    assert sorted(os.listdir("out")) == ["choice.json", "criteria.csv"]


@pytest.mark.parametrize("name", ["pandas", "kneed"])
def test_missing_extras(name, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    refuse(2, f"needs {name}: run pip install 'gpuclust[analysis]'", "choose-k", "data.npy", *QUICK)


@pytest.mark.parametrize(
    ("code", "message", "arguments"),
    [
        (2, "--criteria 'x' holds", ["choose-k", "data.npy", "--criteria", "x"]),
        (2, "--criteria 'gap,gap' holds", ["choose-k", "data.npy", "--criteria", "gap,gap"]),
        (2, "--min-k 9 is above --max-k 3", ["choose-k", "data.npy", "--min-k", "9", "--max-k", "3"]),
        (2, "--n-init 'x'", ["choose-k", "data.npy", "--n-init", "x"]),
        (2, "--device 'tpu'", ["choose-k", "data.npy", "--device", "tpu"]),
        (2, "neither auto nor a whole number", ["fit", "data.npy", "-k", "0"]),
        (2, "neither auto nor a whole number", ["fit", "data.npy", "-k", "all"]),
        (3, "No such file", ["choose-k", "missing.npy"]),
    ],
)
def test_refusals(code, message, arguments):
    refuse(code, message, *arguments)


def test_nan_is_named():
    broken = BLOBS.copy()
    broken[7, 1] = np.nan
    np.save("broken.npy", broken)
    refuse(3, "NaN or nothing in column '1', row 7", "choose-k", "broken.npy")


def test_output_that_cannot_be_written():
    Path("file").touch()
    refuse(5, "cannot write", "choose-k", "data.npy", *QUICK, "--out", "file/sub")


def test_the_bar(monkeypatch):
    from gpuclust.cli import progress

    told = []
    monkeypatch.setattr(Console, "is_terminal", property(lambda self: True))
    from rich.progress import Progress

    monkeypatch.setattr(Progress, "update", lambda self, task, **given: told.append(given))
    with progress.choice_progress(True) as tell:
        tell("k=3", 1, 4)
    assert told == [{"total": 4, "completed": 1, "description": "k=3  1/4"}]
    with progress.choice_progress(False) as tell:
        assert tell is None
