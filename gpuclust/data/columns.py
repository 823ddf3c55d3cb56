"""Columns of what users hand over: their names, and which of them holds text where numbers are needed."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, time, timedelta
from typing import Any

import numpy as np

from ..errors import DataError

LONGEST = 40  # characters of a value that a message shows
REFUSALS = (  # in words of NumPy and scikit-learn
    "could not convert string to float", "Complex data not supported", "could not be promoted",
    "must be a string or a real number", "setting an array element with a sequence",
)  # fmt: skip
TEXT = (
    "could not convert string to float: column {name} must hold numbers, but has the text {value}. Replace such values"
    " by numbers, or by NaN where the column is imputed (pandas.to_numeric(column, errors='coerce') does it); to"
    " cluster categories, let gpuclust.preprocessing.make_preprocessor encode them before the fit."
)
BYTES = (
    "could not convert string to float: column {name} must hold numbers, but has the bytes {value}. Decode them"
    " (column.str.decode('utf-8')) and turn the text into numbers, or let gpuclust.preprocessing.make_preprocessor"
    " encode categories before the fit."
)
DATE = (
    "Column {name} holds dates or times ({kind}), which are no numbers: leave it out, or take what matters of it, as an"
    " age in days ((day - column).dt.days), a weekday (column.dt.weekday) or an hour."
)
DURATION = (
    "Column {name} holds durations ({kind}), which have no unit as numbers: leave it out, or give them one, as seconds"
    " (column.dt.total_seconds())."
)
COMPLEX = (
    "Complex data not supported: column {name} holds complex numbers ({kind}). Leave it out, or make columns of"
    " numpy.real and numpy.imag of it."
)
ABSENT = (
    "Column {name} holds pandas.NA among objects, which NumPy makes no number of: give it a type for missing numbers"
    " (column.astype('Float64')), and leave its rows out or impute them where missing values are refused."
)
OTHER = (
    "Column {name} must hold numbers, but has a value of type {kind}: leave it out, or turn its values into numbers."
)


def library(X: Any) -> str | None:
    """'pandas', 'polars' or 'pyarrow' for their frames, else None."""
    for name, kind in (("pandas", "DataFrame"), ("polars", "DataFrame"), ("pyarrow", "Table")):
        module = sys.modules.get(name)  # without it there is no such frame
        if module is not None and hasattr(module, kind) and isinstance(X, getattr(module, kind)):
            return name
    return None


def column_names(X: Any) -> list[Any]:
    """The columns of a frame; 0, 1, ... of anything else."""
    kind = library(X)
    if kind is None:
        return list(range(X.shape[1]))
    return list(X.column_names if kind == "pyarrow" else X.columns)


def decoded(X: Any) -> Any:
    """The same rows without dictionaries in a pyarrow Table: NumPy would be given a value where these have null."""
    if library(X) != "pyarrow" or not any(_of_dictionary(kind) for kind in X.schema.types):
        return X
    pa = sys.modules["pyarrow"]
    fields = [field.with_type(_of_dictionary(field.type) or field.type) for field in X.schema]
    made = [column.cast(field.type) for column, field in zip(X.columns, fields, strict=True)]
    return pa.Table.from_arrays(made, schema=pa.schema(fields, metadata=X.schema.metadata))


def _of_dictionary(kind: Any) -> Any:
    """What a type of pyarrow's is a dictionary of; None for others."""
    return kind.value_type if hasattr(kind, "value_type") and hasattr(kind, "index_type") else None


