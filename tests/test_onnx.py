"""Models as ONNX graphs: onnxruntime gives the labels of the model wherever they are clear."""

import numpy as np
import pandas as pd
import pytest
from sklearn import impute, preprocessing
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.feature_selection import VarianceThreshold
from sklearn.pipeline import make_pipeline

from gpuclust import KMeans, KMedians, MiniBatchKMeans, MiniBatchKMedians
from gpuclust.monitoring import summarize
from gpuclust.persistence import check_onnx, export_onnx
from gpuclust.persistence.onnx import onnx_bytes
from gpuclust.persistence.onnx.export import inputs_of
from gpuclust.persistence.onnx.sampling import random_rows
from gpuclust.preprocessing import (
    FrequencyEncoder,
    MinMaxScaler,
    OneHotEncoder,
    RobustScaler,
    SimpleImputer,
    StandardScaler,
    Winsorizer,
)

onnxruntime = pytest.importorskip("onnxruntime")
RNG = np.random.default_rng(0)
N = 400
FRAME = pd.DataFrame(
    {
        "u": RNG.normal(size=N),
        "v": RNG.lognormal(size=N),
        "w": RNG.normal(1e5, 3.0, N),
        "city": RNG.choice(["Rome", "Oslo", "Bern", "Lima"], N, p=[0.5, 0.3, 0.15, 0.05]),
        "grade": RNG.choice([1, 2, 3], N),
        "half": RNG.choice([0.5, 1.5, np.nan], N),
    }
)
FRAME.loc[3:30, "u"] = np.nan
FRAME.loc[5:20, "city"] = None
NUMBERS = ["u", "v", "w"]
TARGET = RNG.normal(size=N)


def labels(graph, feed):
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    return session.run(["label"], feed)[0]


@pytest.mark.parametrize("Class", [KMeans, KMedians, MiniBatchKMeans, MiniBatchKMedians])
@pytest.mark.parametrize("offset", [0.0, 1e7])
def test_ten_thousand_rows(Class, offset, tmp_path):
    """Also far from 0, where multiplying out (x - c)^2 loses digits."""
    X = np.concatenate([RNG.normal(center, 1.0, (100, 5)) for center in range(6)]) + offset
    model = Class(6, random_state=0).fit(X)
    export_onnx(model, tmp_path / "model.onnx")
    found = check_onnx(model, tmp_path / "model.onnx")
    assert found.passed
    assert (found.rows, found.wrong) == (10_000, 0)
    assert found.clear > 9_900
    rows = X.astype(np.float32)
    np.testing.assert_array_equal(
        labels((tmp_path / "model.onnx").read_bytes(), {"X": rows}), model.predict(rows.astype(np.float64))
    )


def test_manhattan_distances_are_summed_as_predict_sums_them():
    """Rows halfway between two centres, to the bit: the lower number wins in both."""
    rows = RNG.integers(0, 5, (2000, 3)).astype(np.float32)
    model = KMedians(20, random_state=0).fit(rows.astype(np.float64))
    np.testing.assert_array_equal(labels(onnx_bytes(model), {"X": rows}), model.predict(rows.astype(np.float64)))


def test_a_wrong_graph_is_found():
    model = KMeans(4, random_state=0).fit(FRAME[["v", "w"]].to_numpy())
    graph = onnx_bytes(model)
    model.cluster_centers_ = model.cluster_centers_[::-1].copy()
    found = check_onnx(model, graph)
    assert not found.passed
    assert found.wrong == found.clear > 9_000


@pytest.mark.parametrize("told", [False, True], ids=["", "summary"])
@pytest.mark.parametrize("kind", [impute.SimpleImputer, SimpleImputer])
def test_random_rows_lack_what_the_model_fills(kind, told):
    """Or a graph that fills it with something else would pass."""
    numbers, rows = make_pipeline(kind(), StandardScaler()), FRAME[[*NUMBERS, "grade"]]
    made = ColumnTransformer([("numbers", numbers, ["u", "v"]), ("w", MinMaxScaler(), ["w"])])
    model = make_pipeline(made, KMeans(8, random_state=0)).fit(rows)
    summary = summarize(model, rows) if told else None
    assert check_onnx(model, onnx_bytes(model), summary=summary).wrong == 0
    drawn = random_rows(model, inputs_of(model), 1000, 0, summary)
    assert [0.02 < np.isnan(column).mean() < 0.1 for column in drawn] == [True, True, False, False]
    filled = model[0].named_transformers_["numbers"][0]
    filled.statistics_ = filled.statistics_ + 2
    wrong = onnx_bytes(model)
    filled.statistics_ = filled.statistics_ - 2
    assert check_onnx(model, wrong, summary=summary).wrong > 50


