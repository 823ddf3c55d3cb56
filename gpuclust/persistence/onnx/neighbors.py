"""scikit-learn's KNNImputer in ONNX, row by row: the memory does not grow with the rows.

skl2onnx's needs a later opset, computes in float32 and fills all rows at once.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .graph import Graph


class _Training(NamedTuple):
    """The imputer's rows."""

    value: str  # f64 [m, d]; 0 where it is missing
    missing: str  # bool [m, d]
    mean: str  # f64 [d], of the values that are there
    most: str  # i64 [1]: how many of them are near


def from_neighbors(graph: Graph, imputer: Any, rows: str) -> str:
    """Rows f64 [n, d], of which NaN is missing, with the means of the nearest training rows in its place.

    Raises
    ------
    NotImplementedError
        If the imputer has a metric or weights of the user's own.
    """
    if imputer.metric != "nan_euclidean" or callable(imputer.weights):
        raise NotImplementedError("A KNNImputer with a function as metric or weights cannot be exported.")
    training = _training(graph, imputer)
    row = graph.inner()
    x = row.loose("x")
    missing = row.node("IsNaN", x)
    incomplete = row.node("ReduceMax", row.cast(missing, np.int64), keepdims=0)
    mixed, same = row.inner(), row.inner()
    mean = _mean(mixed, imputer.weights, *_nearest(mixed, training, x, missing), training)
    filled_row = mixed, mixed.node("Where", missing, mean, x)
    found = row.chosen(row.cast(incomplete, np.bool_), filled_row, (same, same.node("Identity", x)))
    return graph.scanned(rows, body=row, result=found)


def _training(graph: Graph, imputer: Any) -> _Training:
    missing = imputer._mask_fit_X
    value = np.where(missing, 0.0, imputer._fit_X).astype(np.float64)
    mean = value.sum(axis=0) / np.maximum((~missing).sum(axis=0), 1)
    most = [min(imputer.n_neighbors, len(value))]
    return _Training(
        graph.const(value), graph.const(missing, np.bool_), graph.const(mean), graph.const(most, np.int64)
    )


def _nearest(graph: Graph, training: _Training, x: str, missing: str) -> tuple[str, str]:
    """Of the training rows that have a feature, the nearest: distances and values, f64 [count, d]; inf where there are
    less, or they have no feature that the row has.
    """
    zero, inf = graph.const(0.0), graph.const(np.inf)
    unknown = graph.node("Or", training.missing, missing)
    offset = graph.node("Sub", training.value, x)
    square = graph.node("Where", unknown, zero, graph.node("Mul", offset, offset))
    shared = graph.reduced("ReduceSum", graph.cast(graph.node("Not", unknown), np.float64))
    mean = graph.node("Div", graph.reduced("ReduceSum", square), shared)  # scikit-learn's is d times this: all alike
    distance = graph.node("Where", graph.node("Equal", shared, zero), inf, graph.node("Sqrt", mean))
    own = graph.node("Where", training.missing, inf, distance)
    near, place = graph.nodes("TopK", own, training.most, results=2, axis=0, largest=0)
    return near, graph.node("GatherElements", training.value, place, axis=0)


def _mean(graph: Graph, weights: str, near: str, value: str, training: _Training) -> str:
    """Of these values, by weight, f64 [d]; of all training rows where there are none."""
    zero, one = graph.const(0.0), graph.const(1.0)
    if weights == "distance":
        same = graph.cast(graph.node("Equal", near, zero), np.float64)
        any_same = graph.node("Greater", _total(graph, same), zero)
        weight = graph.node("Where", any_same, same, graph.node("Div", one, near))
    else:
        weight = graph.node("Where", graph.node("IsInf", near), zero, one)
    total = _total(graph, weight)
    mean = graph.node("Div", _total(graph, graph.node("Mul", weight, value)), total)
    return graph.node("Where", graph.node("Equal", total, zero), training.mean, mean)


def _total(graph: Graph, tensor: str) -> str:
    """[count, d] becomes [d]."""
    return graph.node("ReduceSum", tensor, graph.const([0], np.int64), keepdims=0)
