"""Rows as a model is given them, block by block, with the cluster and the distance that the model finds for each."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from .. import models
from ..backends.base import Array, Backend, Centers
from ..data.source import Source
from ..errors import DataError
from ..profiling import rows
from ..profiling.fitted import metric_of, placed
from ..solvers.nearest import staged
from ..validation import Reader, is_stream, open_source
from .columns import category_names, number_like, numbers

BLOCK: Final = 1 << 16  # rows of a frame that are looked at at a time
Pieces = Callable[[], Iterator[tuple[Any, Any]]]


@dataclass(frozen=True)
class Block:
    """Some rows, on the host."""

    number: np.ndarray  # i64 [n]: which rows these are, from 0
    columns: list[np.ndarray]  # float32 or float64 [n], NaN where there is no value; object [n] of strings or None
    weight: np.ndarray | None  # f64 [n]
    label: np.ndarray  # i32 [n]: -1 where the model cannot take the row, for what is missing in it
    distance: np.ndarray  # f64 [n]: to the own centre; NaN without one


@dataclass(frozen=True)
class Rows:
    """X under a model, to be read as often as wanted."""

    names: list[str]
    categorical: np.ndarray  # bool [d]
    read: Callable[[], Iterator[Block]]  # one pass over the data


def open_rows(model: Any, X: Any, sample_weight: Any = None) -> Rows:
    """X of any kind that the model takes, or a function that gives DataFrames with their weights, piece by piece.

    Raises
    ------
    ValueError
        If X has another number of columns, or lacks one by name; DataError for files and streams that cannot be read.
    """
    preprocessor, estimator = models.parts(model)
    names = models.feature_names(model)
    if callable(X):
        return of_frames(model, X, names)
    frame = None if preprocessor is None else _frame(model, X)
    if frame is not None:
        return _of_frame(model, frame, names, sample_weight)
    device, metric = getattr(estimator, "device", "auto"), metric_of(estimator)
    holder = estimator if preprocessor is None else Reader()
    with unnamed():
        source = open_source(
            holder, X, sample_weight, device, reset=preprocessor is not None, finite=False, metric=metric,
            chunk_size=getattr(estimator, "chunk_size", None),
        )  # fmt: skip
    if source.n_features != len(names):
        raise ValueError(f"X has {source.n_features} features, but the model was fitted on {len(names)}.")
    return Rows(names, np.zeros(len(names), bool), lambda: _of_source(model, source))


def _of_source(model: Any, source: Source) -> Iterator[Block]:
    preprocessor, estimator = models.parts(model)
    stage = None if preprocessor is not None else _stage(source, estimator)
    for chunk in source.chunks():
        for where, part in rows.blocks(chunk):
            dense = rows.host(source.backend, part)
            if stage is not None:
                label, distance = _assign(source.backend, part, dense, stage)
            else:
                label, distance = _assign_given(model, _named(model, dense))
            first, last = where.start - chunk.start, where.stop - chunk.start
            weight = None if chunk.weight is None else source.backend.to_host(chunk.weight[first:last])
            columns = list(np.array(dense.T, order="C"))  # a copy: chunks are read into the same memory
            yield Block(np.arange(where.start, where.stop), columns, weight, label, distance)


def _of_frame(model: Any, frame: Any, names: list[str], sample_weight: Any) -> Rows:
    """Rows of a pandas DataFrame, of numbers and categories."""
    weight = None if sample_weight is None else np.asarray(sample_weight, np.float64)
    if weight is not None and (weight.shape != (len(frame),) or not np.all((weight >= 0) & np.isfinite(weight))):
        raise ValueError(f"sample_weight must be finite and not negative, of shape ({len(frame)},).")
    return of_frames(model, lambda: iter([(frame, weight)]), names)


def of_frames(model: Any, pieces: Pieces, names: list[str]) -> Rows:
    """Rows of pandas DataFrames with the model's columns, each with its weights or None, read anew at every pass."""
    first, _ = next(pieces(), (None, None))
    if first is None:
        raise ValueError("X has no rows.")
    given = models.Given(model)
    encoded = [feature.categories is not None for feature in models.input_features(model)]
    categorical = np.array([text or not number_like(first.dtypes.iloc[f]) for f, text in enumerate(encoded)])

    def read() -> Iterator[Block]:
        start = 0
        for frame, weight in pieces():
            for at in range(0, len(frame), BLOCK):
                part = frame.iloc[at : at + BLOCK]
                columns = [
                    category_names(part.iloc[:, f].to_numpy(object)) if text else numbers(part.iloc[:, f])
                    for f, text in enumerate(categorical)
                ]
                own = None if weight is None else weight[at : at + BLOCK]
                number = np.arange(start + at, start + at + len(part))
                yield Block(number, columns, own, *_assign_given(model, given(part)))
            start += len(frame)

    return Rows(names, categorical, read)


