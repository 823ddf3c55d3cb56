"""The worked examples run, leave pictures and tables behind, and their tables say what they are there to show.

Each runs in this process, once, as a script does: its outputs are all that is looked at.
"""

import re
import runpy
import sys
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image

EXAMPLES = Path(__file__).parent.parent / "examples"
NAMES = ["anomalies", "colours", "customers", "documents", "locations", "workers"]
PARTS = {"gpuclust", "gpuclust.metrics", "gpuclust.plotting", "gpuclust.profiling", "gpuclust.selection"}


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Yield a function that runs an example and returns its table and the folder of its outputs."""

    def run(name):
        folder = tmp_path / "made" / "by it"
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", [f"{name}.py", "--out", str(folder)])
        matplotlib.use("Agg")
        runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
        assert not plt.get_fignums()
        assert [path.name for path in tmp_path.iterdir()] == ["made"]  # nothing outside the folder that was asked for
        table = pd.read_csv(folder / f"{name}.csv", index_col=0)
        printed = capsys.readouterr().out
        assert all(str(label) in printed for label in table.index) and str(folder) in printed
        picture = np.asarray(Image.open(folder / f"{name}.png").convert("L"))
        assert min(picture.shape) > 300 and len(np.unique(picture)) > 50  # neither a stamp nor blank
        return table, folder

    yield run
    plt.close("all")


def test_every_example_is_tested():
    assert sorted(path.stem for path in EXAMPLES.glob("*.py")) == NAMES
    assert {f"test_{name}" for name in NAMES} <= set(globals())


@pytest.mark.parametrize("name", NAMES)
def test_examples_are_short_and_use_public_names_only(name):
    text = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
    assert 60 <= len(text.splitlines()) <= 130
    assert f"python examples/{name}.py --out FOLDER" in text.split('"""')[1]
    imported = re.findall(r"^(?:from|import) (gpuclust\S*)", text, re.MULTILINE)
    assert imported and set(imported) <= PARTS


def test_anomalies(run):
    table, _folder = run("anomalies")
    recall, precision, alarms = table.loc[
        ["all faults (recall)", "flags that are faults (precision)", "false alarms a day"], "K-Medians"
    ]
    # As many flags at random would have the faults' share of the minutes, a tenth, as precision and less as recall.
    assert 0.5 < recall < 1 and precision > 0.8 and alarms < 20
    assert recall > 3 * table.loc["all faults (recall)", "limits by sensor"]
    assert table.loc["flow of half load at full load", "K-Medians"] > 0.9
    assert table.loc["frozen sensor", "K-Medians"] < 0.1  # what the text says that distances cannot see


def test_colours(run):
    table, folder = run("colours")
    photo = np.asarray(Image.open(folder / "photograph.png")).astype(float)
    assert photo.shape == (427, 640, 3) and table.loc["photograph", "mean_error"] == 0
    for name in ("K-Means", "K-Medians"):
        path = folder / f"{name.lower()}.png"
        shown = np.asarray(Image.open(path).convert("RGB"))
        assert len(np.unique(shown.reshape(-1, 3), axis=0)) <= 16
        away = np.abs(photo - shown)
        assert table.loc[name, ["red", "green", "blue"]].tolist() == pytest.approx(away.mean(axis=(0, 1)).tolist())
        assert table.loc[name, "png_kB"] == path.stat().st_size / 1000 < table.loc["photograph", "png_kB"] / 4
    assert table.loc["K-Medians", "mean_error"] < table.loc["K-Means", "mean_error"] < 10
    assert table.loc["K-Means", "rms_error"] < table.loc["K-Medians", "rms_error"]


def test_customers(run):
    table, folder = run("customers")
    found = table.set_index("feature", append=True)
    rows = found["rows"].groupby("cluster").first()
    assert rows.sum() == 4000 and len(rows) == 5
    spend, months = (found["median"].xs(name, level="feature") for name in ("spend_eur_per_year", "tenure_months"))
    assert spend.max() > 800 and spend.min() < 100 and months.min() < 6  # units of the table, not of the scaled one
    kinds = pd.read_csv(folder / "customers_methods.csv", index_col=0)["finds the kinds (ARI)"]
    assert kinds["K-Means"] > 0.8 and kinds["K-Medians"] > 0.8 and kinds["K-Means, not scaled"] < 0.5


def test_documents(run):
    table, folder = run("documents")
    scores = pd.read_csv(folder / "documents_scores.csv", index_col=0)
    assert table["documents"].sum() > 1000 and len(table) == 20
    assert scores.loc["clusters", "ARI"] > 0.15 > abs(scores.loc["the same, shuffled", "ARI"])
    assert scores.loc["clusters", "NMI"] > 0.4 and scores.loc["clusters", "silhouette (cosine)"] > 0.04
    assert any("spline" in words for words in table["heaviest words"])


def test_locations(run):
    table, _folder = run("locations")
    mean = table["mean_km"]
    assert mean["medians (K-Medians)"] < mean["means (K-Means)"] < 0.7 * mean["crossings drawn at random"]
    assert (table["median_km"] < table["p95_km"]).all() and (table["p95_km"] < table["farthest_km"]).all()


def test_workers(run, monkeypatch):
    distributed = pytest.importorskip("distributed")
    # Here the two workers are threads: what processes change is tested in tests/dask, and they take seconds to start.
    local = distributed.LocalCluster
    monkeypatch.setattr(distributed, "LocalCluster", lambda **options: local(processes=False, **options))
    table, _folder = run("workers")
    assert table["same_as_on_one_machine"].all() and len(table) == 4
    assert table["rows"].sum() > 1200 and table["rows"].min() > 100
