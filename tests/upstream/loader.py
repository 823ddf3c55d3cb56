"""Loads an installed scikit-learn test module with our estimators and functions in place of scikit-learn's.

The module's text stays where pip put it. Its syntax tree is read, the imports of the public names that an
`Upstream` lists are redirected to `provider()`, and the result is executed under the file's own name, so that a
traceback shows scikit-learn's lines. Everything else, private helpers included, is still scikit-learn's: an
oracle must be.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
from pathlib import Path
from types import ModuleType
from typing import NamedTuple


class Upstream(NamedTuple):
    """An installed test module, the module whose public names it tests, ours, and those names."""

    tests: str
    public: str
    ours: str
    replaced: frozenset[str]


K_MEANS = Upstream(
    "sklearn.cluster.tests.test_k_means",
    "sklearn.cluster",
    "gpuclust",
    frozenset({"KMeans", "MiniBatchKMeans", "k_means", "kmeans_plusplus"}),
)
PAIRED = frozenset(
    "adjusted_mutual_info_score adjusted_rand_score completeness_score fowlkes_mallows_score homogeneity_score"
    " mutual_info_score normalized_mutual_info_score rand_score v_measure_score".split()
)
INTERNAL = frozenset({"calinski_harabasz_score", "davies_bouldin_score", "silhouette_score"})
METRICS = {
    name: Upstream(f"sklearn.metrics.cluster.tests.{name}", "sklearn.metrics.cluster", "gpuclust.metrics", names)
    for name, names in {
        "test_supervised": PAIRED
        | {
            "contingency_matrix",
            "expected_mutual_information",
            "homogeneity_completeness_v_measure",
            "pair_confusion_matrix",
        },
        "test_unsupervised": INTERNAL | {"silhouette_samples"},
        "test_common": PAIRED | INTERNAL,
    }.items()
}
PROVIDER_VARIABLE = "GPUCLUST_TEST_PROVIDER"


class StaleEntry(Exception):
    """The installed module and one of our tables disagree."""


def provider(upstream: Upstream = K_MEANS) -> str:
    """Return the module under test: ours, or scikit-learn's own where the environment says so.

    ``GPUCLUST_TEST_PROVIDER=sklearn.cluster`` plugs scikit-learn's own names in, the metrics too: whatever fails then
    is the harness's fault, not ours.
    """
    return upstream.public if os.environ.get(PROVIDER_VARIABLE) else upstream.ours


def source_path(name: str) -> Path:
    """Return the installed file of module `name` without executing it."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"{name} is not part of the installed scikit-learn")
    return Path(spec.origin)


class Redirect(ast.NodeTransformer):
    """Turns ``from sklearn.cluster import KMeans`` into ``from <provider> import KMeans``."""

    def __init__(self, upstream: Upstream, target: str) -> None:
        self.upstream, self.target = upstream, target
        self.seen: set[str] = set()

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.ImportFrom:
        if node.module != self.upstream.public:
            return node
        names = {alias.name for alias in node.names}
        if unknown := names - self.upstream.replaced:
            raise StaleEntry(f"upstream now imports {sorted(unknown)} from {node.module}: replace or list them")
        self.seen |= names
        return ast.copy_location(ast.ImportFrom(self.target, node.names, node.level), node)

    def visit_Call(self, node: ast.Call) -> ast.Call:
        """Parametrise by lists: pytest warns of generators, and warnings are errors here."""
        self.generic_visit(node)
        if ast.unparse(node.func) == "pytest.mark.parametrize" and isinstance(node.args[1], ast.Call):
            node.args[1] = ast.Call(ast.Name("list", ast.Load()), [node.args[1]], [])
        return node


def redirected(source: str, upstream: Upstream, target: str) -> ast.Module:
    """Return the syntax tree of `source` with the public imports taken from `target`."""
    redirect = Redirect(upstream, target)
    tree = redirect.visit(ast.parse(source))
    if missing := upstream.replaced - redirect.seen:
        raise StaleEntry(f"upstream no longer imports {sorted(missing)} from {upstream.public}")
    return ast.fix_missing_locations(tree)


def load(upstream: Upstream, target: str | None = None) -> ModuleType:
    """Execute an installed test module against the names of `target` (default: `provider()`)."""
    path = source_path(upstream.tests)
    tree = redirected(path.read_text(encoding="utf-8"), upstream, target or provider(upstream))
    module = ModuleType(f"{__package__}.{path.stem}")
    module.__file__ = str(path)
    exec(compile(tree, str(path), "exec"), module.__dict__)
    return module


def functions_of(module: ModuleType) -> dict[str, object]:
    """Return the test functions of `module` in the order in which it defines them."""
    return {
        name: value for name, value in vars(module).items() if name.startswith("test_") and callable(value)
    }


def require_known(table: dict[str, str], known: set[str]) -> None:
    """Raise `StaleEntry` when `table` excuses a test that is not in `known`."""
    if stale := sorted(key for key in table if key.partition("[")[0] not in known):
        raise StaleEntry(f"excused, but not in the installed scikit-learn: {', '.join(stale)}")


def reasons(table: dict[str, str], function: str, item_names: list[str]) -> dict[str, str]:
    """Return the reason for each of a function's collected items that `table` excuses."""
    if function in table:
        return dict.fromkeys(item_names, table[function])
    mine = {key: reason for key, reason in table.items() if key.startswith(f"{function}[")}
    if stale := sorted(mine.keys() - set(item_names)):
        raise StaleEntry(f"excused, but not a parametrisation any more: {', '.join(stale)}")
    return mine
