"""Whatever scikit-learn refuses is refused with scikit-learn's exception and scikit-learn's words."""

import re

import numpy as np
import pytest
import scipy.sparse
import sklearn.cluster
from sklearn.exceptions import NotFittedError
from sklearn.utils.fixes import parse_version

from .oracle import BOTH, X, ours_only, pair, under_test


def refusal(action):
    with pytest.raises(Exception) as caught:
        action()
    return type(caught.value), str(caught.value)


def assert_same_refusal(action, name, **parameters):
    """Check that `action` fails on our estimator exactly as on scikit-learn's: type and text."""
    ours, theirs = (refusal(lambda model=model: action(model)) for model in pair(name, **parameters))
    more = (
        r"(?<=must be a str among \{)[^}]*"  # the set of allowed words may be larger, and its order is random
    )
    assert (ours[0], re.sub(more, "", ours[1])) == (theirs[0], re.sub(more, "", theirs[1]))


WRONG_FOR_BOTH = [
    *({"n_clusters": wrong} for wrong in (0, -1, 2.5, "3", None)),
    *({"init": wrong} for wrong in ("foo", 3, None)),
    *({"n_init": wrong} for wrong in (0, 1.5, "many")),
    *({"max_iter": wrong} for wrong in (0, 1.5, None)),
    *({"tol": wrong} for wrong in (-1.0, "small", None)),
    *({"verbose": wrong} for wrong in (-1, "yes")),
    *({"random_state": wrong} for wrong in (-1, "a", 0.5)),
    {"n_clusters": 91, "init": "random"},
    {"init": X[:2]},
    {"init": X[:3, :2]},
    {"init": np.full((3, 3), np.nan)},
    {"init": X[0]},
    {"init": lambda X, k, random_state: X[:2]},
]
WRONG_FOR_ONE = [
    *(("KMeans", {"algorithm": wrong}) for wrong in ("full", None)),
    *(("KMeans", {"copy_x": wrong}) for wrong in ("a", None)),
    *(("MiniBatchKMeans", {"batch_size": wrong}) for wrong in (0, 1.5)),
    *(("MiniBatchKMeans", {"init_size": wrong}) for wrong in (0, 1.5)),
    *(("MiniBatchKMeans", {"max_no_improvement": wrong}) for wrong in (-1, 1.5)),
    *(("MiniBatchKMeans", {"reassignment_ratio": wrong}) for wrong in (-0.1, None)),
    *(("MiniBatchKMeans", {"compute_labels": wrong}) for wrong in ("a", None)),
]


@pytest.mark.parametrize(
    ("name", "wrong"),
    [(name, wrong) for name in ("KMeans", "MiniBatchKMeans") for wrong in WRONG_FOR_BOTH] + WRONG_FOR_ONE,
)
def test_wrong_parameters_are_refused_with_scikit_learns_words(name, wrong):
    assert_same_refusal(lambda model: model.fit(X), name, **wrong)


def with_value(value):
    data = X.copy()
    data[17, 1] = value
    return data


WRONG_DATA = {
    "nan": with_value(np.nan),
    "inf": with_value(np.inf),
    "1-D": X[:, 0],
    "3-D": X[None],
    "scalar": 3.0,
    "no rows": X[:0],
    "no columns": X[:, :0],
    "complex": X + 1j,
    "text": np.array([["a", "b"]] * 5),
    "text as objects": np.array([["a", 1.0]] * 5, dtype=object),
    "ragged": [[1.0, 2.0], [3.0]],
    "too few rows": X[:2],
    "sparse nan": scipy.sparse.csr_array(with_value(np.nan)),
    "float32 overflow": with_value(np.inf).astype(np.float32),
    "None": None,
}


@pytest.mark.parametrize("data", WRONG_DATA.values(), ids=WRONG_DATA)
@BOTH
def test_wrong_data_is_refused_with_scikit_learns_words(name, data):
    assert_same_refusal(lambda model: model.fit(data), name, init="random")


@pytest.mark.parametrize("method", ["predict", "transform", "score"])
@pytest.mark.parametrize("data", [X[:, :2], np.c_[X, X], with_value(np.nan), X[0], X[:0]], ids=range(5))
@BOTH
def test_wrong_data_after_fit_is_refused_with_scikit_learns_words(name, method, data):
    assert_same_refusal(lambda model: getattr(model.fit(X), method)(data), name)


since_1_9 = pytest.mark.skipif(
    parse_version(sklearn.__version__) < parse_version("1.9"), reason="an older MiniBatchKMeans accepts it"
)
WRONG_WEIGHTS = [
    pytest.param(np.zeros(90), id="zero", marks=since_1_9),
    pytest.param(np.full(90, np.inf), id="inf"),
    pytest.param(np.full(90, np.nan), id="nan"),
    pytest.param(np.ones(89), id="short"),
    pytest.param(np.ones((90, 1)), id="2-D"),
    pytest.param(["a"] * 90, id="text"),
]


@pytest.mark.parametrize("weight", WRONG_WEIGHTS)
@BOTH
def test_wrong_weights_are_refused_with_scikit_learns_words(name, weight):
    assert_same_refusal(lambda model: model.fit(X, sample_weight=weight), name)


@ours_only
@pytest.mark.parametrize("weight", [np.nan, np.inf, -1.0])
@BOTH
def test_one_wrong_weight_for_all_rows_is_refused(name, weight):
    """scikit-learn checks arrays only: there a scalar NaN fails later, in the words of NumPy's generator."""
    with pytest.raises(ValueError, match="sample_weight"):
        pair(name)[0].fit(X, sample_weight=weight)


@pytest.mark.parametrize("method", ["predict", "transform", "score"])
@BOTH
def test_an_unfitted_model_says_so(name, method):
    assert_same_refusal(lambda model: getattr(model, method)(X), name)
    with pytest.raises(NotFittedError, match=f"This {name} instance is not fitted yet"):
        getattr(under_test, name)().get_feature_names_out()


def test_partial_fit_refuses_as_scikit_learn_does():
    assert_same_refusal(lambda model: model.partial_fit(X[:2]), "MiniBatchKMeans", init="random")
    assert_same_refusal(lambda model: model.partial_fit(X).partial_fit(X[:, :2]), "MiniBatchKMeans")


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        ("kmeans_plusplus", {"n_clusters": 0}),
        ("kmeans_plusplus", {"n_clusters": 91}),
        ("kmeans_plusplus", {"n_clusters": 3, "n_local_trials": 0}),
        ("kmeans_plusplus", {"n_clusters": 3, "sample_weight": np.ones(4)}),
        ("kmeans_plusplus", {"n_clusters": 3, "x_squared_norms": np.ones(4)}),
        ("k_means", {"n_clusters": 91}),
        ("k_means", {"n_clusters": 3, "sample_weight": np.ones(4)}),
        ("k_means", {"n_clusters": 3, "return_n_iter": "yes"}),
    ],
)
def test_functions_refuse_with_scikit_learns_words(function, arguments):
    ours, theirs = (
        refusal(lambda m=m: getattr(m, function)(X, **arguments)) for m in (under_test, sklearn.cluster)
    )
    assert ours == theirs
