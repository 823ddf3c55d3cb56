"""The commands and their options; what they do lies in the modules beside this one, imported on use."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gpuclust.cli.failures import reported
from gpuclust.cli.options import (
    CategoricalOption,
    Columns,
    Data,
    Device,
    ImputeOption,
    Init,
    Memory,
    Method,
    MissingOption,
    Model,
    OutliersOption,
    Quiet,
    ScaleOption,
)

app = typer.Typer(
    help="Cluster large data on CPUs and NVIDIA GPUs, in memory or streamed from disk.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(show: bool) -> None:
    if show:
        from gpuclust._version import __version__

        print(f"gpuclust {__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Cluster large data on CPUs and NVIDIA GPUs, in memory or streamed from disk.

    Exit codes: 0 done, 2 wrong usage, 3 unsuitable data, 4 no such device or not enough memory, 5 output
    cannot be written, 130 interrupted.
    """


@app.command()
def fit(
    data: Data,
    clusters: Annotated[
        str, typer.Option("-k", "--clusters", help="Number of clusters; auto: the one that choose-k recommends.")
    ],
    max_k: Annotated[int, typer.Option(min=2, help="Most clusters that -k auto tries.")] = 30,
    method: Annotated[Method, typer.Option(help="Means or medians, of all or by mini-batches.")] = Method.kmeans,
    init: Annotated[Init, typer.Option(help="How the first centers are chosen.")] = Init.plusplus,
    n_init: Annotated[
        str, typer.Option(help="Runs from different first centers, the best is kept; or auto.")
    ] = "auto",
    max_iter: Annotated[
        int | None, typer.Option(min=1, help="Most iterations of one run.  [default: 300; mini-batches 100]")
    ] = None,
    tol: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Stop when centers move less, relative to the variance; kmedians: when the inertia falls by less,"
            " relative to it.  [default: 1e-4; mini-batches 0]",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random choices.")] = 0,
    columns: Columns = None,
    weight: Annotated[str | None, typer.Option(help="Column that holds each row's weight.")] = None,
    scale: ScaleOption = None,
    impute: ImputeOption = None,
    categorical: CategoricalOption = None,
    outliers: OutliersOption = None,
    missing: MissingOption = None,
    device: Device = "auto",
    memory: Memory = None,
    out: Annotated[
        Path | None, typer.Option(help="Directory for the results.  [default: DATA's name + -k + K]")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="HTML file for a report on the clusters.")] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="File that keeps the state of the fit: the same command goes on from it after a crash."),
    ] = None,
    checkpoint_every: Annotated[float, typer.Option(min=0, help="Seconds from one checkpoint to the next.")] = 60.0,
    quiet: Quiet = False,
) -> None:
    """Cluster DATA; write labels, centers, the model and a summary, and print a table of the clusters.

    --scale, --impute, --categorical, --outliers and --missing prepare the columns first, text among them; the model has
    these steps in it, and centers are in the units of DATA.
    """
    with reported():
        from gpuclust.cli.fit import Settings, number_of_clusters, run
        from gpuclust.cli.prepare import Preparation

        run(
            Settings(
                data=data, clusters=number_of_clusters(clusters), method=method.value, init=init.value, n_init=n_init,
                max_iter=max_iter, tol=tol, seed=seed, columns=columns, weight=weight, device=device,
                memory=memory, out=out, quiet=quiet, max_k=max_k, report=report, checkpoint=checkpoint,
                checkpoint_every=checkpoint_every,
                preparation=Preparation(scale, impute, categorical, outliers, missing),
            )
        )  # fmt: skip


