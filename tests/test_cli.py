"""The command line: what it writes, what it says, and the exit code of everything that can go wrong."""

import csv
import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command_line import call, refuse, succeed

import gpuclust
from gpuclust import KMeans, KMedians, MiniBatchKMeans, MiniBatchKMedians, load_model
from gpuclust.backends import select
from gpuclust.backends.diagnosis import install
from gpuclust.cli import demo as demo_module
from gpuclust.cli import doctor as doctor_module
from gpuclust.cli import outputs as outputs_module
from gpuclust.cli.failures import reported
from gpuclust.cli.progress import Listener, clock, describe, quantity
from gpuclust.solvers.progress import Iteration

RNG = np.random.default_rng(5)
CORNERS = np.array([[0.0, 0, 0], [9, 0, 0], [0, 9, 0], [0, 0, 9]])
X = np.concatenate(
    [RNG.normal(corner, 1.5, (n, 3)) for corner, n in zip(CORNERS, (90, 60, 40, 30), strict=True)]
)
X = RNG.permutation(X).round(3)
WEIGHT = RNG.integers(1, 6, len(X)).astype(float)
NAMES = ["a", "b", "c"]
FRAME = pd.DataFrame(X, columns=NAMES).assign(w=WEIGHT)
FILES = ["labels.parquet", "centers.csv", "model.gpuclust", "summary.json"]
FORMATS = ["npy", "npz", "csv", "parquet"]
NO_GPU = pytest.mark.skipif(select.cuda_problem(0) is None, reason="this machine has a usable GPU")


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def store(suffix, *, frame=FRAME[NAMES], name="data"):
    """Write a DataFrame in one of the formats; return the file's name."""
    path = f"{name}.{suffix}"
    if suffix == "npy":
        np.save(path, np.ascontiguousarray(frame.to_numpy()))
    elif suffix == "npz":
        np.savez_compressed(path, X=np.ascontiguousarray(frame.to_numpy()), y=np.arange(3))
    elif suffix == "csv":
        frame.to_csv(path, index=False)
    else:
        pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), path, row_group_size=50)
    return path


def labels(path="out/labels.parquet"):
    return pq.read_table(path).column("label").to_numpy()


def summary(folder="out"):
    return json.loads(Path(folder, "summary.json").read_text(encoding="utf-8"))


def fit(path, *arguments, k=4):
    return succeed("fit", path, "-k", k, "--out", "out", *arguments)


# --- fit ----------


@pytest.mark.parametrize("suffix", FORMATS)
def test_fit_writes_what_the_estimator_finds(suffix):
    result = fit(store(suffix))
    model = KMeans(4, random_state=0).fit(X)
    assert sorted(os.listdir("out")) == sorted(FILES)
    assert labels().dtype == np.int32
    np.testing.assert_array_equal(labels(), model.labels_)
    with open("out/centers.csv", newline="", encoding="utf-8") as handle:
        header, *rows = csv.reader(handle)
    assert header == ["cluster", *(NAMES if suffix in ("csv", "parquet") else "012")]
    assert [row[0] for row in rows] == list("0123")
    np.testing.assert_array_equal(np.array([row[1:] for row in rows], float), model.cluster_centers_)
    np.testing.assert_array_equal(load_model("out/model.gpuclust").cluster_centers_, model.cluster_centers_)
    found = summary()
    assert found["inertia"] == model.inertia_ and found["iterations"] == model.n_iter_
    assert found["data"]["rows"] == len(X) and found["data"]["columns"] == header[1:]
    for text in ("220 rows x 3 columns", "40.", "inertia", " s on ", "labels.parquet"):
        assert text in result.output


def test_the_summary_adds_up():
    fit(store("npy"))
    model, found = KMeans(4, random_state=0).fit(X), summary()["clusters"]
    assert [cluster["cluster"] for cluster in found] == [0, 1, 2, 3]
    for cluster in found:
        rows = X[model.labels_ == cluster["cluster"]]
        assert cluster["size"] == len(rows) and cluster["share"] == len(rows) / len(X)
        expected = np.square(rows - model.cluster_centers_[cluster["cluster"]]).sum()
        assert cluster["inertia"] == pytest.approx(expected, rel=1e-12)
    assert sum(cluster["inertia"] for cluster in found) == pytest.approx(model.inertia_, rel=1e-12)


