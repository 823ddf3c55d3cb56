"""What columns a model is given, and its centres in their units, by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import sklearn.preprocessing
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.impute import KNNImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, Normalizer, OneHotEncoder, OrdinalEncoder, QuantileTransformer

from gpuclust import DataError, KMeans, KMedians
from gpuclust.models import Feature, Given, InputUnits, centers_in_input_units, input_features
from gpuclust.preprocessing import (
    FrequencyEncoder,
    MinMaxScaler,
    RobustScaler,
    SimpleImputer,
    StandardScaler,
    Winsorizer,
    make_preprocessor,
)

pytestmark = pytest.mark.usefixtures("one_thread")
DF = pd.DataFrame(
    {
        "age": [20.0, 22, 60, 64],
        "city": ["Bonn", "Ulm", "Kiel", "Kiel"],
        "note": [1.0, 2, 3, 4],
        "street": ["a", "a", "b", "a"],
        "ok": [True, True, False, False],
    }
)
FIRST = np.array([True, True, False, False])


def by_columns(numbers, **how):
    """Return a model whose clusters are rows 0 and 1, and rows 2 and 3: age decides."""
    parts = [
        ("numbers", numbers, ["age"]), ("city", OneHotEncoder(sparse_output=False, **how), ["city"]),
        ("street", FrequencyEncoder(), ["street"]), ("ok", "passthrough", ["ok"]), ("note", "drop", ["note"]),
    ]  # fmt: skip
    model = Pipeline([("columns", ColumnTransformer(parts)), ("cluster", KMeans(2, random_state=0))]).fit(DF)
    first = model[-1].labels_[0]
    assert (model[-1].labels_ == first).tolist() == FIRST.tolist()
    return model, [first, 1 - first]


@pytest.mark.parametrize(
    "numbers",
    [
        StandardScaler(), MinMaxScaler((-10, 10)), make_pipeline(Winsorizer((0, 100)), SimpleImputer(), RobustScaler()),
        make_pipeline(RobustScaler(), KNNImputer()), sklearn.preprocessing.MaxAbsScaler(), "passthrough",
        make_pipeline(StandardScaler(), FunctionTransformer(), PCA(1)),
    ],
    ids=lambda x: str(x)[:30],
)  # fmt: skip
def test_centers_by_hand(numbers):
    model, order = by_columns(numbers)
    columns, values = centers_in_input_units(model)
    assert columns == ["age", "city=Bonn", "city=Kiel", "city=Ulm", "street frequency", "ok"]
    np.testing.assert_allclose(values[order], [[21, 0.5, 0, 0.5, 0.75, 1], [62, 0, 1, 0, 0.5, 0]], atol=1e-12)


def test_encoders_with_options():
    assert centers_in_input_units(by_columns("passthrough", drop="first")[0]).columns[1:3] == ["city=Kiel", "city=Ulm"]
    rare = by_columns("passthrough", min_frequency=2)[0]
    assert centers_in_input_units(rare).columns[1:3] == ["city=Kiel", "city=others"]


def test_missing_values_and_dropped_features():
    X = np.array([[1.0, np.nan, 10], [3, np.nan, np.nan], [101, np.nan, 30], [103, np.nan, 20]])
    with pytest.warns(UserWarning, match="Skipping features"):
        model = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler(), KMeans(2, random_state=0)).fit(X)
        columns, values = centers_in_input_units(model)
    assert columns == ["x0", "x2"]
    np.testing.assert_allclose(values[np.argsort(values[:, 0])], [[2, 15], [102, 25]])
    assert input_features(model) == [Feature("x0", None, True), Feature("x1", None, True), Feature("x2", None, True)]


def test_alone_and_medians():
    X = np.array([[0.0, 5], [2, 5], [50, 9]])
    alone = KMeans(2, random_state=0).fit(pd.DataFrame(X, columns=["a", "b"]))
    np.testing.assert_array_equal(centers_in_input_units(alone).values, alone.cluster_centers_)
    assert input_features(alone) == [Feature("a"), Feature("b")]
    medians = make_pipeline(RobustScaler(), KMedians(2, random_state=0)).fit(X[[0, 0, 1, 2]])
    found = centers_in_input_units(medians).values
    np.testing.assert_allclose(found[np.argsort(found[:, 0])], [[0, 5], [50, 9]])


def test_no_way_back_is_told():
    X = np.abs(np.random.default_rng(0).normal(size=(20, 2)))
    for step in (Normalizer(), FunctionTransformer(np.log1p)):
        with pytest.raises(ValueError, match="cannot be carried back"):
            centers_in_input_units(make_pipeline(step, KMeans(2, random_state=0)).fit(X))
    there_and_back = FunctionTransformer(np.log1p, np.expm1)
    model = make_pipeline(there_and_back, KMeans(2, random_state=0)).fit(X)
    np.testing.assert_allclose(centers_in_input_units(model).values, np.expm1(model[-1].cluster_centers_))
    bent = make_pipeline(QuantileTransformer(n_quantiles=20), KMeans(20, random_state=0)).fit(X)
    found = centers_in_input_units(bent).values
    np.testing.assert_allclose(np.sort(found, axis=0), np.sort(X, axis=0), rtol=1e-6)
    with pytest.raises(TypeError, match="A model is a clustering estimator"):
        input_features(StandardScaler().fit(X))


def test_features_of_a_pipeline():
    model, _ = by_columns(StandardScaler())
    assert input_features(model) == [
        Feature("age"), Feature("city", ("Bonn", "Kiel", "Ulm")), Feature("note", None, True, used=False),
        Feature("street", ("a", "b"), True), Feature("ok"),
    ]  # fmt: skip
    filled, _ = by_columns(make_pipeline(RobustScaler(), SimpleImputer()), handle_unknown="ignore")
    assert [feature.missing for feature in input_features(filled)] == [True, True, True, True, False]
    text = make_pipeline(SimpleImputer(strategy="most_frequent"), OrdinalEncoder(), KMeans(2)).fit(DF[["city", "street"]])
    assert [each._replace(signs=()) for each in input_features(text)] == [
        Feature("city", ("Bonn", "Kiel", "Ulm"), True), Feature("street", ("a", "b"), True)
    ]  # fmt: skip
    assert all(sign != sign for each in input_features(text) for sign in each.signs)
    made = make_preprocessor(DF)
    whole = make_pipeline(made, KMeans(2)).fit(DF)
    assert all(feature.missing for feature in input_features(whole))
    assert input_features(whole)[1].categories == ("Bonn", "Kiel", "Ulm")


def column(*values):
    return pd.DataFrame({"age": range(len(values)), "city": pd.Series(values, dtype=object)})


@pytest.mark.parametrize("sign", [None, np.nan], ids=["None", "NaN"])
@pytest.mark.parametrize("kind", ["frame", "array"])
def test_missing_categories_become_what_they_were_in_training(sign, kind):
    parts = [("age", "passthrough", [0]), ("city", OneHotEncoder(handle_unknown="ignore", sparse_output=False), [1])]
    train = column("Bonn", sign, "Ulm")
    model = make_pipeline(ColumnTransformer(parts), KMeans(2)).fit(train if kind == "frame" else train.to_numpy(object))
    for other in (None, np.nan, pd.NA):
        rows = column(other, "Ulm", "Kiel")
        rows = rows if kind == "frame" else rows.to_numpy(object)
        found = Given(model)(rows)
        assert found is not rows and pd.isna(rows.iloc[0, 1] if kind == "frame" else rows[0, 1])
        values = Given(model).preprocessed(found)
        np.testing.assert_array_equal(values, [[0, 0, 0, 1], [1, 0, 1, 0], [2, 0, 0, 0]])


def test_columns_are_found_by_name_in_any_order():
    encoder = OneHotEncoder(sparse_output=False)
    train = column("Bonn", np.nan, "Ulm").assign(street=pd.Series(["a", None, "b"], dtype=object))
    by_name = [("age", RobustScaler(), ["age"]), ("city", encoder, ["city"]), ("street", encoder, ["street"])]
    model = make_pipeline(ColumnTransformer(by_name), KMeans(2)).fit(train)
    rows = train.assign(city=train["city"].where(train["city"].notna(), None), note="none")
    shuffled = rows[["note", "street", "age", "city"]]
    np.testing.assert_array_equal(Given(model).preprocessed(Given(model)(shuffled)), model[:-1].transform(train))
    with pytest.raises(DataError, match="column 'age' must hold numbers, but has the text 'old'"):
        Given(model).preprocessed(Given(model)(shuffled.assign(age=["old", 1, 2])))


def test_a_column_that_had_both_signs_is_left_as_it_is():
    encoder = OneHotEncoder(sparse_output=False)
    model = make_pipeline(ColumnTransformer([("city", encoder, ["city"])]), KMeans(2)).fit(column("a", None, np.nan))
    values = Given(model).preprocessed(Given(model)(column(None, np.nan)))
    np.testing.assert_array_equal(values, [[0, 1, 0], [0, 0, 1]])


def test_text_among_numbers_names_the_column_of_numbers():
    """Not one of text that is encoded or dropped; whoever's transformer meets it."""
    model, _ = by_columns(make_pipeline(sklearn.preprocessing.StandardScaler(), KNNImputer()))
    rows = DF.astype({"age": object, "note": object})
    rows.loc[2, ["age", "note"]] = "old", "none"
    with pytest.raises(DataError, match=r"column 'age' must hold numbers, but has the text 'old'\. Replace such values"):
        Given(model).preprocessed(rows)


