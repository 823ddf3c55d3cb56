"""`gpuclust export`: a model as an ONNX file, checked before it gets its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gpuclust.cli.failures import DataProblem, UsageProblem, sentence
from gpuclust.cli.outputs import Outputs
from gpuclust.cli.predict import load
from gpuclust.cli.prepare import frames_for

ROWS = 10_000


def run(model: Path, out: Path, *, check: Path | None, columns: str | None, quiet: bool) -> None:
    """Load a model, convert it, compare labels on rows of a file or on random ones, write it."""
    found = load(model)
    rows = None if check is None else frames_for(check, columns, found.model).head(ROWS)
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
            f" nothing was written{_of_ties(found.model)}"
        )
    return (
        f"{result.rows:,} {'random rows' if rows is None else 'rows'} checked with onnxruntime: the labels of all"
        f" {result.clear:,} whose two nearest centers differ by more than 1e-5 are the model's;"
        f" {result.close_differing:,} of the other {result.rows - result.clear:,} differ"
    )


def _of_ties(model: Any) -> str:
    """What may have made the difference, though the graph is right."""
    from sklearn.impute import KNNImputer

    if not any(isinstance(part, KNNImputer) for part in model.get_params().values()):
        return ""
    return (
        "; of training rows equally near, a KNNImputer takes any, the graph the first: with --check, give rows without"
        " missing values"
    )
