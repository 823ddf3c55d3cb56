"""Export of whole models: inputs, preprocessing, the nearest centre.

skl2onnx converts K-Means (through `to_sklearn`) and those of scikit-learn's transformers that have no graph of ours.
Scalers, imputers and encoders have one because skl2onnx's compute in float32, lack options or need a later opset;
K-Medians and gpuclust.preprocessing because it does not know them.
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import numpy as np
from sklearn.utils.validation import check_is_fitted

from gpuclust import models
from gpuclust._version import __version__
from gpuclust.files.atomic import atomic_write
from gpuclust.persistence.features import describe

from .clusters import nearest
from .graph import Graph, Rows
from .steps import applied

INPUT = "X"


def export_onnx(model: Any, path: str | os.PathLike[str]) -> None:
    """Write a fitted model as an ONNX graph, preprocessing included.

    Its inputs are float32; inside, it computes in float64. A model of numbers has one input, ``X`` [n, d]. A model with
    columns of text, or that drops columns, has one input [n, 1] for each column that it uses, under the column's name:
    text, int64 for whole numbers that are categories, else float32. Missing numbers are NaN, missing text is "". The
    output, ``label`` [n], is int64, and -1 for a row that `predict` would refuse: with a missing value that nothing
    fills, or an unknown category where the encoder raises an error. The graph of a KNNImputer holds the rows that it
    was fitted on; of rows equally near it takes the first ones, scikit-learn any of them.

    Parameters
    ----------
    model : KMeans, MiniBatchKMeans, KMedians, MiniBatchKMedians or a Pipeline that ends in one
    path : str or path-like
        By custom it ends in ``.onnx``. It is replaced in one step, or not at all.

    Raises
    ------
    NotImplementedError
        If a step of the pipeline cannot be exported: functions of the user's own, more than 2 GB of training
        rows, a column of the name 'label'.
    NotFittedError
        If the model was not fitted.
    ImportError
        Without the packages of the extra `onnx`.
    OSError
        If the file cannot be written.
    """
    data = onnx_bytes(model)
    with atomic_write(path) as handle:
        handle.write(data)


def onnx_bytes(model: Any) -> bytes:
    """The content of the file that `export_onnx` writes."""
    preprocessor, estimator = models.parts(model)
    check_is_fitted(estimator, "cluster_centers_")
    graph = Graph()
    rows = applied(graph, preprocessor, _inputs(graph, inputs_of(model)))
    return graph.finish(nearest(graph, estimator, graph.numbers(rows)), __version__)


class Input(NamedTuple):
    """A column of the model's."""

    name: str
    dtype: Any  # str, int64 or float32
    used: bool  # False for those that a ColumnTransformer drops


def inputs_of(model: Any) -> list[Input]:
    """The columns that a model is given."""
    preprocessor = models.parts(model).preprocessor
    first: Any = None if preprocessor is None else preprocessor.steps[0][1]
    used = set(range(models.n_features(model)))
    if hasattr(first, "transformers_"):
        kept = [name for name, part, _ in first.transformers_ if not isinstance(part, str)]
        used = {at for name in kept for at in first._transformer_to_input_indices[name]}
    dtypes = {"str": str, "int": np.int64, "uin": np.int64}
    return [
        Input(each["name"], dtypes.get(each["dtype"][:3], np.float32), at in used)
        for at, each in enumerate(describe(model))
    ]


def is_matrix(inputs: list[Input]) -> bool:
    """Whether all columns are numbers, so that they are one input."""
    return all(each.used and each.dtype is not str for each in inputs)


def _inputs(graph: Graph, inputs: list[Input]) -> Rows:
    if is_matrix(inputs):
        tensor = graph.input(INPUT, len(inputs), np.float32)
        return Rows(len(inputs), graph.cast(tensor, np.float64))
    columns = []
    for each in inputs:
        tensor = graph.input(each.name, 1, each.dtype) if each.used else ""
        text = each.dtype is str or not each.used
        columns.append((tensor if text else graph.cast(tensor, np.float64), text))
    return Rows(len(columns), None, tuple(columns))
