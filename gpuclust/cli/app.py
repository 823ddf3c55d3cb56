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
    NewData,
    OutliersOption,
    Quiet,
    ScaleOption,
    Summary,
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
    cannot be written, 130 interrupted; of drift also 10 watch, 20 retrain.
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
    summary: Summary = True,
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
                checkpoint_every=checkpoint_every, summarized=summary,
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
    """Convert MODEL to ONNX, preprocessing included; its labels are compared with the model's before it is written.

    The file of a model that was fitted with --impute knn holds its training rows.
    """
    with reported():
        from gpuclust.cli.export import run

        run(model, out, check=check, columns=columns, quiet=quiet)


@app.command()
def drift(
    model: Model,
    data: NewData,
    columns: Columns = None,
    alpha: Annotated[
        float, typer.Option(help="Chance that any change is called significant where there is none.")
    ] = 0.01,
    psi: Annotated[
        str, typer.Option(metavar="WATCH,RETRAIN", help="Population stability index of a column or the clusters.")
    ] = "0.1,0.25",
    distance: Annotated[
        str, typer.Option(metavar="WATCH,RETRAIN", help="Kolmogorov-Smirnov distance of a column or the distances.")
    ] = "0.05,0.2",
    missing: Annotated[
        str, typer.Option(metavar="WATCH,RETRAIN", help="Change of a column's share of missing values.")
    ] = "0.05,0.2",
    unseen: Annotated[
        str,
        typer.Option(metavar="WATCH,RETRAIN", help="Share of values beyond the training's range or categories."),
    ] = "0.01,0.05",
    far: Annotated[
        str, typer.Option(metavar="WATCH,RETRAIN", help="Share of rows beyond the training's 99.9 % distance.")
    ] = "0.01,0.05",
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON, and nothing else.")] = False,
    out: Annotated[Path | None, typer.Option(help="File for the report as JSON.")] = None,
    plot: Annotated[Path | None, typer.Option(help="File for a plot: .png, .svg or .pdf.")] = None,
    device: Device = "auto",
    memory: Memory = None,
    quiet: Quiet = False,
) -> None:
    """Compare NEW_DATA with the rows that MODEL was fitted on, by the summary of those in its file.

    A change counts where it is significant (p-values of all tests adjusted together) and as large as a limit. Exit
    codes: 0 ok, 10 watch, 20 retrain.
    """
    with reported():
        from gpuclust.cli.drift import limits, run

        given = {"psi": psi, "distance": distance, "missing": missing, "unseen": unseen, "far": far}
        code = run(
            model, data, columns=columns, thresholds=limits(alpha, given), as_json=as_json, out=out, plot=plot,
            device=device, memory=memory, quiet=quiet,
        )  # fmt: skip
    raise typer.Exit(code)


@app.command()
def refit(
    model: Model,
    data: NewData,
    columns: Columns = None,
    refit_preprocessing: Annotated[
        bool, typer.Option("--refit-preprocessing", help="Fit scalers and encoders to NEW_DATA as well.")
    ] = False,
    device: Device = "auto",
    memory: Memory = None,
    out: Annotated[
        Path | None, typer.Option(help="Directory for the results.  [default: NEW_DATA's name + -refit]")
    ] = None,
    summary: Summary = True,
    quiet: Quiet = False,
) -> None:
    """Fit MODEL to NEW_DATA from where it stands: clusters keep their numbers. Writes what fit writes, and what moved.

    Without --refit-preprocessing scalers and encoders stay as they are, so that distances mean what they did.
    """
    with reported():
        from gpuclust.cli.refit import run

        run(
            model, data, columns=columns, again=refit_preprocessing, device=device, memory=memory, out=out,
            summarized=summary, quiet=quiet,
        )  # fmt: skip


@app.command()
def serve(
    model: Model,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all of this machine's.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 for any that is free.")] = 8000,
    workers: Annotated[int, typer.Option(min=1, help="Processes that answer; each holds the model.")] = 1,
    device: Device = "auto",
    token_file: Annotated[
        Path | None,
        typer.Option(help="File with the token that requests must bear; or the variable GPUCLUST_TOKEN."),
    ] = None,
    allow_updates: Annotated[
        bool,
        typer.Option(help="Serve /v1/partial_fit: mini-batch models learn, until a reload or the end forgets it."),
    ] = False,
    max_rows: Annotated[int | None, typer.Option(min=1, help="Most rows of a request.  [default: 1000000]")] = None,
    max_body: Annotated[int | None, typer.Option(min=1, help="Most bytes of a body.  [default: 67108864]")] = None,
    queue: Annotated[int | None, typer.Option(min=1, help="Most requests at a time.  [default: 1024]")] = None,
    timeout: Annotated[float | None, typer.Option(help="Seconds for an answer.  [default: 30]")] = None,
    header_timeout: Annotated[float | None, typer.Option(help="Seconds for a header.  [default: 10]")] = None,
    body_timeout: Annotated[float | None, typer.Option(help="Seconds for a body.  [default: 60]")] = None,
    idle_timeout: Annotated[float | None, typer.Option(help="Seconds between requests.  [default: 75]")] = None,
    shutdown_timeout: Annotated[
        float | None, typer.Option(help="Seconds to answer what was accepted, on SIGTERM.  [default: 30]")
    ] = None,
) -> None:
    """Answer over HTTP which clusters of MODEL rows belong to. SIGHUP and POST /v1/reload read MODEL again."""
    with reported():
        from gpuclust.cli.serve import run

        run(
            model, token_file, host=host, port=port, workers=workers, device=device, allow_updates=allow_updates,
            max_rows=max_rows, max_body=max_body, queue=queue, timeout=timeout, header_timeout=header_timeout,
            body_timeout=body_timeout, idle_timeout=idle_timeout, shutdown_timeout=shutdown_timeout,
        )  # fmt: skip


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Show devices, versions and memory, check what GPUs compute, and give the lines that install what is missing."""
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
