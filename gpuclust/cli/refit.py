"""`gpuclust refit`: a model fitted to new rows from where it stands."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpuclust.cli.drift import read
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
from gpuclust.cli.predict import open_for
from gpuclust.cli.prepare import Preparation, Prepared, frames_for, prepared_problems, table_of
from gpuclust.cli.report import print_clusters, tell_notes
from gpuclust.cli.tables import Table
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
    file = read(model, device)
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

    start, (table, rows, frames) = time.perf_counter(), _rows(file.model, settings)
    notes = [frames.note] if frames is not None and frames.note else []
    with contextlib.ExitStack() as stack:
        if table is None:
            stack.enter_context(prepared_problems(settings.data))
        else:
            notes = stack.enter_context(remarks(table))
            stack.enter_context(data_problems(table))
        moved = refit(file.model, rows, summary=file.summary, refit_preprocessing=again)
    seconds, prepared = time.perf_counter() - start, None
    preprocessor, estimator = parts(moved.model)
    if frames is not None:
        table = table_of(frames, preprocessor, False)
        prepared = Prepared(Preparation(), table, preprocessor, frames.columns, [], None, frames)
    assert table is not None
    clusters = summarize(table, estimator.cluster_centers_, moved.labels, metric_of(estimator).l1)
    reason = device_reason(settings.device, estimator.device_)
    return Result(settings, table, estimator, clusters, seconds, reason, notes, None, prepared), moved


def _rows(model: Any, settings: Settings) -> tuple[Table | None, Any, Frames | None]:
    """The file as a table of what the model's estimator takes, or as rows and frames of what comes before."""
    if parts(model).preprocessor is None:
        table = open_for(settings.data, settings.columns, model)
        return table, table.source, None
    if getattr(model, "feature_names_in_", None) is None:
        raise DataProblem("the model has no names for its columns: use gpuclust.monitoring.refit in Python")
    frames = frames_for(settings.data, settings.columns, model)
    if not frames.fits:
        raise DataProblem(f"{str(settings.data)!r} does not fit the memory before it is prepared: raise --memory")
    return None, frames.head(frames.rows), frames
