"""`gpuclust drift`: are new rows like those that a model was fitted on?"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from gpuclust.cli.failures import DataProblem, UsageProblem, sentence
from gpuclust.cli.fit import check_device, memory_budget
from gpuclust.cli.outputs import Outputs, json_writer
from gpuclust.cli.predict import load
from gpuclust.cli.prepare import frames_for, prepared_problems
from gpuclust.cli.report import tell_notes
from gpuclust.cli.tables import open_for

if TYPE_CHECKING:
    from gpuclust.monitoring import DriftReport, Thresholds

CODES = {"ok": 0, "watch": 10, "retrain": 20}
PICTURES = (".png", ".svg", ".pdf")
MOST_TESTS = 15  # in the printed table; the JSON has all


def limits(alpha: float, pairs: dict[str, str]) -> Thresholds:
    """Return the thresholds that options like --psi 0.1,0.25 give."""
    from gpuclust.monitoring import Thresholds

    found = {}
    for name, text in pairs.items():
        try:
            watch, retrain = map(float, text.split(","))
        except ValueError:
            raise UsageProblem(f"--{name} {text!r} is not two numbers with a comma between them") from None
        found[name] = (watch, retrain)
    try:
        return Thresholds(alpha=alpha, **found)
    except ValueError as error:
        raise UsageProblem(f"--{sentence(error)}") from error


def run(
    model: Path,
    data: Path,
    *,
    columns: str | None,
    thresholds: Thresholds,
    as_json: bool,
    out: Path | None,
    plot: Path | None,
    device: str,
    memory: str | None,
    quiet: bool,
) -> int:
    """Compare; write and print the report; return the exit code."""
    from gpuclust.monitoring import compare

    check_device(device)
    if plot is not None and plot.suffix.lower() not in PICTURES:
        raise UsageProblem(f"--plot {str(plot)!r} ends in none of {', '.join(PICTURES)}")
    file, start = load(model, device), time.perf_counter()
    if file.summary is None:
        raise DataProblem(
            f"{str(model)!r} does not tell what its training rows were like: fit it again without --no-summary, or save"
            " it with gpuclust.save_model(model, path, training_data=X)"
        )
    with memory_budget(memory), prepared_problems(data):
        rows, note = rows_for(file.model, data, columns)
        report = compare((file.model, file.summary), rows, thresholds=thresholds)
    paths = _write(report, out, plot)
    tell_notes([note] if note else [])
    if as_json:
        print(json.dumps(report.as_dict(), indent=2, ensure_ascii=False, allow_nan=False))
    elif not quiet:
        _print(report, time.perf_counter() - start, paths)
    return CODES[report.verdict]


def rows_for(model: Any, data: Path, columns: str | None) -> tuple[Any, str]:
    """The rows of a file as the model is given them, before any preprocessing, and a remark on how they were read."""
    from gpuclust.models import parts

    if parts(model).preprocessor is None or getattr(model, "feature_names_in_", None) is None:
        table = open_for(data, columns, model)
        return table.source, table.note
    frames = frames_for(data, columns, model)
    return frames.pieces, frames.note


def _write(report: DriftReport, out: Path | None, plot: Path | None) -> list[Path]:
    """Write the files that were asked for: all of them or none."""
    wanted: list[tuple[Path, Callable[[BinaryIO], object]]] = []
    if out is not None:
        wanted.append((out, json_writer(report.as_dict())))
    if plot is not None:
        wanted.append((plot, _picture(report, plot.suffix.lower()[1:])))
    paths = []
    with contextlib.ExitStack() as stack:
        for path, writer in wanted:
            paths.append(stack.enter_context(Outputs(path.parent)).write(path.name, writer))
    return paths


def _picture(report: DriftReport, kind: str) -> Callable[[BinaryIO], object]:
    from gpuclust.cli.choose import extras

    with extras():
        figure = report.plot().figure_
    return lambda handle: figure.savefig(handle, format=kind)


def _print(report: DriftReport, seconds: float, paths: list[Path]) -> None:
    """Print the verdict, the sentences and the tests, the worst first."""
    from rich.console import Console
    from rich.table import Table

    grid = Table(title=f"{len(report.checks)} tests, the worst first", title_justify="left")
    for name in ("test", "column", "effect", "limits", "adjusted p", "verdict"):
        grid.add_column(name, justify="right" if name in ("effect", "adjusted p") else "left", no_wrap=True)
    for each in report.ordered[:MOST_TESTS]:
        both = f"{each.watch_at:g}, {each.retrain_at:g}"
        grid.add_row(
            each.check, each.feature or "", f"{each.effect:.3g}", both, f"{each.p_adjusted:.2g}", each.verdict
        )
    console = Console(highlight=False, soft_wrap=True)
    for text in report.sentences:
        console.print(text, markup=False)
    console.print(grid)
    console.print(f"{report.verdict}: {report.n_rows:,} rows in {seconds:.2f} s", markup=False)
    if paths:
        console.print(f"written: {', '.join(map(str, paths))}", markup=False)
