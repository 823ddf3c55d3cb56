"""What make_preprocessor chooses for every kind of column, and why; the same fit, DataFrame after DataFrame."""

from __future__ import annotations

import datetime

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import sklearn
from sklearn.base import clone
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.utils.fixes import parse_version

from gpuclust import DataError, KMeans, load_model, save_model
from gpuclust.preprocessing import (
    FrequencyEncoder,
    MinMaxScaler,
    OneHotEncoder,
    RobustScaler,
    SimpleImputer,
    StandardScaler,
    Winsorizer,
    drop_missing,
    make_preprocessor,
)
from gpuclust.preprocessing.chunked import fit_in_chunks

pytestmark = pytest.mark.usefixtures("one_thread")
N = 120


@pytest.fixture
def df(rng):
    df = pd.DataFrame(
        {
            "customer_id": rng.permutation(N) * 7,
            "row": np.arange(N) + 5,
            "age": rng.normal(40, 10, N),
            "visits": rng.integers(0, 9, N),
            "city": rng.choice(["Bonn", "Kiel", "Ulm"], N),
            "street": [f"s{i}" for i in rng.integers(0, 40, N)],
            "name": [f"n{i}" for i in range(N)],
            "member": rng.random(N) > 0.5,
            "since": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 99, N), "D"),
            "country": "DE",
            "empty": np.nan,
            "rare": np.where(np.arange(N) < 30, rng.normal(size=N), np.nan),
        }
    )
    df.loc[3, "age"], df.loc[5, "city"] = np.nan, None
    return df


def roles(preprocessor):
    return {name: role for role, _, names in preprocessor["columns"].transformers for name in names}


def parts(preprocessor):
    return {role: part for role, part, _ in preprocessor["columns"].transformers}


WANTED = {
    "age": "number", "visits": "number", "rare": "number", "city": "onehot", "street": "frequency", "member": "boolean",
}  # fmt: skip


def test_every_kind_of_column(df):
    made = make_preprocessor(df)
    assert roles(made) == WANTED
    told = dict(text.split(": ", 1) for text in made.explanation_[: len(df.columns)])
    assert list(told) == list(df.columns)
    for name, word in {
        "customer_id": "numbers the rows", "row": "numbers the rows", "age": "a number", "city": "3 categories",
        "street": "too many for a column each", "name": "tells rows apart", "member": "true or false",
        "since": "a date", "country": "the same in all rows", "empty": "no values", "rare": "75% of it is missing",
    }.items():  # fmt: skip
        assert word in told[name], told[name]
    assert any("(age, rare) are filled with the median" in text for text in made.explanation_)
    out = made.fit_transform(df)
    assert out.shape == (N, 9) and np.isfinite(out).all()
    names = made.get_feature_names_out().tolist()
    assert names[:7] == ["age", "visits", "rare", "member", "city_Bonn", "city_Kiel", "city_Ulm"]
    assert names[7] == "city_None" and names[8:] == ["street"]
    assert out[5, -2] == 1 and out[:, -2].sum() == 1
    street = df["street"].map(df["street"].value_counts(normalize=True))
    np.testing.assert_allclose(out[:, -1], street)
    np.testing.assert_allclose(np.median(out[:, 0]), 0, atol=1e-12)


@pytest.mark.skipif(parse_version(sklearn.__version__) < parse_version("1.9"), reason="its ColumnTransformer takes pandas only")
@pytest.mark.parametrize("frame", [pl.from_pandas, pa.Table.from_pandas], ids=["polars", "arrow"])
def test_frames_of_other_libraries(df, frame):
    made = make_preprocessor(frame(df))
    assert roles(made) == WANTED
    np.testing.assert_allclose(made.fit_transform(frame(df)), make_preprocessor(df).fit_transform(df))


@pytest.mark.parametrize("backend", ["pyarrow", "numpy_nullable"])
def test_frames_of_other_dtypes(df, backend):
    backed = df.convert_dtypes(dtype_backend=backend)
    np.testing.assert_allclose(make_preprocessor(backed).fit_transform(backed), make_preprocessor(df).fit_transform(df))


