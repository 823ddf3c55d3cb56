"""Columns of frames: what they are taken for, and what is said of those that are no numbers."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler as SklearnScaler

from gpuclust import DataError, KMeans, stream
from gpuclust.data.columns import decoded
from gpuclust.models import Given
from gpuclust.preprocessing import StandardScaler
from gpuclust.preprocessing.chunked import numbers

pytestmark = pytest.mark.usefixtures("one_thread")


def test_categories_that_are_dates_are_refused():
    days = pd.date_range("2020", periods=3)
    for values in (pd.Categorical(days), days):
        with pytest.raises(DataError, match="Column 'odd' holds dates"):
            KMeans(2, device="cpu").fit(pd.DataFrame({"odd": values}))
    table = pa.table({"odd": pa.array(days).dictionary_encode()})
    with pytest.raises(DataError, match="Column 'odd' holds dates"):
        KMeans(2, device="cpu").fit(table)


def test_dictionaries_are_told_from_their_table_at_once():
    """Names, order and metadata stay; a null is missing."""
    schema = pa.schema([("a", pa.dictionary(pa.int8(), pa.float64())), ("b", pa.int64())], metadata={"k": "v"})
    found = decoded(pa.table([pa.array([1.5, None, 1.5]).dictionary_encode().cast(schema.field("a").type), [1, 2, 3]], schema=schema))
    assert found.column_names == ["a", "b"] and found.schema.metadata == {b"k": b"v"}
    assert found.column("a").to_pylist() == [1.5, None, 1.5] and found.schema.field("a").type == pa.float64()


def test_a_null_behind_a_dictionary_is_no_number():
    """NumPy would be given the dictionary's first value there."""
    keys = pa.array([5.0, 7.0, None, 5.0]).dictionary_encode()
    model = KMeans(2, random_state=0, device="cpu")
    with pytest.raises(ValueError, match="NaN"):
        model.fit(pa.table({"a": keys}))
    found = model.fit(pa.table({"a": keys.drop_null()})).labels_
    np.testing.assert_array_equal(found, model.fit([[5.0], [7], [5]]).labels_)


DAYS = pd.date_range("2024-02-03", periods=3)
ODD = {
    "text": (["1", "2", "two"], "could not convert string to float: column 'odd' .* has the text 'two'"),
    "bytes": ([b"1", None, b"\xfftwo"], r"could not convert string to float: column 'odd' .* bytes b'\\xfftwo'.* Decode"),
    "dates": (DAYS, r"Column 'odd' holds dates or times \(datetime64.*weekday"),
    "zoned": (DAYS.tz_localize("UTC"), r"Column 'odd' holds dates or times \("),
    "days": ([None, *DAYS.date[:2]], r"Column 'odd' holds dates or times \("),
    "hours": ([dt.time(3)] * 3, r"Column 'odd' holds dates or times \("),
    "durations": (DAYS - DAYS[0], r"Column 'odd' holds durations \(timedelta64.*seconds"),
    "complex": (np.arange(3) * 1j, r"Complex data not supported: column 'odd' .* \(complex128\)\. .*numpy.imag"),
    "lists": ([[1], [2], [3]], "Column 'odd' must hold numbers, but has a value of type (list|ndarray)"),
    "sets": ([{1}, {2}, {"{a}"}], "Column 'odd' must hold numbers, but has a value of type set"),
    "absent": (pd.Series([1.0, pd.NA, 2.0], dtype=object), r"Column 'odd' holds pandas.NA among objects.*astype\('Float64'"),
}  # fmt: skip
KINDS = {"pandas": lambda df: df, "polars": pl.from_pandas, "pyarrow": pa.Table.from_pandas}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("odd", ODD)
def test_columns_of_no_numbers_are_told_with_what_to_do(kind, odd):
    """Dates of all libraries: some hand them over as microseconds since 1970, beside which nothing else counts."""
    if kind != "pandas" and odd in ("complex", "sets", "absent"):
        pytest.skip("it has no such columns")
    values, words = ODD[odd]
    frame = KINDS[kind](pd.DataFrame({"x": [1.0, np.nan, 3.0], "odd": values}))
    fitted = StandardScaler().fit(pd.DataFrame({"x": [1.0, 2], "odd": [1.0, 2]}))
    for work in (KMeans(2, device="cpu").fit, StandardScaler().fit, fitted.transform):
        with pytest.raises(DataError, match=words):
            work(frame)
    with pytest.raises((DataError, NotFittedError)):
        StandardScaler().transform(frame)
    if kind == "pandas":
        alone = frame[["odd"]]
        with pytest.raises(DataError, match=words):
            KMeans(2, device="cpu").fit(alone)


