"""Rows spread over several GPUs: pretended ones, and one real card twice."""

from __future__ import annotations

import sys
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from laws.cases import WEIGHTS, blobs
from laws.runs import assert_same_bits, differences, fit, streams, write_parquet
from sklearn.base import clone

import gpuclust
from gpuclust import (
    DeviceFallbackWarning,
    DeviceMemoryError,
    DeviceUnavailableError,
    KMeans,
    KMedians,
    MiniBatchKMeans,
    MiniBatchKMedians,
    metrics,
)
from gpuclust.backends import select
from gpuclust.errors import NotFiniteError
from gpuclust.validation import Reader, open_source

from . import fakecupy
from .conftest import fresh_choice
from .order import Order
from .runs import device_array


@pytest.fixture
def devices(request, cuda):
    """The names of three pretended devices, whose streams are watched, or of two real ones, or of one twice."""
    if cuda.__version__ != fakecupy.VERSION:
        return ["cuda:0", "cuda:0" if cuda.cuda.runtime.getDeviceCount() == 1 else "cuda:1"]
    request.getfixturevalue("three")
    return ["cuda:0", "cuda:1", "cuda:2"]


@pytest.fixture
def three(machine):
    """The machine with three devices, whose streams are watched; other tests try the kernels' schedules."""
    machine.devices, machine.order, machine.schedule = 3, Order(), "forward"
    return machine


@pytest.mark.parametrize("weights", ["none", "wide"])
@pytest.mark.parametrize("estimator", [KMeans, KMedians])
def test_same_bits_as_one_device(devices, rng, estimator, weights):
    dtype = np.float32 if weights == "none" else np.float64
    X, weight = blobs(rng, 301, 5, dtype), WEIGHTS[weights](rng, 301)
    how = {"init": X[:11], "max_iter": 4, "tol": 0, "estimator": estimator}
    ours = fit(X, weight, device=devices, **how)
    assert_same_bits(ours, fit(X, weight, **how))
    assert ours.device_ == ",".join(devices)
    assert_same_bits(fit(X, weight, device=devices[::-1], chunk_size=97, **how), ours)


@pytest.mark.parametrize("n", [1, 2, 4])
@pytest.mark.parametrize("estimator", [KMeans, KMedians, MiniBatchKMeans, MiniBatchKMedians])
def test_hardly_more_rows_than_devices(devices, rng, estimator, n):
    X = rng.normal(size=(n, 2)).astype(np.float32)
    how = {"init": X[: n - 1 or 1], "estimator": estimator, "max_iter": 2}
    ours, theirs = (fit(X, device=where, **how) for where in (devices, "cpu"))
    for name in ("labels_", "cluster_centers_", "inertia_", "n_iter_"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name), err_msg=name)


@pytest.mark.parametrize(
    ("estimator", "init"),
    [(KMeans, "k-means++"), (KMeans, "k-means||"), (KMeans, "random"), (KMedians, "k-means++"), (KMedians, "k-means||")],
)
def test_seeding_does_not_see_devices(devices, rng, estimator, init):
    X, weight = blobs(rng, 300, 3, np.float32), WEIGHTS["integer"](rng, 300)
    how = {"n_clusters": 5, "init": init, "n_init": 2 if init == "random" else 1, "max_iter": 2, "estimator": estimator}
    assert_same_bits(fit(X, weight, device=devices[::-1], **how), fit(X, weight, device="cuda", **how))


@pytest.mark.parametrize("estimator", [KMeans, KMedians])
def test_empty_clusters_are_given_the_farthest_rows(devices, rng, estimator):
    X = blobs(rng, 100, 2, np.float32)
    far = np.vstack([X[:3], X[:3] + 1e4, X[:3] - 1e4]).astype(np.float32)
    how = {"init": far, "max_iter": 3, "estimator": estimator}
    assert_same_bits(fit(X, device=devices, **how), fit(X, **how))