@pytest.mark.parametrize(("suffix", "weight"), [("npy", "3"), ("npz", "3"), ("csv", "w"), ("parquet", "w")])
def test_weights(suffix, weight):
    result = fit(store(suffix, frame=FRAME), "--weight", weight)
    model = KMeans(4, random_state=0).fit(X, sample_weight=WEIGHT)
    np.testing.assert_array_equal(labels(), model.labels_)
    found = summary()
    assert found["inertia"] == model.inertia_
    assert sum(cluster["inertia"] for cluster in found["clusters"]) == pytest.approx(
        model.inertia_, rel=1e-12
    )
    assert sum(cluster["weight"] for cluster in found["clusters"]) == WEIGHT.sum()
    assert "weight" in result.output


def test_weights_as_an_array_of_an_npz():
    np.savez("data.npz", X=X, mass=WEIGHT)
    fit("data.npz", "--weight", "mass")
    np.testing.assert_array_equal(labels(), KMeans(4, random_state=0).fit(X, sample_weight=WEIGHT).labels_)


@pytest.mark.parametrize("suffix", FORMATS)
def test_columns_are_used_in_the_order_given(suffix):
    frame = FRAME.assign(text="x") if suffix in ("csv", "parquet") else FRAME
    fit(store(suffix, frame=frame), "--columns", "c,a" if suffix in ("csv", "parquet") else "2,0")
    model = KMeans(4, random_state=0).fit(np.ascontiguousarray(X[:, [2, 0]]))
    np.testing.assert_array_equal(labels(), model.labels_)
    np.testing.assert_array_equal(load_model("out/model.gpuclust").cluster_centers_, model.cluster_centers_)


def test_options_reach_the_estimator():
    fit(
        store("npy"), "--method", "minibatch", "--init", "random", "--n-init", 2, "--max-iter", 7,
        "--tol", 0.01, "--seed", 3, "--device", "cpu",
    )  # fmt: skip
    given = {"init": "random", "n_init": 2, "max_iter": 7, "tol": 0.01, "random_state": 3, "device": "cpu"}
    found = summary()
    assert found["model"]["class"] == "MiniBatchKMeans"
    assert found["model"]["parameters"] == MiniBatchKMeans(4, **given).get_params()
    assert (found["device"], found["device_reason"]) == ("cpu", "asked for")
    np.testing.assert_array_equal(labels(), MiniBatchKMeans(4, **given).fit(X).labels_)


def test_medians_on_the_command_line():
    fit(store("npy"), "--method", "kmedians", "--tol", 0)
    model, found = KMedians(4, random_state=0, tol=0).fit(X), summary()
    assert found["model"]["class"] == "KMedians"
    np.testing.assert_array_equal(labels(), model.labels_)
    assert sum(cluster["inertia"] for cluster in found["clusters"]) == pytest.approx(model.inertia_, rel=1e-12)
    np.testing.assert_array_equal(load_model("out/model.gpuclust").predict(X), model.labels_)


def test_mini_batches_of_medians_on_the_command_line():
    fit(store("npy"), "--method", "minibatch-kmedians", "--max-iter", 3)
    model, found = MiniBatchKMedians(4, random_state=0, max_iter=3).fit(X), summary()
    assert found["model"]["class"] == "MiniBatchKMedians"
    np.testing.assert_array_equal(labels(), model.labels_)
    assert sum(cluster["inertia"] for cluster in found["clusters"]) == pytest.approx(model.inertia_, rel=1e-12)


def test_options_not_given_keep_the_defaults():
    fit(store("npy"))
    assert summary()["model"]["parameters"] == KMeans(4, random_state=0).get_params()


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_memory_budget_changes_no_result(suffix):
    path = store(suffix)
    fit(path)
    plain = labels()
    fit(path, "--memory", "300MB")
    np.testing.assert_array_equal(labels(), plain)
    assert summary()["memory"] == "300MB"


@pytest.mark.parametrize("suffix", ["npy", "parquet"])
def test_large_formats_are_streamed(suffix, monkeypatch):
    path, given = store(suffix), []
    plain = KMeans.fit
    monkeypatch.setattr(KMeans, "fit", lambda self, X, **rest: given.append(X) or plain(self, X, **rest))
    fit(path)
    assert not isinstance(given[0], np.ndarray)


