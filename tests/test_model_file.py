"""Model files: what comes back is what was saved, and no damaged file is taken for a model."""

import json
import math
import os
import pickle
import random

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load, save
from sklearn.cluster import KMeans as PeerKMeans
from sklearn.exceptions import NotFittedError

from gpuclust import KMeans, MiniBatchKMeans, MiniBatchKMedians, ModelFileError, load_model, save_model
from gpuclust.files.atomic import atomic_write
from gpuclust.files.container import text_digest as digest
from gpuclust.persistence import FORMAT_VERSION
from gpuclust.persistence.objects import encode_object
from gpuclust.persistence.values import Decoder, Encoder

MUTATIONS = 10_000 if os.environ.get("GPUCLUST_FUZZ") == "full" else 500
RNG = np.random.default_rng(0)
X = np.concatenate([RNG.normal(center, 0.3, (40, 3)) for center in (0.0, 5.0, 11.0)])
NEW = RNG.normal(5.0, 4.0, (60, 3))
CLASSES = pytest.mark.parametrize("Class", [KMeans, MiniBatchKMeans])


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.gpuclust"


def saved(path, **parameters):
    """Fit a small model, save it, return it."""
    model = KMeans(3, random_state=0, **parameters).fit(X)
    save_model(model, path)
    return model


