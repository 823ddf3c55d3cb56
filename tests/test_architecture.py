"""The shape of the package: imports only go down, one loop, small files, nothing heavy before it is needed."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import gpuclust
from gpuclust import DeviceUnavailableError, KMeans
from gpuclust.backends import select as selection
from gpuclust.backends.select import Problem
from gpuclust.data.source import Source

ROOT = Path(gpuclust.__file__).parent
FILES = {str(path.relative_to(ROOT)): path for path in sorted(ROOT.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text()) for name, path in FILES.items()}

# From the bottom up: a part imports itself and what stands before it.
LAYERS = (
    "errors", "_version", "extras", "config", "files", "backends.kernels", "backends", "data", "objectives", "solvers",
    "validation", "metrics", "estimators", "plotting", "profiling", "selection", "preprocessing", "models",
    "monitoring", "persistence", "datasets", "reporting", "serving", "cli", "__main__",
)  # fmt: skip
MAY_IMPORT_DASK_LATE = {f"data/{name}.py" for name in ("branches", "collection", "crew", "dask", "holder")}
MAY_IMPORT_CUPY_LATE = {"backends/diagnosis.py", "validation.py", "cli/doctor.py"}
FUNCTIONS = ast.FunctionDef, ast.AsyncFunctionDef
DATA_AND_UP = ("data", "objectives", "solvers", "validation", "estimators")


def module_of(name):
    """Return a file's dotted name below the package, and that of its package."""
    parts = list(Path(name).with_suffix("").parts)
    if parts[-1] == "__init__":
        return ".".join(parts[:-1]), ".".join(parts[:-1])
    return ".".join(parts), ".".join(parts[:-1])


def imported(name):
    """Yield (dotted module below the package, or absolute for others; line; whether inside a function)."""
    _module, package = module_of(name)
    inside = {id(n) for f in ast.walk(TREES[name]) if isinstance(f, FUNCTIONS) for n in ast.walk(f)}
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno, id(node) in inside
        elif isinstance(node, ast.ImportFrom):
            base = [] if node.level == 0 else ["gpuclust", *(package.split(".") if package else [])]
            base = base[: len(base) - node.level + 1] if node.level else base
            stem = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                yield f"{stem}.{alias.name}", node.lineno, id(node) in inside


def layer(module):
    """Return the layer that a module below the package belongs to; the longest name that fits."""
    fits = [part for part in LAYERS if module == part or module.startswith(part + ".")]
    assert fits, f"{module} is in no layer: add it to LAYERS"
    return LAYERS.index(max(fits, key=len))


@pytest.mark.parametrize("name", [n for n in FILES if n != "__init__.py"])
def test_imports_only_go_down(name):
    own = layer(module_of(name)[0])
    for target, line, _ in imported(name):
        if target.startswith("gpuclust."):
            target = target.removeprefix("gpuclust.")
            if target.split(".")[0] in {part.split(".")[0] for part in LAYERS}:
                assert layer(target) <= own, f"{name}:{line} imports {target} from above"


def test_the_layers_would_catch_an_import_that_goes_up():
    assert layer("data.stream") < layer("solvers.iterate") < layer("estimators.kmeans")
    assert layer("backends.kernels.assign") < layer("backends.cpu") < layer("data.source")
    targets = {target for target, _, _ in imported("solvers/iterate.py")}
    assert {"gpuclust.objectives.mean.Final", "gpuclust.data.source.Source", "gpuclust.solvers.progress"} <= targets


@pytest.mark.parametrize("name", FILES)
def test_only_the_cuda_files_import_cupy(name):
    if name.startswith("backends/cuda"):
        return
    for target, line, late in imported(name):
        if target.split(".")[0] in ("cupy", "cupyx"):
            assert late and name in MAY_IMPORT_CUPY_LATE, f"{name}:{line} imports {target}"


@pytest.mark.parametrize("name", FILES)
def test_only_the_source_of_collections_imports_dask(name):
    """Distribution is one source: no algorithm knows of it."""
    for target, line, late in imported(name):
        if target.split(".")[0] in ("dask", "distributed"):
            assert late and name in MAY_IMPORT_DASK_LATE, f"{name}:{line} imports {target}"


@pytest.mark.parametrize("name", [n for n in FILES if n.split("/")[0].removesuffix(".py") in DATA_AND_UP])
def test_numba_stays_in_the_backends(name):
    assert not [target for target, _, _ in imported(name) if target.split(".")[0] in ("numba", "llvmlite")]


