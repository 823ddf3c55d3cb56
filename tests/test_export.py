"""The command `gpuclust export`: a model file becomes an ONNX file, or nothing is written."""

import os

import numpy as np
import pandas as pd
import pytest
from sklearn.impute import KNNImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from typer.testing import CliRunner

from gpuclust import KMeans, KMedians, load_model, save_model
from gpuclust.cli.app import app
from gpuclust.persistence import check_onnx
from gpuclust.preprocessing import make_preprocessor

pytest.importorskip("onnxruntime")
RNG = np.random.default_rng(0)
FRAME = pd.DataFrame({"a": RNG.normal(size=90), "b": RNG.lognormal(size=90), "city": RNG.choice(["Rome", "Oslo"], 90)})


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def call(*arguments):
    return CliRunner().invoke(app, ["export", *map(str, arguments)])


def pipeline():
    model = make_pipeline(make_preprocessor(FRAME), KMeans(3, random_state=0)).fit(FRAME)
    save_model(model, "model.gpuclust", training_data=FRAME)
    FRAME.to_parquet("rows.parquet", index=False)
    FRAME.to_csv("rows.csv", index=False)
    return model


@pytest.mark.parametrize("check", [None, "rows.parquet", "rows.csv"])
def test_labels_are_compared_before_the_file_is_written(check):
    model = pipeline()
    result = call("model.gpuclust", "out/model.onnx", *([] if check is None else ["--check", check]))
    assert result.exit_code == 0, result.output
    rows = "10,000 random rows" if check is None else "90 rows"
    assert f"{rows} checked with onnxruntime: the labels of all" in result.stdout
    assert "written: out/model.onnx" in result.stdout
    assert check_onnx(model, "out/model.onnx", FRAME).passed
    assert os.listdir("out") == ["model.onnx"]


def test_columns_of_numbers_by_place():
    X = FRAME[["a", "b"]].to_numpy()
    save_model(KMedians(3, random_state=0).fit(X), "model.gpuclust")
    np.save("rows.npy", X[:, [1, 0]])
    result = call("model.gpuclust", "model.onnx", "--check", "rows.npy", "--columns", "1,0", "--quiet")
    assert (result.exit_code, result.output) == (0, "")
    assert check_onnx(load_model("model.gpuclust"), "model.onnx", X).passed


def test_a_graph_with_other_labels_is_not_written(monkeypatch):
    pipeline()
    from gpuclust.persistence import onnx

    right = onnx.onnx_bytes

    def wrong(model):
        model[-1].cluster_centers_ = model[-1].cluster_centers_[::-1].copy()
        data = right(model)
        model[-1].cluster_centers_ = model[-1].cluster_centers_[::-1].copy()
        return data

    monkeypatch.setattr(onnx, "onnx_bytes", wrong)
    result = call("model.gpuclust", "model.onnx")
    assert result.exit_code == 3
    assert "another label than the model does; nothing was written" in result.stderr
    assert not os.path.exists("model.onnx")


def test_ties_of_neighbors_are_told():
    """A row without its first value has some thirty neighbors at distance 0, of which one is taken."""
    rows = pd.DataFrame({"a": RNG.integers(0, 9, 300), "b": RNG.integers(0, 3, 300)}, dtype=float)
    rows.loc[:90, "a"] = np.nan
    rows.to_parquet("rows.parquet", index=False)
    rows.dropna().to_parquet("whole.parquet", index=False)
    model = make_pipeline(KNNImputer(n_neighbors=1), KMeans(8, random_state=0)).fit(rows.to_numpy())
    save_model(model, "model.gpuclust")
    result = call("model.gpuclust", "model.onnx", "--check", "rows.parquet")
    assert result.exit_code == 3
    assert "a KNNImputer takes any, the graph the first: with --check, give rows without missing" in result.stderr
    for check in ([], ["--check", "whole.parquet"]):
        result = call("model.gpuclust", "model.onnx", *check)
        assert result.exit_code == 0, result.output


def test_what_goes_wrong_is_one_sentence():
    pipeline()
    save_model(KMeans(2, random_state=0).fit(FRAME[["a", "b"]].to_numpy()), "two.gpuclust")
    odd = make_pipeline(FunctionTransformer(np.arcsinh), KMeans(2, random_state=0))
    save_model(odd.fit(FRAME[["a", "b"]].to_numpy()), "odd.gpuclust")
    np.save("three.npy", np.zeros((5, 3)))
    cases = [
        (("no.gpuclust", "model.onnx"), 3, "cannot read 'no.gpuclust'"),
        (("odd.gpuclust", "model.onnx"), 2, "arcsinh cannot be exported"),
        (("two.gpuclust", "model.onnx", "--check", "three.npy"), 3, "3 columns, but the model has 2"),
        (("two.gpuclust", "model.onnx", "--check", "no.npy"), 3, "cannot read"),
    ]
    for arguments, code, message in cases:
        result = call(*arguments)
        assert result.exit_code == code
        assert message in result.stderr
        assert result.stderr.count("\n") == 1
    assert not os.path.exists("model.onnx")


def test_the_line_that_installs_what_is_missing(monkeypatch):
    import sys

    pipeline()
    monkeypatch.setitem(sys.modules, "onnx", None)
    result = call("model.gpuclust", "model.onnx")
    assert result.exit_code == 2
    assert "pip install 'gpuclust[onnx]'" in result.stderr