def test_float32_stays_float32():
    np.save("data.npy", X.astype(np.float32))
    fit("data.npy")
    model = load_model("out/model.gpuclust")
    assert model.cluster_centers_.dtype == np.float32
    read = np.genfromtxt("out/centers.csv", delimiter=",", skip_header=1, dtype=np.float32)[:, 1:]
    np.testing.assert_array_equal(read, model.cluster_centers_)


def test_fortran_order_is_read_whole_and_says_so():
    np.save("data.npy", np.asfortranarray(X))
    assert "read whole" in fit("data.npy").output
    np.testing.assert_array_equal(labels(), KMeans(4, random_state=0).fit(X).labels_)


def test_the_default_directory_is_named_after_the_data():
    succeed("fit", store("npy", name="pixels"), "-k", 3)
    assert sorted(os.listdir("pixels-k3")) == sorted(FILES)


def test_quiet():
    assert fit(store("npy"), "--quiet").output == ""


def test_labels_without_pyarrow(monkeypatch):
    path = store("npy")
    monkeypatch.setattr(outputs_module.importlib.util, "find_spec", lambda name: None)
    fit(path)
    np.testing.assert_array_equal(np.load("out/labels.npy"), KMeans(4, random_state=0).fit(X).labels_)
    assert "labels.parquet" not in os.listdir("out")


def test_remarks_of_the_estimator_are_told():
    np.save("data.npy", np.repeat([[0.0], [1.0]], 5, axis=0))
    result = fit("data.npy", k=3)
    assert "gpuclust: note: Number of distinct clusters (2)" in result.output
    assert any("distinct clusters" in note for note in summary()["notes"])


def test_many_clusters_print_a_short_table():
    assert "and 10 smaller clusters, in summary.json" in fit(store("npy"), k=30).output
    assert len(summary()["clusters"]) == 30


@NO_GPU
def test_the_reason_for_the_device_is_told(monkeypatch):
    path = store("npy")
    assert "on cpu (no NVIDIA GPU was found)" in fit(path).output.replace("\n", " ")
    problem = select.Problem("the driver is too old", gpu_visible=True)
    monkeypatch.setattr(select, "cuda_problem", lambda index: problem)
    select._warn_once.cache_clear()
    result = fit(path)
    assert "the driver is too old" in result.output and summary()["device_reason"] == problem.text


# --- CSV ----------


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_other_delimiters(delimiter):
    FRAME[NAMES].to_csv("data.csv", index=False, sep=delimiter)
    fit("data.csv")
    np.testing.assert_array_equal(labels(), KMeans(4, random_state=0).fit(X).labels_)


def test_a_first_line_of_numbers_is_a_row():
    FRAME[NAMES].to_csv("data.csv", index=False, header=False)
    assert "read as a row" in fit("data.csv").output
    assert len(labels()) == len(X)
    assert not hasattr(load_model("out/model.gpuclust"), "feature_names_in_")


def test_a_first_line_that_counts_the_columns_is_a_header():
    pd.DataFrame(X).to_csv("data.csv", index=False)
    assert "read as a row" not in fit("data.csv").output
    assert len(labels()) == len(X)


def test_whole_numbers_that_turn_fractional_late():
    lines = ["a,b", *(f"{row},{row % 7}" for row in range(200_000)), "1.5,2.25"]
    Path("data.csv").write_text("\n".join(lines))
    fit("data.csv", "--max-iter", 2)
    assert len(labels()) == 200_001


def test_byte_order_mark_and_windows_lines():
    FRAME[NAMES].to_csv("data.csv", index=False, encoding="utf-8-sig", lineterminator="\r\n")
    fit("data.csv", "--columns", "a,b")
    assert summary()["data"]["columns"] == ["a", "b"]


# --- predict ----------


@pytest.mark.parametrize("suffix", FORMATS)
def test_predict_gives_the_labels_of_the_fit(suffix):
    path = store(suffix)
    fit(path)
    result = succeed("predict", "out/model.gpuclust", path)
    np.testing.assert_array_equal(labels("data-labels.parquet"), labels())
    assert "220 rows" in result.output and "data-labels.parquet" in result.output


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_predict_takes_columns_by_name(suffix):
    fit(store(suffix))
    other = store(suffix, frame=FRAME[["w", "c", "b", "a"]].assign(text="x"), name="other")
    succeed("predict", "out/model.gpuclust", other, "--memory", "300MB")
    np.testing.assert_array_equal(labels("other-labels.parquet"), labels())