def compiled(tree):
    """Yield the functions that Numba compiles."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and any("njit" in ast.unparse(each) for each in node.decorator_list):
            yield node


@pytest.mark.parametrize("name", [n for n in FILES if n.startswith("backends/kernels/")])
def test_kernels_use_no_sort_of_numbas(name):
    """Kernels from the cache may swap them for each other: see `order.py`."""
    sorts = {"sort", "argsort", "sorted", "searchsorted", "median", "partition", "argpartition", "percentile", "unique"}
    for function in compiled(TREES[name]):
        for node in ast.walk(function):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                found = called.rpartition(".")[2]
                assert found not in sorts or called == "sort", f"{name}:{node.lineno} {called}"


def test_the_sorts_that_kernels_call_are_our_own():
    from gpuclust.backends.kernels import medians, order, sketch

    assert medians.sort is sketch.sort is order.sort


@pytest.mark.parametrize("name", [n for n in FILES if not n.startswith("solvers/")])
def test_the_fixed_point_loop_is_written_once(name):
    for node in ast.walk(TREES[name]):
        if isinstance(node, (ast.For, ast.comprehension)) and isinstance(node.iter, ast.Call):
            text = ast.unparse(node.iter)
            assert not ("range" in text and ("max_iter" in text or "n_iter" in text)), f"{name}: {text}"


@pytest.mark.parametrize("name", FILES)
def test_files_are_small(name):
    assert len(FILES[name].read_text().splitlines()) < 400


def test_cuda_sources_keep_to_the_same_measure():
    found = sorted((ROOT / "backends" / "kernels" / "cuda").glob("*.cu*"))
    assert found
    for path in found:
        lines = path.read_text().splitlines()
        assert len(lines) < 400 and max(map(len, lines)) <= 120, path.name


@pytest.mark.parametrize("name", FILES)
def test_functions_are_small(name):
    for node in ast.walk(TREES[name]):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            lines = body[-1].end_lineno - body[0].lineno + 1 if body else 0
            assert lines < 50, f"{name}: {node.name} has {lines} lines"


def modules_after(code):
    """Return the top-level modules that a new process has loaded after running `code`."""
    show = "import sys; print(' '.join(sorted({m.split('.')[0] for m in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{show}"], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "code", ["import gpuclust", "import gpuclust; gpuclust.DataError; dir(gpuclust)", "import gpuclust.config"]
)
def test_importing_the_package_imports_nothing_heavy(code):
    assert not modules_after(code) & {"cupy", "sklearn", "numba", "scipy", "pandas", "pyarrow", "numpy"}


def test_a_fit_needs_neither_cupy_nor_the_extras():
    """Whatever is not a core dependency may be missing."""
    hidden = ("cupy", "pyarrow", "pandas", "polars", "typer", "rich", "psutil", "matplotlib", "kneed", "dask", "distributed")
    code = "import sys; sys.modules.update(dict.fromkeys({}, None)); from gpuclust import KMeans; KMeans(1).fit([[0.0]])"
    modules_after(code.format(hidden))


def test_public_names():
    for name in gpuclust.__all__:
        assert getattr(gpuclust, name) is not None
    assert set(gpuclust.__all__) <= set(dir(gpuclust))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        gpuclust.nothing  # noqa: B018


# --- no dead option ---

X = np.array([[0.0, 0.0], [0.0, 1.0], [5.0, 5.0], [5.0, 7.0], [9.0, 0.0], [9.5, 0.5], [20.0, 3.0]])
FIXED = {"n_clusters": 3, "init": X[:3], "random_state": 0, "device": "cpu"}


def results(monkeypatch, capsys, **parameters):
    """Return everything that a user can see of a fit, and how many chunks were read."""
    chunks, one = [], Source._chunk
    monkeypatch.setattr(Source, "_chunk", lambda *args: chunks.append(1) or one(*args))
    try:
        model = KMeans(**(FIXED | parameters)).fit(X)
    except DeviceUnavailableError as error:
        return str(error)
    finally:
        monkeypatch.undo()
    seen = model.cluster_centers_.tolist(), model.labels_.tolist(), model.n_iter_, model.n_passes_
    return *seen, capsys.readouterr().out, len(chunks)


MATTERS = {
    "n_clusters": ({"init": "k-means++"}, 2, 3),
    "init": ({}, X[:3], X[-3:]),
    "n_init": ({"init": "random"}, 1, 4),
    "max_iter": ({"tol": 0}, 1, 300),
    "tol": ({}, 0, 1e3),
    "verbose": ({}, 0, 1),
    "random_state": ({"init": "random", "n_init": 1}, 0, 2),
    "device": ({}, "cpu", "cuda:63"),
    "chunk_size": ({}, None, 2),
}


TESTED_ELSEWHERE = {"algorithm", "copy_x", "checkpoint"}  # below, and in test_checkpoint.py


@pytest.mark.parametrize("name", [n for n in inspect.signature(KMeans).parameters if n not in TESTED_ELSEWHERE])
def test_every_parameter_matters(name, monkeypatch, capsys):
    given, one, other = MATTERS[name]
    monkeypatch.setattr(selection, "cuda_problem", lambda index: Problem("there is none", False))
    unchanged = [results(monkeypatch, capsys, **(given | {name: one})) for _ in range(2)]
    monkeypatch.setattr(selection, "cuda_problem", lambda index: Problem("there is none", False))
    assert unchanged[0] == unchanged[1] != results(monkeypatch, capsys, **(given | {name: other}))


def test_algorithm_and_copy_x_change_nothing(monkeypatch, capsys):
    seen = [
        results(monkeypatch, capsys, algorithm=algorithm, copy_x=copy)
        for algorithm in ("lloyd", "elkan", "auto")
        for copy in (True, False)
    ]
    assert all(each == seen[0] for each in seen)
