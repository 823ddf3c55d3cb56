"""Pipelines in model files: what comes back transforms and predicts to the bit as what was saved."""

import copy
import json
import os
import random

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load, save
from sklearn import feature_selection, impute, preprocessing
from sklearn.cluster import KMeans as PeerKMeans
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline, make_pipeline

from gpuclust import KMeans, KMedians, MiniBatchKMeans, ModelFileError, load_model, save_model
from gpuclust.files.container import text_digest as digest
from gpuclust.monitoring import summarize
from gpuclust.persistence import model_bytes, read_model
from gpuclust.preprocessing import (
    FrequencyEncoder,
    MinMaxScaler,
    RobustScaler,
    SimpleImputer,
    StandardScaler,
    Winsorizer,
    make_preprocessor,
)

FULL = os.environ.get("GPUCLUST_FUZZ") == "full"
RNG = np.random.default_rng(0)
N = 120
FRAME = pd.DataFrame(
    {
        "u": RNG.normal(size=N),
        "v": RNG.lognormal(size=N),
        "w": RNG.normal(50.0, 3.0, N),
        "city": RNG.choice(["Rome", "Oslo", "Bern", "Lima"], N, p=[0.5, 0.3, 0.15, 0.05]),
        "grade": RNG.choice([1, 2, 3], N),
    }
)
FRAME.loc[3:9, "u"] = np.nan
FRAME.loc[5:7, "city"] = None
NUMBERS = ["u", "v", "w"]
TARGET = RNG.normal(size=N)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.gpuclust"


def same_bits(one, other):
    """Whether two arrays, sparse matrices or frames are equal, type and NaN included."""
    assert type(one) is type(other)
    if hasattr(one, "toarray"):
        one, other = one.toarray(), other.toarray()
    if hasattr(one, "columns"):
        assert list(one.columns) == list(other.columns)
    one, other = np.asarray(one), np.asarray(other)
    return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=True)


def check_round_trip(model, rows, path):
    save_model(model, path)
    loaded = load_model(path)
    assert repr(loaded.get_params()) == repr(model.get_params())
    assert same_bits(loaded[:-1].transform(rows), model[:-1].transform(rows))
    assert same_bits(loaded.transform(rows), model.transform(rows))
    assert same_bits(loaded.predict(rows), model.predict(rows))
    assert list(getattr(loaded, "feature_names_in_", [])) == list(getattr(model, "feature_names_in_", []))
    assert list(loaded[:-1].get_feature_names_out()) == list(model[:-1].get_feature_names_out())
    return loaded


STEPS = {
    "ours": (Winsorizer((5.0, 95.0)), SimpleImputer(strategy="median"), RobustScaler()),
    "standard": (StandardScaler(with_mean=False), SimpleImputer(add_indicator=True), MinMaxScaler((-1, 1), clip=True)),
    "theirs": (impute.SimpleImputer(), preprocessing.StandardScaler(), preprocessing.MaxAbsScaler()),
    "robust": (preprocessing.RobustScaler(with_scaling=False), impute.KNNImputer(add_indicator=True)),
    "components": (SimpleImputer(), PCA(2, whiten=True), preprocessing.MinMaxScaler()),
    "variances": (SimpleImputer(), feature_selection.VarianceThreshold(0.5)),
    "function": (SimpleImputer(), preprocessing.FunctionTransformer(np.tanh, feature_names_out="one-to-one")),
    "nothing": ("passthrough",),
}


@pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_steps_of_numbers(steps, dtype, path):
    rows = FRAME[NUMBERS].to_numpy(dtype)
    if steps == ("passthrough",):
        rows, steps = np.nan_to_num(rows), (StandardScaler(), "passthrough")
    model = make_pipeline(*copy.deepcopy(steps), KMeans(4, random_state=0)).fit(rows)
    loaded = check_round_trip(model, rows, path)
    assert loaded.fit(rows).predict(rows).tolist() == model.predict(rows).tolist()


ENCODERS = {
    "sparse": preprocessing.OneHotEncoder(handle_unknown="ignore"),
    "drop": preprocessing.OneHotEncoder(drop="if_binary", sparse_output=False, dtype=np.float32),
    "rare": preprocessing.OneHotEncoder(
        min_frequency=0.1, drop="first", handle_unknown="infrequent_if_exist", sparse_output=False
    ),
    "ordinal": preprocessing.OrdinalEncoder(
        min_frequency=12, handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2
    ),
    "target": preprocessing.TargetEncoder(),
    "frequency": FrequencyEncoder(),
}