def test_predict_across_formats():
    fit(store("parquet"))
    for suffix in FORMATS:
        succeed(
            "predict", "out/model.gpuclust", store(suffix), "--out", "p.parquet", "--quiet", "--device", "cpu"
        )
        np.testing.assert_array_equal(labels("p.parquet"), labels())


@pytest.mark.parametrize("suffix", [".npy", ".csv"])
def test_predict_writes_other_formats(suffix):
    path = store("npy")
    fit(path)
    succeed("predict", "out/model.gpuclust", path, "--out", f"new/labels{suffix}")
    target = Path(f"new/labels{suffix}")
    read = np.load(target) if suffix == ".npy" else np.loadtxt(target, skiprows=1, dtype=int)
    np.testing.assert_array_equal(read, labels())


def test_predict_refusals():
    path, model = store("parquet"), "out/model.gpuclust"
    fit(path)
    refuse(3, "No such file", "predict", "missing.gpuclust", path)
    refuse(3, "No such file", "predict", model, "missing.npy")
    refuse(3, "no column 'b'", "predict", model, store("csv", frame=FRAME[["a", "c"]]))
    refuse(3, "has 2 columns, but the model has 3", "predict", model, path, "--columns", "a,b")
    refuse(2, "ends in none of", "predict", model, path, "--out", "labels.txt")
    refuse(2, "--device", "predict", model, path, "--device", "tpu")
    broken = FRAME[NAMES].copy()
    broken.loc[7, "b"] = np.nan
    refuse(
        3,
        "NaN or nothing in column 'b', row 7",
        "predict",
        model,
        store("parquet", frame=broken, name="broken"),
    )
    Path("cut.gpuclust").write_bytes(Path(model).read_bytes()[:-9])
    refuse(3, "truncated", "predict", "cut.gpuclust", path)
    Path("file").touch()
    refuse(5, "cannot write", "predict", model, path, "--out", "file/labels.npy")


# --- usage: 2 ----------


@pytest.mark.parametrize(
    "arguments",
    [[], ["-k", "0"], ["-k", "two"], ["-k", "3", "--method", "x"], ["-k", "3", "--init", "x"],
     ["-k", "3", "--no"], ["-k", "3", "--tol", "-1"], ["-k", "3", "--max-iter", "0"],
     ["-k", "3", "--seed", "-1"]],
)  # fmt: skip
def test_options_that_the_parser_refuses(arguments):
    assert call("fit", store("npy"), *arguments).exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--device", "tpu"], "--device 'tpu' is none of"),
        (["--device", "cuda:x"], "--device"),
        (["--memory", "lots"], "'lots' is not a size"),
        (["--memory", "0"], "must be positive"),
        (["--n-init", "0"], "--n-init '0'"),
        (["--n-init", "many"], "--n-init 'many'"),
        (["--columns", "a,,b"], "empty name"),
        (["--columns", "a,a"], "one name twice"),
        (["--columns", "a,x"], "no column 'x'; it has a, b, c"),
        (["--weight", "x"], "no column 'x'"),
        (["--columns", "a,b", "--weight", "b"], "both"),
    ],
)
def test_options_that_do_not_fit(arguments, message):
    refuse(2, message, "fit", store("parquet"), "-k", "2", *arguments)


def test_columns_of_unnamed_formats_are_numbers():
    refuse(2, "no column 'a'; it has 0, 1, 2", "fit", store("npy"), "-k", 2, "--columns", "a")
    refuse(2, "no column '3'", "fit", store("npy"), "-k", 2, "--weight", "3")


def test_an_unknown_format():
    Path("data.xlsx").write_bytes(b"x")
    refuse(2, "ends in none of .npy, .npz, .csv, .parquet", "fit", "data.xlsx", "-k", 2)


# --- data: 3 ----------


