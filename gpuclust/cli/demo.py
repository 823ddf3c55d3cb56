"""`gpuclust demo`: the whole way on real data, with a check of every step that can be checked."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from gpuclust.cli import report
from gpuclust.cli.failures import Problem
from gpuclust.cli.fit import Settings, check_device, cluster, make_estimator, write_results
from gpuclust.cli.outputs import Outputs
from gpuclust.cli.predict import assign
from gpuclust.cli.tables import Table, array_chunks

CLUSTERS = 8
RELATIVE = 1e-6  # what the inertia may differ from its recomputation


class DemoFailed(Problem):
    """A self-check failed: a defect of gpuclust or of the installation."""

    code = 1


def run(out: Path, device: str) -> None:
    """Cluster the pixels, write the results, check them, say what to try next."""
    from gpuclust.datasets import SKIN_COLUMNS, load_skin

    check_device(device)
    X = load_skin()[0].astype("float32")
    data = out / "skin.npy"
    table = Table(data, list(SKIN_COLUMNS), True, len(X), X, None, array_chunks(X, None))
    settings = Settings(data, CLUSTERS, device=device, out=out)
    print("UCI Skin Segmentation: the colors of 245,057 pixels (CC BY 4.0, https://doi.org/10.24432/C5T30C)")
    with Outputs(out) as outputs:
        result = cluster(settings, table, make_estimator(settings))
        paths = [outputs.write(data.name, lambda handle: _save(handle, X)), *write_results(outputs, result)]
    report.tell_notes(result.notes)
    report.print_clusters(result, paths)
    check(X, result.model, out / "model.gpuclust")
    print("\nNext:")
    for line in next_commands(data, out):
        print(f"  {line}")


def _save(handle: Any, X: Any) -> None:
    import numpy as np

    np.save(handle, X, allow_pickle=False)


def check(X: Any, model: Any, path: Path) -> None:
    """Check the labels against the model read back from its file, and the inertia against plain NumPy."""
    import numpy as np

    from gpuclust import load_model

    loaded = load_model(path)
    if not np.array_equal(assign(loaded, X), model.labels_):
        raise DemoFailed("self-check failed: the model read back from its file predicts other labels")
    offset = X.astype(np.float64) - loaded.cluster_centers_.astype(np.float64)[model.labels_]
    inertia = float(np.square(offset).sum())
    off = abs(inertia - model.inertia_) / inertia
    if not off <= RELATIVE:
        raise DemoFailed(f"self-check failed: the inertia is {model.inertia_!r}, NumPy finds {inertia!r}")
    print(
        f"self-check passed: the model read back from its file predicts all {len(X):,} labels; "
        f"the inertia is within {max(off, 1e-16):.0e} of NumPy's"
    )


def next_commands(data: Path, out: Path) -> list[str]:
    """Return three commands to try next."""
    file, model = shlex.quote(str(data)), shlex.quote(str(out / "model.gpuclust"))
    return [
        f"gpuclust predict {model} {file}",
        f"gpuclust fit {file} -k 16 --memory 500MB   # or your own .npy, .npz, .csv or .parquet",
        "gpuclust doctor",
    ]
