"""The estimators keep scikit-learn's contract: its checks, signatures, copies, seeding and routing.

scikit-learn's own classes are the oracle wherever both accept the call. With
``GPUCLUST_TEST_PROVIDER=sklearn.cluster`` the file runs against them, which shows that the tests ask for
nothing that scikit-learn does not do itself.
"""

import copy
import importlib
import inspect
import os
import pickle
import re

import numpy as np
import pytest
import sklearn.cluster
from sklearn import config_context
from sklearn.base import clone, is_clusterer
from sklearn.datasets import make_blobs
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks

from gpuclust import KMedians, MiniBatchKMedians

PROVIDER = os.environ.get("GPUCLUST_TEST_PROVIDER", "gpuclust")
under_test = importlib.import_module(PROVIDER)
KMeans, MiniBatchKMeans = under_test.KMeans, under_test.MiniBatchKMeans
BOTH = pytest.mark.parametrize("name", ["KMeans", "MiniBatchKMeans"])

# A mini-batch's rows come from our own draws, which depend on the seed and the row's index only.
CLOSE = {"KMeans": 1e-9, "MiniBatchKMeans": 0.05}

OUR_PARAMETERS = ["device", "chunk_size"]
OUR_ATTRIBUTES = {"device_", "converged_", "n_passes_", "inertia_history_"}

X, TRUE = make_blobs(n_samples=90, n_features=3, centers=3, cluster_std=0.5, random_state=7)
START = X[[int(np.flatnonzero(TRUE == label)[0]) for label in range(3)]]
WEIGHT = np.random.RandomState(3).randint(1, 5, size=len(X)).astype(float)


def pair(name, **parameters):
    """Return our estimator and scikit-learn's with the same parameters, from the same initial centres."""
    parameters = {"n_clusters": 3, "init": START, "n_init": 1, "random_state": 0} | parameters
    return getattr(under_test, name)(**parameters), getattr(sklearn.cluster, name)(**parameters)


def fitted(name, data=X, **parameters):
    return pair(name, **parameters)[0].fit(data)


def state(model):
    return model.cluster_centers_, model.labels_, model.inertia_, model.n_iter_


def assert_same_state(model, other):
    for mine, theirs in zip(state(model), state(other), strict=True):
        np.testing.assert_array_equal(mine, theirs)


# --- scikit-learn's estimator checks ---

WEIGHT_CHECKS = (
    "check_sample_weight_equivalence_on_dense_data",
    "check_sample_weight_equivalence_on_sparse_data",
)
EXPECTED_FAILURES = {
    name: dict.fromkeys(
        WEIGHT_CHECKS, "the weighted and the repeated rows come shuffled: seeding draws other rows"
    )
    for name in ("KMeans", "MiniBatchKMeans", "KMedians", "MiniBatchKMedians")
}


CHECKS = parametrize_with_checks(
    [
        KMeans(n_clusters=2, n_init=2, max_iter=5),
        MiniBatchKMeans(n_clusters=2, n_init=2, max_iter=5, batch_size=10),
        KMedians(n_clusters=2, n_init=2, max_iter=5),
        MiniBatchKMedians(n_clusters=2, n_init=2, max_iter=5, batch_size=10),
    ],
    expected_failed_checks=lambda estimator: EXPECTED_FAILURES[type(estimator).__name__],
).mark


# A list, because scikit-learn before 1.9 hands over a generator, which new versions of pytest refuse.
@pytest.mark.parametrize(CHECKS.args[0], list(CHECKS.args[1]), **CHECKS.kwargs)
def test_estimator_checks(estimator, check):
    check(estimator)


@BOTH
def test_no_check_is_excused_that_scikit_learn_passes(name):
    private = pytest.importorskip("sklearn.utils._test_common.instance_generator")
    theirs = private.PER_ESTIMATOR_XFAIL_CHECKS[getattr(sklearn.cluster, name)]
    assert EXPECTED_FAILURES[name].keys() <= theirs.keys()


# --- signatures, parameters, tags ---


def assert_extends(ours, theirs, added):
    mine, base = (list(inspect.signature(thing).parameters.values()) for thing in (ours, theirs))
    key = ("name", "kind", "default")
    assert [[getattr(p, k) for k in key] for p in mine[: len(base)]] == [
        [getattr(p, k) for k in key] for p in base
    ]
    assert [p.name for p in mine[len(base) :]] == added
    assert all(p.kind is p.KEYWORD_ONLY and p.default is not p.empty for p in mine[len(base) :])


@BOTH
def test_constructor_is_scikit_learns_with_ours_last(name):
    ours, theirs = getattr(under_test, name), getattr(sklearn.cluster, name)
    own = OUR_PARAMETERS + ["checkpoint"] * (name == "KMeans")
    assert_extends(ours, theirs, own if PROVIDER == "gpuclust" else [])


