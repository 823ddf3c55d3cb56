"""Whether an ONNX graph gives the labels of the model that it was made of."""

from __future__ import annotations

import os
import warnings
from typing import Any, Final, NamedTuple

import numpy as np

from gpuclust import models
from gpuclust.extras import require
from gpuclust.monitoring import TrainingSummary

from .export import INPUT, Input, inputs_of, is_matrix
from .sampling import random_rows

GAP: Final = 1e-5
CELLS: Final = 1 << 22  # distances in memory at a time


class OnnxCheck(NamedTuple):
    """Labels of a graph against those of the model."""

    rows: int
    clear: int  # rows whose two nearest centres differ by more than 1e-5 in distance, relative to the second
    wrong: int  # of these, with another label
    close_differing: int  # of the other rows, with another label: both are right within float32

    @property
    def passed(self) -> bool:
        return self.wrong == 0


def check_onnx(
    model: Any,
    graph: str | os.PathLike[str] | bytes,
    rows: Any = None,
    *,
    summary: TrainingSummary | None = None,
    n_rows: int = 10_000,
    random_state: Any = 0,
) -> OnnxCheck:
    """Compare the labels of a graph, run by onnxruntime on the CPU, with `model.predict`.

    Both see the same rows, rounded to float32.

    Parameters
    ----------
    model : fitted estimator or Pipeline
    graph : str, path-like or bytes
        What `export_onnx` wrote of it, or `onnx_bytes` returned.
    rows : array-like or DataFrame of shape (n_samples, n_features), optional
        Default: `n_rows` random ones, drawn column by column: from `summary` where it is given, else from what the
        model knows of its columns.
    summary : TrainingSummary, optional
    n_rows : int, default=10_000
    random_state : int, RandomState or None, default=0

    Returns
    -------
    OnnxCheck

    Raises
    ------
    ValueError
        If the rows are not what the model is given.
    ImportError
        Without the packages of the extra `onnx`.
    """
    runtime = require("onnxruntime", "The check of an ONNX file", "onnx")
    inputs = inputs_of(model)
    if rows is None:
        columns = random_rows(model, inputs, n_rows, random_state, summary)
    else:
        columns = _columns(rows, inputs)
    columns = [_rounded(column, each) for column, each in zip(columns, inputs, strict=True)]
    given = graph if isinstance(graph, bytes) else os.fspath(graph)
    session = runtime.InferenceSession(given, providers=["CPUExecutionProvider"])
    found = np.asarray(session.run(["label"], _feed(columns, inputs))[0])
    expected, clear = _labels(model, columns)
    differing = found != expected
    counts = (len(found), clear.sum(), (differing & clear).sum(), (differing & ~clear).sum())
    return OnnxCheck(*(int(count) for count in counts))


def _columns(rows: Any, inputs: list[Input]) -> list[np.ndarray]:
    """By name where both have names, else by place."""
    if not hasattr(rows, "columns"):
        found = list(np.asarray(rows).T)
    elif {each.name for each in inputs} <= set(rows.columns):
        found = [np.asarray(rows[each.name]) for each in inputs]
    else:
        found = [np.asarray(rows[name]) for name in rows.columns]
    if len(found) != len(inputs):
        raise ValueError(f"X has {len(found)} features, but the model is expecting {len(inputs)} features as input.")
    return found


def _rounded(column: np.ndarray, given: Input) -> np.ndarray:
    """What the graph is given: text, whole numbers, or numbers as float32 holds them."""
    if not given.used:
        return column
    if given.dtype is str:
        return np.array([None if value is None or value != value else str(value) for value in column], dtype=object)
    return column.astype(np.int64) if given.dtype is np.int64 else column.astype(np.float32).astype(np.float64)


def _feed(columns: list[np.ndarray], inputs: list[Input]) -> dict[str, np.ndarray]:
    if is_matrix(inputs):
        return {INPUT: np.stack(columns, axis=1).astype(np.float32)}
    return {each.name: _own(column, each.dtype) for column, each in zip(columns, inputs, strict=True) if each.used}


def _own(column: np.ndarray, dtype: Any) -> np.ndarray:
    """A column as an input of its own, [n, 1]."""
    if dtype is not str:
        return column[:, None].astype(dtype)
    return np.array([["" if value is None else value] for value in column], dtype=object)


def _labels(model: Any, columns: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The model's labels, and which rows are clearly nearest to one centre; a few rows at a time."""
    k = len(models.parts(model).estimator.cluster_centers_)
    step = max(1, CELLS // k)
    labels, clear = [], []
    for start in range(0, len(columns[0]), step):
        rows = _table(model, [column[start : start + step] for column in columns])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of names that arrays lack
            labels.append(np.asarray(model.predict(rows)))
            distances = np.asarray(model.transform(rows), np.float64)
        if k > 1:
            distances.partition(1, axis=1)
            clear.append(distances[:, 1] - distances[:, 0] > GAP * distances[:, 1])
        else:
            clear.append(np.ones(len(distances), bool))
    return np.concatenate(labels), np.concatenate(clear)


def _table(model: Any, columns: list[np.ndarray]) -> Any:
    """An array, or a frame where the model chooses columns by name or has text."""
    if models.parts(model).preprocessor is None or not hasattr(model, "feature_names_in_"):
        return np.stack(columns, axis=1)
    pandas = require("pandas", "Rows with named columns", "files")
    return pandas.DataFrame(dict(zip(models.feature_names(model), columns, strict=True)))
