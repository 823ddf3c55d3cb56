"""What a DATA file holds, whatever its format: something to fit, column names, and chunks of rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpuclust.cli.failures import DataProblem, UsageProblem, reading, sentence

CHUNK_BYTES = 1 << 24  # of float64: rows of a chunk in the passes that the command line makes itself
FORMATS = (".npy", ".npz", ".csv", ".parquet", ".pq")


@dataclass(frozen=True)
class Table:
    """A DATA file after its header was read."""

    path: Path
    columns: list[str]  # the ones in use
    named: bool  # False where columns have only numbers
    rows: int
    source: Any  # what an estimator takes: an array, a path or a stream
    weight: Any  # f64 [rows] where `source` is an array, else None: a stream brings its own
    chunks: Callable[[int], Iterator[tuple[Any, Any]]]  # rows of a chunk -> (X [m, d], weight [m] or None)
    note: str = ""  # what the user should know about how the file was read
    scaler: Any = None  # what made the rows of those in the file, by its inverse_transform

    def blocks(self) -> Iterator[tuple[slice, Any, Any]]:
        """Yield (rows, X, weight) over the whole file, in order, a few megabytes at a time."""
        start = 0
        for X, weight in self.chunks(max(1, CHUNK_BYTES // (8 * len(self.columns)))):
            yield slice(start, start + len(X)), X, weight
            start += len(X)


def open_table(path: Path, columns: Sequence[str] | None = None, weight: str | None = None) -> Table:
    """Read a DATA file's header (all of a .csv or .npz) and check what can be checked without the rows."""
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise UsageProblem(f"{str(path)!r} ends in none of {', '.join(FORMATS)}")
    with reading(path):
        if path.stat().st_size == 0:
            raise DataProblem(f"{str(path)!r} is empty")
        with path.open("rb"):
            pass
        table = _reader(suffix)(path, None if columns is None else list(columns), weight)
    if not table.rows:
        raise DataProblem(f"{str(path)!r} has no rows")
    return table


def _reader(suffix: str) -> Callable[[Path, list[str] | None, str | None], Table]:
    if suffix in (".npy", ".npz"):
        from gpuclust.cli import numpy_files

        return numpy_files.read_npy if suffix == ".npy" else numpy_files.read_npz
    try:
        from gpuclust.cli import arrow_files
    except ModuleNotFoundError as error:
        if error.name != "pyarrow":
            raise
        raise DataProblem(
            f"reading {suffix} files needs pyarrow: run pip install 'gpuclust[files]'"
        ) from None
    return arrow_files.read_csv if suffix == ".csv" else arrow_files.read_parquet


def split_names(text: str | None) -> list[str] | None:
    """Return the names of a comma-separated list."""
    if text is None:
        return None
    names = [name.strip() for name in text.split(",")]
    if not all(names) or len(set(names)) < len(names):
        raise UsageProblem(f"--columns {text!r} holds an empty name or one name twice")
    return names


def open_for(data: Path, columns: str | None, model: Any, opener: Callable[..., Any] = open_table) -> Any:
    """Open a file with the columns that a model was fitted on: by name if it has names, else by count."""
    names = getattr(model, "feature_names_in_", None)
    if columns is None and names is not None and data.suffix.lower() not in (".npy", ".npz"):
        try:
            found = opener(data, [str(name) for name in names])
        except UsageProblem as error:  # the names are the model's, not the user's
            raise DataProblem(f"{sentence(error)}; the model was fitted on {shortened(list(names))}") from error
    else:
        found = opener(data, split_names(columns))
    if len(found.columns) != model.n_features_in_:
        raise DataProblem(
            f"{str(data)!r} has {len(found.columns)} columns, but the model has {model.n_features_in_}; "
            "choose them with --columns"
        )
    return found


def choose(path: Path, present: Sequence[str], columns: list[str] | None, weight: str | None) -> list[str]:
    """Return the columns to cluster: those asked for, else all but the weight."""
    name, times = Counter(present).most_common(1)[0] if present else ("", 1)
    if times > 1:
        raise DataProblem(f"{str(path)!r} has {times} columns named {name!r}")
    for name in [*(columns or []), *([weight] if weight else [])]:
        if name not in present:
            raise UsageProblem(f"{str(path)!r} has no column {name!r}; it has {shortened(present)}")
    if columns and weight in columns:
        raise UsageProblem(f"column {weight!r} is both in --columns and --weight")
    chosen = columns or [name for name in present if name != weight]
    if not chosen:
        raise DataProblem(f"{str(path)!r} has no columns to cluster")
    return chosen


def shortened(names: Sequence[str], most: int = 12) -> str:
    """Return a list of names that stays readable."""
    text = ", ".join(names[:most])
    return f"{text} and {len(names) - most} more" if len(names) > most else text


def array_chunks(X: Any, weight: Any) -> Callable[[int], Iterator[tuple[Any, Any]]]:
    """Return the `chunks` of data in memory: views, no copies."""

    def chunks(rows: int) -> Iterator[tuple[Any, Any]]:
        for start in range(0, len(X), rows):
            yield X[start : start + rows], None if weight is None else weight[start : start + rows]

    return chunks
