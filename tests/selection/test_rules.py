"""What criteria choose, from numbers written by hand."""

import numpy as np
import pytest

from gpuclust.selection.gap import first_within_error
from gpuclust.selection.rules import best, chosen, elbow, gap_choice, recommended

KS = [2, 3, 4, 5, 6]


def test_the_knee():
    choice, curve = elbow([1, 2, 3, 4, 5], np.array([100.0, 20, 10, 5, 0]))
    assert choice.k == 2
    # at k=2: 1 - 20 / 100 of the fall, less a quarter of the way
    np.testing.assert_allclose(curve, [0, 0.55, 0.4, 0.2, 0], atol=1e-12)
    assert "k=2" in choice.reason and "55%" in choice.reason


@pytest.mark.parametrize(
    ("ks", "inertia", "why"),
    [
        ([1, 2], [3.0, 1.0], "three numbers"),
        (KS, [50.0, 40, 30, 20, 10], "without a bend"),
        (KS, [7.0] * 5, "the same for all"),
    ],
)
def test_no_knee(ks, inertia, why):
    choice, curve = elbow(ks, np.array(inertia))
    assert choice.k is None and why in choice.reason and len(curve) == len(ks)


def test_the_best_value():
    values = np.array([np.nan, 0.4, 0.7, 0.7, 0.1])
    assert best("silhouette", KS, {"silhouette": values}) == (
        4, "the silhouette is highest at k=4: 0.7, next k=5 with 0.7"
    )  # fmt: skip
    assert best("davies_bouldin", KS, {"davies_bouldin": values}) == (
        6, "the Davies-Bouldin index is lowest at k=6: 0.1, next k=3 with 0.4"
    )  # fmt: skip
    one = np.array([np.nan, 3.0])
    assert best("calinski_harabasz", [1, 2], {"calinski_harabasz": one}).reason.endswith("k=2: 3")
    assert best("silhouette", [1], {"silhouette": one[:1]}).k is None


def test_one_standard_error():
    gap, error = np.array([0.1, 0.5, 0.55, 0.9]), np.array([0.1, 0.1, 0.06, 0.1])
    assert first_within_error([1, 2, 3, 4], gap, error) == 2  # 0.5 >= 0.55 - 0.06
    assert first_within_error([1, 2, 3, 4], gap, error / 2) is None
    columns = {"gap": gap, "gap_se": error, "gap_rows": np.full(4, 9)}
    assert gap_choice([1, 2, 3, 4], columns).k == 2
    none = gap_choice([1, 2, 3, 4], columns | {"gap_se": error / 2})
    assert none.k is None and "rises up to k=4" in none.reason
    assert gap_choice([1, 2, 3, 4], columns | {"gap_rows": np.zeros(4)}).k is None


def test_votes():
    assert recommended({"a": 4, "b": 4, "c": 2}, KS) == (4, "2 of 3 criteria choose k=4")
    k, reason = recommended({"a": 5, "b": 3, "c": None}, KS)
    assert k == 3 and reason == "1 of 3 criteria chooses k=3, as many as k=5; the fewest clusters are recommended"
    assert recommended({"a": None}, KS)[0] == 2


def test_samples_are_told():
    columns = {
        "k": np.array([2, 3]), "silhouette": np.array([0.2, 0.1]), "silhouette_rows": np.array([0, 50]),
        "gap": np.array([1.0, 0.5]), "gap_se": np.zeros(2), "gap_rows": np.array([60, 60]),
    }  # fmt: skip
    told, curve = chosen(columns, ["silhouette", "gap"], 100)
    assert curve is None
    assert told["silhouette"].reason.endswith("(of 50 rows, drawn from each cluster by its share)")
    assert told["gap"].reason.endswith("(of 60 random rows)")
    exact, _ = chosen(columns | {"silhouette_rows": np.array([100, 100])}, ["silhouette"], 100)
    assert "(of" not in exact["silhouette"].reason


def test_gaps_end_where_the_inertia_is_zero():
    columns = {
        "k": np.array([2, 3, 4]), "gap": np.array([0.1, 0.5, np.nan]), "gap_se": np.array([0.0, 0.0, np.nan]),
        "gap_rows": np.full(3, 30),
    }  # fmt: skip
    found = gap_choice([2, 3, 4], columns)
    assert found.k is None and "from k=4 on: the inertia is 0" in found.reason
    assert gap_choice([2, 3, 4], columns | {"gap": np.array([0.5, 0.1, np.nan])}).k == 2
