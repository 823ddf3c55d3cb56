"""Preprocessing in ONNX, in float64 and in the order in which the transformers compute."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpuclust.persistence.kinds import KINDS, name_of

from .encoders import encoded
from .graph import Graph, Rows
from .neighbors import from_neighbors

_PLAIN = {
    "absolute": "Abs", "arctan": "Atan", "cos": "Cos", "exp": "Exp", "log": "Log", "negative": "Neg",
    "reciprocal": "Reciprocal", "sign": "Sign", "sin": "Sin", "sqrt": "Sqrt", "tan": "Tan", "tanh": "Tanh",
}  # fmt: skip


def applied(graph: Graph, part: Any, rows: Rows) -> Rows:
    """Rows after a fitted transformer.

    Raises
    ------
    NotImplementedError
        If ONNX or skl2onnx lack something that it does.
    """
    if part is None or isinstance(part, str):
        return rows
    name = name_of(part)
    step = _STEPS.get(name.rpartition(".")[2])
    if step is not None and name in KINDS:
        return step(graph, part, rows)
    if not name.startswith("sklearn."):
        raise NotImplementedError(f"{name} cannot be exported.")
    tensor = graph.cast(graph.converted(part, graph.numbers(rows), rows.width), np.float64)
    return Rows(KINDS[name].width(part) if name in KINDS else len(part.get_feature_names_out()), tensor)


def _pipeline(graph: Graph, part: Any, rows: Rows) -> Rows:
    for _, step in part.steps:
        rows = applied(graph, step, rows)
    return rows


def _columns(graph: Graph, part: Any, rows: Rows) -> Rows:
    parts, width = [], 0
    for name, inner, _ in part.transformers_:
        index = part._transformer_to_input_indices[name]
        if len(index) and inner != "drop":
            found = applied(graph, inner, graph.picked(rows, index))
            tensor = graph.numbers(found)
            weight = (part.transformer_weights or {}).get(name)
            parts.append(tensor if weight is None else graph.node("Mul", tensor, graph.const([[weight]])))
            width += found.width
    return Rows(width, parts[0] if len(parts) == 1 else graph.node("Concat", *parts, axis=1))


def _shifted(graph: Graph, tensor: str, *steps: tuple[str, np.ndarray | None]) -> str:
    """Arithmetic with one number a feature, one operation after the other."""
    for kind, values in steps:
        if values is not None:
            tensor = graph.node(kind, tensor, graph.const(np.asarray(values)[None]))
    return tensor


def _standard(graph: Graph, part: Any, rows: Rows) -> Rows:
    mean, scale = part.mean_ if part.with_mean else None, part.scale_ if part.with_std else None
    return Rows(rows.width, _shifted(graph, graph.numbers(rows), ("Sub", mean), ("Div", scale)))


def _robust(graph: Graph, part: Any, rows: Rows) -> Rows:
    center, scale = part.center_ if part.with_centering else None, part.scale_ if part.with_scaling else None
    return Rows(rows.width, _shifted(graph, graph.numbers(rows), ("Sub", center), ("Div", scale)))


def _ranged(graph: Graph, part: Any, rows: Rows) -> Rows:
    tensor = _shifted(graph, graph.numbers(rows), ("Mul", part.scale_), ("Add", part.min_))
    least, most = (np.full(rows.width, end, np.float64) for end in part.feature_range)
    return Rows(rows.width, _within(graph, tensor, least, most) if part.clip else tensor)


def _largest(graph: Graph, part: Any, rows: Rows) -> Rows:
    tensor = _shifted(graph, graph.numbers(rows), ("Div", part.scale_))
    clip = getattr(part, "clip", False)  # since scikit-learn 1.8
    ends = np.full(rows.width, 1.0)
    return Rows(rows.width, _within(graph, tensor, -ends, ends) if clip else tensor)


def _capped(graph: Graph, part: Any, rows: Rows) -> Rows:
    return Rows(rows.width, _within(graph, graph.numbers(rows), part.lower_, part.upper_))


def _within(graph: Graph, tensor: str, least: np.ndarray, most: np.ndarray) -> str:
    """By comparisons, which leave NaN as it is."""
    for kind, ends in (("Less", least), ("Greater", most)):
        end = graph.const(np.asarray(ends)[None])
        tensor = graph.node("Where", graph.node(kind, tensor, end), end, tensor)
    return tensor


def _filled(graph: Graph, part: Any, rows: Rows) -> Rows:
    if any(text for _, text in rows.columns):
        return _filled_text(graph, part, rows)
    statistics = part.statistics_.astype(np.float64)
    tensor = graph.numbers(rows)
    missing = _missing(graph, part.missing_values, tensor)
    found = graph.node("Where", missing, graph.const(statistics[None]), tensor)
    return _kept(graph, part, Rows(rows.width, found), missing, [at for at, v in enumerate(statistics) if v == v])


def _neighboured(graph: Graph, part: Any, rows: Rows) -> Rows:
    tensor = graph.numbers(rows)
    missing = _missing(graph, part.missing_values, tensor)
    found = from_neighbors(graph, part, graph.node("Where", missing, graph.const([[np.nan]]), tensor))
    found = graph.node("Where", missing, found, tensor)
    if part.keep_empty_features:
        empty = graph.const(~part._valid_mask[None], np.bool_)
        return _kept(graph, part, Rows(rows.width, graph.node("Where", empty, graph.const([[0.0]]), found)), missing)
    return _kept(graph, part, Rows(rows.width, found), missing, np.flatnonzero(part._valid_mask).tolist())


def _kept(graph: Graph, part: Any, rows: Rows, missing: str, columns: Sequence[int] | None = None) -> Rows:
    """What an imputer keeps of its columns, and its indicators of missing values behind them."""
    out = rows if columns is None else graph.picked(rows, columns)
    if part.indicator_ is None:
        return out
    marks = graph.picked(Rows(rows.width, graph.cast(missing, np.float64)), part.indicator_.features_.tolist())
    both = graph.node("Concat", graph.numbers(out), graph.numbers(marks), axis=1)
    return Rows(out.width + marks.width, both)


def _missing(graph: Graph, value: Any, tensor: str) -> str:
    if value is None or value != value:
        return graph.node("IsNaN", tensor)
    if np.float32(value) != np.float64(value):
        raise NotImplementedError(
            f"missing_values={value} cannot be exported: the graph is given float32, which rounds it. Use NaN."
        )
    return graph.node("Equal", tensor, graph.const([[value]]))


def _filled_text(graph: Graph, part: Any, rows: Rows) -> Rows:
    """Text that is missing is ""; each column by itself."""
    if part.indicator_ is not None:
        raise NotImplementedError("Indicators of missing text cannot be exported.")
    columns = []
    for at, (tensor, text) in enumerate(rows.columns):
        fill = part.statistics_[at]
        if text:
            keys = [""] if not isinstance(part.missing_values, str) else [part.missing_values]
            marks = graph.node(
                "LabelEncoder", tensor, domain="ai.onnx.ml", keys_strings=keys, values_int64s=[1], default_int64=0
            )
            tensor = graph.node("Where", graph.cast(marks, np.bool_), graph.text(str(fill)), tensor)
        else:
            tensor = graph.node("Where", graph.node("IsNaN", tensor), graph.const([[fill]]), tensor)
        columns.append((tensor, text))
    return Rows(rows.width, None, tuple(columns))


def _function(graph: Graph, part: Any, rows: Rows) -> Rows:
    if part.func is None:
        return rows
    tensor, name = graph.numbers(rows), part.func.__name__
    if name in _PLAIN:
        found = graph.node(_PLAIN[name], tensor)
    elif name == "square":
        found = graph.node("Mul", tensor, tensor)
    elif name == "log1p":
        found = graph.node("Log", graph.node("Add", tensor, graph.const([[1.0]])))
    elif name == "expm1":
        found = graph.node("Sub", graph.node("Exp", tensor), graph.const([[1.0]]))
    else:
        raise NotImplementedError(f"A FunctionTransformer of {name} cannot be exported.")
    return Rows(rows.width, found)


_STEPS: dict[str, Callable[[Graph, Any, Rows], Rows]] = {
    "Pipeline": _pipeline, "ColumnTransformer": _columns, "StandardScaler": _standard, "RobustScaler": _robust,
    "MinMaxScaler": _ranged, "MaxAbsScaler": _largest, "Winsorizer": _capped, "SimpleImputer": _filled,
    "KNNImputer": _neighboured, "FunctionTransformer": _function, "OneHotEncoder": encoded, "OrdinalEncoder": encoded,
    "TargetEncoder": encoded, "FrequencyEncoder": encoded,
}  # fmt: skip