CASES = [(name, output) for name in ENCODERS for output in ("default", "pandas") if (name, output) != ("sparse", "pandas")]


@pytest.mark.parametrize(("name", "output"), CASES)  # sparse rows are no frame
def test_columns(name, output, path):
    encoder = ENCODERS[name]
    numbers = make_pipeline(SimpleImputer(strategy="median"), RobustScaler())
    columns = ColumnTransformer(
        [("numbers", numbers, slice("u", "v")), ("text", encoder, ["city", "grade"]), ("none", "drop", [])],
        remainder="passthrough",
        transformer_weights={"text": 2.0},
    )
    model = make_pipeline(columns, MiniBatchKMeans(4, random_state=0))
    model.set_output(transform=output).fit(FRAME, TARGET)
    loaded = check_round_trip(model, FRAME, path)
    strange = FRAME.assign(city="Paris")
    if getattr(encoder, "handle_unknown", "ignore") in ("ignore", "use_encoded_value"):
        assert same_bits(loaded.predict(strange), model.predict(strange))
    if name != "target":  # which splits rows at random
        assert same_bits(loaded.fit(FRAME, TARGET).predict(FRAME), model.predict(FRAME))


def test_columns_that_a_function_chose_are_those_that_it_chose(path):
    columns = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), make_column_selector(dtype_include=float)),
            ("city", make_pipeline(impute.SimpleImputer(strategy="most_frequent"), FrequencyEncoder()), [3]),
            ("grade", StandardScaler(), np.array([False, False, False, False, True])),
        ]
    )
    model = make_pipeline(columns, KMedians(3, random_state=0)).fit(FRAME)
    save_model(model, path)
    loaded = load_model(path)
    assert loaded[0].transformers[0][2] == NUMBERS
    assert same_bits(loaded.transform(FRAME), model.transform(FRAME))
    assert same_bits(loaded.fit(FRAME).transform(FRAME), model.transform(FRAME))


def test_an_estimator_as_remainder(path):
    columns = ColumnTransformer([("v", StandardScaler(), ["v"])], remainder=SimpleImputer())
    model = make_pipeline(columns, KMeans(3, random_state=0)).fit(FRAME[NUMBERS])
    loaded = check_round_trip(model, FRAME[NUMBERS], path)
    assert type(loaded[0].remainder) is SimpleImputer
    assert same_bits(loaded.fit(FRAME[NUMBERS]).predict(FRAME[NUMBERS]), model.predict(FRAME[NUMBERS]))


def model_with_everything():
    numbers = make_pipeline(SimpleImputer(strategy="median"), RobustScaler(), PCA(2))
    columns = ColumnTransformer(
        [
            ("numbers", numbers, NUMBERS),
            ("city", preprocessing.OneHotEncoder(min_frequency=0.1, handle_unknown="infrequent_if_exist"), ["city"]),
            ("often", FrequencyEncoder(), ["city"]),
            ("grade", preprocessing.OrdinalEncoder(), ["grade"]),
        ]
    )
    return make_pipeline(columns, MinMaxScaler(), KMeans(4, random_state=0)).fit(FRAME)


def test_the_training_summary_and_what_a_file_says_of_itself(path):
    model = model_with_everything()
    save_model(model, path, training_data=FRAME)
    found = read_model(path)
    expected = summarize(model, FRAME)
    for name, value in expected.as_dict().items():
        np.testing.assert_array_equal(getattr(found.summary, name), value)
    assert found.info["features"] == [
        {"name": name, "dtype": str(dtype)} for name, dtype in FRAME.dtypes.items()
    ]
    assert (found.info["class"], found.info["estimator"], found.info["format_version"]) == ("Pipeline", "KMeans", 2)
    assert found.info["params"]["n_clusters"] == 4
    assert {"python", "numpy", "scikit-learn", "safetensors"} <= set(found.info["versions"])
    assert len(found.info["sha256"]) == 64
    json.dumps(found.info)
    path.write_bytes(model_bytes(model, summary=expected))
    again = read_model(path)
    assert again.summary.as_dict().keys() == expected.as_dict().keys()
    assert [each["dtype"] for each in again.info["features"]] == ["float64", "float64", "float64", "str", "int64"]


