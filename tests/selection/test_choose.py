"""Choosing the number of clusters."""

import sys

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn import metrics as oracle
from sklearn.datasets import make_blobs

from gpuclust import KMeans, KMedians, MiniBatchKMeans, MiniBatchKMedians, stream
from gpuclust.selection import choose_k
from gpuclust.selection.choose import CRITERIA

BLOBS = make_blobs(240, centers=[(0, 0), (9, 0), (0, 9), (9, 9)], cluster_std=0.6, random_state=0)[0]
FAST = {"n_references": 3, "random_state": 0}


@pytest.fixture(scope="module")
def four():
    return choose_k(BLOBS, range(1, 9), **FAST)


@pytest.mark.parametrize("kind", [KMeans, KMedians, MiniBatchKMeans, MiniBatchKMedians])
def test_separated_blobs(kind):
    found = choose_k(BLOBS, range(1, 9), estimator=kind(), **FAST)
    assert found.choices == dict.fromkeys(CRITERIA, 4)
    assert (found.recommended_k, found.agreement) == (4, 1.0)
    model = found.best_estimator_
    assert type(model) is kind and model.n_clusters == len(model.cluster_centers_) == 4
    np.testing.assert_array_equal(model.labels_, model.predict(BLOBS))
    assert sorted(np.bincount(model.labels_)) == [60] * 4


def test_the_table(four):
    table = four.table
    assert list(table) == [
        "k", "inertia", *CRITERIA, "gap_se", "silhouette_rows", "gap_rows", "distinct", "n_iter", "seconds"
    ]  # fmt: skip
    assert table["k"].tolist() == list(range(1, 9)) == table["distinct"].tolist()
    assert np.all(np.diff(table["inertia"]) <= 0) and np.all(table["seconds"] > 0)
    one = table.iloc[0]
    assert one[["silhouette", "davies_bouldin", "calinski_harabasz"]].isna().all() and one["silhouette_rows"] == 0
    assert table["inertia"][0] == pytest.approx(((BLOBS - BLOBS.mean(axis=0)) ** 2).sum())
    chosen = table[table["k"] == 4].iloc[0]
    labels = four.best_estimator_.labels_
    assert chosen["inertia"] == four.best_estimator_.inertia_
    assert chosen["silhouette"] == pytest.approx(oracle.silhouette_score(BLOBS, labels))
    assert chosen["davies_bouldin"] == pytest.approx(oracle.davies_bouldin_score(BLOBS, labels))
    assert chosen["calinski_harabasz"] == pytest.approx(oracle.calinski_harabasz_score(BLOBS, labels))
    assert (chosen["silhouette_rows"], chosen["gap_rows"]) == (240, 240)


def test_every_criterion_gives_a_reason(four):
    assert set(four.reasons) == {*CRITERIA, "recommended"}
    assert all("k=4" in reason for reason in four.reasons.values())


def test_medians_are_judged_by_manhattan_distances():
    found = choose_k(BLOBS, [4], estimator=KMedians(), criteria=["silhouette"], random_state=0)
    labels = found.best_estimator_.labels_
    assert found.table["silhouette"][0] == pytest.approx(
        oracle.silhouette_score(BLOBS, labels, metric="manhattan")
    )


def test_uniform_rows_are_one_cluster():
    X = np.random.default_rng(0).random((300, 2))
    found = choose_k(X, range(1, 6), criteria=["gap"], random_state=0)
    assert found.choices == {"gap": 1} and found.recommended_k == 1
    assert found.best_estimator_.cluster_centers_.shape == (1, 2)


def same(one, other):
    pd.testing.assert_frame_equal(one.table.drop(columns="seconds"), other.table.drop(columns="seconds"))
    assert one.choices == other.choices and one.reasons == other.reasons
    np.testing.assert_array_equal(one.best_estimator_.cluster_centers_, other.best_estimator_.cluster_centers_)
    np.testing.assert_array_equal(one.best_estimator_.labels_, other.best_estimator_.labels_)