def test_rows_close_to_two_centres_are_counted_apart():
    """In float32 1 + 1e-7 is 1.00000012: nearer to the second centre by 1.2e-7, which is not clear."""
    model = KMeans(2, init=np.array([[0.0], [2.0]]), n_init=1).fit([[0.0], [2.0]])
    graph = onnx_bytes(model)
    found = check_onnx(model, graph, np.array([[1.0], [1.0 + 1e-7], [1.5]]))
    assert (found.rows, found.clear, found.wrong) == (3, 1, 0)
    model.cluster_centers_ = model.cluster_centers_[::-1].copy()
    assert check_onnx(model, graph, np.array([[1.5], [1.0 + 1e-7]]))[1:] == (1, 1, 1)


FILLED = (SimpleImputer(strategy="median"), RobustScaler())
STEPS = {
    "robust": FILLED,
    "indicators": (SimpleImputer(add_indicator=True), StandardScaler()),
    "range": (SimpleImputer(), MinMaxScaler((-1, 2), clip=True)),
    "caps": (Winsorizer((5.0, 95.0)), SimpleImputer(), MinMaxScaler()),
    "largest": (impute.SimpleImputer(strategy="constant", fill_value=3.0), preprocessing.MaxAbsScaler()),
    "components": (*FILLED, PCA(2, whiten=True)),
    "variances": (*FILLED, VarianceThreshold(0.5)),
    "quantiles": (SimpleImputer(), preprocessing.QuantileTransformer(n_quantiles=5)),
    "functions": (SimpleImputer(), StandardScaler(), preprocessing.FunctionTransformer(np.tanh)),
    "logarithms": (SimpleImputer(), preprocessing.FunctionTransformer(np.abs), preprocessing.FunctionTransformer(np.log1p)),
}


@pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS)
def test_steps_of_numbers(steps):
    rows = FRAME[NUMBERS].to_numpy()
    model = make_pipeline(*steps, KMeans(5, random_state=0)).fit(rows)
    graph = onnx_bytes(model)
    for found in (check_onnx(model, graph, n_rows=1000), check_onnx(model, graph, rows)):
        assert found.passed
        assert found.clear > 0.9 * found.rows


def holes(rows, share, sign=np.nan):
    return np.where(RNG.random(rows.shape) < share, sign, rows)


IMPUTERS = {
    "means": {},
    "weights": {"weights": "distance", "n_neighbors": 3},
    "indicators": {"add_indicator": True, "n_neighbors": 1},
    "sign": {"missing_values": -9.0},
    "more than there are": {"n_neighbors": 10_000},
    "empty": {"keep_empty_features": True},
}


@pytest.mark.parametrize("options", IMPUTERS.values(), ids=IMPUTERS)
def test_values_of_neighbors(options):
    """What onnxruntime fills in, by the labels: every row is a cluster's center, so that none may be far off."""
    sign = options.get("missing_values", np.nan)
    clean = RNG.integers(0, 9, (60, 1)) * np.ones(4) + RNG.normal(0.0, 0.3, (60, 4))
    training = holes(clean, 0.2, sign)
    training[:, 3] = sign if "keep_empty_features" in options else training[:, 3]
    training = training.astype(np.float32).astype(np.float64)
    model = make_pipeline(impute.KNNImputer(**options), KMeans(40, random_state=0, n_init=1)).fit(training)
    new = holes(np.repeat(clean, 5, axis=0) + RNG.normal(0.0, 0.1, (300, 4)), 0.4, sign)
    new[:60], new[60] = training, sign  # at distance 0, and with nothing to go by
    found = check_onnx(model, onnx_bytes(model), new)
    assert found.passed
    assert found.clear > 290