def test_options_choose_the_steps(df):
    def steps(**how):
        number = parts(make_preprocessor(df, **how))["number"]
        return [type(step).__name__ for _, step in getattr(number, "steps", [])]

    assert steps() == ["SimpleImputer", "RobustScaler"]
    assert steps(scale="standard", impute="mean") == ["SimpleImputer", "StandardScaler"]
    assert steps(scale="minmax", outliers="winsorize") == ["Winsorizer", "SimpleImputer", "MinMaxScaler"]
    assert steps(scale=None, impute=None) == []
    assert steps(impute="knn") == ["RobustScaler", "KNNImputer"]
    assert steps(missing="drop") == ["RobustScaler"]
    assert roles(make_preprocessor(df, categorical="frequency"))["city"] == "frequency"
    assert "city" not in roles(make_preprocessor(df, categorical="drop"))
    assert "rare" not in roles(make_preprocessor(df, missing="drop"))
    assert parts(make_preprocessor(df, impute="mean"))["number"]["impute"].strategy == "mean"
    own = {Winsorizer, SimpleImputer, StandardScaler, RobustScaler, MinMaxScaler}
    assert type(parts(make_preprocessor(df))["number"]["scale"]) in own
    neighbours = make_preprocessor(df, impute="knn").fit_transform(df)
    assert np.isfinite(neighbours).all()
    for wrong in ({"scale": "loud"}, {"impute": 3}, {"categorical": None}, {"outliers": "drop"}, {"missing": "fill"}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))}=.* is none of"):
            make_preprocessor(df, **wrong)


@pytest.mark.parametrize("categorical", ["onehot", "frequency"])
def test_a_missing_category_is_one_whatever_stands_for_it(categorical, tmp_path):
    """NaN in a DataFrame, None in files and JSON, pandas.NA: also after the model was saved."""
    values = np.array(["a", "b", None, "b", "b", None] * 4, dtype=object)
    none = pd.DataFrame({"c": pd.Series(values, dtype=object), "x": np.arange(24.0) % 7})
    nan = none.assign(c=none["c"].where(none["c"].notna(), np.nan).astype(object))
    kinds = [none, nan, none.assign(c=none["c"].astype("string")), none.assign(c=none["c"].astype("category"))]
    expected = make_preprocessor(none, categorical=categorical).fit_transform(none)
    assert len(np.unique(expected[:, 1:], axis=0)) == 3
    for frame in kinds:
        model = make_pipeline(make_preprocessor(frame, categorical=categorical), KMeans(3, random_state=0)).fit(frame)
        save_model(model, tmp_path / "model.gpuclust", training_data=frame)
        for each in kinds:
            for found in model, load_model(tmp_path / "model.gpuclust"):
                np.testing.assert_array_equal(found[:-1].transform(each), expected)


@pytest.mark.parametrize("Encoder", [OneHotEncoder, FrequencyEncoder])
def test_a_null_in_a_dictionary_of_arrow_is_missing(Encoder):
    values = ["a", None, "b", "b"]
    table = pa.table({"c": pa.array(values).dictionary_encode()})
    expected = Encoder().fit_transform(np.array([values], dtype=object).T)
    found = Encoder().fit_transform(table)
    np.testing.assert_array_equal(*(each.toarray() if Encoder is OneHotEncoder else each for each in (found, expected)))


def test_small_tables_and_odd_columns():
    odd = pd.DataFrame(
        {
            "day": [datetime.date(2020, 1, d) for d in (1, 2, 3)], "flag": [True, None, False], "list": [[1], [2], [3]],
            "n": pd.array([1, None, 3], "Int64"), "kind": pd.Categorical(["a", "b", "a"]), "text": ["u", "v", "w"],
        }
    )  # fmt: skip
    made = make_preprocessor(odd)
    assert roles(made) == {"n": "number", "flag": "boolean", "kind": "onehot", "text": "onehot"}
    assert made.fit_transform(odd).shape == (3, 7)
    with pytest.raises(ValueError, match="No column is left to cluster. c: dropped, because it is the same in all rows"):
        make_preprocessor(pd.DataFrame({"c": [1, 1]}))
    with pytest.raises(TypeError, match="A DataFrame"):
        make_preprocessor(np.zeros((3, 2)))


def test_float32_stays_float32(rng):
    df = pd.DataFrame(rng.normal(size=(30, 2)).astype(np.float32), columns=["a", "b"]).assign(c=["x", "y", "z"] * 10)
    for categorical in ("onehot", "frequency"):
        assert make_preprocessor(df, categorical=categorical).fit_transform(df).dtype == np.float32


def test_rows_are_dropped_before_a_pipeline(df):
    left = drop_missing(df, columns=0.5)
    made = make_preprocessor(left.X, missing="drop")
    model = make_pipeline(made, KMeans(3, random_state=0)).fit(left.X)
    assert len(model[-1].labels_) == len(left.rows) == N - 2
    with pytest.raises(ValueError, match="NaN"):
        model.predict(df)
    assert "Rows with a missing value are to be dropped before: the pipeline cannot do it." in made.explanation_


