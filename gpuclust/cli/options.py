"""The options and arguments that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Method(StrEnum):
    """What to fit."""

    kmeans = "kmeans"
    minibatch = "minibatch"
    kmedians = "kmedians"
    minibatch_kmedians = "minibatch-kmedians"


class Init(StrEnum):
    """How to choose the first centers."""

    plusplus = "k-means++"
    parallel = "k-means||"
    random = "random"


class Scale(StrEnum):
    """How to scale numbers."""

    robust = "robust"
    standard = "standard"
    minmax = "minmax"
    none = "none"


class Impute(StrEnum):
    """What fills missing numbers."""

    median = "median"
    mean = "mean"
    most_frequent = "most_frequent"
    knn = "knn"
    none = "none"


class Categorical(StrEnum):
    """What becomes of categories."""

    onehot = "onehot"
    frequency = "frequency"
    drop = "drop"


class Outliers(StrEnum):
    """What becomes of outliers."""

    none = "none"
    winsorize = "winsorize"
    drop = "drop"


class Missing(StrEnum):
    """What becomes of rows with missing values."""

    keep = "keep"
    drop = "drop"


WITH_ANY = "  [default with any of these five options: {}]"
ScaleOption = Annotated[
    Scale | None,
    typer.Option(help="Scale numbers: median and quartiles, mean and variance, or range." + WITH_ANY.format("robust")),
]
ImputeOption = Annotated[
    Impute | None, typer.Option(help="Fill missing numbers of a column." + WITH_ANY.format("median"))
]
CategoricalOption = Annotated[
    Categorical | None,
    typer.Option(help="Encode text: a column for each category, or how frequent it is." + WITH_ANY.format("onehot")),
]
OutliersOption = Annotated[
    Outliers | None,
    typer.Option(
        help="Move numbers beyond the 1st and 99th percentile to these, or drop rows beyond 1.5 interquartile ranges"
        " from the quartiles (their label is -1)." + WITH_ANY.format("none")
    ),
]
MissingOption = Annotated[
    Missing | None,
    typer.Option(
        help="drop: leave out columns of which more than half is missing, then rows that miss a value (their label is"
        " -1)." + WITH_ANY.format("keep")
    ),
]
Data = Annotated[
    Path,
    typer.Argument(
        metavar="DATA", help="A .npy, .npz, .csv or .parquet file: rows to cluster, one column per feature."
    ),
]
Model = Annotated[Path, typer.Argument(metavar="MODEL", help="A model.gpuclust file that fit wrote.")]
Columns = Annotated[
    str | None,
    typer.Option(help="Comma-separated columns to use: names, or numbers from 0 for .npy and .npz."),
]
Device = Annotated[
    str, typer.Option(help="auto, cpu, cuda, cuda:N for the N-th GPU, cuda:all for all GPUs, cuda:0,cuda:2 for some.")
]
Memory = Annotated[
    str | None,
    typer.Option(
        help="Memory for chunks of data, e.g. 2GB; .npy and .parquet larger than that are streamed. Rows that a fit"
        " prepares and streams are in a temporary file meanwhile, where half of the free space is enough; TMPDIR says"
        " where."
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No table and no progress bar.")]
NewData = Annotated[
    Path,
    typer.Argument(metavar="NEW_DATA", help="A .npy, .npz, .csv or .parquet file with the model's columns."),
]
Summary = Annotated[
    bool,
    typer.Option(
        "--summary/--no-summary",
        help="Whether the model file tells what its training rows were like, which drift needs.",
    ),
]
