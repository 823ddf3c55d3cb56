"""The harness itself: what it replaces, and that no excuse can outlive the test it excuses."""

import ast
import importlib
from pathlib import Path

import pytest
import sklearn.cluster

from .exclusions import EXCLUDED, HELPER_ONLY, METRIC_HELPERS, PRIVATE_METHOD
from .loader import (
    K_MEANS,
    METRICS,
    StaleEntry,
    functions_of,
    load,
    provider,
    reasons,
    redirected,
    require_known,
    source_path,
)

IMPORTS = "from sklearn.cluster import KMeans, MiniBatchKMeans, k_means, kmeans_plusplus"


@pytest.fixture(scope="module")
def source():
    return source_path(K_MEANS.tests).read_text(encoding="utf-8")


def definitions(source):
    """Return every test of the installed file: name -> its syntax tree, decorators included."""
    return {node.name: node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)}


def words(tree):
    """Return every name, attribute and argument that `tree` mentions."""
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return names | {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


@pytest.mark.parametrize("upstream", [K_MEANS, *METRICS.values()], ids=lambda upstream: upstream.tests)
def test_every_public_name_comes_from_the_provider(upstream):
    module = load(upstream)
    expected = importlib.import_module(provider(upstream))
    for name in upstream.replaced:
        assert getattr(module, name) is getattr(expected, name)


def test_scikit_learn_itself_can_be_plugged_in():
    assert load(K_MEANS, "sklearn.cluster").KMeans is sklearn.cluster.KMeans


def test_private_helpers_stay_scikit_learns():
    assert load(K_MEANS)._labels_inertia is sklearn.cluster._kmeans._labels_inertia


@pytest.mark.parametrize(
    ("upstream", "least"),
    [(K_MEANS, 40), *zip(METRICS.values(), (25, 12, 8), strict=True)],
    ids=lambda value: getattr(value, "tests", ""),
)
def test_every_test_of_the_installed_file_is_taken_over(upstream, least):
    found = definitions(source_path(upstream.tests).read_text(encoding="utf-8"))
    names = [name for name in found if name.startswith("test_")]
    assert list(functions_of(load(upstream))) == names
    assert len(names) > least


def test_no_private_access_to_the_class_under_another_import(source):
    """``import sklearn.cluster`` or a class from ``sklearn.cluster._kmeans`` would not be redirected."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sklearn.cluster."):
            assert all(alias.name.startswith("_") for alias in node.names)
        if isinstance(node, ast.Import):
            assert not any(alias.name.startswith("sklearn") for alias in node.names)


def test_an_unknown_public_import_is_refused():
    with pytest.raises(StaleEntry, match="BisectingKMeans"):
        redirected(f"{IMPORTS}, BisectingKMeans", K_MEANS, "gpuclust")


def test_a_vanished_public_import_is_refused():
    with pytest.raises(StaleEntry, match="kmeans_plusplus"):
        redirected(IMPORTS.removesuffix(", kmeans_plusplus"), K_MEANS, "gpuclust")


def test_an_excuse_for_a_vanished_test_is_refused():
    with pytest.raises(StaleEntry, match="test_gone"):
        require_known({"test_gone[a-1]": "why", "test_here": "why"}, {"test_here"})


def test_an_excuse_for_a_vanished_parametrisation_is_refused():
    with pytest.raises(StaleEntry, match=r"test_here\[b\]"):
        reasons({"test_here[b]": "why"}, "test_here", ["test_here[a]"])


def test_an_excuse_covers_one_parametrisation_or_all():
    items = ["test_here[a]", "test_here[b]"]
    assert reasons({"test_here[b]": "why"}, "test_here", items) == {"test_here[b]": "why"}
    assert reasons({"test_here": "why"}, "test_here", items) == dict.fromkeys(items, "why")
    assert reasons({"test_other": "why"}, "test_here", items) == {}


@pytest.mark.parametrize("name", sorted(HELPER_ONLY))
def test_helper_only_tests_touch_nothing_of_ours(source, name):
    used = words(definitions(source)[name])
    assert not used & (K_MEANS.replaced | {"Estimator", "Klass", "clone"})
    assert any(word.startswith("_") for word in used)


@pytest.mark.parametrize("name", sorted(PRIVATE_METHOD))
def test_private_method_tests_do_call_the_private_method(source, name):
    assert "_init_centroids" in words(definitions(source)[name])


@pytest.mark.parametrize("reason", PRIVATE_METHOD.values())
def test_a_public_test_stands_in_for_each_private_one(reason):
    contract = Path(__file__).parents[1] / "test_sklearn_contract.py"
    assert f"def {reason.rpartition(' ')[2]}(" in contract.read_text(encoding="utf-8")


@pytest.mark.parametrize(("file", "name"), [(file, name) for file, table in METRIC_HELPERS.items() for name in table])
def test_metric_helper_tests_touch_nothing_of_ours(file, name):
    found = definitions(source_path(METRICS[file].tests).read_text(encoding="utf-8"))[name]
    assert not words(found) & METRICS[file].replaced


def test_nothing_else_is_excused():
    assert EXCLUDED == {"test_k_means": HELPER_ONLY | PRIVATE_METHOD, **METRIC_HELPERS}
    assert sum(map(len, EXCLUDED.values())) <= 14
    assert all(len(reason) > 20 for table in EXCLUDED.values() for reason in table.values())