def test_a_column_that_is_used_twice():
    parts = [("one", RobustScaler(), ["age"]), ("two", SimpleImputer(), ["age"])]
    for columns in (parts, parts[::-1]):
        model = make_pipeline(ColumnTransformer(columns), KMeans(2, random_state=0)).fit(DF[["age"]])
        assert input_features(model) == [Feature("age")]
        assert centers_in_input_units(model).columns == ["age", "age"]
        np.testing.assert_allclose(*centers_in_input_units(model).values.T)


def test_every_step_counts_for_missing_values():
    X = np.array([[1.0, 2], [3, 4], [np.nan, 6]])
    for steps, expected in (
        ([StandardScaler(), SimpleImputer()], True), ([SimpleImputer(), StandardScaler()], True),
        ([StandardScaler()], False), ([PCA(1)], False), ([SimpleImputer(missing_values=-1)], False),
    ):  # fmt: skip
        model = make_pipeline(*steps, KMeans(1)).fit(X if expected else X[:2])
        assert [feature.missing for feature in input_features(model)] == [expected] * 2
        if expected:
            assert len(model.predict(X)) == 3


def test_units_column_by_column():
    model, _ = by_columns(make_pipeline(StandardScaler(), SimpleImputer()))
    units = InputUnits(model[:-1])
    assert units.columns == ["age", "city=Bonn", "city=Kiel", "city=Ulm", "street frequency", "ok"]
    rows = units.inverse_transform(model[:-1].transform(DF))
    np.testing.assert_allclose(rows[:, 0], DF["age"])
    np.testing.assert_array_equal(rows[:, 1], [1, 0, 0, 0])
    swapped = ColumnTransformer([("b", MinMaxScaler(), ["note"]), ("a", "passthrough", ["age"])]).fit(DF)
    assert InputUnits(swapped).columns == ["note", "age"]
    np.testing.assert_allclose(InputUnits(swapped).inverse_transform([[1.0, 5]]), [[4, 5]])
    with pytest.raises(ValueError, match="mixes features"):
        InputUnits(make_pipeline(PCA(2)).fit(DF[["age", "note"]]))


def test_a_feature_that_is_dropped_after_a_scaler():
    X = np.array([[1.0, np.nan, 10], [3, np.nan, 20], [101, np.nan, 30], [103, np.nan, 40]])
    with pytest.warns(UserWarning, match="Skipping features"):
        model = make_pipeline(MinMaxScaler(), SimpleImputer(), KMeans(2, random_state=0)).fit(X)
    columns, values = centers_in_input_units(model)
    assert columns == ["x0", "x2"]
    np.testing.assert_allclose(values[np.argsort(values[:, 0])], [[2, 15], [102, 35]])