def test_missing_neighbors_are_no_neighbors():
    """By hand: the row (?, 0) has the neighbors (1, 0) and (5, 2); (7, ?) has no distance to it, (?, 0) no value."""
    rows = np.array([[1.0, 0.0], [5.0, 2.0], [7.0, np.nan], [np.nan, 0.0]])
    centers = np.arange(0.0, 10.0)[:, None] * [1.0, 0.0]
    nearest = KMeans(10, init=centers, n_init=1, max_iter=1).fit(centers)
    for weights, expected in (("uniform", 3), ("distance", 1)):
        model = make_pipeline(impute.KNNImputer(weights=weights).fit(rows), nearest)
        asked = np.array([[np.nan, 0.0], [np.nan, np.nan], [np.inf, np.nan], [7.0, 0.0]], np.float32)
        # with nothing known it is the mean of 1, 5 and 7
        assert labels(onnx_bytes(model), {"X": asked}).tolist() == [expected, 4, -1, 7]
    model[0].missing_values = -1.0  # NaN is then refused
    assert labels(onnx_bytes(model), {"X": asked}).tolist() == [-1, -1, -1, 7]


@pytest.mark.parametrize("imputer", [impute.SimpleImputer, impute.KNNImputer])
def test_a_sign_for_missing_values_that_float32_rounds_is_refused(imputer):
    rows = np.where(np.isnan(FRAME[NUMBERS]), -99999999, FRAME[NUMBERS])
    model = make_pipeline(imputer(missing_values=-99999999), KMeans(2, random_state=0)).fit(rows)
    with pytest.raises(NotImplementedError, match="missing_values=-99999999 cannot be exported"):
        onnx_bytes(model)


def test_columns_may_have_any_name_but_that_of_the_output():
    frame = FRAME[["u", "city"]].dropna()
    for names in (["const_1", "Cast_1"], ["const_2", "LabelEncoder_3"], ["X", "y z/ü"]):
        rows = frame.set_axis(names, axis=1)
        made = ColumnTransformer([("u", StandardScaler(), names[:1]), ("city", OneHotEncoder(sparse_output=False), names[1:])])
        model = make_pipeline(made, KMeans(3, random_state=0)).fit(rows)
        assert check_onnx(model, onnx_bytes(model), rows).passed
    for name in ("", "label"):
        rows = frame.set_axis(["u", name], axis=1)
        made = ColumnTransformer([("u", StandardScaler(), ["u"]), ("city", OneHotEncoder(sparse_output=False), [name])])
        model = make_pipeline(made, KMeans(3, random_state=0)).fit(rows)
        with pytest.raises(NotImplementedError, match=f"A column '{name}' cannot be exported"):
            onnx_bytes(model)


def test_a_graph_of_too_many_rows_is_refused(monkeypatch):
    model = make_pipeline(impute.KNNImputer(), KMeans(2, random_state=0)).fit(FRAME[NUMBERS].to_numpy())
    monkeypatch.setattr("gpuclust.persistence.onnx.graph.LARGEST", 8 * 3 * N)
    with pytest.raises(NotImplementedError, match="A KNNImputer keeps all rows that it was fitted on; fit it on fewer"):
        onnx_bytes(model)


ENCODERS = {
    "ignore": preprocessing.OneHotEncoder(handle_unknown="ignore"),
    "drop": preprocessing.OneHotEncoder(drop="first", sparse_output=False),
    "rare": preprocessing.OneHotEncoder(min_frequency=0.1, handle_unknown="infrequent_if_exist"),
    "ordinal": preprocessing.OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2
    ),
    "target": preprocessing.TargetEncoder(),
    "frequency": FrequencyEncoder(),
    "own": OneHotEncoder(handle_unknown="ignore", sparse_output=False),
}