@pytest.mark.parametrize("name", ["k_means", "kmeans_plusplus"])
def test_functions_begin_with_scikit_learns_signature(name):
    ours, theirs = getattr(under_test, name), getattr(sklearn.cluster, name)
    added = list(inspect.signature(ours).parameters)[len(inspect.signature(theirs).parameters) :]
    assert set(added) <= set(OUR_PARAMETERS)
    assert_extends(ours, theirs, added)


@BOTH
def test_methods_have_scikit_learns_signatures(name):
    ours, theirs = getattr(under_test, name), getattr(sklearn.cluster, name)
    public = [
        method for method in dir(theirs) if not method.startswith("_") and callable(getattr(theirs, method))
    ]
    assert {m: list(inspect.signature(getattr(ours, m)).parameters) for m in public} == {
        m: list(inspect.signature(getattr(theirs, m)).parameters) for m in public
    }


def documented(thing, section):
    """Return the names that one numpydoc section of a docstring describes, in order."""
    text = inspect.cleandoc(thing.__doc__)
    body = re.search(rf"^{section}\n-+\n(.*?)(?=^\S[^\n]*\n-+\n|\Z)", text, re.DOTALL | re.MULTILINE).group(1)
    return [name for line in re.findall(r"^(\S[^:\n]*?) :", body, re.MULTILINE) for name in line.split(", ")]


@pytest.mark.parametrize("name", ["KMeans", "MiniBatchKMeans", "k_means", "kmeans_plusplus"])
def test_docstring_lists_the_parameters_in_order(name):
    thing = getattr(under_test, name)
    assert documented(thing, "Parameters") == list(inspect.signature(thing).parameters)


@BOTH
def test_docstring_lists_every_fitted_attribute(name):
    model = fitted(name, pytest.importorskip("pandas").DataFrame(X, columns=list("abc")))
    public = {key for key in vars(model) if key.endswith("_") and not key.startswith("_")}
    assert set(documented(type(model), "Attributes")) == public
    assert PROVIDER != "gpuclust" or public >= (
        OUR_ATTRIBUTES if name == "KMeans" else {"device_", "n_steps_"}
    )


def test_positional_n_clusters_and_short_repr():
    assert KMeans(5).n_clusters == 5
    assert repr(KMeans(5)) == "KMeans(n_clusters=5)"
    assert repr(MiniBatchKMeans()) == "MiniBatchKMeans()"
    with pytest.raises(TypeError, match="positional"):
        KMeans(5, "random")


@BOTH
def test_get_params_set_params_and_clone_round_trip(name):
    model, _ = pair(name, max_iter=7, tol=0.5)
    again = type(model)().set_params(**model.get_params())
    assert again.get_params().keys() == inspect.signature(type(model)).parameters.keys()
    assert all(again.get_params()[key] is value for key, value in model.get_params().items())
    copied = clone(fitted(name))
    assert not any(key.endswith("_") for key in vars(copied))
    np.testing.assert_array_equal(copied.init, START)
    with pytest.raises(ValueError, match="Invalid parameter 'clusters' for estimator"):
        model.set_params(clusters=3)


@BOTH
def test_constructor_only_stores(name):
    wrong = {
        "n_clusters": -1,
        "init": object(),
        "n_init": "many",
        "max_iter": None,
        "random_state": "a",
        "tol": "x",
    }
    model = getattr(under_test, name)(**wrong)
    assert {key: model.get_params()[key] for key in wrong} == wrong


@BOTH
def test_tags_are_scikit_learns(name):
    ours, theirs = (get_tags(model) for model in pair(name))
    assert is_clusterer(getattr(under_test, name)())
    assert (ours.estimator_type, ours.requires_fit) == (theirs.estimator_type, theirs.requires_fit)
    assert (ours.target_tags, ours.input_tags) == (theirs.target_tags, theirs.input_tags)
    assert set(theirs.transformer_tags.preserves_dtype) <= set(ours.transformer_tags.preserves_dtype)


# --- fitting, copying, storing ---


@BOTH
def test_methods_agree_with_each_other_and_ignore_y(name):
    model, other = pair(name)
    assert model.fit(X, np.arange(len(X)), sample_weight=WEIGHT) is model
    np.testing.assert_array_equal(other.fit(X, sample_weight=WEIGHT).labels_, model.labels_)
    np.testing.assert_array_equal(clone(model).fit_predict(X, sample_weight=WEIGHT), model.labels_)
    np.testing.assert_array_equal(model.predict(X), model.labels_)
    np.testing.assert_array_equal(clone(model).fit_transform(X, sample_weight=WEIGHT), model.transform(X))
    np.testing.assert_allclose(model.score(X), other.score(X), rtol=CLOSE[name])
    np.testing.assert_allclose(model.score(X, None, WEIGHT), other.score(X, None, WEIGHT), rtol=CLOSE[name])
    assert model.labels_.dtype == model.predict(X).dtype == np.int32


@BOTH
def test_fitted_attributes_have_scikit_learns_types(name):
    ours, theirs = (model.fit(X) for model in pair(name))
    for key in ("cluster_centers_", "labels_", "n_iter_", "n_features_in_", "_n_features_out"):
        assert type(getattr(ours, key)) is type(getattr(theirs, key)), key
    assert isinstance(ours.inertia_, float)
    assert ours.n_features_in_ == 3
    assert not hasattr(ours, "feature_names_in_")


