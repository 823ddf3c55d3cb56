"""`gpuclust choose-k`, and what `gpuclust fit -k auto` needs of it."""

from __future__ import annotations

import contextlib
import importlib.util
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpuclust.cli import report
from gpuclust.cli.failures import DataProblem, UsageProblem, sentence
from gpuclust.cli.fit import (
    Settings,
    check_device,
    data_problems,
    device_reason,
    make_estimator,
    memory_budget,
    remarks,
)
from gpuclust.cli.outputs import Outputs, json_writer
from gpuclust.cli.progress import choice_progress
from gpuclust.cli.tables import Table, open_table, split_names

CRITERIA = ("elbow", "silhouette", "davies_bouldin", "calinski_harabasz", "gap")
HEADERS = {"davies_bouldin": "Davies-Bouldin", "calinski_harabasz": "Calinski-Harabasz"}


@dataclass(frozen=True)
class Range:
    """Which numbers of clusters are tried, and how they are judged."""

    most: int = 30
    least: int = 2
    criteria: str | None = None
    references: int = 10
    sample: int = 10_000


def run(settings: Settings, wanted: Range) -> None:
    """Judge every number of clusters; write the table, the choice and a plot."""
    check_device(settings.device)
    estimator = make_estimator(settings)
    with memory_budget(settings.memory):
        table = open_table(settings.data, split_names(settings.columns), settings.weight)
        with Outputs(settings.out or Path(f"{settings.data.stem}-choose-k")) as outputs:
            start = time.perf_counter()
            choice, notes = choose(settings, table, estimator, wanted)
            seconds = time.perf_counter() - start
            content = _summary(settings, table, choice, seconds, notes)
            paths = [*write_criteria(outputs, choice), outputs.write("choice.json", json_writer(content))]
    report.tell_notes(notes)
    if not settings.quiet:
        print_choice(choice)
        print(f"written: {', '.join(map(str, paths))}")


def choose(settings: Settings, table: Table, estimator: Any, wanted: Range) -> tuple[Any, list[str]]:
    """The `ChoiceOfK` for a file, and remarks."""
    from gpuclust.selection import choose_k

    if wanted.least > wanted.most:
        raise UsageProblem(f"--min-k {wanted.least} is above --max-k {wanted.most}")
    most = min(wanted.most, table.rows)
    if wanted.least > most:
        raise DataProblem(f"{str(table.path)!r} has {table.rows} row(s), fewer than {wanted.least} clusters")
    names = _criteria(wanted.criteria)
    with remarks(table.note) as notes, choice_progress(not settings.quiet) as tell, data_problems(table), extras():
        if most < wanted.most:
            notes.append(f"{most} clusters at most are tried, as many as there are rows")
        choice = choose_k(
            table.source, range(wanted.least, most + 1), estimator=estimator, criteria=names,
            n_references=wanted.references, sample_size=wanted.sample, sample_weight=table.weight, progress=tell,
        )  # fmt: skip
    return choice, notes


def _criteria(text: str | None) -> tuple[str, ...]:
    names = CRITERIA if text is None else tuple(name.strip().replace("-", "_") for name in text.split(","))
    if not set(names) <= set(CRITERIA) or len(set(names)) < len(names):
        raise UsageProblem(f"--criteria {text!r} holds something other than {', '.join(CRITERIA)}, or one twice")
    return names


@contextlib.contextmanager
def extras() -> Iterator[None]:
    """Say which package of an extra is missing."""
    try:
        yield
    except ImportError as error:
        if "gpuclust[analysis]" not in str(error):
            raise
        raise UsageProblem(sentence(error)) from error


def write_criteria(outputs: Outputs, choice: Any) -> list[Path]:
    """Write criteria.csv, and criteria.png where matplotlib is installed."""
    paths = [outputs.write("criteria.csv", lambda handle: choice.table.to_csv(handle, index=False))]
    if importlib.util.find_spec("matplotlib") is None:
        return paths
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas: Any = FigureCanvasAgg(choice.plot().figure_)
    return [*paths, outputs.write("criteria.png", canvas.print_png)]


def _summary(settings: Settings, table: Table, choice: Any, seconds: float, notes: list[str]) -> dict[str, Any]:
    model = choice.best_estimator_
    return {
        "data": {
            "path": str(table.path.resolve()), "rows": table.rows, "columns": table.columns,
            "weight": settings.weight,
        },
        **report.choice_summary(choice),
        "criteria": [
            {name: None if value != value else value for name, value in row.items()}
            for row in choice.table.to_dict(orient="records")
        ],
        "model": report.model_summary(model),
        "seconds": round(seconds, 3),
        "device": str(model.device_),
        "device_reason": device_reason(settings.device, model.device_),
        "notes": notes,
        "versions": report.all_versions(),
    }  # fmt: skip


def print_choice(choice: Any) -> None:
    """Print the criteria by k, the choices and their reasons."""
    from rich.console import Console
    from rich.table import Table as Grid

    names = ["inertia", *(name for name in choice.choices if name != "elbow")]
    grid = Grid(title="criteria by number of clusters (* chosen by that criterion)", title_justify="left")
    for name in ("k", *names):
        grid.add_column(HEADERS.get(name, name), justify="right")
    by_column = {"inertia": choice.choices.get("elbow"), **choice.choices}
    for row in choice.table.to_dict(orient="records"):
        k = int(row["k"])
        cells = [f"{_number(row[name])}{'*' if by_column.get(name) == k else ' '}" for name in names]
        grid.add_row(str(k), *cells, style="bold" if k == choice.recommended_k else None)
    console = Console(highlight=False, soft_wrap=True)
    console.print(grid)
    for name, reason in choice.reasons.items():
        if name != "recommended":
            console.print(f"{HEADERS.get(name, name)}: {reason}", markup=False)
    console.print(f"recommended: k={choice.recommended_k}: {choice.reasons['recommended']}", markup=False)


def _number(value: float) -> str:
    return "-" if value != value else f"{value:.5g}"