def parts(path):
    """Return the JSON header and the tensors of a model file."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    return json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["gpuclust"]), load(data)


def craft(path, header, tensors, *, checksum=None):
    """Write a model file with any content; signed, so that only checks behind the checksum can refuse it."""
    text = json.dumps(header)
    path.write_bytes(save(tensors, {"gpuclust": text, "sha256": checksum or digest(text, tensors)}))


# --- round trips ----------


@CLASSES
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_round_trip(path, Class, dtype):
    rows, new = X.astype(dtype), NEW.astype(dtype)
    model = Class(3, random_state=0).fit(rows)
    save_model(model, path)
    loaded = load_model(path)
    assert type(loaded) is Class
    assert loaded.get_params() == model.get_params()
    assert loaded.cluster_centers_.dtype == dtype
    np.testing.assert_array_equal(loaded.cluster_centers_, model.cluster_centers_)
    assert (loaded.inertia_, loaded.n_iter_) == (model.inertia_, model.n_iter_)
    assert (loaded.n_features_in_, loaded.device_) == (3, "cpu")
    np.testing.assert_array_equal(loaded.predict(new), model.predict(new))
    np.testing.assert_array_equal(loaded.transform(new), model.transform(new))
    assert loaded.score(new) == model.score(new)
    assert list(loaded.get_feature_names_out()) == list(model.get_feature_names_out())
    assert not hasattr(loaded, "labels_")
    assert not hasattr(loaded, "feature_names_in_")


def test_feature_names(path):
    frame = pd.DataFrame(X, columns=["größe", "b", "c,d"])
    save_model(KMeans(3, random_state=0).fit(frame), path)
    loaded = load_model(path)
    assert list(loaded.feature_names_in_) == ["größe", "b", "c,d"]
    loaded.predict(frame)  # no warning about names
    with pytest.raises(ValueError, match="feature names should match"):
        loaded.predict(frame[["b", "größe", "c,d"]])


def test_mini_batch_goes_on_where_it_stopped(path):
    model = MiniBatchKMeans(3, random_state=0, reassignment_ratio=0.0).partial_fit(X[:60])
    save_model(model, path)
    loaded = load_model(path)
    assert loaded.n_steps_ == model.n_steps_ == 1
    for other in (model, loaded):
        other.partial_fit(X[60:])
    assert loaded.n_steps_ == 2
    np.testing.assert_array_equal(loaded.cluster_centers_, model.cluster_centers_)
    forgetful = MiniBatchKMeans(3, init=load_model(path).cluster_centers_, n_init=1).partial_fit(X[60:])
    assert not np.array_equal(forgetful.cluster_centers_, model.cluster_centers_)  # without counts it differs


def test_a_loaded_model_can_be_fitted_again(path):
    model = saved(path)
    np.testing.assert_array_equal(load_model(path).fit(X).labels_, model.labels_)


def test_parameters_that_are_no_plain_values_are_left_out(path):
    model = KMeans(3, init=X[[0, 50, 100]], n_init=1, random_state=np.random.RandomState(0)).fit(X)
    save_model(model, path)
    assert parts(path)[0]["model"]["omitted"] == ["init", "random_state"]
    loaded = load_model(path)
    assert (loaded.init, loaded.random_state) == ("k-means++", None)
    np.testing.assert_array_equal(loaded.predict(X), model.labels_)


def test_numpy_scalars_are_plain_values(path):
    model = KMeans(np.int64(3), tol=np.float64(0.5), random_state=np.int32(4)).fit(X)
    save_model(model, path)
    loaded = load_model(path)
    assert (loaded.n_clusters, loaded.tol, loaded.random_state) == (3, 0.5, 4)


def test_a_model_from_a_gpu_loads_without_one(path):
    saved(path)
    header, tensors = parts(path)
    header["model"]["params"]["device"] = "cuda:3"
    craft(path, header, tensors)
    loaded = load_model(path)
    assert (loaded.device, loaded.device_) == ("auto", "cpu")


def test_text_paths(path):
    saved(str(path))
    load_model(str(path))


def test_only_fitted_models_of_ours_are_saved(path):
    with pytest.raises(NotFittedError):
        save_model(KMeans(), path)
    with pytest.raises(TypeError, match="saves KMeans, MiniBatchKMeans, KMedians, MiniBatchKMedians"):
        save_model(PeerKMeans(2).fit(X), path)

    class Derived(KMeans):
        pass

    with pytest.raises(TypeError, match="a Derived is none of them"):
        save_model(Derived(3).fit(X), path)
    assert not path.exists()


def test_a_model_with_broken_centers_is_not_saved(path):
    model = KMeans(3, random_state=0).fit(X)
    model.cluster_centers_[0, 0] = np.nan
    with pytest.raises(ModelFileError, match="NaN"):
        save_model(model, path)
    assert not path.exists()


def test_centers_in_any_memory_order(path):
    model = KMeans(3, random_state=0).fit(X)
    model.cluster_centers_ = np.asfortranarray(model.cluster_centers_)
    save_model(model, path)
    np.testing.assert_array_equal(load_model(path).cluster_centers_, model.cluster_centers_)


# --- damage ----------


def test_a_missing_file_is_an_oserror(path):
    with pytest.raises(FileNotFoundError):
        load_model(path)


def test_every_truncation_is_refused(path):
    saved(path)
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(ModelFileError, match="empty|truncated|not a gpuclust model"):
            load_model(path)


def test_appended_bytes_are_refused(path):
    saved(path)
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(ModelFileError, match="damaged"):
        load_model(path)


def mutated(data, rnd):
    """Return the bytes with a few bits flipped, bytes set, or a stretch removed, doubled or zeroed."""
    out = bytearray(data)
    for _ in range(rnd.randint(1, 3)):
        at, kind = rnd.randrange(len(out)), rnd.randrange(5)
        end = min(len(out), at + rnd.randint(1, 40))
        if kind == 0:
            out[at] ^= 1 << rnd.randrange(8)
        elif kind == 1:
            out[at] = rnd.randrange(256)
        elif kind == 2 and len(out) > 60:
            del out[at:end]
        elif kind == 3:
            out[at:at] = out[at:end]
        else:
            out[at:end] = bytes(end - at)
    return bytes(out)


def same_model(loaded, model):
    return (
        loaded.get_params() == model.get_params()
        and np.array_equal(loaded.cluster_centers_, model.cluster_centers_)
        and (loaded.inertia_, loaded.n_iter_) == (model.inertia_, model.n_iter_)
    )


def test_fuzzed_files_are_refused_or_unharmed(path):
    """A mutation may leave the meaning as it was (1e-05, 1E-05); anything else must be refused."""
    model, rnd = saved(path, tol=1e-5), random.Random(1)
    data = path.read_bytes()
    accepted = 0
    for _ in range(MUTATIONS):
        path.write_bytes(mutated(data, rnd))
        try:
            loaded = load_model(path)
        except ModelFileError:
            continue
        assert same_model(loaded, model)
        accepted += 1
    assert accepted <= MUTATIONS // 50


def test_every_flipped_bit_of_the_tensors_is_found(path):
    saved(path)
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    for at in range(start, len(data)):
        broken = bytearray(data)
        broken[at] ^= 1 << (at % 8)
        path.write_bytes(broken)
        with pytest.raises(ModelFileError, match="checksum|NaN"):
            load_model(path)


class RunsCode:
    """A pickle of this leaves a file behind when it is loaded."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (self.trace,)


