"""The package as it is installed: what importing it costs, what the wheel holds, what the metadata say."""

import importlib.util
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import numpy as np
import pytest

import gpuclust
from gpuclust.datasets import SKIN_COLUMNS, load_skin

PACKAGE = Path(gpuclust.__file__).parent
ROOT = PACKAGE.parent
HEAVY = {
    "numpy",
    "scipy",
    "sklearn",
    "numba",
    "llvmlite",
    "cupy",
    "pandas",
    "polars",
    "pyarrow",
    "safetensors",
}
in_the_repository = pytest.mark.skipif(
    not (ROOT / "pyproject.toml").exists(), reason="not run from a checkout"
)


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def modules_after(code):
    """Return the top-level modules that a fresh interpreter holds after running the code."""
    code += "\nimport sys; print('\\nMODULES', *{name.partition('.')[0] for name in sys.modules})"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.rpartition("MODULES")[2].split())


def test_importing_gpuclust_imports_nothing_heavy():
    assert not modules_after("import gpuclust") & HEAVY


@pytest.mark.parametrize("arguments", [["--help"], ["fit", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(arguments):
    code = f"""
import sys
from gpuclust.cli import main
sys.argv = ["gpuclust", *{arguments!r}]
try:
    main()
except SystemExit as leaving:
    assert not leaving.code, leaving.code
"""
    found = modules_after(code)
    assert "typer" in found
    assert not found & HEAVY


def test_public_names():
    for name in gpuclust.__all__:
        assert getattr(gpuclust, name) is not None
    assert set(gpuclust.__all__) <= set(dir(gpuclust))
    with pytest.raises(AttributeError, match="no attribute 'KMean'"):
        _ = gpuclust.KMean


def test_fitting_on_the_cpu_does_not_import_cupy():
    found = modules_after("import gpuclust; gpuclust.KMeans(2, device='cpu').fit([[0.0], [1.0], [5.0]])")
    assert "cupy" not in found


def test_typed():
    assert (PACKAGE / "py.typed").is_file()


def test_skin():
    X, y = load_skin()
    assert (X.shape, X.dtype, len(SKIN_COLUMNS)) == ((245057, 3), np.uint8, 3)
    assert (y.shape, y.dtype) == ((245057,), np.int8)
    assert np.bincount(y).tolist() == [0, 50859, 194198]  # as the repository states
    assert X[0].tolist() == [74, 85, 123]
    assert len(np.unique(X, axis=0)) == 51433
    folder = PACKAGE / "datasets"
    assert (folder / "skin.npz").stat().st_size <= 1_000_000
    licence = (folder / "LICENSE-DATA.txt").read_text(encoding="utf-8")
    assert "CC BY 4.0" in licence and "10.24432/C5T30C" in licence


# --- the checkout ----------


@in_the_repository
def test_metadata():
    found = project()
    assert found["name"] == "gpuclust" and found["requires-python"] == ">=3.11"
    assert found["scripts"] == {"gpuclust": "gpuclust.cli:main"}
    names = {re.match(r"[\w-]+", line)[0] for line in found["dependencies"]}
    assert names == {"numpy", "scipy", "scikit-learn", "numba", "safetensors"}


@in_the_repository
def test_extras():
    extras = project()["optional-dependencies"]
    assert set(extras) == {
        "cuda12", "cuda13", "files", "analysis", "cli", "serve", "dask", "onnx", "compile", "test", "bench", "all",
    }  # fmt: skip
    assert not re.search("cuda|cupy", " ".join(extras["all"]))
    for extra in ("analysis", "cli", "files"):
        assert set(extras[extra]) <= set(extras["test"]), "`test` alone must run the whole suite"
    gpl = re.compile(r"kmedoids|yellowbrick|scikit-learn-extra|dask-ml")
    assert not gpl.search(" ".join(line for lines in extras.values() for line in lines))


@in_the_repository
def test_version_is_in_the_changelog():
    assert f"## {gpuclust.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@in_the_repository
@pytest.mark.skipif(os.name == "nt", reason="no bash")
@pytest.mark.parametrize("script", [".ci/run", "ci/cpu.sh", "ci/full.sh", "ci/gpu.sh"])
def test_scripts(script):
    path = ROOT / script
    assert os.access(path, os.X_OK)
    subprocess.run(["bash", "-n", path], check=True)


@in_the_repository
@pytest.mark.skipif(importlib.util.find_spec("hatchling") is None, reason="hatchling is not installed")
def test_wheel(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.iterdir()
    assert wheel.name == f"gpuclust-{gpuclust.__version__}-py3-none-any.whl"
    assert wheel.stat().st_size < 1_500_000  # two thirds are sources
    assert (PACKAGE / "datasets" / "skin.npz").stat().st_size < 1_000_000
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        entry = archive.read(f"gpuclust-{gpuclust.__version__}.dist-info/entry_points.txt").decode()
    assert "gpuclust = gpuclust.cli:main" in entry
    sources = {
        str(path.relative_to(ROOT)) for path in PACKAGE.rglob("*") if path.suffix in (".py", ".cu", ".npz")
    }
    wanted = {*sources, "gpuclust/py.typed", "gpuclust/datasets/LICENSE-DATA.txt"}
    assert wanted <= names
    assert not [
        name
        for name in names
        if name.startswith(("tests/", "benchmarks/")) or name.endswith((".pyc", ".nbi"))
    ]
    assert [name for name in names if name.endswith("licenses/LICENSE")]