@pytest.mark.parametrize("encoder", ENCODERS.values(), ids=ENCODERS)
def test_categories(encoder):
    columns = ColumnTransformer(
        [("numbers", make_pipeline(*FILLED), NUMBERS), ("categories", encoder, ["city", "grade", "half"])],
        transformer_weights={"numbers": 0.5},
    )
    model = make_pipeline(columns, KMeans(6, random_state=0)).fit(FRAME, TARGET)
    graph = onnx_bytes(model)
    strange = FRAME.assign(city="Paris", half=7.0)
    frames = [FRAME, strange] if getattr(encoder, "handle_unknown", "ignore") != "error" else [FRAME]
    for frame in frames:
        found = check_onnx(model, graph, frame)
        assert found.passed
        assert found.clear > 0.9 * found.rows
    assert check_onnx(model, graph, summary=summarize(model, FRAME), n_rows=1000).passed


def feed(frame):
    return {
        "u": frame[["u"]].to_numpy(np.float32),
        "city": np.array([["" if value is None else value] for value in frame["city"]], dtype=object),
        "grade": frame[["grade"]].to_numpy(np.int64),
    }


def mixed(encoder):
    text = make_pipeline(impute.SimpleImputer(strategy="most_frequent"), encoder)
    columns = ColumnTransformer(
        [("u", StandardScaler(), ["u"]), ("text", text, ["city"]), ("none", "drop", ["v"])], remainder="passthrough"
    )
    return make_pipeline(columns, KMedians(4, random_state=0))


def test_inputs_are_the_columns_that_are_used():
    frame = FRAME[["u", "v", "city", "grade"]].assign(grade=FRAME["grade"].astype(float)).dropna(subset="u")
    model = mixed(preprocessing.OneHotEncoder(handle_unknown="ignore")).fit(frame)
    graph = onnx_bytes(model)
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    inputs = {each.name: (each.type, each.shape[1]) for each in session.get_inputs()}
    assert inputs == {"u": ("tensor(float)", 1), "city": ("tensor(string)", 1), "grade": ("tensor(float)", 1)}
    assert check_onnx(model, graph, frame).passed
    assert check_onnx(model, graph, n_rows=500).passed


def test_rows_that_predict_refuses_have_no_label():
    rows = FRAME[["v", "w"]].to_numpy()
    model = KMeans(3, random_state=0).fit(rows)
    bad = rows[:4].astype(np.float32)
    bad[1, 0], bad[2, 1] = np.nan, np.inf
    found = labels(onnx_bytes(model), {"X": bad})
    assert (found == -1).tolist() == [False, True, True, False]
    columns = ColumnTransformer([("city", preprocessing.OneHotEncoder(), ["city"])])
    cities = FRAME[["city"]].dropna()
    strict = make_pipeline(columns, KMeans(2, random_state=0)).fit(cities)
    found = labels(onnx_bytes(strict), {"city": np.array([["Rome"], ["Paris"]], dtype=object)})
    assert found.tolist() == [int(strict.predict(pd.DataFrame({"city": ["Rome"]}))[0]), -1]


def test_what_cannot_be_exported_is_said(tmp_path):
    path = tmp_path / "model.onnx"
    rows = FRAME[NUMBERS]
    own = impute.KNNImputer(weights=lambda distance: 1 / (1 + distance))
    fitted = make_pipeline(own, KMeans(2, random_state=0)).fit(rows[:50])
    with pytest.raises(NotImplementedError, match="KNNImputer with a function as metric or weights cannot be exported"):
        export_onnx(fitted, path)
    cube = make_pipeline(SimpleImputer(), preprocessing.FunctionTransformer(np.arcsinh), KMeans(2, random_state=0))
    with pytest.raises(NotImplementedError, match="arcsinh cannot be exported"):
        export_onnx(cube.fit(rows), path)
    powers = make_pipeline(SimpleImputer(), preprocessing.PolynomialFeatures(2), KMeans(2, random_state=0))
    with pytest.raises(NotImplementedError, match="PolynomialFeatures cannot be exported: skl2onnx says"):
        export_onnx(powers.fit(rows), path)  # its graph, which mixes types, is one that onnxruntime refuses
    with pytest.raises(NotFittedError):
        export_onnx(KMeans(), path)
    assert not path.exists()


def test_rows_of_another_width_are_refused():
    model = KMeans(2, random_state=0).fit(FRAME[["v", "w"]].to_numpy())
    with pytest.raises(ValueError, match="X has 3 features, but the model is expecting 2"):
        check_onnx(model, onnx_bytes(model), np.zeros((4, 3)))