@pytest.mark.parametrize("content", ["pickle", "text", "zip", "safetensors", "random"])
def test_files_of_another_kind_are_refused(path, tmp_path, content):
    trace = str(tmp_path / "trace")
    made = {
        "pickle": pickle.dumps(RunsCode(trace)),
        "text": b"cluster,x,y\n0,1.0,2.0\n" * 20,
        "zip": b"PK\x03\x04" + bytes(100),
        "safetensors": save({"cluster_centers_": X}),
        "random": RNG.bytes(500),
    }
    path.write_bytes(made[content])
    with pytest.raises(ModelFileError, match="not a gpuclust model"):
        load_model(path)
    assert not os.path.exists(trace)


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (b'{"a":', "not valid JSON"),
        (b"{}", "not a gpuclust model"),
        (b'{"__metadata__":{"gpuclust":3}}', "not a table of strings"),
        (b'{"__metadata__":[]}', "not a table of strings"),
        (b'{"x":{"dtype":"F64","shape":[2],"data_offsets":[0,99999999999999]}}', "truncated"),
        (b'{"x":{"dtype":"F64","shape":[2],"data_offsets":[0,"16"]}}', "does not say where"),
        (b'{"x":{"dtype":"F64","shape":[2],"data_offsets":[-8,0]}}', "does not say where"),
        (b'{"x":[1]}', "does not say where"),
        (b'{"x":{"dtype":"F64","shape":[9223372036854775807,9],"data_offsets":[0,0]}}', "damaged"),
        (b'{"x":{"dtype":"no","shape":[0],"data_offsets":[0,0]}}', "damaged"),
        (b'{"__metadata__":{"gpuclust":"{"}}', "metadata is not valid JSON"),
        (b'{"__metadata__":{"gpuclust":"[]"}}', "not a JSON object"),
        (b'{"__metadata__":{"gpuclust":"{\\"format_version\\":NaN}"}}', "metadata is not valid JSON"),
        (b'{"__metadata__":{"gpuclust":"{}"}}', "format_version is None"),
        (b'{"__metadata__":{"gpuclust":"{\\"format_version\\":true}"}}', "format_version is True"),
        (b'{"a":' + b"[" * 100_000, "damaged"),
    ],
)
def test_damaged_headers_are_refused(path, header, reason):
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(ModelFileError, match=reason):
        load_model(path)


def test_a_header_longer_than_any_file_is_refused(path):
    path.write_bytes((1 << 62).to_bytes(8, "little") + b"{}")
    with pytest.raises(ModelFileError, match="not a gpuclust model"):
        load_model(path)


def test_a_newer_format_says_how_to_read_it(path):
    saved(path)
    header, tensors = parts(path)
    craft(path, header | {"format_version": FORMAT_VERSION + 1}, tensors)
    with pytest.raises(ModelFileError, match=r"newer than format 2.*pip install --upgrade gpuclust"):
        load_model(path)


def test_a_wrong_checksum_is_found(path):
    saved(path)
    header, tensors = parts(path)
    for changed in (header | {"saved": "2000-01-01"}, header | {"features": []}):
        craft(path, changed, tensors, checksum=digest(json.dumps(header), tensors))
        with pytest.raises(ModelFileError, match="checksum"):
            load_model(path)
    path.write_bytes(save(tensors, {"gpuclust": json.dumps(header)}))
    with pytest.raises(ModelFileError, match="checksum"):
        load_model(path)


CENTERS = np.zeros((3, 3))
SKETCH = np.sort(np.repeat(CENTERS[:, :, None], 4, axis=2) + np.arange(4.0), axis=2)


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
        ({"cluster_centers_": None}, "tensor"),
        ({"more": CENTERS}, "unknown tensors: more"),
        ({"_counts": np.ones(2)}, "_counts"),
        ({"_counts": -np.ones(3)}, "_counts"),
        ({"_centers": CENTERS.astype(np.float32)}, "exact centers are not float64"),
        ({"_sketch": SKETCH[:, :, :3].copy()}, "3 values a feature"),
        ({"_sketch": SKETCH[:, :, :0].copy()}, "0 values a feature"),
        ({"_sketch": SKETCH[:2]}, "shape"),
        ({"_sketch": CENTERS}, "shape"),
        ({"_sketch": SKETCH.astype(np.float32)}, "sketch is float32"),
        ({"_sketch": SKETCH * np.nan}, "NaN"),
        ({"_sketch": SKETCH[:, :, ::-1].copy()}, "not in order"),
    ],
)
def test_signed_files_with_wrong_tensors_are_refused(path, change, reason):
    model = MiniBatchKMedians(3, random_state=0, sketch_size=4).partial_fit(X)
    save_model(model, path)
    header, tensors = parts(path)
    names = {name: name if name == "more" else f"model.{name}" for name in change}
    tensors |= {names[name]: tensor for name, tensor in change.items()}
    craft(path, header, {name: tensor for name, tensor in tensors.items() if tensor is not None})
    with pytest.raises(ModelFileError, match=reason):
        load_model(path)


