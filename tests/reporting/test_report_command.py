"""`gpuclust report` and `gpuclust fit --report`: what they write, and what is left where they fail."""

import html
import shlex
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from gpuclust.cli.app import app
from gpuclust.reporting import describing, judging, placing
from gpuclust.reporting.blocks import Figure

CENTERS = np.array([[0.0, 0], [9, 0], [0, 9]])
X = np.random.default_rng(2).permutation(np.concatenate([np.random.default_rng(1).normal(c, 1, (40, 2)) for c in CENTERS]))
FRAME = pd.DataFrame(X.round(3), columns=["<i>a</i>", "b"]).assign(w=np.arange(120) % 4 + 1.0)
RESULTS = {"labels.parquet", "centers.csv", "model.gpuclust", "summary.json"}


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for module in (judging, describing, placing):
        monkeypatch.setattr(
            module, "picture", lambda draw, size, alt, caption, **how: Figure("data:image/png;base64,", 1, 1, alt, caption)
        )
    FRAME.to_csv("rows.csv", index=False)
    FRAME.to_parquet("rows.parquet", row_group_size=50)
    np.save("rows.npy", np.ascontiguousarray(FRAME[["<i>a</i>", "b"]].to_numpy()))


@pytest.fixture
def call(monkeypatch):
    """Return a function that runs a command as a shell would."""

    def run(line):
        arguments = shlex.split(line)
        monkeypatch.setattr(sys, "argv", ["gpuclust", *arguments])
        return CliRunner().invoke(app, arguments)

    return run


def succeed(call, line):
    result = call(line)
    assert result.exit_code == 0, result.output + repr(result.exception)
    return result


def words(path):
    return html.unescape(Path(path).read_text(encoding="utf-8"))


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_fit_writes_a_report(call, suffix):
    line = f"fit rows.{suffix} -k 3 --columns '<i>a</i>,b' --out out --report page/report.html --quiet"
    succeed(call, line)
    found = words("page/report.html")
    assert {path.name for path in Path("out").iterdir()} == RESULTS
    assert shlex.join(["gpuclust", *shlex.split(line)]) in found
    assert "3 clusters of 120 rows" in found and "<i>a</i>" not in Path("page/report.html").read_text()


def test_fit_names_the_report_among_its_files(call):
    assert "report.html" in succeed(call, "fit rows.npy -k 3 --out out --report report.html").output
    assert not Path("out/report.html").exists()


def test_a_k_that_was_chosen_is_explained(call):
    succeed(call, "fit rows.npy -k auto --max-k 5 --out out --report report.html --quiet")
    assert "3 clusters were chosen:" in words("report.html")


def test_rows_with_weights_count_once_and_the_report_says_so(call):
    for suffix in ("csv", "parquet"):
        succeed(call, f"fit rows.{suffix} -k 3 --weight w --out out-{suffix} --report {suffix}.html --quiet")
        found = words(f"{suffix}.html")
        assert "The fit weighs each row by column 'w'; this report counts each row once." in found
        assert "3 clusters of 120 rows" in found


@pytest.mark.parametrize("data", ["rows.csv", "rows.parquet", "rows.npy"])
def test_report_of_a_model(call, data):
    succeed(call, "fit rows.csv -k 3 --columns '<i>a</i>,b' --out out --quiet")
    told = succeed(call, f"report out/model.gpuclust {data} --sample 60 --seed 5 --device cpu").output
    assert "120 rows in" in told and "written: rows-report.html" in told
    assert "a random sample of 60 of 120 rows; seed 5" in words("rows-report.html")
    assert "<i>a</i>" in words("rows-report.html")
    succeed(call, f"report out/model.gpuclust {data} --out other.html --quiet --memory 100MB")
    assert Path("other.html").exists()


def left():
    return {str(path) for path in Path().rglob("*")}


def test_unsuitable_data_leave_no_report(call):
    succeed(call, "fit rows.npy -k 3 --out out --quiet")
    before = left()
    bad = np.load("rows.npy")
    bad[7, 1] = np.nan
    np.save("rows.npy", bad)
    result = call("report out/model.gpuclust rows.npy")
    assert result.exit_code == 3 and "row 7" in result.output, result.output
    result = call("report out/model.gpuclust rows.parquet --columns w")
    assert result.exit_code == 3 and "has 1 columns, but the model has 2" in result.output
    result = call("report rows.npy rows.npy")
    assert result.exit_code == 3 and "Traceback" not in result.output
    assert left() == before


def test_a_place_that_cannot_be_written_to_is_found_before_the_fit(call, monkeypatch):
    monkeypatch.setattr("gpuclust.cli.fit.cluster", lambda *arguments: pytest.fail("fitted"))
    before = left()
    result = call("fit rows.npy -k 3 --out out --report rows.csv/report.html")
    assert result.exit_code == 5 and "cannot write to 'rows.csv'" in result.output
    assert left() == before


def test_what_is_missing_is_named_before_the_fit(call, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    before = left()
    result = call("fit rows.npy -k 3 --out out --report report.html")
    assert result.exit_code == 2 and "A report needs jinja2: run pip install 'gpuclust[analysis]'" in result.output
    assert left() == before


def test_a_report_that_fails_takes_no_result_with_it(call, monkeypatch):
    monkeypatch.setattr("gpuclust.reporting.report.Page.html", lambda page: 1 / 0)
    result = call("fit rows.npy -k 3 --out out --report page/report.html --quiet")
    assert isinstance(result.exception, ZeroDivisionError)
    assert {path.name for path in Path("out").iterdir()} == RESULTS
    assert not Path("page").exists()