@pytest.mark.parametrize("Class", [MiniBatchKMeans, MiniBatchKMedians])
def test_mini_batches(devices, rng, Class, tmp_path):
    """Of rows in memory, of those that are drawn from a file, and of those that are read in order."""
    X, weight = blobs(rng, 300, 3, np.float32), WEIGHTS["wide"](rng, 300)
    np.save(tmp_path / "x.npy", X)
    write_parquet(tmp_path / "x.parquet", X)
    how = {"init": X[:6], "batch_size": 100, "random_state": 3, "max_iter": 1}
    for data in (X, tmp_path / "x.npy", tmp_path / "x.parquet"):
        ours, theirs = (Class(6, device=where, **how).fit(data, sample_weight=weight) for where in (devices, "cpu"))
        if data is X:
            ours.partial_fit(X[:150])
            theirs.partial_fit(X[:150])
        for name in ("cluster_centers_", "labels_", "inertia_", "n_steps_"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name), err_msg=name)


@pytest.mark.parametrize("metric", [KMeans, KMedians])
def test_results_live_where_the_data_do(cuda, devices, rng, metric):
    X, weight = blobs(rng, 90, 3, np.float64), rng.integers(0, 3, 90).astype(float)
    there, kind = device_array(cuda, X), cuda.ndarray
    how = {"init": X[:4], "estimator": metric, "max_iter": 2}
    reference = fit(X, weight, **how)
    ours = fit(there, device_array(cuda, weight), device=devices, **how)
    host = fit(X, weight, device=devices, **how)
    assert_same_bits(host, reference)
    for found, expected in (
        (ours.labels_, reference.labels_),
        (ours.predict(there), reference.labels_),
        (ours.transform(there), reference.transform(X)),
    ):
        assert type(found) is kind
        np.testing.assert_array_equal(found.get(), expected)
    assert type(host.predict(X)) is type(host.transform(X)) is np.ndarray
    np.testing.assert_array_equal(host.transform(X), reference.transform(X))
    assert ours.score(there) == host.score(X) == reference.score(X)


@pytest.mark.parametrize("estimator", [KMeans, KMedians])
def test_streams(devices, rng, estimator, tmp_path):
    X, weight = blobs(rng, 300, 3, np.float32), WEIGHTS["wide"](rng, 300)
    how = {"init": X[:7], "max_iter": 2, "estimator": estimator}
    reference = fit(X, weight, **how)
    for name, data, w in streams(X, weight, tmp_path, rng):
        in_order = name in ("list", "function")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeviceFallbackWarning)
            model = fit(data, w, chunk_size=67, device=devices, **how)
        assert differences(model, reference) == [], name
        assert model.device_ == ("cuda:0" if in_order else ",".join(devices)), name
        if not in_order:
            np.testing.assert_array_equal(model.predict(data), reference.predict(X))


def test_a_stream_that_can_only_be_read_in_order_is_told_once(three, rng):
    from gpuclust import validation

    validation._tell_alone.cache_clear()
    X = blobs(rng, 60, 3, np.float32)
    data = gpuclust.stream([X[:20], X[20:]])
    with pytest.warns(DeviceFallbackWarning, match=r"runs on cuda:0. Pass a .npy or .parquet file"):
        fit(data, init=X[:2], device="cuda:all")
    assert fit(data, init=X[:2], device="cuda:all").device_ == "cuda:0"


@pytest.mark.parametrize(("suffix", "init"), [("npy", "k-means++"), ("parquet", "k-means||")])
def test_seeding_of_streams_and_a_budget(devices, rng, tmp_path, suffix, init):
    """Of which each device has its share."""
    X, path = blobs(rng, 1100, 4, np.float64), tmp_path / f"x.{suffix}"
    np.save(path, X) if suffix == "npy" else write_parquet(path, X, group=300)
    how = {"n_clusters": 3, "init": init, "max_iter": 1}
    with gpuclust.config_context(memory="100KB", device=devices):
        assert_same_bits(fit(path, device="auto", **how), fit(X, device="cuda", **how))