@pytest.mark.parametrize(
    ("place", "value", "reason"),
    [
        (("class",), "os.system", "class is 'os.system'"),
        (("class",), "KMeans", "class is 'KMeans'"),
        (("class",), ["gpuclust.KMeans"], "class is"),
        (("params",), None, "not told of in full"),
        (("params", "n_clusters"), 4, "shape"),
        (("params", "n_clusters"), "3", "shape"),
        (("params", "max_iter"), -1, "max_iter"),
        (("params", "unknown"), 1, "unexpected keyword"),
        (("state", "n_features_in_"), 4, "shape"),
        (("state", "n_features_in_"), True, "n_features_in_ is True, not size"),
        (("state", "n_iter_"), -1, "n_iter_ is -1, not count"),
        (("state", "n_iter_"), 1 << 70, "n_iter_"),
        (("state", "inertia_"), "0", "inertia_"),
        (("state", "inertia_"), {"float": "inf"}, "inertia_"),
        (("state", "feature_names_in_"), {"objects": ["a", "b"]}, "feature_names_in_"),
        (("state", "feature_names_in_"), {"objects": ["a", "b", 3]}, "feature_names_in_"),
        (("state", "labels_"), [], "not its own"),
        (("state", "predict"), 3, "not its own"),
        (("output",), "pickle", "output"),
        (("state",), {}, "no fitted clustering estimator"),
    ],
)
def test_signed_files_with_wrong_values_are_refused(path, place, value, reason):
    saved(path)
    header, tensors = parts(path)
    inside = header["model"]
    for key in place[:-1]:
        inside = inside[key]
    inside[place[-1]] = value
    if place == ("state",):
        tensors = {}
    craft(path, header, tensors)
    with pytest.raises(ModelFileError, match=reason):
        load_model(path)


VALUES = [
    None, True, 3, -(2**70), 1.5, -0.0, math.nan, -math.inf, "größe", ["a", [1.0]], ("a", (2,)), {1: "x", (2, "b"): None},
    slice(1, None, 2), slice("a", "b"), np.float32(0.1), np.int64(3), np.bool_(True), np.float64(math.nan), np.arange(3),
    np.array(2.5), np.zeros((0, 3)), np.asfortranarray(np.arange(6.0).reshape(2, 3)), np.array([True, False]),
    np.array(["a", "größer"]), np.array(["a", None, 3, math.nan, np.int8(2)], dtype=object), np.dtype("float32"),
    np.dtype(object), np.float64, float, object, np.log1p,
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=[str(at) for at in range(len(VALUES))])
def test_values_come_back_as_they_were(value):
    encoder = Encoder(None)
    text = json.dumps(encoder.encode(value, "value"), allow_nan=False)
    tensors = load(save(encoder.tensors))
    found = Decoder(tensors, None).decode(json.loads(text))
    assert type(found) is type(value)
    assert repr(found) == repr(value)
    if isinstance(value, np.ndarray) and value.size:
        assert (found.dtype, found.shape, found.strides) == (value.dtype, value.shape, value.strides)


@pytest.mark.parametrize(
    "value", [1j, {1, 2}, b"x", np.zeros(2, complex), np.array([["a"]]), np.datetime64("2020-01-01"), len, np.floor, os]
)
def test_values_that_files_do_not_hold(value):
    encoder = Encoder(encode_object)
    with pytest.raises(TypeError):
        encoder.encode(value, "value")


def test_deep_values_are_refused(path):
    saved(path)
    header, tensors = parts(path)
    deep = []
    for _ in range(60):
        deep = [deep]
    header["model"]["state"]["n_iter_"] = deep
    craft(path, header, tensors)
    with pytest.raises(ModelFileError, match="more than 40 levels deep"):
        load_model(path)


# --- atomic writes ----------


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(path, monkeypatch, error):
    saved(path)
    before = path.read_bytes()

    def fail(number):
        raise error

    with monkeypatch.context() as patch, pytest.raises(type(error)):
        patch.setattr(os, "fsync", fail)
        saved(path, tol=0.5)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_permissions_follow_the_umask(path):
    with atomic_write(path) as handle:
        handle.write(b"x")
    mask = os.umask(0)
    os.umask(mask)
    if os.name == "posix":
        assert path.stat().st_mode & 0o777 == 0o666 & ~mask