@pytest.mark.parametrize("suffix", FORMATS)
def test_missing_empty_and_truncated_files(suffix):
    refuse(3, "No such file", "fit", f"missing.{suffix}", "-k", 2)
    Path(f"empty.{suffix}").touch()
    refuse(3, "is empty", "fit", f"empty.{suffix}", "-k", 2)
    os.mkdir(f"folder.{suffix}")
    refuse(3, "cannot read", "fit", f"folder.{suffix}", "-k", 2)
    data = Path(store(suffix)).read_bytes()
    cut = Path(f"cut.{suffix}")
    for length in (3, 20, len(data) // 2, len(data) - 1) if suffix != "csv" else (data.rindex(b",") - 2,):
        cut.write_bytes(data[:length])
        told = refuse(3, cut.name, "fit", cut, "-k", 2)
        assert suffix == "csv" or any(
            word in told for word in ("truncated", "damaged", "not a", "readable")
        ), told


@pytest.mark.parametrize("suffix", FORMATS)
def test_noise_under_any_name(suffix):
    Path(f"data.{suffix}").write_bytes(b"\x01\x02" + RNG.bytes(5000))
    refuse(3, f"data.{suffix}", "fit", f"data.{suffix}", "-k", 2)


def test_a_parquet_file_damaged_inside():
    rows = pd.DataFrame(RNG.normal(size=(5000, 3)), columns=NAMES)
    path = Path(store("parquet", frame=rows))
    data = bytearray(path.read_bytes())
    data[len(data) // 3 : len(data) // 3 + 2000] = bytes(2000)
    path.write_bytes(data)
    result = call("fit", path, "-k", 2, "--out", "out")
    if result.exit_code:  # plain pages have no checksum: zeros may pass for numbers
        assert result.exit_code == 3 and not os.path.exists("out")


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize(("value", "word"), [(np.nan, "NaN or nothing"), (np.inf, "an infinite value")])
def test_nan_and_infinity_are_located(suffix, value, word):
    frame = FRAME[NAMES].copy()
    frame.loc[123, "b"] = frame.loc[200, "a"] = value
    name = "b" if suffix in ("csv", "parquet") else "1"
    refuse(
        3,
        f"{word} in column '{name}', row 123 (the first row is 0)",
        "fit",
        store(suffix, frame=frame),
        "-k",
        2,
    )


def test_an_empty_cell_is_located():
    lines = FRAME[NAMES].to_csv(index=False).splitlines()
    lines[1 + 17] = lines[1 + 17].rpartition(",")[0] + ","
    Path("data.csv").write_text("\n".join(lines))
    refuse(3, "column 'c', row 17", "fit", "data.csv", "-k", 2)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_missing_weight_is_located(suffix):
    frame = FRAME.copy()
    frame.loc[9, "w"] = np.nan
    refuse(3, "column 'of weights', row 9", "fit", store(suffix, frame=frame), "-k", 2, "--weight", "w")


@pytest.mark.parametrize("suffix", FORMATS)
def test_negative_weights(suffix):
    frame = FRAME.assign(w=-WEIGHT)
    weight = "w" if suffix in ("csv", "parquet") else "3"
    refuse(3, "egative", "fit", store(suffix, frame=frame), "-k", 2, "--weight", weight)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_text_columns_are_named(suffix):
    frame = FRAME.assign(city="Rom", day=pd.Timestamp("2026-01-01"))
    told = refuse(3, "column 'city' holds text", "fit", store(suffix, frame=frame), "-k", 2)
    assert "column 'day'" in told and "--columns a,b,c,w" in told


def test_one_word_among_numbers_is_located():
    lines = FRAME[NAMES].to_csv(index=False).splitlines()
    lines[1 + 17] = "1.0,unknown,2.0"
    Path("data.csv").write_text("\n".join(lines))
    refuse(3, "column 'b' holds text (row 17: 'unknown')", "fit", "data.csv", "-k", 2)


def test_one_word_far_down_is_located():
    lines = ["a,b", *(f"{row},{row % 7}" for row in range(200_000))]
    lines[150_000] = "1,unknown"
    Path("data.csv").write_text("\n".join(lines))
    told = refuse(3, "column 'b': line 150001", "fit", "data.csv", "-k", 2)
    assert "'unknown'" in told


def test_ragged_csv():
    Path("data.csv").write_text("a,b\n1,2\n3\n")
    refuse(3, "line 3: Expected 2 columns, got 1", "fit", "data.csv", "-k", 2)


def test_columns_of_one_name():
    Path("data.csv").write_text("a,b,a\n1,2,3\n")
    refuse(3, "2 columns named 'a'", "fit", "data.csv", "-k", 2)


@pytest.mark.parametrize("suffix", FORMATS)
def test_fewer_rows_than_clusters(suffix):
    refuse(3, "has 3 rows, fewer than 4 clusters", "fit", store(suffix, frame=FRAME[NAMES][:3]), "-k", 4)


@pytest.mark.parametrize("suffix", FORMATS)
def test_no_rows(suffix):
    refuse(3, "", "fit", store(suffix, frame=FRAME[NAMES][:0]), "-k", 1)


@pytest.mark.parametrize("suffix", ["npy", "npz"])
@pytest.mark.parametrize(
    "array", [np.arange(9.0), np.zeros((2, 2, 2)), np.array([["a", "b"]]), np.ones((3, 2), complex)], ids=str
)
def test_arrays_that_are_no_table_of_numbers(suffix, array):
    np.save("data.npy", array)
    np.savez("data.npz", X=array)
    refuse(3, f"data.{suffix}", "fit", f"data.{suffix}", "-k", 1)


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_nothing_is_unpickled(suffix):
    class RunsCode:
        def __reduce__(self):
            return os.mkdir, ("trace",)

    array = np.array([[RunsCode()]], dtype=object)
    np.save("data.npy", array, allow_pickle=True)
    np.savez("data.npz", X=array, allow_pickle=True)
    refuse(3, f"data.{suffix}", "fit", f"data.{suffix}", "-k", 1)


def test_npz_without_an_evident_array():
    np.savez("one.npz", y=np.arange(5), points=X)
    fit("one.npz")
    np.savez("two.npz", A=X, B=X)
    refuse(3, "2 two-dimensional arrays, none named X (A, B)", "fit", "two.npz", "-k", 2)
    np.savez("none.npz", y=np.arange(5))
    refuse(3, "0 two-dimensional arrays", "fit", "none.npz", "-k", 2)
    np.savez("sparse.npz", indptr=[0], indices=[0], format="csr", data=[1.0])
    refuse(3, "sparse matrix", "fit", "sparse.npz", "-k", 2)
    np.savez("weights.npz", X=X, w=np.ones(3))
    refuse(2, "weight 'w' has shape (3,)", "fit", "weights.npz", "-k", 2, "--weight", "w")


def test_a_file_without_columns_left():
    Path("data.csv").write_text("w\n1\n2\n")
    refuse(3, "no columns to cluster", "fit", "data.csv", "-k", 1, "--weight", "w")


def test_pyarrow_missing(monkeypatch):
    path = store("csv")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "gpuclust.cli.arrow_files", raising=False)
    monkeypatch.delattr("gpuclust.cli.arrow_files", raising=False)
    refuse(3, "pip install 'gpuclust[files]'", "fit", path, "-k", 2)


# --- device: 4 ----------


@NO_GPU
@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_a_device_that_is_not_there(device):
    refuse(4, "cannot be used", "fit", store("npy"), "-k", 2, "--device", device)


def test_too_little_memory():
    refuse(4, "too small", "fit", store("npy"), "-k", 2, "--memory", "1KB")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        gpuclust.DeviceMemoryError("needs 2 GB, 1 GB is free"),
        gpuclust.DeviceUnavailableError("no"),
    ],
)
def test_device_errors(monkeypatch, error):
    def fail(self, X, **rest):
        raise error

    monkeypatch.setattr(KMeans, "fit", fail)
    refuse(4, str(error) or "not enough memory", "fit", store("npy"), "-k", 2)