def test_a_preprocessor_keeps_its_explanation(path):
    model = make_pipeline(make_preprocessor(FRAME), KMeans(3, random_state=0)).fit(FRAME)
    loaded = check_round_trip(model, FRAME, path)
    assert loaded[0].explanation_ == model[0].explanation_


def test_what_a_file_cannot_hold_is_refused(path):
    class Derived(StandardScaler):
        pass

    rows = FRAME[["v", "w"]].to_numpy()
    steps = {
        "TruncatedSVD": TruncatedSVD(1),
        "Derived": Derived(),
        "function": preprocessing.FunctionTransformer(lambda X: X),
        "ufunc": preprocessing.FunctionTransformer(np.floor),
    }
    for name, step in steps.items():
        model = make_pipeline(step, KMeans(2, random_state=0)).fit(rows)
        with pytest.raises(TypeError, match=name):
            save_model(model, path)
    with pytest.raises(TypeError, match="a KMeans is none of them"):
        save_model(make_pipeline(StandardScaler(), PeerKMeans(2)).fit(rows), path)
    with pytest.raises(NotFittedError):
        save_model(make_pipeline(StandardScaler(), KMeans(2)), path)
    half = make_pipeline(StandardScaler(), KMeans(2, random_state=0)).fit(rows)
    half.steps[0] = ("new", StandardScaler())
    with pytest.raises(ModelFileError, match="not fitted"):
        save_model(half, path)
    strange = make_pipeline(StandardScaler(), KMeans(2, random_state=0)).fit(rows)
    strange[0].secret_ = 3
    with pytest.raises(TypeError, match="secret_"):
        save_model(strange, path)
    assert not path.exists()


def test_what_belongs_to_another_machine_is_left_out(path, tmp_path):
    rows = FRAME[["v", "w"]].to_numpy()
    model = Pipeline(
        [("scale", StandardScaler(device="cpu")), ("cluster", KMeans(2, random_state=0, checkpoint=str(tmp_path / "c")))],
        memory=str(tmp_path / "cache"),
    ).fit(rows)
    save_model(model, path)
    loaded = load_model(path)
    assert (loaded.memory, loaded[-1].checkpoint) == (None, None)


# --- other versions of scikit-learn ----------


def step(header, at):
    """What a file tells of a step of a pipeline."""
    return header["model"]["params"]["steps"][at]["tuple"][1]


def test_parameters_that_did_nothing_may_be_unknown_to_another_version(path):
    rows = FRAME[NUMBERS].to_numpy()
    model = make_pipeline(impute.SimpleImputer(), KMeans(3, random_state=0)).fit(rows)
    header, tensors = parts(model_bytes(model))
    node = step(header, 0)
    node["params"] |= {"gone": 3, "copy": "deprecated"}
    node["defaults"] += ["gone"]
    node["state"].pop("_fill_dtype")  # scikit-learn 1.6 has none
    path.write_bytes(signed(header, tensors))
    assert same_bits(load_model(path).transform(rows), model.transform(rows))
    node["defaults"].remove("gone")
    path.write_bytes(signed(header, tensors))
    with pytest.raises(ModelFileError, match=r"SimpleImputer: .*gone"):
        load_model(path)


def test_state_that_this_version_needs_is_missed(path):
    model = make_pipeline(StandardScaler(), KMeans(3, random_state=0)).fit(FRAME[["v", "w"]].to_numpy())
    header, tensors = parts(model_bytes(model))
    tensors.pop(step(header, 0)["state"].pop("scale_")["tensor"])
    path.write_bytes(signed(header, tensors))
    with pytest.raises(ModelFileError, match=r"gpuclust\.StandardScaler: it lacks scale_"):
        load_model(path)


# --- damage ----------


def parts(data):
    length = int.from_bytes(data[:8], "little")
    return json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["gpuclust"]), load(data)


def signed(header, tensors):
    text = json.dumps(header)
    return save(tensors, {"gpuclust": text, "sha256": digest(text, tensors)})


def mutated_bytes(data, rnd):
    out = bytearray(data)
    for _ in range(rnd.randint(1, 3)):
        at, kind = rnd.randrange(len(out)), rnd.randrange(4)
        end = min(len(out), at + rnd.randint(1, 40))
        if kind == 0:
            out[at] ^= 1 << rnd.randrange(8)
        elif kind == 1:
            del out[at:end]
        elif kind == 2:
            out[at:at] = out[at:end]
        else:
            out[at:end] = bytes(end - at)
    return bytes(out)


