"""`gpuclust fit`: open, cluster, write, print."""

from __future__ import annotations

import contextlib
import re
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gpuclust.cli import report
from gpuclust.cli.failures import DataProblem, UsageProblem, sentence
from gpuclust.cli.outputs import Outputs, centers_writer, json_writer, labels_suffix, labels_writer
from gpuclust.cli.prepare import Preparation, Prepared, prepare
from gpuclust.cli.progress import fit_progress
from gpuclust.cli.tables import Table, open_table, split_names

METHODS = {
    "kmeans": "KMeans",
    "minibatch": "MiniBatchKMeans",
    "kmedians": "KMedians",
    "minibatch-kmedians": "MiniBatchKMedians",
}


@dataclass(frozen=True)
class Settings:
    """The options of `gpuclust fit`."""

    data: Path
    clusters: int | None  # None: to be chosen, `max_k` at most
    method: str = "kmeans"
    init: str = "k-means++"
    n_init: str = "auto"
    max_iter: int | None = None
    tol: float | None = None
    seed: int = 0
    columns: str | None = None
    weight: str | None = None
    device: str = "auto"
    memory: str | None = None
    out: Path | None = None
    quiet: bool = False
    max_k: int = 30
    report: Path | None = None
    checkpoint: Path | None = None
    checkpoint_every: float = 60.0
    preparation: Preparation | None = None
    summarized: bool = True  # whether the model file tells what its training rows were like


@dataclass(frozen=True)
class Result:
    """A fitted model and what is told about it."""

    settings: Settings
    table: Table
    model: Any
    clusters: Any  # scan.Clusters
    seconds: float
    reason: str  # why this device
    notes: list[str]
    choice: Any = None  # selection.ChoiceOfK, where k was chosen
    prepared: Prepared | None = None  # what the rows passed before they were clustered

    @property
    def whole(self) -> Any:
        """The model for rows as the file has them."""
        return self.model if self.prepared is None else self.prepared.model(self.model)

    def centers(self) -> tuple[list[str], Any]:
        """Columns and values of the centers, in the units of the file."""
        if self.prepared is None:
            return self.table.columns, self.model.cluster_centers_
        from gpuclust.models import centers_in_input_units

        return centers_in_input_units(self.whole)


def run(settings: Settings) -> Result:
    """Cluster a file and write the results."""
    check_device(settings.device)
    estimator = make_estimator(settings)
    with memory_budget(settings.memory), contextlib.ExitStack() as stack:
        prepared = _prepared(settings, stack)
        if prepared is None:
            table = open_table(settings.data, split_names(settings.columns), settings.weight)
        else:
            table = prepared.table
        if settings.clusters is not None and table.rows < settings.clusters:
            raise DataProblem(
                f"{str(table.path)!r} has {table.rows} rows, fewer than {settings.clusters} clusters"
            )
        directory = settings.out or Path(f"{settings.data.stem}-k{settings.clusters or 'auto'}")
        with _report(settings.report) as write_report:
            with Outputs(directory) as outputs:
                result = cluster(settings, table, estimator, prepared)
                paths = write_results(outputs, result)
            paths += write_report(result)  # a report that fails takes no result with it
    report.tell_notes(result.notes)
    if not settings.quiet:
        if result.choice is not None:
            from gpuclust.cli.choose import print_choice

            print_choice(result.choice)
        report.print_clusters(result, paths)
    return result


def _prepared(settings: Settings, stack: contextlib.ExitStack) -> Prepared | None:
    """Prepare the file's rows, where that was asked for; those that do not stay in memory are in a file meanwhile."""
    if settings.preparation is None or not settings.preparation.asked:
        return None
    prepared = prepare(settings.data, settings.columns, settings.weight, settings.preparation)
    if not settings.quiet:
        report.print_explanation(prepared.explanation)
    if prepared.frames.fits:
        return prepared
    from gpuclust.cli.kept import kept

    return replace(prepared, table=stack.enter_context(kept(prepared.table)))


def _report(path: Path | None) -> contextlib.AbstractContextManager[Callable[[Result], list[Path]]]:
    """Return what checks, before the fit, that a report can be written, and what writes it."""
    if path is None:
        return contextlib.nullcontext(lambda result: [])
    from gpuclust.cli.report_command import after_fit

    return after_fit(path)


def number_of_clusters(text: str) -> int | None:
    """Return the number that -k gives, None for auto."""
    if text == "auto":
        return None
    if not text.isdecimal() or int(text) == 0:
        raise UsageProblem(f"-k {text!r} is neither auto nor a whole number above 0")
    return int(text)


def check_device(device: str) -> None:
    """Raise UsageProblem for a device that has no meaning; whether it is there shows later."""
    if not re.fullmatch(r"auto|cpu|cuda:all|cuda(:\d+)?(,cuda(:\d+)?)*", device):
        raise UsageProblem(f"--device {device!r} is none of auto, cpu, cuda, cuda:N, cuda:all and cuda:N,cuda:M,...")


@contextlib.contextmanager
def memory_budget(memory: str | None) -> Iterator[None]:
    """Apply --memory to the block."""
    from gpuclust.config import config_context, parse_size

    try:
        size = None if memory is None else parse_size(memory)
    except ValueError as error:
        raise UsageProblem(f"--memory: {sentence(error)}") from error
    with config_context(memory=size):
        yield