@app.command("choose-k")
def choose_k(
    data: Data,
    max_k: Annotated[int, typer.Option(min=1, help="Most clusters that are tried.")] = 30,
    min_k: Annotated[int, typer.Option(min=1, help="Fewest; the gap statistic can choose 1.")] = 2,
    criteria: Annotated[
        str | None,
        typer.Option(
            help="Comma-separated: elbow, silhouette, davies-bouldin, calinski-harabasz, gap.  [default: all]"
        ),
    ] = None,
    method: Annotated[
        Method, typer.Option("--estimator", "--method", help="Means or medians, of all or by mini-batches.")
    ] = Method.kmeans,
    init: Annotated[Init, typer.Option(help="How the first centers are chosen.")] = Init.plusplus,
    n_init: Annotated[str, typer.Option(help="Sets of first centers, the best fit is kept; or auto.")] = "auto",
    references: Annotated[int, typer.Option(min=1, help="Sets of uniform rows behind the gap statistic.")] = 10,
    sample: Annotated[
        int, typer.Option(min=1, help="Rows behind the silhouette and the gap statistic, where DATA has more.")
    ] = 10_000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random choices.")] = 0,
    columns: Columns = None,
    weight: Annotated[str | None, typer.Option(help="Column that holds each row's weight.")] = None,
    device: Device = "auto",
    memory: Memory = None,
    out: Annotated[
        Path | None, typer.Option(help="Directory for the results.  [default: DATA's name + -choose-k]")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Cluster DATA into every number of clusters, judge which fits best, and write and print the criteria."""
    with reported():
        from gpuclust.cli.choose import Range, run
        from gpuclust.cli.fit import Settings

        run(
            Settings(
                data=data, clusters=None, method=method.value, init=init.value, n_init=n_init, seed=seed,
                columns=columns, weight=weight, device=device, memory=memory, out=out, quiet=quiet,
            ),
            Range(max_k, min_k, criteria, references, sample),
        )  # fmt: skip


@app.command()
def predict(
    model: Model,
    data: Data,
    columns: Columns = None,
    device: Device = "auto",
    memory: Memory = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="File for the labels: .parquet, .npy or .csv.  [default: DATA's name + -labels.parquet]"
        ),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Assign the rows of DATA to the clusters of MODEL."""
    with reported():
        from gpuclust.cli.predict import run

        run(model, data, columns=columns, device=device, memory=memory, out=out, quiet=quiet)


@app.command()
def report(
    model: Model,
    data: Data,
    columns: Columns = None,
    sample: Annotated[
        int, typer.Option(min=10, help="Rows behind silhouettes, stability and pictures, where DATA has more.")
    ] = 10_000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random choices.")] = 0,
    device: Device = "auto",
    memory: Memory = None,
    out: Annotated[Path | None, typer.Option(help="The HTML file.  [default: DATA's name + -report.html]")] = None,
    quiet: Quiet = False,
) -> None:
    """Write one HTML file on the clusters of DATA under MODEL: how many, whether they are real, what they are."""
    with reported():
        from gpuclust.cli.report_command import run

        run(
            model, data, columns=columns, device=device, memory=memory, seed=seed, sample=sample, out=out, quiet=quiet
        )  # fmt: skip


@app.command()
def export(
    model: Model,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The file to write, model.onnx.")],
    check: Annotated[
        Path | None,
        typer.Option(metavar="DATA", help="File whose first 10,000 rows are compared.  [default: random rows]"),
    ] = None,
    columns: Columns = None,
    quiet: Quiet = False,
) -> None:
    """Convert MODEL to ONNX, preprocessing included; its labels are compared with the model's before it is written."""
    with reported():
        from gpuclust.cli.export import run

        run(model, out, check=check, columns=columns, quiet=quiet)


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Show devices, versions and memory, what is missing, and the line that installs it."""
    with reported():
        from gpuclust.cli.doctor import run

        run(as_json)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Directory for the results.")] = Path("gpuclust-demo"),
    device: Device = "auto",
) -> None:
    """Cluster a real data set that ships with gpuclust (245,057 pixels), write the results and check them."""
    with reported():
        from gpuclust.cli.demo import run

        run(out, device)