# --- output: 5 ----------


@pytest.mark.parametrize("out", ["file", "file/deeper/still"])
def test_a_file_where_the_directory_should_be(out):
    path = store("npy")
    Path("file").write_text("mine")
    refuse(5, f"cannot write to {out!r}", "fit", path, "-k", 2, "--out", out)
    assert Path("file").read_text() == "mine"


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root and Windows can write anyway")
def test_a_directory_without_permission():
    path = store("npy")
    os.mkdir("out", 0o500)
    refuse(5, "Permission denied", "fit", path, "-k", 2, "--out", "out")


@pytest.mark.parametrize("call_that_fails", range(1, 5))
@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_disk_that_fills_up_leaves_nothing(monkeypatch, function, call_that_fails):
    path, calls, plain = store("npy"), [], getattr(os, function)

    def fail(*arguments):
        calls.append(arguments)
        if function == "fsync" and len(calls) == call_that_fails:
            raise OSError(errno.ENOSPC, "No space left on device")
        if function == "replace" and len(calls) == 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return plain(*arguments)

    monkeypatch.setattr(os, function, fail)
    refuse(
        5,
        "No space left on device; choose another place with --out",
        "fit",
        path,
        "-k",
        2,
        "--out",
        "new/out",
    )


@pytest.mark.parametrize("failure", ["data", "disk"])
def test_a_failure_leaves_earlier_results_alone(monkeypatch, failure):
    fit(store("npy"))
    before = {name: Path("out", name).read_bytes() for name in os.listdir("out")}
    if failure == "data":
        frame = FRAME[NAMES].copy()
        frame.iloc[5, 0] = np.nan
        code, path = 3, store("npy", frame=frame)
    else:
        code, path = 5, "data.npy"
        monkeypatch.setattr(
            os, "fsync", lambda number: (_ for _ in ()).throw(OSError(errno.EIO, "I/O error"))
        )
    refuse(code, "", "fit", path, "-k", 3, "--out", "out")
    assert {name: Path("out", name).read_bytes() for name in os.listdir("out")} == before


