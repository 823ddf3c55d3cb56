"""Metrics, selection, profiles and preprocessing of rows that workers hold: the same numbers as of an array."""

import dask
import dask.array as da
import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import make_pipeline

import gpuclust
from gpuclust import KMeans, metrics, profiling, selection
from gpuclust.preprocessing import MinMaxScaler, RobustScaler, StandardScaler

pytestmark = pytest.mark.usefixtures("local")


@pytest.fixture
def X(rng):
    rows = np.concatenate([rng.normal(m, 1, (100, 3)) for m in (-4, 0, 5)])
    return rng.permutation(rows).astype(np.float32)


@pytest.fixture
def lazy(X):
    return da.from_array(X, chunks=(77, 3))


@pytest.fixture
def labels(rng):
    return rng.integers(0, 4, 300)


@pytest.mark.parametrize("metric", ["euclidean", "manhattan"])
@pytest.mark.parametrize("name", ["davies_bouldin_score", "calinski_harabasz_score"])
def test_indices_of_lazy_labels(name, metric, X, lazy, labels):
    score = getattr(metrics, name)
    there = da.from_array(labels, chunks=77)
    assert score(lazy, there, metric=metric) == score(X, labels, metric=metric)


def test_silhouettes(X, lazy, labels):
    assert metrics.silhouette_score(lazy, labels, metric="sqeuclidean") == metrics.silhouette_score(
        X, labels, metric="sqeuclidean"
    )


@pytest.mark.parametrize("metric", ["sqeuclidean", "manhattan"])
def test_inertia(metric, X, lazy, labels):
    assert metrics.inertia(lazy, X[:4], metric=metric) == metrics.inertia(X, X[:4], metric=metric)
    there = da.from_array(labels, chunks=77)
    one = metrics.inertia(lazy, X[:4], labels=there, metric=metric, sample_weight=there)
    assert one == metrics.inertia(X, X[:4], labels=labels, metric=metric, sample_weight=labels)


@pytest.mark.parametrize("name", ["adjusted_rand_score", "normalized_mutual_info_score", "contingency_matrix"])
def test_agreement_of_lazy_labels(name, labels, lazy, X):
    model = KMeans(3, random_state=0).fit(lazy)
    score = getattr(metrics, name)
    assert np.array_equal(score(da.from_array(labels, chunks=50), model.labels_), score(labels, np.asarray(model.labels_)))


def test_choose_k(X, lazy):
    options = dict(criteria=("elbow", "silhouette", "calinski_harabasz", "davies_bouldin"), random_state=0)
    one, other = (selection.choose_k(rows, range(2, 4), estimator=KMeans(random_state=0), **options) for rows in (lazy, X))
    pd.testing.assert_frame_equal(one.table.drop(columns="seconds"), other.table.drop(columns="seconds"))
    assert one.recommended_k == other.recommended_k == 3
    assert np.array_equal(np.asarray(one.best_estimator_.labels_), other.best_estimator_.labels_)


def test_stability(X, lazy):
    model = KMeans(3, init="random", n_init=1, random_state=0)
    found = [selection.stability(model, rows, method="bootstrap", n_runs=2, random_state=1) for rows in (lazy, X)]
    assert np.array_equal(found[0].ari, found[1].ari) and np.array_equal(found[0].jaccard_runs, found[1].jaccard_runs)


def test_profiles(X, lazy, labels):
    one, other = profiling.profile(lazy, da.from_array(labels, chunks=77)), profiling.profile(X, labels)
    pd.testing.assert_frame_equal(one.table, other.table, check_exact=True)
    pd.testing.assert_frame_equal(one.overall, other.overall, check_exact=True)
    pd.testing.assert_frame_equal(profiling.check_data(lazy).table, profiling.check_data(X).table)


def test_permutations_send_every_worker_its_own_rows_only(X, lazy, monkeypatch):
    from gpuclust.data.crew import Crew

    sent, each = [], Crew._sent
    monkeypatch.setattr(Crew, "_sent", lambda crew, part, request, *rest: sent.append(len(request)) or each(crew, part, request, *rest))
    rows, model = np.tile(X, (70, 1)), KMeans(3, random_state=0).fit(X)
    far = da.from_array(rows, chunks=(len(rows) // 3, 3))
    found = profiling.permutation_importance(model, far, n_repeats=2, random_state=0)
    small = sum(size for size in sent if size < 10_000)
    assert sum(sent) - small < 1.05 * len(rows) * 4 * (1 + 3 * 2)  # labels once, and a column for each permutation
    pd.testing.assert_frame_equal(found, profiling.permutation_importance(model, rows, n_repeats=2, random_state=0))


def test_of_columns_that_are_set_again_the_last_is_kept_for_those_who_lose_them(X, lazy):
    from gpuclust.data.dask import DaskSource

    source = DaskSource(lazy, None, "cpu")
    source.allocate("shuffled", np.float32, 0)
    for at in range(3):
        source.fill("shuffled", np.full(300, at, np.float32))
    log = source._crew.log(source._view)
    assert [method for method, _ in log] == ["allocate", "write"] and log[1][1][2][0] == 2


@pytest.mark.parametrize(
    ("scaler", "kind"),
    [
        (StandardScaler(), "array"), (RobustScaler(), "array"), (MinMaxScaler(), "array"), (RobustScaler(), "frame"),
        (StandardScaler(), "shards"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)  # fmt: skip
def test_scalers(scaler, kind, X, lazy):
    frame = pd.DataFrame(X, columns=list("xyz"))
    given, rows = {
        "array": lambda: (lazy, X),
        "frame": lambda: (pytest.importorskip("dask.dataframe").from_pandas(frame, npartitions=3), frame),
        "shards": lambda: (gpuclust.shards([dask.delayed(X[:120]), dask.delayed(X[120:])]), X),
    }[kind]()
    model = make_pipeline(scaler, KMeans(3, init="random", n_init=1, random_state=0)).fit(given)
    alone = make_pipeline(scaler, KMeans(3, init="random", n_init=1, random_state=0)).fit(rows)
    assert np.array_equal(model[-1].cluster_centers_, alone[-1].cluster_centers_)
    assert np.array_equal(np.asarray(model[-1].labels_), alone[-1].labels_)
    assert np.array_equal(np.asarray(model.predict(given)), alone.predict(rows))
    if kind == "array":
        there = model[0].transform(lazy)
        assert isinstance(there, da.Array) and there.dtype == np.float32
        assert np.array_equal(there.compute(), alone[0].transform(X))
        assert np.allclose(model[0].inverse_transform(there).compute(), X, atol=1e-5)


def test_weighted_scalers(X, lazy, rng):
    weight = rng.uniform(0, 2, 300)
    one, other = StandardScaler().fit(lazy, sample_weight=weight), StandardScaler().fit(X, sample_weight=weight)
    assert np.array_equal(one.mean_, other.mean_) and np.array_equal(one.var_, other.var_)
