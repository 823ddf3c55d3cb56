"""`gpuclust refit`: a model fitted to new rows from where it stands."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpuclust.cli.failures import DataProblem
from gpuclust.cli.fit import (
    Result,
    Settings,
    check_device,
    data_problems,
    device_reason,
    memory_budget,
    remarks,
    write_results,
)
from gpuclust.cli.frames import Frames
from gpuclust.cli.outputs import Outputs, json_writer
from gpuclust.cli.predict import load
from gpuclust.cli.prepare import Preparation, Prepared, frames_for, prepared_problems, table_of
from gpuclust.cli.report import print_clusters, tell_notes
from gpuclust.cli.tables import Table, open_for
from gpuclust.models import parts
from gpuclust.profiling.fitted import metric_of

if TYPE_CHECKING:
    from gpuclust.monitoring import RefitReport
    from gpuclust.persistence import ModelFile


def run(
    model: Path,
    data: Path,
    *,
    columns: str | None,
    again: bool,
    device: str,
    memory: str | None,
    out: Path | None,
    summarized: bool,
    quiet: bool,
) -> None:
    """Fit again; write what `gpuclust fit` writes, and what moved."""
    check_device(device)
    file = load(model, device)
    settings = Settings(data, None, columns=columns, device=device, memory=memory, quiet=quiet, summarized=summarized)
    with memory_budget(memory), Outputs(out or Path(f"{data.stem}-refit")) as outputs:
        result, moved = _refit(file, settings, again)
        paths = write_results(outputs, result)
        paths.append(outputs.write("refit.json", json_writer(moved.as_dict())))
    tell_notes(result.notes)
    if not quiet:
        print_clusters(result, paths)
        for text in moved.sentences:
            print(text)


def _refit(file: ModelFile, settings: Settings, again: bool) -> tuple[Result, RefitReport]:
    from gpuclust.cli.scan import summarize
    from gpuclust.monitoring import refit

    start, (rows, opened) = time.perf_counter(), _rows(file.model, settings)
    problems = data_problems(opened) if isinstance(opened, Table) else prepared_problems(settings.data)
    with remarks(opened.note) as notes, problems:
        moved = refit(file.model, rows, summary=file.summary, refit_preprocessing=again)
    seconds = time.perf_counter() - start
    preprocessor, estimator = parts(moved.model)
    if isinstance(opened, Table):
        table, prepared = opened, None
    else:
        table = table_of(opened, preprocessor, False)
        prepared = Prepared(Preparation(), table, preprocessor, [], None, opened)
    clusters = summarize(table, estimator.cluster_centers_, moved.labels, metric_of(estimator).l1)
    reason = device_reason(settings.device, estimator.device_)
    return Result(settings, table, estimator, clusters, seconds, reason, notes, None, prepared), moved


def _rows(model: Any, settings: Settings) -> tuple[Any, Table | Frames]:
    """The rows of the file as the model is given them, and where they come from: frames, if it prepares them."""
    if parts(model).preprocessor is None:
        table: Table = open_for(settings.data, settings.columns, model)
        return table.source, table
    if getattr(model, "feature_names_in_", None) is None:
        raise DataProblem("the model has no names for its columns: use gpuclust.monitoring.refit in Python")
    frames = frames_for(settings.data, settings.columns, model)
    if not frames.fits:
        raise DataProblem(f"{str(settings.data)!r} does not fit the memory before it is prepared: raise --memory")
    return frames.head(frames.rows), frames
