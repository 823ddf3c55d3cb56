"""Files of every format version stay loadable; format 1, which is only read, is checked as it was."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load, save

from gpuclust import ModelFileError, load_model
from gpuclust.files.container import digest
from gpuclust.persistence import read_model

GOLDEN = Path(__file__).parent / "golden"
NAMES = ["kmeans", "kmeans_float32", "kmedians", "minibatch_kmeans", "minibatch_kmedians"]


@pytest.mark.parametrize("name", NAMES)
def test_files_of_format_1_stay_loadable(name):
    """Written by the code of commit 80e5c70, with the labels that it gave."""
    expected = np.load(GOLDEN / "format1.npz")
    found = read_model(GOLDEN / f"format1-{name}.gpuclust")
    centers = expected[f"{name}_centers"]
    assert found.model.cluster_centers_.dtype == centers.dtype
    np.testing.assert_array_equal(found.model.cluster_centers_, centers)
    named = hasattr(found.model, "feature_names_in_")
    rows = expected["X"].astype(centers.dtype)
    if named:
        rows = pd.DataFrame(rows, columns=["größe", "b", "c,d"])
    np.testing.assert_array_equal(found.model.predict(rows), expected[f"{name}_labels"])
    assert found.summary is None
    assert (found.info["format_version"], found.info["class"]) == (1, type(found.model).__name__)
    names = ["größe", "b", "c,d"] if named else ["x0", "x1", "x2"]
    assert found.info["features"] == [{"name": each, "dtype": str(centers.dtype)} for each in names]


@pytest.mark.parametrize("name", ["pipeline", "kmedians", "minibatch_kmeans", "minibatch_kmedians"])
def test_files_of_format_2_stay_loadable(name):
    """Written by golden/make_format2.py, with the labels that the models gave."""
    expected = np.load(GOLDEN / "format2.npz")
    new = pd.DataFrame({key.removeprefix("column_"): expected[key] for key in expected if key.startswith("column_")})
    rows = new if name == "pipeline" else new[["b", "grade"]]
    found = read_model(GOLDEN / f"format2-{name}.gpuclust")
    estimator = found.model[-1] if name == "pipeline" else found.model
    centers = expected[f"{name}_centers"]
    assert estimator.cluster_centers_.dtype == centers.dtype
    np.testing.assert_array_equal(estimator.cluster_centers_, centers)
    given = rows if hasattr(found.model, "feature_names_in_") else rows.to_numpy(centers.dtype)
    np.testing.assert_array_equal(found.model.predict(given), expected[f"{name}_labels"])
    assert found.info["format_version"] == 2
    assert (found.summary is None) == (name != "pipeline")
    if found.summary is not None:
        assert found.summary.n_rows == 90


def test_a_mini_batch_of_format_1_goes_on():
    loaded = load_model(GOLDEN / "format1-minibatch_kmeans.gpuclust")
    assert (loaded.n_steps_, len(loaded._counts)) == (1, 3)
    loaded.partial_fit(np.load(GOLDEN / "format1.npz")["X"])
    assert loaded.n_steps_ == 2


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.gpuclust"


def golden():
    """Return the JSON header and the tensors of a file of format 1."""
    data = (GOLDEN / "format1-kmeans.gpuclust").read_bytes()
    length = int.from_bytes(data[:8], "little")
    return json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["gpuclust"]), load(data)


def craft(path, header, tensors):
    """Write a file of format 1 with any content and its right checksum."""
    signed = header | {"sha256": digest(header, tensors)}
    path.write_bytes(save(tensors, {"gpuclust": json.dumps(signed)}))


def test_a_wrong_checksum_is_found(path):
    header, tensors = golden()
    unsigned = {key: value for key, value in header.items() if key != "sha256"}
    for changed in (header | {"n_iter": header["n_iter"] + 1}, header | {"sha256": 1}, unsigned):
        path.write_bytes(save(tensors, {"gpuclust": json.dumps(changed)}))
        with pytest.raises(ModelFileError, match="checksum"):
            load_model(path)


CENTERS = np.zeros((3, 3))
SKETCH = np.sort(np.repeat(CENTERS[:, :, None], 4, axis=2) + np.arange(4.0), axis=2)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"class": "os.system"}, "class is 'os.system'"),
        ({"class": ["KMeans"]}, "class"),
        ({"params": None}, "parameters are missing"),
        ({"params": {"n_clusters": [3]}}, "not a plain value"),
        ({"params": {"n_clusters": 3, "unknown": 1}}, "unexpected keyword"),
        ({"params": {"n_clusters": 3, "max_iter": -1}}, "max_iter"),
        ({"params": {"n_clusters": 4}}, "shape"),
        ({"params": {"n_clusters": "3"}}, "shape"),
        ({"n_features_in": 4, "feature_names_in": None}, "shape"),
        ({"n_features_in": 0}, "number of features"),
        ({"n_features_in": True}, "number of features"),
        ({"n_iter": -1}, "n_iter"),
        ({"n_steps": 1.5}, "n_steps"),
        ({"inertia": -1.0}, "inertia"),
        ({"inertia": "0"}, "inertia"),
        ({"feature_names_in": ["a", "b"]}, "names 2 features but has 3"),
        ({"feature_names_in": ["a", "b", 3]}, "not text"),
        ({"feature_names_in": "abc"}, "not text"),
    ],
)
def test_signed_files_with_wrong_metadata_are_refused(path, change, reason):
    header, tensors = golden()
    craft(path, header | change, tensors)
    with pytest.raises(ModelFileError, match=reason):
        load_model(path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"cluster_centers_": CENTERS * np.nan}, "NaN or infinite"),
        ({"cluster_centers_": CENTERS + np.inf}, "NaN or infinite"),
        ({"cluster_centers_": CENTERS.astype(np.int64)}, "int64"),
        ({"cluster_centers_": CENTERS.astype(np.float16)}, "float16"),
        ({"cluster_centers_": CENTERS[:2]}, "shape"),
        ({"cluster_centers_": CENTERS[:, :2].copy()}, "shape"),
        ({"cluster_centers_": CENTERS[0]}, "shape"),
        ({"cluster_centers_": np.array(1.0)}, "shape"),
        ({"cluster_centers_": None}, "centers are missing"),
        ({"more": CENTERS}, "unknown tensors: more"),
        ({"counts": np.ones(2)}, "counts"),
        ({"counts": -np.ones(3)}, "negative"),
        ({"sketch": SKETCH[:, :, :3].copy()}, "sketch has shape"),
        ({"sketch": SKETCH[:, :, :0].copy()}, "sketch has shape"),
        ({"sketch": SKETCH[:2]}, "sketch has shape"),
        ({"sketch": CENTERS}, "sketch has shape"),
        ({"sketch": SKETCH.astype(np.float32)}, "sketch is float32"),
        ({"sketch": SKETCH * np.nan}, "sketch is NaN"),
        ({"sketch": SKETCH[:, :, ::-1].copy()}, "not in order"),
    ],
)
def test_signed_files_with_wrong_tensors_are_refused(path, change, reason):
    header, tensors = golden()
    tensors = {name: tensor for name, tensor in (tensors | change).items() if tensor is not None}
    craft(path, header, tensors)
    with pytest.raises(ModelFileError, match=reason):
        load_model(path)