def test_functions(devices, rng):
    X = blobs(rng, 90, 3, np.float32)
    ours, theirs = (gpuclust.kmeans_plusplus(X, 5, random_state=1, device=where) for where in (devices, "cuda"))
    np.testing.assert_array_equal(ours[1], theirs[1])
    ours, theirs = (gpuclust.k_means(X, 5, init=X[:5], device=where) for where in (devices, "cpu"))
    np.testing.assert_array_equal(ours[1], theirs[1])
    assert ours[2] == theirs[2]


def test_metrics(devices, rng):
    X, labels = blobs(rng, 90, 3, np.float64), rng.integers(0, 4, 90)
    centers = X[:4]
    for metric in ("euclidean", "sqeuclidean", "manhattan", "cosine"):
        for score in (metrics.silhouette_samples, metrics.simplified_silhouette_samples):
            given = labels if score is metrics.silhouette_samples else centers
            ours, theirs = (score(X, given, metric=metric, device=where) for where in (devices, "cuda"))
            np.testing.assert_array_equal(ours, theirs, err_msg=metric)
    for score in (metrics.davies_bouldin_score, metrics.calinski_harabasz_score):
        for metric in ("euclidean", "manhattan"):
            ours, theirs = (score(X, labels, metric=metric, device=where) for where in (devices, "cpu"))
            assert ours == pytest.approx(theirs, rel=1e-12)


def test_weights_of_replicates(three, rng):
    """The rows stay where they are."""
    X, weight, more = blobs(rng, 50, 3, np.float32), rng.uniform(1, 2, 50), rng.integers(0, 3, 50).astype(float)
    for given in (None, weight):
        source = open_source(Reader(), X, given, "cuda:all", reset=True)
        expected = more if given is None else weight * more
        np.testing.assert_array_equal(source.reweighted(more).host_weight, expected)
        np.testing.assert_array_equal(source.host_rows, X)
        assert (source.host_weight is None) == (given is None)
    three.h2d_bytes = 0
    source.reweighted(more)
    assert three.h2d_bytes == more.nbytes


def test_rows_in_the_order_asked_for(devices, rng):
    X, weight, index = blobs(rng, 50, 3, np.float32), rng.uniform(1, 2, 50), np.array([49, 0, 17, 16, 17, 33, 34])
    source = open_source(Reader(), X, weight, devices, reset=True)
    np.testing.assert_array_equal(source.take(index), X[index])
    assert source.take(index[:0]).shape == (0, 3)
    source.allocate("label", np.int32, 0)
    source.write("label", index, np.arange(7))
    source.fill("label", np.arange(50))
    source.write("label", index[:3], np.array([-1, -2, -3]))
    expected = np.arange(50)
    expected[index[:3]] = -1, -2, -3
    np.testing.assert_array_equal(source.rows("label"), expected)
    for (start, stop), chunk in zip(((3, 40), (17, 18)), source.slices([(3, 40), (17, 18)]), strict=True):
        to_host = source.backend.to_host
        np.testing.assert_array_equal(to_host(chunk.X), X[start:stop])
        np.testing.assert_array_equal(to_host(chunk.weight), weight[start:stop])
        np.testing.assert_array_equal(to_host(chunk.rows["label"]), expected[start:stop])
        assert chunk.start == start


def test_chunks_come_to_the_first_device(devices, rng, tmp_path):
    """Nobody waits in between."""
    X = blobs(rng, 100, 3, np.float32)
    np.save(tmp_path / "x.npy", X)
    source = open_source(Reader(), tmp_path / "x.npy", None, devices, reset=True, chunk_size=9)
    source.allocate("label", np.int32, 7)
    source.slices([(0, 100)])
    found = list(source.chunks())
    np.testing.assert_array_equal(np.concatenate([source.backend.to_host(chunk.X) for chunk in found]), X)
    assert [chunk.start for chunk in found] == list(np.cumsum([0] + [len(chunk.X) for chunk in found[:-1]]))
    assert all(source.backend.to_host(chunk.rows["label"]).tolist() == [7] * len(chunk.X) for chunk in found)


