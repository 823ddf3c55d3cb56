"""A pipeline of `make_preprocessor`, fitted on DataFrames that come one after the other: never all rows at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from ..data.columns import wrong_columns_told
from ..data.stream import Stream, stream
from ..errors import DataError
from .base import Streamed
from .frequency import FrequencyEncoder, counted, plain
from .onehot import OneHotEncoder

Frames = Callable[[], Iterator[Any]]


def fit_in_chunks(preprocessor: Pipeline, frames: Frames) -> Pipeline:
    """Fit what `make_preprocessor` made; the fitted state is the same as that of a fit on all rows at once.

    Parameters
    ----------
    preprocessor : Pipeline
        Unfitted.
    frames : callable
        Returns an iterator of DataFrames that together are the rows: every call the same. It is called a few times.

    Returns
    -------
    preprocessor

    Raises
    ------
    DataError
        If there are no rows, or a step needs all rows at once, as KNNImputer does.
    """
    first = next(frames(), None)
    if first is None:
        raise DataError("There are no rows to fit the preprocessing on.")
    columns = preprocessor.named_steps["columns"]
    parts = [(name, _fitted(part, list(names), frames), list(names)) for name, part, names in columns.transformers]
    _assembled(columns, first, parts)
    return preprocessor


def _assembled(columns: Any, first: Any, parts: list[tuple[str, Any, list[Any]]]) -> None:
    """A fitted ColumnTransformer of fitted parts: it learns the columns' names from a few rows."""
    few, given = first.iloc[:2], columns.transformers
    columns.transformers = [(name, "passthrough", names) for name, _, names in parts]
    columns.fit(few)
    columns.transformers = given
    columns.transformers_ = [(name, part, names) for name, part, names in parts] + [
        each for each in columns.transformers_ if each[0] == "remainder"
    ]
    start, found = 0, {}
    for name, part, names in parts:
        stop = start + part.transform(few[names]).shape[1]
        found[name], start = slice(start, stop), stop
    columns.output_indices_ = {**found, "remainder": slice(0, 0)}


def _fitted(part: Any, names: Sequence[Any], frames: Frames) -> Any:
    """One part of the ColumnTransformer, fitted on its columns."""
    if isinstance(part, str):
        return FunctionTransformer(accept_sparse=True, check_inverse=False, feature_names_out="one-to-one").fit(
            next(frames())[names]
        )
    part = clone(part)
    steps = [step for _, step in part.steps] if isinstance(part, Pipeline) else [part]
    if all(isinstance(step, Streamed) for step in steps):
        part.fit(numbers(frames, names))
        steps[0].feature_names_in_ = np.array(names, object)
    elif isinstance(part, FrequencyEncoder):
        counts = _counts(frames, names)
        part.fit_counts(counts, sum(counts[0].values()))
        part.feature_names_in_ = np.array(names, object)
    elif isinstance(part, OneHotEncoder):
        _fit_one_hot(part, names, frames)
    else:
        whole = next(type(step).__name__ for step in steps if not isinstance(step, Streamed))
        raise DataError(f"{whole} needs all rows in memory at once; allow more memory, or choose another way.")
    return part


def numbers(frames: Frames, names: Sequence[Any]) -> Stream:
    """Columns of numbers as a stream."""

    def chunks() -> Iterator[np.ndarray]:
        for frame in frames():
            rows = frame[list(names)]
            single = all(str(dtype) == "float32" for dtype in rows.dtypes)
            with wrong_columns_told(rows):
                numbers = rows.to_numpy(np.float32 if single else np.float64, na_value=np.nan)
            yield numbers

    return stream(chunks)


def _counts(frames: Frames, names: Sequence[Any]) -> list[Counter[Any]]:
    """How often each category occurs in each column."""
    total: list[Counter[Any]] = [Counter() for _ in names]
    for frame in frames():
        for all_rows, part in zip(total, counted(frame[list(names)].to_numpy(object)), strict=True):
            all_rows.update(part)
    return total


def _fit_one_hot(part: Any, names: Sequence[Any], frames: Frames) -> None:
    """An encoder of the categories of all rows: it is fitted on a table in which each of them occurs."""
    seen: list[dict[Any, None]] = [{} for _ in names]
    absent: dict[int, Any] = {}
    for frame in frames():
        for f, name in enumerate(names):
            for value in frame[name].unique():
                if plain(np.array([value], object))[0] is None:
                    absent[f] = value
                else:
                    seen[f][value] = None
    values = [[*known, *([absent[f]] if f in absent else [])] for f, known in enumerate(seen)]
    rows = np.empty((max(map(len, values)), len(names)), object)
    for f, column in enumerate(values):
        rows[:, f] = [column[i % len(column)] for i in range(len(rows))]
    import pandas as pd

    table = pd.DataFrame({name: pd.Series(rows[:, f], dtype=object) for f, name in enumerate(names)})
    kinds = next(frames())[list(names)].dtypes
    numbers = [name for name, kind in kinds.items() if kind == "category" and kind.categories.dtype.kind in "iuf"]
    part.fit(table.assign(**{name: table[name].infer_objects() for name in numbers}))