def make_estimator(settings: Settings) -> Any:
    """Return the unfitted estimator; options that were not given keep the class's defaults."""
    import gpuclust

    given = {"max_iter": settings.max_iter, "tol": settings.tol, "checkpoint": _checkpoint(settings)}
    return getattr(gpuclust, METHODS[settings.method])(
        **({} if settings.clusters is None else {"n_clusters": settings.clusters}),
        init=settings.init,
        n_init=_n_init(settings.n_init),
        random_state=settings.seed,
        device=settings.device,
        **{name: value for name, value in given.items() if value is not None},
    )


def _checkpoint(settings: Settings) -> Any:
    """Return what --checkpoint asks for; it keeps the state of one fit that goes over all rows."""
    from gpuclust import Checkpoint

    if settings.checkpoint is None:
        return None
    if settings.clusters is None or settings.method not in ("kmeans", "kmedians"):
        raise UsageProblem("--checkpoint goes with --method kmeans or kmedians and a number of clusters")
    return Checkpoint(settings.checkpoint, seconds=settings.checkpoint_every)


def _n_init(text: str) -> int | str:
    if text == "auto":
        return text
    if not text.isdecimal() or int(text) == 0:
        raise UsageProblem(f"--n-init {text!r} is neither auto nor a whole number above 0")
    return int(text)


def cluster(settings: Settings, table: Table, estimator: Any, prepared: Prepared | None = None) -> Result:
    """Fit, then sum up each cluster in one more pass."""
    from gpuclust.cli.choose import Range, choose
    from gpuclust.cli.scan import summarize

    start, choice = time.perf_counter(), None
    if settings.clusters is None:
        choice, notes = choose(settings, table, estimator, Range(settings.max_k))
        estimator = choice.best_estimator_
    else:
        notes = _fit(settings, table, estimator)
    seconds = time.perf_counter() - start
    if prepared is None:
        _name_features(estimator, table)
    manhattan = "kmedians" in settings.method
    clusters = summarize(table, estimator.cluster_centers_, estimator.labels_, manhattan)
    reason = device_reason(settings.device, estimator.device_)
    return Result(settings, table, estimator, clusters, seconds, reason, notes, choice, prepared)


def _fit(settings: Settings, table: Table, estimator: Any) -> list[str]:
    """Fit; return remarks."""
    with remarks(table.note) as notes, fit_progress(not settings.quiet), data_problems(table):
        estimator.fit(table.source, sample_weight=table.weight)
    return notes


@contextlib.contextmanager
def remarks(note: str) -> Iterator[list[str]]:
    """Yield a list that holds, after the block, the reader's note, if any, and what the block's warnings say."""
    notes = [note] if note else []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        yield notes
    notes += dict.fromkeys(
        sentence(warning.message) for warning in caught if isinstance(warning.message, UserWarning)
    )


@contextlib.contextmanager
def data_problems(table: Table) -> Iterator[None]:
    """Say what is wrong with the data where the estimator refused them: for NaN and infinity, which cell."""
    from gpuclust.cli.scan import require_finite

    try:
        yield
    except OSError as error:
        raise DataProblem(f"cannot read {str(table.path)!r}: {sentence(error)}") from error
    except ValueError as error:
        if type(error).__name__ == "InvalidParameterError":
            raise
        if re.search(r"\bNaN\b|infinit|finite", str(error)):
            require_finite(table)
        raise DataProblem(f"{str(table.path)!r}: {sentence(error)}") from error


def _name_features(estimator: Any, table: Table) -> None:
    """Keep a CSV's column names, which the estimator did not see: predict picks columns by name."""
    import numpy as np

    if table.named and not hasattr(estimator, "feature_names_in_"):
        estimator.feature_names_in_ = np.array(table.columns, dtype=object)


def device_reason(asked: str, used: str) -> str:
    """Return why a fit ran where it ran."""
    if asked != "auto":
        return "asked for"
    if used != "cpu":
        return "a usable GPU was found"
    from gpuclust.backends.select import cuda_problem

    problem = cuda_problem(0)
    return problem.text if problem is not None and problem.gpu_visible else "no NVIDIA GPU was found"


def training_summary(result: Result) -> Any:
    """Return what `gpuclust drift` compares new rows with; None where it is not wanted."""
    from gpuclust.monitoring import summarize

    if not result.settings.summarized:
        return None
    if result.prepared is not None:
        return summarize(result.whole, result.prepared.frames.pieces)
    return summarize(result.model, result.table.source, sample_weight=result.table.weight)


def write_results(outputs: Outputs, result: Result) -> list[Path]:
    """Write labels, centers, model and summary, and the criteria where k was chosen."""
    from gpuclust.cli.choose import write_criteria
    from gpuclust.persistence import model_bytes

    model, suffix = result.model, labels_suffix()
    data, labels = model_bytes(result.whole, summary=training_summary(result)), model.labels_
    if result.prepared is not None:
        labels = result.prepared.labels(labels)
    columns, centers = result.centers()
    return [
        outputs.write(f"labels{suffix}", labels_writer(labels, suffix)),
        outputs.write("centers.csv", centers_writer(centers, columns)),
        outputs.write("model.gpuclust", lambda handle: handle.write(data)),
        outputs.write("summary.json", json_writer(report.summary(result))),
        *([] if result.choice is None else write_criteria(outputs, result.choice)),
    ]