# --- what each device is given to do ---


def test_each_device_has_its_share(three, rng):
    X = blobs(rng, 3001, 8, np.float32)
    model = fit(X, init=X[:5], device="cuda:all", max_iter=3, tol=0)
    assert_same_bits(model, fit(X, init=X[:5], max_iter=3, tol=0))
    assert X.nbytes <= three.h2d_bytes < X.nbytes + 64 * 1024
    three.used.clear()
    source = open_source(Reader(), X, None, "cuda:all", reset=True)
    assert source.n_rows == 3001 and {three.used[device] for device in range(3)} == {32_000, 32_032}


@pytest.mark.parametrize(
    ("estimator", "waits"), [(KMeans, [1, 0, 0]), (KMedians, None)], ids=["KMeans", "KMedians"]
)
def test_an_iteration_of_each_device(three, rng, estimator, waits):
    """Devices do the same; the host waits for the first one, which has the others' sums from them, once."""
    X, found = blobs(rng, 600, 8, np.float32), []
    for iterations in (3, 4):
        three.tally.clear()
        model = fit(X, estimator=estimator, init=X[:12], device="cuda:all", max_iter=iterations, tol=0)
        assert model.n_iter_ == iterations
        found.append(three.tally.copy())
    found[1].subtract(found[0])
    one = {what: [found[1][what, device] for device in range(3)] for what in ("launches", "h2d", "d2h", "copies")}
    if waits is None:  # brackets are sent to each device, and ranks told by each
        assert len(set(one["d2h"])) == 1 and len(set(one["h2d"][1:])) == 1
        return
    assert one["d2h"] == waits and one["h2d"] == [0, 0, 0]
    assert one["copies"] == [4, 1, 1]  # sums and counts of two others; the centres
    assert one["launches"][1] == one["launches"][2] == one["launches"][0] - 1  # which divides the sums


def test_data_that_fit_all_devices_together(three, rng, caplog):
    X = blobs(rng, 9000, 8, np.float32)
    reference = fit(X, init=X[:2], max_iter=1)
    three.limit = X.nbytes * 4 // 5
    assert_same_bits(fit(X, init=X[:2], max_iter=1, device="cuda:all"), reference)
    assert "read in chunks" not in caplog.text
    three.limit = X.nbytes * 6 // 10
    ours = fit(X, init=X[:2], max_iter=1, device="cuda:all")
    assert_same_bits(ours, reference)
    assert "The data do not fit the memory of cuda:0,cuda:1,cuda:2 and are read in chunks." in caplog.text


def test_what_cannot_be_done_is_told(three, rng, tmp_path):
    X = blobs(rng, 90, 4, np.float32)
    three.limit = 3000
    with pytest.raises(DeviceMemoryError, match=r"bytes .* free"):
        fit(X, init=X[:50], device="cuda:all")
    three.limit = 1 << 40
    X[70, 2] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        fit(X, init=X[:5], device="cuda:all")
    with pytest.raises(NotFiniteError, match="row 70, feature 2"):
        fit(X[:50], init=X[:5], device="cuda:all").predict(device_array(sys.modules["cupy"], X))
    with pytest.raises(ValueError, match="n_samples=0"):
        KMeans(2, device="cuda:all").fit(sys.modules["cupy"].empty((0, 3)))
    np.save(tmp_path / "x.npy", X[:50])
    for size in (49, 51):
        with pytest.raises(ValueError, match=rf"sample_weight.shape == \({size},\), expected \(50,\)"):
            KMeans(2, device="cuda:all").fit(tmp_path / "x.npy", sample_weight=np.ones(size))
    with pytest.raises(TypeError, match="device='cpu'"):
        KMeans(2, device="cuda:all").fit(sp.csr_matrix(X[:50]))