def _frame(model: Any, X: Any) -> Any:
    """X as a pandas DataFrame with the model's columns, where it is a frame or has columns that are no numbers."""
    X = _read_parquet(model, X)
    if is_stream(X) or hasattr(X, "__cuda_array_interface__") or hasattr(X, "tocsr"):
        return None
    if not (hasattr(X, "iloc") or hasattr(X, "to_pandas")):
        X = np.asarray(X)
        return _framed(model, X) if X.dtype.kind in "OUS" else None
    frame = X if hasattr(X, "iloc") else X.to_pandas()
    names = _labels(model)
    if names is not None:
        missing = [str(name) for name in names if name not in frame.columns]
        if missing:
            raise ValueError(f"X lacks columns that the model was fitted on: {rows.listed(missing)}.")
        return frame[names]
    if frame.shape[1] != models.n_features(model):
        raise ValueError(f"X has {frame.shape[1]} features, but the model was fitted on {models.n_features(model)}.")
    return frame


def _read_parquet(model: Any, X: Any) -> Any:
    """A Parquet file with columns that are no numbers as a table; anything else as it is."""
    if not isinstance(X, (str, os.PathLike)) or not str(X).lower().endswith((".parquet", ".pq")):
        return X
    import pyarrow.parquet as parquet
    import pyarrow.types as types

    try:
        names = getattr(model, "feature_names_in_", None)
        schema = parquet.read_schema(X)
        present = schema.names if names is None else [str(name) for name in names if str(name) in schema.names]
        kinds = [schema.field(name).type for name in present]
        if all(types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind) for kind in kinds):
            return X
        return parquet.read_table(X, columns=present)
    except (OSError, ValueError) as error:
        raise DataError(f"{os.fspath(X)} is not a readable Parquet file: {error}") from None


def _framed(model: Any, X: np.ndarray) -> Any:
    """Rows of mixed kinds [n, d] as a DataFrame whose columns have a kind each."""
    if X.ndim != 2 or X.shape[1] != models.n_features(model):
        raise ValueError(f"X has shape {X.shape}, but the model was fitted on {models.n_features(model)} features.")
    return rows.pandas().DataFrame(X, columns=_labels(model)).infer_objects()


def _labels(model: Any) -> Any:
    names = getattr(model, "feature_names_in_", None)
    return None if names is None else list(names)


def _named(model: Any, dense: np.ndarray) -> Any:
    """Rows as preprocessing takes them: a frame, where it was fitted on one."""
    names = _labels(model)
    return dense if names is None else rows.pandas().DataFrame(dense, columns=names)


def _assign_given(model: Any, part: Any) -> tuple[np.ndarray, np.ndarray]:
    """Label and distance of rows as the model is given them."""
    preprocessor, estimator = models.parts(model)
    return assign(estimator, part if preprocessor is None else preprocessor.transform(part))


def assign(estimator: Any, X: Any) -> tuple[np.ndarray, np.ndarray]:
    """Label i32 [n] and distance f64 [n] of rows as the estimator is given them; -1 and NaN for what it cannot take."""
    device = getattr(estimator, "device", "auto")
    with unnamed():
        source = open_source(estimator, X, None, device, reset=False, finite=False, metric=metric_of(estimator))
    backend, stage, found = source.backend, _stage(source, estimator), []
    for chunk in source.chunks():
        for _, some in rows.blocks(chunk):
            found.append(_assign(backend, some, rows.host(backend, some), stage))
    label, distance = zip(*found, strict=True)
    return np.concatenate(label), np.concatenate(distance)


@contextmanager
def unnamed() -> Iterator[None]:
    """No remark on columns that come without names, as those of arrays and files do."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="X (does not have valid|has) feature names", category=UserWarning)
        yield


def _stage(source: Source, estimator: Any) -> Centers:
    return staged(source, estimator.cluster_centers_.astype(np.float64), metric_of(estimator))


def _assign(backend: Backend, part: Array, dense: np.ndarray, stage: Centers) -> tuple[np.ndarray, np.ndarray]:
    """Label and distance of rows on the device, of which `dense` are copies on the host."""
    fine = np.isfinite(dense).all(axis=1)
    label, distance = np.full(len(dense), -1, np.int32), np.full(len(dense), np.nan)
    if not fine.any():
        return label, distance
    taken = part if fine.all() else backend.upload(dense[fine], dense.dtype)
    label[fine], distance[fine] = placed(backend, taken, stage)
    return label, distance