# --- Ctrl-C: 130 ----------


def start(*arguments):
    root = str(Path(gpuclust.__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    return subprocess.Popen(
        [sys.executable, "-m", "gpuclust", *map(str, arguments)],
        env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=heed_interrupts,
    )  # fmt: skip


def heed_interrupts():
    """Undo what a shell does to processes in the background, and their children: they ignore SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_interrupt_while_a_string_is_executed(tmp_path):
    """As dataclasses and Numba do: CPython remembers it, and `python -m` would end by the signal."""
    (tmp_path / "interrupted.py").write_text("""
from gpuclust.cli.failures import reported
import typer
app = typer.Typer()
@app.command()
def run():
    with reported():
        exec("import os, signal, time; os.kill(os.getpid(), signal.SIGINT); time.sleep(60)")
app()
""")
    command = [sys.executable, "-m", "interrupted"]
    paths = os.pathsep.join([str(tmp_path), *sys.path])
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env={**os.environ, "PYTHONPATH": paths}
    )
    assert (done.returncode, done.stderr) == (130, "gpuclust: interrupted; no output was written\n")


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize("seconds", [0.0, 1.5])
def test_interrupt(seconds):
    np.save("data.npy", RNG.uniform(size=(400_000, 8)).astype(np.float32))
    with start(
        "fit", "data.npy", "-k", 200, "--tol", 0, "--max-iter", 100_000, "--out", "new/out"
    ) as process:
        give_up = time.monotonic() + 120
        while not os.path.exists("new/out"):  # made just before the fit begins
            assert process.poll() is None and time.monotonic() < give_up
            time.sleep(0.02)
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        output, error = process.communicate(timeout=120)
    assert process.returncode == 130, error
    assert error == "gpuclust: interrupted; no output was written\n"
    assert output == ""
    assert os.listdir() == ["data.npy"]


def test_interrupt_while_writing(monkeypatch):
    path = store("npy")

    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(outputs_module, "rename", interrupt)
    assert call("fit", path, "-k", 2, "--out", "out").exit_code == 130
    assert os.listdir() == [path]


def test_a_real_process_reports_like_the_runner():
    with start("fit", "missing.npy", "-k", 2) as process:
        output, error = process.communicate(timeout=120)
    assert (process.returncode, output) == (3, "")
    assert error.count("\n") == 1 and error.startswith("gpuclust: error: cannot read 'missing.npy'")


def test_a_defect_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError), reported():
        _ = 1 / 0


# --- doctor and demo ----------


def test_doctor():
    result = call("doctor")
    for text in ("python", "cpu", "memory", "gpu", gpuclust.__version__, np.__version__):
        assert text in result.output
    found = json.loads(call("doctor", "--json").output)
    assert found["packages"]["numpy"] == np.__version__
    assert found["cpu"]["cores"] >= 1 and found["memory"]["total"] > 0
    assert result.exit_code == (4 if found["gpu"]["visible"] and not found["gpu"]["usable"] else 0)


def test_doctor_explains_a_gpu_that_cannot_be_used(monkeypatch):
    problem = select.Problem(f"CuPy is not installed; {install(None)}.", gpu_visible=True)
    monkeypatch.setattr(select, "cuda_problem", lambda index: problem)
    result = call("doctor")
    assert result.exit_code == 4
    assert "visible, but not usable" in result.output and "pip install 'gpuclust[cuda13]'" in result.output


def test_doctor_names_what_is_missing(monkeypatch):
    names = [*doctor_module.CORE, *(name for packages, _ in doctor_module.EXTRAS.values() for name in packages)]
    found = dict.fromkeys(names, "1.0") | {"pyarrow": None}
    monkeypatch.setattr(doctor_module, "versions", lambda packages: found)
    result = call("doctor")
    assert "missing: pyarrow, for CSV and Parquet files: pip install 'gpuclust[files]'" in result.output


def test_doctor_without_psutil(monkeypatch):
    monkeypatch.setattr(doctor_module.importlib.util, "find_spec", lambda name: None)
    total, available = doctor_module.memory()
    assert total is None or 0 < available <= total


def test_demo():
    result = succeed("demo")
    assert sorted(os.listdir("gpuclust-demo")) == sorted([*FILES, "skin.npy"])
    assert "self-check passed" in result.output
    commands = result.output.partition("Next:")[2].splitlines()
    commands = [line.split("#")[0].split()[1:] for line in commands if line.strip()]
    assert len(commands) == 3
    for command in commands:  # they run as printed
        assert call(*command).exit_code in ((0, 4) if command == ["doctor"] else (0,))
    np.testing.assert_array_equal(labels("skin-labels.parquet"), labels("gpuclust-demo/labels.parquet"))


@pytest.mark.parametrize("broken", ["centers", "inertia"])
def test_demo_fails_where_a_check_fails(broken):
    model = KMeans(3, random_state=0).fit(X)
    gpuclust.save_model(model, "model.gpuclust")
    demo_module.check(X, model, Path("model.gpuclust"))
    if broken == "inertia":
        model.inertia_ *= 1 + 1e-5
    else:
        model.labels_ = np.roll(model.labels_, 1)
    with pytest.raises(demo_module.DemoFailed, match="self-check failed") as caught:
        demo_module.check(X, model, Path("model.gpuclust"))
    assert caught.value.code == 1


# --- progress ----------


def test_progress_line():
    record = Iteration(
        run=0, iteration=12, max_iter=300, inertia=1234.5678, moved=4321, rows=2_000_000, seconds=0.5
    )
    text = "iteration 12/300  inertia 1234.57  moved 4,321  4M rows/s  at most 2:24 left"
    assert describe(record) == text
    assert describe(record._replace(run=1)) == f"run 2  {text}"
    assert "0 rows/s" in describe(record._replace(seconds=0.0))


def test_progress_follows_the_fit():
    class Bar:
        def __init__(self):
            self.updates = []

        def update(self, task, **state):
            self.updates.append((task, state))

    bar = Bar()
    from gpuclust.solvers.progress import listen

    with listen(Listener(bar, "task")):
        model = KMeans(4, init="random", n_init=1, random_state=0).fit(X)
    assert [state["completed"] for _, state in bar.updates] == list(range(1, model.n_iter_ + 1))
    assert all(task == "task" and state["total"] == 300 for task, state in bar.updates)


@pytest.mark.skipif(os.name == "nt", reason="no pseudo-terminals")
def test_a_terminal_gets_a_bar():
    import pty

    np.save("data.npy", RNG.uniform(size=(300_000, 4)))
    master, slave = pty.openpty()
    root = str(Path(gpuclust.__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": root, "TERM": "xterm", "COLUMNS": "200"}
    command = [
        sys.executable,
        "-m",
        "gpuclust",
        "fit",
        "data.npy",
        "-k",
        "50",
        "--max-iter",
        "30",
        "--out",
        "out",
    ]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=slave) as process:
        os.close(slave)
        shown = b""
        while True:
            try:
                shown += os.read(master, 65536)
            except OSError:  # Linux: the other end is closed
                break
    os.close(master)
    assert process.returncode == 0
    assert b"iteration " in shown and b"rows/s" in shown and b"left" in shown


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0"), (999, "999"), (1234, "1.23k"), (5.1e6, "5.1M"), (7.77e9, "7.77G")]
)
def test_quantity(number, text):
    assert quantity(number) == text


@pytest.mark.parametrize(("seconds", "text"), [(0.2, "0:00"), (61, "1:01"), (3725, "1:02:05")])
def test_clock(seconds, text):
    assert clock(seconds) == text
