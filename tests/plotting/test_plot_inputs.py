"""Whatever can be clustered can be drawn, and all kinds of it give the same rows."""

import sys

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp

import gpuclust
from gpuclust import KMeans
from gpuclust.plotting import CentersHeatmapDisplay, ClusterSizesDisplay, FeatureDisplay, ScatterDisplay
from gpuclust.plotting.rows import draw, opened, predicted

X = np.round(np.random.default_rng(0).normal(size=(500, 3)), 3)
NAMES = ["a", "b", "c"]


@pytest.fixture(scope="module")
def containers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    np.save(folder / "x.npy", X)
    pd.DataFrame(X, columns=NAMES).to_parquet(folder / "x.parquet", row_group_size=100)
    return {
        "frame": pd.DataFrame(X, columns=NAMES),
        "polars": pl.DataFrame(X, schema=NAMES),
        "npy": str(folder / "x.npy"),
        "parquet": folder / "x.parquet",
        "stream": gpuclust.stream([X[:130], X[130:]]),
        "sparse": sp.csr_matrix(X),
        "memmap": np.load(folder / "x.npy", mmap_mode="r"),
    }


@pytest.mark.parametrize("kind", ["frame", "polars", "npy", "parquet", "stream", "sparse", "memmap"])
def test_every_kind_of_rows_gives_the_same_sample(kind, containers):
    want, rows = draw(X, 60, 7), draw(containers[kind], 60, 7)
    found = rows.X.toarray() if sp.issparse(rows.X) else rows.X
    assert rows.n_rows == 500 and np.array_equal(found, X[rows.index])
    assert np.array_equal(rows.index, want.index) and len(np.unique(rows.index)) == 60
    assert rows.names == (NAMES if kind in ("frame", "polars", "parquet") else ["x0", "x1", "x2"])
    values, name = rows.column(1)
    assert np.array_equal(values, X[rows.index, 1]) and name == rows.names[1]


def test_all_rows_where_there_are_no_more():
    assert np.array_equal(draw(X, 500, 0).X, X) and draw(X, None, 0).note == ""
    assert draw(X, 499, 0).note == "a random sample of 499 of 500 rows"


@pytest.mark.parametrize("kind", ["frame", "parquet", "stream", "sparse"])
def test_displays_of_other_containers(kind, containers):
    from matplotlib.figure import Figure

    data = containers[kind]
    model = KMeans(3, random_state=0, device="cpu").fit(data)
    axes = Figure().subplots(4)
    assert ClusterSizesDisplay.from_estimator(model, data, ax=axes[0]).sizes.sum() == 500
    heat = CentersHeatmapDisplay.from_estimator(model, data, ax=axes[1])
    np.testing.assert_allclose(heat.values, (model.cluster_centers_ - X.mean(axis=0)) / X.std(axis=0), rtol=1e-9)
    assert len(ScatterDisplay.from_estimator(model, data, max_rows=50, ax=axes[2]).points) == 50
    assert len(FeatureDisplay.from_estimator(model, data, 2, max_rows=50, ax=axes[3]).values) == 50


def test_the_heat_map_does_not_depend_on_the_chunks(monkeypatch):
    from matplotlib.figure import Figure

    ax = Figure().subplots()
    labels = np.arange(500) % 3
    want = CentersHeatmapDisplay.from_predictions(X, labels, ax=ax).values
    monkeypatch.setattr("gpuclust.plotting.rows.CHUNK_ROWS", 7)
    assert len(list(opened(X)[0].chunks())) == 72
    np.testing.assert_allclose(CentersHeatmapDisplay.from_predictions(X, labels, ax=ax).values, want, rtol=1e-12)
    np.testing.assert_allclose(
        CentersHeatmapDisplay.from_predictions(sp.csr_matrix(X), labels, ax=ax).values, want, rtol=1e-9
    )


def test_names_do_not_get_in_the_way_of_a_prediction():
    frame = pd.DataFrame(X, columns=NAMES)
    model = KMeans(3, random_state=0, device="cpu").fit(frame)
    assert np.array_equal(predicted(model, X), model.labels_)
    assert np.array_equal(predicted(model, frame), model.labels_)


def test_without_matplotlib_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"A plot needs matplotlib: run pip install 'gpuclust\[analysis\]'"):
        ClusterSizesDisplay.from_predictions([0, 1])
