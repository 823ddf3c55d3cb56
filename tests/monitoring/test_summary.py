"""Training summaries from files that nobody vouches for."""

from __future__ import annotations

import copy

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from gpuclust import KMeans
from gpuclust.monitoring import TrainingSummary, summarize

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def values():
    """Two columns, the second of categories; two clusters."""
    frame = pd.DataFrame({"x": [1.0, 2, 3, 9, 8, np.nan], "c": ["a", "a", "b", "b", "b", "a"]})
    steps = [("x", "passthrough", ["x"]), ("c", OneHotEncoder(sparse_output=False), ["c"])]
    model = make_pipeline(ColumnTransformer(steps), KMeans(2, random_state=0, device="cpu"))
    return summarize(model.fit(frame.dropna()), frame).as_dict()


def test_columns_that_the_model_drops_may_hold_anything():
    frame = pd.DataFrame({"x": [1.0, 2, 9], "l": [[1], [2], [3]], "s": pd.array(["a", None, "b"], "string")})
    columns = ColumnTransformer([("x", "passthrough", ["x"])])
    model = make_pipeline(columns, KMeans(2, random_state=0, device="cpu")).fit(frame)
    np.testing.assert_allclose(summarize(model, frame).as_dict()["missing"], [0, 0, 1 / 3])


def changed(values, **others):
    return {**copy.deepcopy(values), **others}


def test_what_a_summary_tells_is_read_back(values):
    found = TrainingSummary.from_dict(changed(values, categories=list(values["categories"])), 2, 2)
    for name, value in found.as_dict().items():
        np.testing.assert_array_equal(value, values[name])
    assert isinstance(found.categories, tuple) and found.n_features == 2


def at(values, name, index, value):
    array = values[name].copy()
    array[index] = value
    return {name: array}


DAMAGE = {
    "n_rows is 0": lambda v: {"n_rows": 0},
    "n_rows is True": lambda v: {"n_rows": True},
    "n_rows is 6.0": lambda v: {"n_rows": 6.0},
    "n_effective is nan": lambda v: {"n_effective": float("nan")},
    "n_effective is 7": lambda v: {"n_effective": 7},
    "far is inf": lambda v: {"far": float("inf")},
    "far is '1'": lambda v: {"far": "1"},
    "far is none of the distances": lambda v: {"far": 1e9},
    "a share of missing": lambda v: at(v, "missing", 0, 1.5),
    "missing values is not in": lambda v: at(v, "missing", 0, np.nan),
    "shares do not sum to 1": lambda v: at(v, "shares", 0, 0.5 + v["shares"][0]),
    "fewer than 0 rows": lambda v: at(v, "counts", 0, -1),
    "more than all": lambda v: at(v, "counts", 0, 99),
    "do not have the rows": lambda v: {"counts": np.zeros(2, np.int64)},
    "distances are not in order": lambda v: {"distances": v["distances"][::-1].copy()},
    "a distance is negative": lambda v: at(v, "distances", 0, -1),
    "quantiles of column 0": lambda v: at(v, "quantiles", (0, 3), 1e9),
    "of column 0 are not": lambda v: at(v, "quantiles", (0, 0), np.nan),
    "column 0 are not in": lambda v: at(v, "probabilities", (0, -1), 0.99),
    "column 1 has no numbers": lambda v: at(v, "quantiles", (1, 0), 1.0),
    "columns are missing": lambda v: {"categories": [None]},
    "categories of column 1": lambda v: {"categories": (None, {"a": 0.5, "b": 0.6})},
    "of column 1 are not shares": lambda v: {"categories": (None, {1: 0.5, "b": 0.5})},
    "column 1 are not shares": lambda v: {"categories": (None, {"a": 0.5, "b": "0.5"})},
    "1 are not shares that": lambda v: {"categories": (None, {"a": 0.0, "b": 1.0})},
    "are not shares that sum": lambda v: {"categories": (None, ["a", "b"])},
    "missing of the training summary": lambda v: {"missing": v["missing"].tolist()},
    "float32": lambda v: {"quantiles": v["quantiles"].astype(np.float32)},
    "shape|quantiles": lambda v: {"quantiles": v["quantiles"][:1]},
    "probabilities of": lambda v: {"probabilities": v["probabilities"][:, 1:]},
    "counts of": lambda v: {"counts": v["counts"].astype(np.float64)},
    "distances of": lambda v: {"distances": np.empty(0), "distance_probabilities": np.empty(0)},
    "distance_probabilities of": lambda v: {"distance_probabilities": None},
    "has n_rows": lambda v: {"other": 1},
}


@pytest.mark.parametrize("reason", DAMAGE)
def test_a_damaged_summary_is_refused(values, reason):
    with pytest.raises(ValueError, match=reason):
        TrainingSummary.from_dict(changed(values, **DAMAGE[reason](values)), 2, 2)


def test_of_another_model_or_no_summary_at_all(values):
    for d, k in ((3, 2), (2, 3)):
        with pytest.raises(ValueError, match="of the training summary is"):
            TrainingSummary.from_dict(changed(values), d, k)
    less = changed(values)
    del less["far"]
    for wrong in (less, {}, [], None):
        with pytest.raises(ValueError, match="a training summary has"):
            TrainingSummary.from_dict(wrong, 2, 2)