@pytest.fixture(scope="module")
def whole():
    model = model_with_everything()
    return model, model_bytes(model, training_data=FRAME)


@pytest.mark.timeout(1800)
def test_fuzzed_files_are_refused(whole, path):
    """Every byte counts: the checksum is over the text of the header, and the tensors lie without gaps."""
    model, data = whole
    rnd, expected = random.Random(1), model.transform(FRAME)
    for _ in range(10_000 if FULL else 250):
        broken = mutated_bytes(data, rnd)
        path.write_bytes(broken)
        try:
            loaded = load_model(path)
        except ModelFileError:
            continue
        assert same_bits(loaded.transform(FRAME), expected), "another model was accepted"


ODD = [
    None, True, False, 0, -1, 3, 10**30, -(2**70), 1.5, 1e308, "", "x", "numpy.log1p", "drop", [], {}, [1], [[[]]],
    {"float": "nan"}, {"float": "x"}, {"tensor": "none"}, {"tuple": []}, {"tuple": 3}, {"dict": [[[], 1]]},
    {"dict": [[1, 2]]}, {"slice": [0, 10**12, 1]}, {"slice": [1]}, {"text": ["a", 3]}, {"objects": [{}]},
    {"scalar": "float64", "value": "x"}, {"scalar": "object", "value": 1}, {"dtype": "U9"}, {"type": "str"},
    {"function": "os.system"}, {"class": "os.system"}, {"class": "sklearn.StandardScaler"}, {"python/object": "os.system"},
]  # fmt: skip


def places(value, path=()):
    """Yield the path of everything in a JSON value."""
    yield path
    if isinstance(value, dict):
        for key in value:
            yield from places(value[key], (*path, key))
    if isinstance(value, list):
        for at, each in enumerate(value):
            yield from places(each, (*path, at))


def at(value, path):
    for key in path:
        value = value[key]
    return value


def mutated_header(header, tensors, rnd):
    """Another value, a value of another place, nothing, or one thing too many, anywhere; tensors that are others."""
    header, tensors = copy.deepcopy(header), dict(tensors)
    everywhere = [place for place in places(header) if place and place[0] in ("model", "summary", "features")]
    kind = rnd.randrange(6)
    place = rnd.choice(everywhere)
    inside = at(header, place[:-1])
    if kind == 0:
        inside[place[-1]] = rnd.choice(ODD)
    elif kind == 1:
        inside[place[-1]] = copy.deepcopy(at(header, rnd.choice(everywhere)))
    elif kind == 2:
        del inside[place[-1]]
    elif kind == 3:
        if isinstance(inside, list):
            inside.append(copy.deepcopy(inside[place[-1]]))
        else:
            inside["more"] = rnd.choice(ODD)
    else:
        one, other = rnd.sample(sorted(tensors), 2)
        if kind == 4:
            tensors[one], tensors[other] = tensors[other], tensors[one]
        else:
            tensors[one] = rnd.choice(
                [tensors[one][:1], tensors[one].astype(np.int8), np.array(3.0), tensors[one] * np.nan, -tensors[one]]
            )
    return header, tensors


@pytest.mark.timeout(1800)
@pytest.mark.filterwarnings("ignore")
def test_signed_files_with_other_contents_are_refused_or_work(whole, path):
    """With a right checksum, what is accepted is a model that can be used: no crash, then or later."""
    _, data = whole
    header, tensors = parts(data)
    rnd, accepted = random.Random(2), 0
    rounds = 10_000 if FULL else 150
    for _ in range(rounds):
        path.write_bytes(signed(*mutated_header(header, tensors, rnd)))
        try:
            loaded = load_model(path)
        except ModelFileError:
            continue
        accepted += 1
        try:
            found = loaded.transform(FRAME)
        except ValueError:  # rows that this model cannot take, as scikit-learn puts it
            continue
        assert np.shape(found) == (N, 4)
    assert 0 < accepted < rounds / 2


def test_columns_that_are_left_out_in_a_list_of_scikit_learns_own():
    """As scikit-learn 1.6 keeps them."""
    from collections import UserList

    from gpuclust.persistence.values import Encoder

    assert Encoder(lambda *_: pytest.fail("an object")).encode(UserList([0, 2]), "columns") == [0, 2]