def test_sparse_rows_under_manhattan_distance(devices, rng):
    X = sp.csr_matrix(rng.integers(0, 3, (90, 5)).astype(np.float32))
    how = {"n_clusters": 4, "init": X[:4].toarray(), "estimator": KMedians, "max_iter": 3}
    assert_same_bits(fit(X, device=devices, **how), fit(X, **how))


# --- names ---


def test_names(three):
    for device, name in (
        ("cuda:all", "cuda:0,cuda:1,cuda:2"),
        (["cuda:2", "cuda"], "cuda:2,cuda:0"),
        (("cuda:1",), "cuda:1"),
        ("cuda:1,cuda:0", "cuda:1,cuda:0"),
    ):
        assert select.select(device).backend.name == name
        with gpuclust.config_context(device=device):
            assert select.select("auto") == (select.select(device).backend, "asked for")
    three.devices = 1
    assert select.select("cuda:all").backend.name == "cuda:0"


def test_devices_that_are_not_there(three):
    with pytest.raises(DeviceUnavailableError, match=r"\['cuda:0', 'cuda:3'\] cannot be used: cuda:3: there are 3 CUDA"):
        select.select(["cuda:0", "cuda:3"])
    three.devices = 0
    fresh_choice()
    with pytest.raises(DeviceUnavailableError, match="'cuda:all' cannot be used: "):
        select.select("cuda:all")


def test_models_of_several_devices(three, rng, tmp_path):
    X = blobs(rng, 60, 3, np.float32)
    for device in (["cuda:0", "cuda:1"], "cuda:all"):
        model = KMeans(3, random_state=0, device=device).fit(X)
        assert clone(model).device == device
        gpuclust.save_model(model, tmp_path / "m.gpuclust")
        assert gpuclust.load_model(tmp_path / "m.gpuclust").device == "auto"


def test_command_line(three, rng, tmp_path):
    from typer.testing import CliRunner

    from gpuclust.cli.app import app

    np.save(tmp_path / "x.npy", blobs(rng, 60, 3, np.float32))
    run = CliRunner().invoke
    found = []
    for device in ("cuda:all", "cuda:1,cuda:0", "cuda"):
        out = tmp_path / device.replace(":", "")
        done = run(app, ["fit", str(tmp_path / "x.npy"), "-k", "3", "--device", device, "--out", str(out)])
        assert done.exit_code == 0, done.output
        assert run(app, ["predict", str(out / "model.gpuclust"), str(tmp_path / "x.npy"), "--device", device, "--out", str(out)])
        found.append((out / "centers.csv").read_text())
    assert len(set(found)) == 1
    assert run(app, ["fit", str(tmp_path / "x.npy"), "-k", "3", "--device", "cuda:all,cpu"]).exit_code == 2


@pytest.mark.parametrize("chunk_size", [None, 90])
def test_every_device_keeps_bounds(machine, rng, monkeypatch, chunk_size):
    """Those of the first one alone would save nothing: all wait for the slowest."""
    from gpuclust.backends import cuda_labels

    X = (rng.normal(0, 9, (70, 4))[rng.integers(0, 70, 600)] + rng.normal(size=(600, 4))).astype(np.float32)
    used, unsettled = [], cuda_labels._unsettled

    def seen(rows, *args):
        left = unsettled(rows, *args)
        used.append((machine.current, len(rows), left.count.item()))
        return left

    monkeypatch.setattr(cuda_labels, "_unsettled", seen)
    how = {"estimator": KMedians, "init": X[:70], "max_iter": 8, "tol": 0, "chunk_size": chunk_size}
    assert_same_bits(fit(X, device="cuda:all", **how), fit(X, **how))
    assert {each[0] for each in used} == set(range(machine.devices)) == {0, 1}
    for device in range(machine.devices):
        rows, left = np.sum([each[1:] for each in used if each[0] == device], axis=0)
        assert left < 0.5 * rows