def test_the_seed_decides(four):
    same(four, choose_k(BLOBS, range(1, 9), **FAST))
    same(four, choose_k(BLOBS, reversed(range(1, 9)), estimator=KMeans(random_state=0), n_references=3))
    other = choose_k(BLOBS, range(1, 9), n_references=3, random_state=1)
    assert not np.array_equal(four.table["gap"], other.table["gap"])
    more = choose_k(BLOBS, range(1, 9), n_references=4, random_state=0)
    assert not np.array_equal(four.table["gap"], more.table["gap"])


@pytest.mark.parametrize("sample_size", [10_000, 100])
def test_chunks_and_streams_change_nothing(sample_size, tmp_path):
    np.save(tmp_path / "X.npy", BLOBS)
    given = [
        (None, BLOBS), (KMeans(chunk_size=67), BLOBS), (None, tmp_path / "X.npy"),
        (KMeans(chunk_size=50), stream([BLOBS[:90], BLOBS[90:]])), (None, pd.DataFrame(BLOBS, columns=["a", "b"])),
    ]  # fmt: skip
    found = [
        choose_k(X, [2, 4, 5], estimator=estimator, sample_size=sample_size, **FAST) for estimator, X in given
    ]
    for other in found[1:]:
        same(found[0], other)
    assert found[-1].best_estimator_.feature_names_in_.tolist() == ["a", "b"]


def test_sparse_rows():
    X = sp.csr_matrix(np.where(np.abs(BLOBS) > 2, BLOBS, 0))
    found = choose_k(X, [2, 4, 5], **FAST)
    assert found.choices["silhouette"] == 4
    assert found.choices["gap"] is None and "not sparse" in found.reasons["gap"]
    assert found.table["gap"].isna().all()


def test_one_upload(monkeypatch):
    """All k, all criteria: the rows are validated and placed once. References of the gap statistic are other rows."""
    from gpuclust import validation
    from gpuclust.backends.cpu import CPUBackend

    uploads, checks = [], []
    upload, check = CPUBackend.upload, validation.validate_data
    monkeypatch.setattr(
        CPUBackend, "upload", lambda self, rows, dtype: uploads.append(rows.shape) or upload(self, rows, dtype)
    )
    monkeypatch.setattr(validation, "validate_data", lambda *given, **rest: checks.append(1) or check(*given, **rest))
    choose_k(BLOBS, range(2, 9), n_references=2, random_state=0)
    assert len(checks) == 1
    assert uploads.count(BLOBS.shape) == 1 + 2  # the rows and the references


def test_a_sample_stands_for_many_rows():
    X = np.concatenate([BLOBS] * 20) + np.random.default_rng(0).normal(0, 0.3, (4800, 2))
    whole, part = (choose_k(X, [3, 4, 5], sample_size=size, **FAST) for size in (4800, 400))
    assert whole.table["silhouette_rows"].tolist() == [4800] * 3 and whole.table["gap_rows"].tolist() == [4800] * 3
    assert np.all(np.abs(part.table["silhouette_rows"] - 400) <= 5) and part.table["gap_rows"].tolist() == [400] * 3
    np.testing.assert_allclose(part.table["silhouette"], whole.table["silhouette"], atol=0.03)
    for name in ("inertia", "davies_bouldin", "calinski_harabasz"):
        np.testing.assert_array_equal(part.table[name], whole.table[name])
    assert "400 rows" in part.reasons["silhouette"] and "400 random rows" in part.reasons["gap"]
    assert "rows" not in whole.reasons["silhouette"] + whole.reasons["gap"]
    assert part.choices == whole.choices and part.recommended_k == 4


