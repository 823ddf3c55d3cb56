"""`gpuclust export`: a model as an ONNX file, checked before it gets its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gpuclust.cli.failures import DataProblem, UsageProblem, sentence
from gpuclust.cli.frames import open_frames
from gpuclust.cli.outputs import Outputs
from gpuclust.cli.predict import load_file
from gpuclust.cli.tables import split_names

ROWS = 10_000


def run(model: Path, out: Path, *, check: Path | None, columns: str | None, quiet: bool) -> None:
    """Load a model, convert it, compare labels on rows of a file or on random ones, write it."""
    found = load_file(model)
    rows = None if check is None else _rows(found.model, check, columns)
    with Outputs(out.parent) as outputs:
        data = _converted(found.model)
        told = _checked(data, found, rows)
        outputs.write(out.name, lambda handle: handle.write(data))
    if not quiet:
        print(f"{told}\nwritten: {out}")


def _converted(model: Any) -> bytes:
    from gpuclust.persistence.onnx import onnx_bytes

    try:
        return onnx_bytes(model)
    except (NotImplementedError, ImportError) as error:
        raise UsageProblem(sentence(error)) from error


def _checked(data: bytes, found: Any, rows: Any) -> str:
    """What the comparison says; a graph with wrong labels is not written."""
    from gpuclust.persistence.onnx import check_onnx

    try:
        result = check_onnx(found.model, data, rows, summary=found.summary, n_rows=ROWS)
    except ImportError as error:
        raise UsageProblem(sentence(error)) from error
    except ValueError as error:
        raise DataProblem(f"the rows to check with do not suit the model: {sentence(error)}") from error
    if not result.passed:
        raise DataProblem(
            f"onnxruntime gives {result.wrong:,} of {result.clear:,} rows another label than the model does;"
            " nothing was written"
        )
    return (
        f"{result.rows:,} {'random rows' if rows is None else 'rows'} checked with onnxruntime: the labels of all"
        f" {result.clear:,} whose two nearest centers differ by more than 1e-5 are the model's;"
        f" {result.close_differing:,} of the other {result.rows - result.clear:,} differ"
    )


def _rows(model: Any, path: Path, columns: str | None) -> Any:
    """The first rows of a file, with the model's columns."""
    from gpuclust.models import feature_names, input_features, n_features

    names = feature_names(model)
    by_name = hasattr(model, "feature_names_in_") and path.suffix.lower() not in (".npy", ".npz")
    text = [f.name for f in input_features(model) if f.categories and all(isinstance(v, str) for v in f.categories)]
    frames = open_frames(path, names if columns is None and by_name else split_names(columns), text=text)
    if len(frames.columns) != n_features(model):
        raise DataProblem(
            f"{str(path)!r} has {len(frames.columns)} columns, but the model has {n_features(model)}; choose them with"
            " --columns"
        )
    return frames.head(ROWS)
