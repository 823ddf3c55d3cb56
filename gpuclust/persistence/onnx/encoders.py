"""Encoders in ONNX: the position of a value among the categories, then a row of a table.

The tables are what the fitted encoder makes of its own categories and of a value that is none of them, so that
grouping, dropping and unknown values are as it has them. Text that is missing is "".
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from .graph import ML, Graph, Rows

UNKNOWN = "\0 unknown"


def encoded(graph: Graph, encoder: Any, rows: Rows) -> Rows:
    """The encoder's columns."""
    widths = _widths(encoder)
    starts = np.cumsum([0, *widths])
    parts = []
    for at, values in enumerate(encoder.categories_):
        if widths[at]:
            columns = slice(starts[at], starts[at + 1])
            table = np.vstack([_codes(encoder, at, values)[:, columns], _unknown(encoder, at, values)[:, columns]])
            tensor, text = graph.column(rows, at)
            place = _place_of_text(graph, tensor, values) if text else _place_of_number(graph, tensor, values)
            parts.append(graph.node("Gather", graph.const(table), place, axis=0))
    tensor = parts[0] if len(parts) == 1 else graph.node("Concat", *parts, axis=1)
    return Rows(int(starts[-1]), tensor)


def _widths(encoder: Any) -> list[int]:
    """Columns that each feature becomes."""
    if hasattr(encoder, "_n_features_outs"):
        return list(encoder._n_features_outs)
    each = len(encoder.classes_) if getattr(encoder, "target_type_", "") == "multiclass" else 1
    return [each] * len(encoder.categories_)


def _codes(encoder: Any, at: int, values: Any) -> np.ndarray:
    """What the encoder makes of rows with these values of one feature; all of its columns."""
    rows = np.empty((len(values), len(encoder.categories_)), dtype=object)
    for feature, categories in enumerate(encoder.categories_):
        rows[:, feature] = categories[:1].tolist() * len(values)
    rows[:, at] = values.tolist()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that arrays lack, and of unknown values
        found = encoder.transform(rows)
    return np.asarray(found.toarray() if hasattr(found, "toarray") else found, np.float64)


def _unknown(encoder: Any, at: int, values: np.ndarray) -> np.ndarray:
    """The same of a value that is no category; NaN where the encoder raises an error."""
    known = [value for value in values.tolist() if value is not None and value == value]
    text = any(isinstance(value, str) for value in known)
    other = np.array([UNKNOWN if text else max(known, default=0) + 1], dtype=object)
    try:
        return _codes(encoder, at, other)
    except ValueError:
        return np.full((1, sum(_widths(encoder))), np.nan)


def _place_of_text(graph: Graph, tensor: str, values: np.ndarray) -> str:
    """i64 [n]; one beyond the last for what is no category."""
    keys = ["" if value is None or value != value else str(value) for value in values.tolist()]
    found = graph.node(
        "LabelEncoder", tensor, domain=ML, keys_strings=keys, values_int64s=list(range(len(keys))),
        default_int64=len(keys),
    )  # fmt: skip
    return graph.flat(found)


def _place_of_number(graph: Graph, tensor: str, values: np.ndarray) -> str:
    """The same, of numbers: where they are equal, else at a last column of 1/2."""
    if not all(value is None or isinstance(value, (int, float)) for value in values.tolist()):
        raise NotImplementedError("A column of numbers with categories that are text cannot be exported.")
    numbers = np.array([np.nan if value is None else value for value in values.tolist()], np.float64)
    same = graph.cast(graph.node("Equal", tensor, graph.const(numbers[None])), np.float64)
    missing = graph.cast(graph.node("IsNaN", tensor), np.float64)
    marked = graph.node("Add", same, graph.node("Mul", missing, graph.const(np.isnan(numbers)[None])))
    rest = graph.node("Add", graph.node("Mul", missing, graph.const([[0.0]])), graph.const([[0.5]]))
    return graph.node("ArgMax", graph.node("Concat", marked, rest, axis=1), axis=1, keepdims=0)