def test_weights(rng):
    weight = rng.integers(0, 3, len(BLOBS))
    names = ["elbow", "davies_bouldin", "calinski_harabasz", "gap"]
    one = choose_k(BLOBS, range(1, 7), sample_weight=weight, criteria=names, **FAST)
    other = choose_k(np.repeat(BLOBS, weight, axis=0), range(1, 7), criteria=names, **FAST)
    assert one.table["gap_rows"][0] == np.count_nonzero(weight)
    for name in ("inertia", "davies_bouldin", "calinski_harabasz"):
        np.testing.assert_allclose(one.table[name], other.table[name], rtol=1e-9)
    assert one.choices == other.choices == dict.fromkeys(names, 4)


def test_fewer_distinct_rows_than_clusters():
    X = np.repeat(np.array([[0.0, 0], [5, 0], [0, 5]]), 7, axis=0)
    found = choose_k(X, range(2, 6), **FAST)
    assert found.table["distinct"].tolist() == [2, 3, 3, 3]
    assert found.table["silhouette"][2:].isna().all()
    assert found.choices["silhouette"] == found.choices["davies_bouldin"] == found.recommended_k == 3
    assert found.table["gap"][1:].isna().all()


def test_constant_rows():
    found = choose_k(np.ones((9, 2)), [1, 2, 3], **FAST)
    assert set(found.choices.values()) == {None} and found.recommended_k == 1
    assert "no criterion" in found.reasons["recommended"]


def test_as_many_clusters_as_rows():
    found = choose_k(BLOBS[:6], range(1, 7), **FAST)
    assert found.table["inertia"].iloc[-1] == 0 and np.isnan(found.table["silhouette"].iloc[-1])


def test_a_callable_for_first_centres():
    found = choose_k(
        BLOBS, [3, 4, 5], estimator=KMeans(init=lambda X, k, random_state: X[:k], n_init=1),
        criteria="silhouette", random_state=0,
    )  # fmt: skip
    assert found.recommended_k == 4


def test_progress_is_told():
    told = []
    choose_k(BLOBS, [2, 3, 4], n_references=2, random_state=0, progress=lambda *given: told.append(given))
    assert [done for _, done, of in told] == [1, 2, 3, 1, 2, 3, 1, 2] and told[0] == ("k=4", 1, 3)
    assert told[-1] == ("references", 2, 2)


def test_the_plot(four):
    from matplotlib import pyplot as plt

    display = four.plot()
    assert len(display.ax_) == 5 and display.choices["gap"] == 4
    plt.close(display.figure_)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"ks": 5}, "must hold positive integers"),
        ({"ks": []}, "must hold positive integers"),
        ({"ks": [0, 1]}, "must hold positive integers"),
        ({"ks": [2.5]}, "must hold positive integers"),
        ({"ks": [2, 500]}, "largest number of clusters, 500"),
        ({"criteria": ["nice"]}, "must be different ones of elbow"),
        ({"criteria": ()}, "must be different ones"),
        ({"criteria": ["gap", "gap"]}, "must be different ones"),
        ({"reference": "sphere"}, "none of 'auto', 'pca', 'box'"),
        ({"n_references": 0}, "n_references=0 must be a positive integer"),
        ({"sample_size": 1.5}, "sample_size=1.5 must be a positive integer"),
        ({"estimator": KMeans(init=np.zeros((2, 2)))}, "init"),
        ({"random_state": "x"}, "cannot be used to seed"),
    ],
)
def test_refusals(given, message):
    with pytest.raises(ValueError, match=message):
        choose_k(BLOBS, **({"ks": [2, 3]} | given))


def test_estimators_of_others():
    from sklearn.cluster import KMeans as Theirs

    with pytest.raises(TypeError, match="none of gpuclust's: pass KMeans"):
        choose_k(BLOBS, [2, 3], estimator=Theirs())


@pytest.mark.parametrize(("name", "purpose"), [("pandas", "choose_k"), ("kneed", "The elbow")])
def test_missing_extras(name, purpose, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=rf"{purpose} needs {name}: run pip install 'gpuclust\[analysis\]'"):
        choose_k(BLOBS, [2, 3])