@pytest.mark.parametrize("kind", [pl.Array(pl.Float64, 1), pl.Array(pl.Int64, 2), pl.List(pl.Int64), pl.Struct({"a": pl.Int64, "b": pl.Int64})], ids=str)
def test_columns_of_several_values_a_row_are_told(kind):
    """NumPy makes further dimensions of some."""
    value = {"a": 1, "b": 2} if isinstance(kind, pl.Struct) else [1] * getattr(kind, "size", 2)
    column = pl.Series("odd", [value] * 3, dtype=kind)
    for frame in (pl.DataFrame([pl.Series("x", [1.0, 2.0, 3.0]), column]), pl.DataFrame([column])):
        with pytest.raises(DataError, match="Column 'odd' must hold numbers, but has a value of type"):
            KMeans(2, device="cpu").fit(frame)


def test_missing_numbers_are_not_taken_for_missing_objects():
    """NumPy is given pandas.NA in both kinds of columns."""
    frame = pd.DataFrame({"good": pd.array([1, pd.NA, 3], "Int64"), "odd": pd.Series([1.0, pd.NA, 2.0], dtype=object)})
    with pytest.raises(DataError, match="Column 'odd' holds pandas.NA"):
        StandardScaler().fit(frame)
    assert StandardScaler().fit_transform(frame.astype("Float64")).shape == (3, 2)


@pytest.mark.parametrize("odd", ODD)
def test_columns_that_a_pipeline_takes_for_numbers(odd):
    """Those that it drops may hold anything."""
    values, words = ODD[odd]
    good = pd.DataFrame({"x": [1.0, 2.0, 3.0], "odd": [1.0, 2, 3], "more": "x"})
    parts = ColumnTransformer([("n", SklearnScaler(), ["x", "odd"])])
    model = make_pipeline(parts, KMeans(2, device="cpu")).fit(good)
    with pytest.raises(DataError, match=words):
        Given(model).preprocessed(good.assign(odd=values))
    Given(model).preprocessed(good.assign(more=values))
    if odd not in ("dates", "durations", "complex"):
        with pytest.raises(DataError, match=words):
            numbers(lambda: iter([good.assign(odd=values)]), ["x", "odd"]).open()


def test_columns_of_objects_that_are_numbers():
    from decimal import Decimal

    frame = pd.DataFrame({"a": [Decimal("1.5"), 2, "3"], "b": pd.Series([True, 2.5, np.int8(3)], dtype=object)})
    np.testing.assert_array_equal(
        KMeans(3, init=np.eye(3, 2), n_init=1, device="cpu").fit(frame).labels_,
        KMeans(3, init=np.eye(3, 2), n_init=1, device="cpu").fit([[1.5, 1], [2, 2.5], [3, 3]]).labels_,
    )
    with pytest.raises(ValueError, match="NaN"):
        KMeans(2, device="cpu").fit(pd.DataFrame({"a": [None, Decimal(1), 2.0]}))


@pytest.mark.parametrize("values", [[1.7e308, -1.7e308, 0.0], [1.7e308, 1.6e308, 1.0]])
def test_values_that_float64_cannot_add_up_are_not_called_infinite(values):
    rows = np.stack([np.arange(3.0), values], axis=1)
    with pytest.raises(ValueError, match=r"values from .* to 1\.7e\+308 in feature 1, whose sum float64 cannot hold"):
        KMeans(2, device="cpu").fit(rows)
    with pytest.raises(ValueError, match="NaN or infinity: feature 0"):
        KMeans(2, device="cpu").fit(stream([np.where(rows == 2, np.nan, rows)]))


@pytest.mark.parametrize("size, weight", [(1e306, 1), (4e304, 1), (1e270, 1e40), (1e-3, 5e304)])
def test_sums_that_float64_cannot_hold_are_refused(rng, size, weight):
    """Instead of a search for grids without end."""
    X = rng.choice([-1.0, 1.0], size=(1000, 2)) * size
    X[0] = 0
    with pytest.raises(DataError, match="have sums that float64 cannot hold: divide X, or sample_weight"):
        KMeans(2, device="cpu").fit(X, sample_weight=np.full(1000, weight) if weight > 1 else None)
