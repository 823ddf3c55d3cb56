"""`gpuclust predict`: the clusters of new rows."""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpuclust.cli.failures import UsageProblem, reading
from gpuclust.cli.fit import check_device, data_problems, memory_budget
from gpuclust.cli.outputs import Outputs, labels_suffix, labels_writer
from gpuclust.cli.prepare import table_for
from gpuclust.cli.report import tell_notes
from gpuclust.cli.tables import Table, open_for

if TYPE_CHECKING:
    from gpuclust.persistence import ModelFile

SUFFIXES = (".parquet", ".npy", ".csv")


def run(
    model: Path,
    data: Path,
    *,
    columns: str | None,
    device: str,
    memory: str | None,
    out: Path | None,
    quiet: bool,
) -> None:
    """Load a model, assign rows, write one label per row."""
    check_device(device)
    target = out or Path(f"{data.stem}-labels{labels_suffix()}")
    if target.suffix not in SUFFIXES:
        raise UsageProblem(f"--out {str(target)!r} ends in none of {', '.join(SUFFIXES)}")
    whole = load(model, device).model
    with memory_budget(memory):
        estimator, table = open_with(whole, data, columns)
        with Outputs(target.parent) as outputs:
            start = time.perf_counter()
            labels = assign_blocks(estimator, table)
            seconds = time.perf_counter() - start
            outputs.write(target.name, labels_writer(labels, target.suffix))
    tell_notes([table.note] if table.note else [])
    if not quiet:
        print_sizes(labels, len(estimator.cluster_centers_), seconds, target)


def load(path: Path, device: str | None = None) -> ModelFile:
    """Load a model, for a device if one is given; say that its file cannot be read where it cannot."""
    from gpuclust.models import parts
    from gpuclust.persistence import read_model

    with reading(path):
        file = read_model(path)
    if device is not None:
        parts(file.model).estimator.set_params(device=device)
    return file


def open_with(model: Any, data: Path, columns: str | None) -> tuple[Any, Table]:
    """A model's estimator, and the rows of a file as it takes them."""
    from gpuclust.models import parts

    preprocessor, estimator = parts(model)
    if preprocessor is None:
        return estimator, open_for(data, columns, estimator)
    return estimator, table_for(data, columns, model, preprocessor)


def assign_blocks(estimator: Any, table: Table) -> Any:
    """Predict block by block: each block passes the checks of an array, so that no NaN gets a label."""
    import numpy as np

    labels = np.empty(table.rows, dtype=np.int32)
    with data_problems(table):
        for rows, X, _ in table.blocks():
            labels[rows] = assign(estimator, X)
    return labels


def assign(estimator: Any, rows: Any) -> Any:
    """Predict rows whose columns are known to match; arrays carry no names for scikit-learn to compare."""
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="X (does not have valid|has) feature names", category=UserWarning
        )
        return estimator.predict(rows)


def print_sizes(labels: Any, clusters: int, seconds: float, target: Path) -> None:
    """Print how many rows each cluster got."""
    from gpuclust.cli.scan import sizes

    counts = sizes(labels, clusters)
    largest = counts.argsort(kind="stable")[::-1][:20]
    shown = ", ".join(
        [*(f"{cluster}: {counts[cluster]:,}" for cluster in largest), *(["..."] if clusters > 20 else [])]
    )
    print(f"{len(labels):,} rows in {seconds:.2f} s; rows per cluster: {shown}")
    print(f"written: {target}")
