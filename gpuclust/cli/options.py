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
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, or cuda:N for the N-th GPU.")]
Memory = Annotated[
    str | None,
    typer.Option(
        help="Memory for chunks of data, e.g. 2GB; .npy and .parquet larger than that are streamed."
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No table and no progress bar.")]