@contextmanager
def wrong_columns_told(X: Any, among: Sequence[int] | None = None) -> Iterator[None]:
    """That text, bytes, dates, durations or complex values are no numbers, in NumPy's words, is said with the column
    and what to do.

    Where the column is looked for: `among` the columns that are numbers; None: all of a frame, none of which may be
    dates, which some libraries hand over as microseconds since 1970. Arrays, whose columns have no names, are then
    refused in NumPy's words, as scikit-learn does.

    Raises
    ------
    DataError
        In place of NumPy's error.
    """
    if among is None:
        _refuse_dates(X)
    try:
        yield
    except (ValueError, TypeError) as error:
        anonymous = among is None and library(X) is None
        if anonymous or isinstance(error, DataError) or not any(words in str(error) for words in REFUSALS):
            raise
        for said in (_wrong, _absent):
            for name, column in columns(X, among):
                wrong = said(column)
                if wrong is not None:
                    raise DataError(wrong.format(name=repr(name))) from error
        raise


def _refuse_dates(X: Any) -> None:
    for f in _dates(X):
        for name, values in columns(X, [f]):
            wrong = _wrong(values)
            if wrong is not None:
                raise DataError(wrong.format(name=repr(name)))


def _dates(X: Any) -> list[int]:
    """The columns of a frame whose type is one of dates, times or durations."""
    kind = library(X)
    if kind == "pandas":
        types = [getattr(getattr(dtype, "categories", None), "dtype", dtype) for dtype in X.dtypes.tolist()]
        return [f for f, dtype in enumerate(types) if getattr(dtype, "kind", "") in ("M", "m")]
    if kind == "polars":
        return [f for f, dtype in enumerate(X.dtypes) if dtype.is_temporal()]
    types = X.schema.types if kind == "pyarrow" else []
    temporal = sys.modules["pyarrow"].types.is_temporal if types else None
    return [f for f, kind in enumerate(types) if temporal is not None and temporal(_of_dictionary(kind) or kind)]


def columns(X: Any, among: Sequence[int] | None = None) -> Iterator[tuple[Any, np.ndarray]]:
    """Name and values of each column that may hold something else than real numbers; `among`: of these columns only."""
    kind = library(X)
    if kind is None:
        X = X if isinstance(X, np.ndarray) else np.asarray(X, object)
        if X.ndim != 2:
            return
    for f, name in enumerate(column_names(X)):
        if (among is not None and f not in among) or (kind == "pandas" and _of_numbers(X.dtypes.iloc[f])):
            continue
        if kind is None:
            column = X[:, f]
        else:
            column = np.asarray(X.iloc[:, f] if kind == "pandas" else X[name] if kind == "polars" else X.column(f))
        if column.dtype.kind not in "biuf" or column.ndim > 1:
            yield name, column


def _of_numbers(dtype: Any) -> bool:
    """Whether a type of pandas' is one of real numbers; NumPy may be given objects where some are missing."""
    return bool(sys.modules["pandas"].api.types.is_numeric_dtype(dtype)) and dtype.kind != "c"


def _wrong(column: np.ndarray) -> str | None:
    """What is to be said of a column, {name}, for its first value that is no real number; None where all are."""
    told = {"M": DATE, "m": DURATION, "c": COMPLEX}.get(column.dtype.kind)
    if told is not None:
        return told.replace("{kind}", str(column.dtype))
    for value in column:
        told = _told(value)
        if told is not None:
            shown = repr(value[:LONGEST] if isinstance(value, (str, bytes)) else type(value).__name__)
            return told.replace("{value}", _escaped(shown)).replace("{kind}", type(value).__name__)
    return None


def _absent(column: np.ndarray) -> str | None:
    """The same where one is pandas.NA."""
    missing = getattr(sys.modules.get("pandas"), "NA", None)
    return ABSENT if missing is not None and any(value is missing for value in column) else None


def _told(value: Any) -> str | None:
    for kinds, told in (((date, time), DATE), (timedelta, DURATION), (complex, COMPLEX)):
        if isinstance(value, kinds):
            return None if value != value else told  # NaT
    try:
        float(value if np.ndim(value) == 0 else "")
    except (ValueError, TypeError):
        absent = value is None or value is getattr(sys.modules.get("pandas"), "NA", None)
        return None if absent else TEXT if isinstance(value, str) else BYTES if isinstance(value, bytes) else OTHER
    return None


def _escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")