@BOTH
@pytest.mark.parametrize(
    "copied", [lambda m: pickle.loads(pickle.dumps(m)), copy.deepcopy], ids=["pickle", "copy"]
)
def test_pickle_and_deepcopy_keep_everything(name, copied):
    model = fitted(name)
    again = copied(model)
    assert_same_state(again, model)
    assert vars(again).keys() == vars(model).keys()
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert copied(getattr(under_test, name)(4)).n_clusters == 4


def test_k_means_function_is_scikit_learns():
    call = {"n_clusters": 3, "sample_weight": WEIGHT, "init": START, "n_init": 1, "return_n_iter": True}
    for mine, theirs in zip(under_test.k_means(X, **call), sklearn.cluster.k_means(X, **call), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-9)
    assert len(under_test.k_means(X, 3, random_state=0)) == 3


@pytest.mark.parametrize(
    "weight", [2.0, 3, WEIGHT.tolist(), WEIGHT.astype(int)], ids=["float", "int", "list", "ints"]
)
@BOTH
def test_sample_weight_in_every_form(name, weight):
    model = pair(name)[0].fit(X, sample_weight=weight)
    as_array = np.broadcast_to(np.asarray(weight, dtype=float), len(X))
    assert_same_state(model, pair(name)[0].fit(X, sample_weight=as_array))


# --- seeding through the public interface (upstream tests the private _init_centroids) ---


@pytest.mark.parametrize("init", ["k-means++", "random"])
@pytest.mark.parametrize("seed", range(5))
def test_seeding_uses_the_weights(init, seed):
    rng = np.random.RandomState(seed)
    heavy = np.arange(4.0)[:, None] * np.ones((1, 2))
    data = np.vstack([100 * rng.standard_normal((60, 2)), heavy])
    weight = np.r_[np.full(60, 1e-9), np.full(4, 1e9)]
    model = KMeans(4, init=init, n_init=1, max_iter=1, random_state=seed).fit(data, sample_weight=weight)
    np.testing.assert_allclose(np.sort(model.cluster_centers_, axis=0), heavy, atol=1e-9)


@pytest.mark.parametrize("init", ["k-means++", "random"])
@pytest.mark.parametrize("seed", range(5))
def test_seeding_never_takes_a_row_of_weight_zero(init, seed):
    data = np.random.RandomState(seed).uniform(size=(100, 5))
    weight = np.r_[np.ones(10), np.zeros(90)]
    model = KMeans(10, init=init, n_init=1, random_state=seed).fit(data, sample_weight=weight)
    assert model.n_iter_ == 1  # every weighted row was its own centre from the start
    _, indices = under_test.kmeans_plusplus(data, 10, sample_weight=weight, random_state=seed)
    assert sorted(indices) == list(range(10))


# --- metadata routing ---


@pytest.fixture
def routing():
    with config_context(enable_metadata_routing=True):
        yield


@BOTH
def test_requests_are_scikit_learns(name, routing):
    ours, theirs = pair(name)
    assert str(ours.get_metadata_routing()) == str(theirs.get_metadata_routing())
    assert ours.set_fit_request(sample_weight=True) is ours
    assert not hasattr(ours, "set_predict_request")


@BOTH
def test_weights_travel_through_a_pipeline(name, routing):
    ours, theirs = pair(name)
    alone = clone(ours).fit(X, sample_weight=WEIGHT)
    piped = Pipeline([("same", "passthrough"), ("cluster", ours.set_fit_request(sample_weight=True))])
    assert_same_state(piped.fit(X, sample_weight=WEIGHT)[-1], alone)
    assert alone.inertia_ != clone(ours).fit(X).inertia_
    scaled = make_pipeline(StandardScaler(), theirs).fit(X)
    assert (
        make_pipeline(StandardScaler(), clone(ours)).fit(X).predict(X).tolist() == scaled.predict(X).tolist()
    )


@BOTH
def test_weights_must_be_requested(name, routing):
    with pytest.raises(UnsetMetadataPassedError, match="are passed but are not explicitly set"):
        make_pipeline(pair(name)[0]).fit(X, sample_weight=WEIGHT)


@BOTH
def test_grid_search_routes_weights_and_agrees_with_scikit_learn(name, routing):
    def search(model):
        model.set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        grid = GridSearchCV(model, {"max_iter": [1, 20], "tol": [0.0, 1e-3]}, cv=3, error_score="raise")
        return grid.fit(X, sample_weight=WEIGHT)

    ours, theirs = (search(model) for model in pair(name))
    mine, expected = (grid.cv_results_["mean_test_score"] for grid in (ours, theirs))
    np.testing.assert_allclose(mine, expected, rtol=CLOSE[name])
    assert name == "MiniBatchKMeans" or ours.best_params_ == theirs.best_params_