@pytest.mark.parametrize(
    "how", [{}, {"scale": "standard", "outliers": "winsorize", "impute": "mean"}, {"categorical": "frequency"},
            {"missing": "drop", "scale": "none"}]
)  # fmt: skip
def test_frame_after_frame_the_same(df, how):
    df = df.astype({name: object for name in ("city", "street")})
    df["city"] = df["city"].where(df["city"].notna(), None)
    made, few = make_preprocessor(df, **how), 13

    def frames():
        return (df[start : start + few] for start in range(0, N, few))

    whole, parted = clone(made).fit(df), fit_in_chunks(clone(made), frames)
    np.testing.assert_array_equal(parted.transform(df), whole.transform(df))
    assert parted.get_feature_names_out().tolist() == whole.get_feature_names_out().tolist()
    assert parted["columns"].output_indices_ == whole["columns"].output_indices_
    assert parted.feature_names_in_.tolist() == list(df.columns)
    np.testing.assert_array_equal(clone(parted).fit_transform(df), whole.transform(df))


@pytest.mark.parametrize("how", [{}, {"impute": "knn", "outliers": "winsorize", "categorical": "frequency"}])
def test_models_are_saved_with_it(df, how, tmp_path):
    few = df.astype({"age": np.float32, "rare": np.float32})[["age", "rare", "city", "street", "member"]]
    model = make_pipeline(make_preprocessor(few, **how), KMeans(3, random_state=0)).fit(few)
    save_model(model, tmp_path / "model.gpuclust")
    np.testing.assert_array_equal(load_model(tmp_path / "model.gpuclust").predict(few), model.predict(few))


def test_what_frames_one_by_one_cannot_do(df):
    with pytest.raises(DataError, match="KNNImputer needs all rows in memory"):
        fit_in_chunks(make_preprocessor(df, impute="knn"), lambda: iter([df]))
    with pytest.raises(DataError, match="no rows"):
        fit_in_chunks(make_preprocessor(df), lambda: iter([]))


def test_a_pipeline_is_found_fitted_only_when_it_is(df):
    from sklearn.exceptions import NotFittedError

    made = make_preprocessor(df)
    assert isinstance(made, Pipeline)
    with pytest.raises(NotFittedError):
        made.transform(df)


MIXED = pd.DataFrame({"a": [1.0, 2, 3], "code": pd.Series(["7", 7, "x"], dtype=object)})


def test_text_and_numbers_in_a_column_to_be_one_hot_encoded():
    for fit in (lambda made: made.fit(MIXED), lambda made: fit_in_chunks(made, lambda: iter([MIXED]))):
        with pytest.raises(DataError, match="Column 'code' has text and numbers, for example 'x' and 7"):
            fit(make_preprocessor(MIXED, categorical="onehot"))
    made = make_preprocessor(MIXED, categorical="frequency").fit(MIXED)
    np.testing.assert_array_equal(made.transform(MIXED)[:, 1], [1 / 3] * 3)


@pytest.mark.parametrize("impute", ["median", "none"])
@pytest.mark.parametrize("convert", [lambda df: df, pl.from_pandas, pa.Table.from_pandas], ids=["pandas", "polars", "arrow"])
def test_text_among_numbers_is_told_by_column_and_value(impute, convert):
    df = pd.DataFrame({"city": ["a", "b", "a"], "age": [1.0, 2, 3], "n": [1.0, 5, 6]})
    model = make_pipeline(make_preprocessor(df, impute=impute), KMeans(2, device="cpu")).fit(df)
    told = "column 'age' must hold numbers, but has the text 'old'. Replace such values"
    rows = df.assign(age=["1", "old", "2"])
    for X, found in ((rows, model), (rows[["age"]], KMeans(1, device="cpu").fit(df[["age"]]))):
        with pytest.raises(DataError, match=told):
            found.predict(convert(X))
    with pytest.raises(DataError, match=told):
        fit_in_chunks(make_preprocessor(df), lambda: iter([df, rows]))


def test_too_few_columns_to_encode_are_told():
    rows = np.array([["a", "x"], ["b", None], ["a", "y"]], object)
    for X in (rows[:, :1], pd.DataFrame(rows[:, :1])):
        with pytest.raises(ValueError, match="X has 1 features, but OneHotEncoder is expecting 2"):
            OneHotEncoder().fit(rows).transform(X)


def test_lists_of_pyarrow_are_no_categories():
    odd = pd.Series([[1], [2], [3]], dtype=pd.ArrowDtype(pa.list_(pa.int64())))
    made = make_preprocessor(pd.DataFrame({"x": [1.0, 2.0, 3.0], "odd": odd}))
    assert made.explanation_[1].startswith("odd: dropped, because it is neither a number nor a category")
