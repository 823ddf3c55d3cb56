"""Rows and labels that live on a GPU are drawn and reported on like those on the host."""

import re

import numpy as np
import pytest
from laws.cases import blobs

from gpuclust import KMeans
from gpuclust.plotting import CentersHeatmapDisplay, ClusterSizesDisplay, ScatterDisplay
from gpuclust.reporting import describing, judging, placing, write_report
from gpuclust.reporting.blocks import Figure

from .runs import device_array

Canvas = pytest.importorskip("matplotlib.figure").Figure


def test_rows_on_a_device(cuda, rng):
    X, labels = blobs(rng, 300, 3, np.float32), np.arange(300, dtype=np.int32) % 4
    there, named, ax = device_array(cuda, X), device_array(cuda, labels), Canvas().subplots()
    host = ScatterDisplay.from_predictions(X, labels, features=(0, 2), max_rows=50, ax=ax)
    device = ScatterDisplay.from_predictions(there, named, features=(0, 2), max_rows=50, ax=ax)
    np.testing.assert_array_equal(host.points, device.points)
    np.testing.assert_array_equal(host.labels, device.labels)
    assert ClusterSizesDisplay.from_predictions(named, ax=ax).sizes.tolist() == [75] * 4
    values = [CentersHeatmapDisplay.from_predictions(*given, ax=ax).values for given in ((X, labels), (there, named))]
    np.testing.assert_array_equal(*values)


def test_a_report_of_rows_on_a_device(cuda, rng, tmp_path, monkeypatch):
    for package in ("pandas", "jinja2", "kneed"):
        pytest.importorskip(package)
    for module in (judging, describing, placing):
        monkeypatch.setattr(module, "picture", lambda draw, size, alt, caption, **how: Figure("", 1, 1, alt, caption))
    X = blobs(rng, 60, 3, np.float64)
    model = KMeans(3, init=X[:3], n_init=1, device="cpu").fit(X)
    for name, rows in (("host", X), ("device", device_array(cuda, X))):
        model.device = "cpu" if name == "host" else "cuda"
        write_report(tmp_path / f"{name}.html", model, rows, n_runs=2)
    host, device = (steady((tmp_path / f"{name}.html").read_text(encoding="utf-8")) for name in ("host", "device"))
    assert host == device


def steady(text):
    """The page without what differs from call to call, or names the device."""
    return re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d|<dt>Seconds of this report</dt><dd>[\d.]+|device=&#39;\w+", "", text)
