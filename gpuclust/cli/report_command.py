"""`gpuclust report` and `gpuclust fit --report`: the clusters of a file as one HTML page."""

from __future__ import annotations

import contextlib
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from gpuclust.cli.choose import extras
from gpuclust.cli.fit import Result, check_device, data_problems, memory_budget
from gpuclust.cli.outputs import Outputs
from gpuclust.cli.predict import load, open_with
from gpuclust.cli.prepare import unweighted
from gpuclust.cli.report import tell_notes
from gpuclust.cli.tables import Table, open_table

Write = Callable[..., Path]


def run(
    model: Path,
    data: Path,
    *,
    columns: str | None,
    device: str,
    memory: str | None,
    seed: int,
    sample: int,
    out: Path | None,
    quiet: bool,
) -> None:
    """Load a model, look at the rows under it, write the page."""
    check_device(device)
    whole = load(model, device).model
    start = time.perf_counter()
    with memory_budget(memory):
        estimator, table = open_with(whole, data, columns)
        with place(out or Path(f"{data.stem}-report.html")) as write:
            target = write(estimator, table, sample_size=sample, random_state=seed, notes=_notes(table))
    tell_notes(_notes(table))
    if not quiet:
        print(f"{table.rows:,} rows in {time.perf_counter() - start:.2f} s; written: {target}")


@contextlib.contextmanager
def place(path: Path) -> Iterator[Write]:
    """Check that a page can be written here, before the work; yield what writes it, which it does complete or not."""
    from gpuclust.reporting.report import check_installed, report_bytes

    with extras():
        check_installed()
    with Outputs(path.parent) as outputs:

        def write(estimator: Any, table: Table, **how: Any) -> Path:
            with data_problems(table):
                data = report_bytes(
                    estimator, table.source, feature_names=table.columns if table.named else None, scaler=table.scaler,
                    command=shlex.join(["gpuclust", *sys.argv[1:]]), **how,
                )  # fmt: skip
            return outputs.write(path.name, lambda handle: handle.write(data))

        yield write


@contextlib.contextmanager
def after_fit(path: Path) -> Iterator[Callable[[Result], list[Path]]]:
    """As `place`, for the result of a fit."""
    with place(path) as write:

        def report(result: Result) -> list[Path]:
            table, notes = _unweighted(result)
            how = {"choice": result.choice, "seconds": result.seconds, "random_state": result.settings.seed}
            return [write(result.model, table, notes=notes, **how)]

        yield report


def _unweighted(result: Result) -> tuple[Table, list[str]]:
    """The rows without their weights, and the remarks on the fit."""
    weight, table = result.settings.weight, result.table
    if weight is None:
        return table, result.notes
    if result.prepared is not None:
        return unweighted(table), [*result.notes, f"Each row counts once here; the fit weighs it by column {weight!r}."]
    note = f"The fit weighs each row by column {weight!r}; this report counts each row once."
    return open_table(table.path, table.columns), [*result.notes, note]


def _notes(table: Table) -> list[str]:
    return [table.note] if table.note else []
