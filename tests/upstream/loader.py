"""Loads an installed scikit-learn test module with our estimators in place of scikit-learn's.

The module's text stays where pip put it. Its syntax tree is read, the imports of the public names in
`REPLACED` are redirected to `provider()`, and the result is executed under the file's own name, so that a
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

PUBLIC_MODULE = "sklearn.cluster"
REPLACED = frozenset({"KMeans", "MiniBatchKMeans", "k_means", "kmeans_plusplus"})
PROVIDER_VARIABLE = "GPUCLUST_TEST_PROVIDER"


class StaleEntry(Exception):
    """The installed module and one of our tables disagree."""


def provider() -> str:
    """Return the module under test: ours, or the one the environment names.

    ``GPUCLUST_TEST_PROVIDER=sklearn.cluster`` plugs scikit-learn's own classes in: whatever fails then is the
    harness's fault, not ours.
    """
    return os.environ.get(PROVIDER_VARIABLE, "gpuclust")


def source_path(name: str) -> Path:
    """Return the installed file of module `name` without executing it."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"{name} is not part of the installed scikit-learn")
    return Path(spec.origin)


class Redirect(ast.NodeTransformer):
    """Turns ``from sklearn.cluster import KMeans`` into ``from <provider> import KMeans``."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.seen: set[str] = set()

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.ImportFrom:
        if node.module != PUBLIC_MODULE:
            return node
        names = {alias.name for alias in node.names}
        if unknown := names - REPLACED:
            raise StaleEntry(
                f"upstream now imports {sorted(unknown)} from {PUBLIC_MODULE}: replace or list them"
            )
        self.seen |= names
        return ast.copy_location(ast.ImportFrom(self.target, node.names, node.level), node)


def redirected(source: str, target: str) -> ast.Module:
    """Return the syntax tree of `source` with the public imports taken from `target`."""
    redirect = Redirect(target)
    tree = redirect.visit(ast.parse(source))
    if missing := REPLACED - redirect.seen:
        raise StaleEntry(f"upstream no longer imports {sorted(missing)} from {PUBLIC_MODULE}")
    return ast.fix_missing_locations(tree)


def load(name: str, target: str | None = None) -> ModuleType:
    """Execute the installed test module `name` against the classes of `target` (default: `provider()`)."""
    path = source_path(name)
    tree = redirected(path.read_text(encoding="utf-8"), target or provider())
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
