"""Fitted models as scikit-learn's own, and back."""

import numpy as np
import pandas as pd
import pytest
from sklearn import cluster, preprocessing
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline, make_pipeline

from gpuclust import KMeans, KMedians, MiniBatchKMeans
from gpuclust.persistence import to_sklearn
from gpuclust.preprocessing import FrequencyEncoder, RobustScaler, SimpleImputer, StandardScaler, Winsorizer

RNG = np.random.default_rng(0)
X = np.concatenate([RNG.normal(center, 0.5, (40, 3)) for center in (0.0, 5.0, 11.0)])
NEW = RNG.normal(5.0, 4.0, (200, 3))
TWINS = pytest.mark.parametrize(
    ("Ours", "Peer"), [(KMeans, cluster.KMeans), (MiniBatchKMeans, cluster.MiniBatchKMeans)]
)
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@TWINS
@DTYPES
def test_ours_as_theirs(Ours, Peer, dtype):
    ours = Ours(3, random_state=0, n_init=1, init="k-means||").fit(X.astype(dtype))
    peer = ours.to_sklearn()
    assert type(peer) is Peer
    assert peer.init == "k-means++"
    shared = set(peer.get_params()) - {"init"}
    assert {name: peer.get_params()[name] for name in shared} == {name: ours.get_params()[name] for name in shared}
    rows = NEW.astype(dtype)
    np.testing.assert_array_equal(peer.predict(rows), ours.predict(rows))
    np.testing.assert_allclose(peer.transform(rows), ours.transform(rows), rtol=1e-4 if dtype == np.float32 else 1e-9)
    np.testing.assert_array_equal(peer.labels_, ours.labels_)
    assert (peer.inertia_, peer.n_iter_, peer.n_features_in_) == (ours.inertia_, ours.n_iter_, 3)
    assert list(peer.get_feature_names_out()) == [f"{Peer.__name__.lower()}{at}" for at in range(3)]
    peer.cluster_centers_[:] = 0
    assert ours.cluster_centers_.any()


@TWINS
@DTYPES
def test_theirs_as_ours(Ours, Peer, dtype):
    peer = Peer(3, random_state=0, n_init=2, tol=0.01).fit(X.astype(dtype))
    ours = Ours.from_sklearn(peer)
    assert type(ours) is Ours
    assert (ours.n_init, ours.tol, ours.device, ours.device_) == (2, 0.01, "auto", "cpu")
    np.testing.assert_array_equal(ours.cluster_centers_, peer.cluster_centers_)
    assert ours.cluster_centers_.dtype == dtype
    np.testing.assert_array_equal(ours.predict(NEW.astype(dtype)), peer.predict(NEW.astype(dtype)))
    np.testing.assert_array_equal(ours.labels_, peer.labels_)
    back = ours.to_sklearn()
    assert back.get_params() == peer.get_params()
    np.testing.assert_array_equal(back.cluster_centers_, peer.cluster_centers_)


def test_names_of_features_go_along():
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    peer = KMeans(3, random_state=0).fit(frame).to_sklearn()
    assert list(peer.feature_names_in_) == ["a", "b", "c"]
    assert list(KMeans.from_sklearn(peer).feature_names_in_) == ["a", "b", "c"]


@DTYPES
def test_mini_batches_go_on_on_either_side(dtype):
    """The same step on the same rows from the same centres and counts."""
    ours = MiniBatchKMeans(3, random_state=0, reassignment_ratio=0.0).partial_fit(X[::2].astype(dtype))
    peer = ours.to_sklearn()
    there = MiniBatchKMeans.from_sklearn(peer)
    for each in (ours, peer, there):
        each.partial_fit(X[1::2].astype(dtype))
        assert each.n_steps_ == 2
    np.testing.assert_allclose(peer.cluster_centers_, ours.cluster_centers_, rtol=1e-5 if dtype == np.float32 else 1e-12)
    np.testing.assert_allclose(there.cluster_centers_, ours.cluster_centers_, rtol=1e-6)


def test_only_fitted_twins_are_taken():
    with pytest.raises(NotFittedError):
        KMeans().to_sklearn()
    with pytest.raises(NotFittedError):
        KMeans.from_sklearn(cluster.KMeans())
    for other in (cluster.MiniBatchKMeans(2).fit(X), cluster.BisectingKMeans(2).fit(X), KMeans(2).fit(X), 3):
        with pytest.raises(TypeError, match=r"takes sklearn\.cluster\.KMeans"):
            KMeans.from_sklearn(other)


def frame():
    made = pd.DataFrame(NEW, columns=["u", "v", "w"]).assign(city=RNG.choice(["Rome", "Oslo", "Bern"], len(NEW)))
    made.loc[3:9, "u"] = np.nan
    return made


def pipeline(*, remainder):
    numbers = make_pipeline(SimpleImputer(strategy="median"), RobustScaler())
    columns = ColumnTransformer(
        [("numbers", numbers, ["u", "v"]), ("city", preprocessing.OneHotEncoder(), ["city"]), ("none", "drop", [])],
        remainder=remainder,
    )
    return Pipeline([("columns", columns), ("same", "passthrough"), ("cluster", KMeans(3, random_state=0))])


@pytest.mark.parametrize("remainder", ["passthrough", "drop", StandardScaler()])
def test_whole_pipelines(remainder):
    rows = frame()
    model = pipeline(remainder=remainder).fit(rows)
    peer = to_sklearn(model)
    modules = {type(part).__module__.partition(".")[0] for part in parts_of(peer)}
    assert modules == {"sklearn"}
    np.testing.assert_array_equal(peer.predict(rows), model.predict(rows))
    np.testing.assert_allclose(peer[:-1].transform(rows), model[:-1].transform(rows), rtol=1e-12)
    assert "gpuclust" not in repr(clone(peer).fit(rows).get_params())
    assert "gpuclust" in type(model[0].named_transformers_["numbers"][0]).__module__  # the original is as it was


def parts_of(model):
    """Yield the estimators of a pipeline, all the way down."""
    inner = [step for _, step in getattr(model, "steps", ())]
    inner += [part for _, part, _ in getattr(model, "transformers_", ())]
    for each in inner:
        yield from parts_of(each)
    if not isinstance(model, str):
        yield model


def test_what_scikit_learn_has_not_is_said():
    with pytest.raises(TypeError, match="scikit-learn has no KMedians"):
        to_sklearn(make_pipeline(StandardScaler(), KMedians(2, random_state=0)).fit(X))
    with pytest.raises(NotImplementedError, match="frequency"):
        to_sklearn(make_pipeline(FrequencyEncoder(), KMeans(2, random_state=0)).fit(X.round()))


def test_caps_become_a_function():
    model = make_pipeline(Winsorizer((5.0, 95.0)), KMeans(3, random_state=0)).fit(X)
    np.testing.assert_array_equal(to_sklearn(model).predict(NEW), model.predict(NEW))
