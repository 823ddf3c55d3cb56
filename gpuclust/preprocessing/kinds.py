"""What the columns of a DataFrame hold, and what becomes of each before rows are clustered, with the reason."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from ..extras import require
from .containers import library

MOST_CATEGORIES: Final = 30  # that get a column each
ROWS_FOR_IDS: Final = 20  # from which on it means something that all values differ
OWN: Final = 0.9  # share of distinct values from which on text tells rows apart instead of grouping them
MOSTLY: Final = 0.5  # share of missing values from which on a column is mostly empty
ID: Final = re.compile(r"(^|[_\W])(id|ids|uuid|guid|key|index|rowid|pk|number|nr|no)$|[a-z](Id|ID)$|^(ID|Id)$")


@dataclass(frozen=True)
class Choice:
    """What becomes of a column."""

    name: Any
    role: str  # 'number', 'boolean', 'onehot', 'frequency' or 'drop'
    reason: str


@dataclass(frozen=True)
class Facts:
    """What is in a column."""

    name: Any
    kind: str  # 'number', 'integer', 'boolean', 'date', 'category' or 'other'
    rows: int
    distinct: int
    missing: int
    counts_up: bool  # whole numbers without a gap, each once
    single: bool  # float32

    @property
    def empty(self) -> float:
        return self.missing / max(1, self.rows)


def facts_of(X: Any) -> list[Facts]:
    """The columns of a DataFrame (pandas, polars or pyarrow).

    Raises
    ------
    TypeError
        If X is no DataFrame.
    ImportError
        If pandas is not installed.
    """
    pd = require("pandas", "A look at a DataFrame's columns")
    kind = library(X)
    if kind is None:
        raise TypeError(f"A DataFrame (pandas, polars or pyarrow) is needed, not {type(X).__name__}.")
    frame = X if kind == "pandas" else X.to_pandas()
    categories = _once_categories(X) if kind == "pyarrow" else set()
    columns = (frame.iloc[:, f] for f in range(frame.shape[1]))
    return [
        _facts(pd, name, column.astype("category") if name in categories else column)
        for name, column in zip(frame.columns, columns, strict=True)
    ]


def _once_categories(table: Any) -> set[str]:
    """The columns that pandas had as categories: a Parquet file has dictionaries of text only."""
    told = (table.schema.pandas_metadata or {}).get("columns", ())
    return {each["field_name"] for each in told if each["pandas_type"] == "categorical"}


def _facts(pd: Any, name: Any, column: Any) -> Facts:
    kind, there = _kind(pd, column), column.dropna()
    try:
        distinct = int(there.nunique())
    except (TypeError, NotImplementedError):  # lists and the like; of pyarrow's
        kind, distinct = "other", len(there)
    counts_up = False
    if kind == "integer" and len(there) and distinct == len(there):
        counts_up = int(there.max()) - int(there.min()) == len(there) - 1
    return Facts(
        name, kind, len(column), distinct, len(column) - len(there), counts_up,
        str(column.dtype).lower() in ("float32", "float[pyarrow]"),
    )  # fmt: skip


def _kind(pd: Any, column: Any) -> str:
    test, there = pd.api.types, column.dropna()
    if test.is_bool_dtype(column.dtype):
        return "boolean"
    if test.is_numeric_dtype(column.dtype):
        if test.is_complex_dtype(column.dtype):
            return "other"
        whole = test.is_integer_dtype(column.dtype)
        if not whole and len(there):
            whole = bool((there.to_numpy(np.float64) % 1 == 0).all())  # pandas has no remainder of what Arrow keeps
        return "integer" if whole else "number"
    if test.is_datetime64_any_dtype(column.dtype) or test.is_timedelta64_dtype(column.dtype):
        return "date"
    inferred = test.infer_dtype(there, skipna=True)
    if inferred in ("boolean", "integer", "floating", "decimal", "mixed-integer-float"):
        return {"boolean": "boolean", "integer": "integer"}.get(inferred, "number")
    if inferred in ("datetime64", "datetime", "date", "timedelta64", "timedelta", "time", "period"):
        return "date"
    return "category"


def choice_of(facts: Facts, categorical: str, missing: str) -> Choice:
    """What becomes of a column, and why."""
    role, reason = _choice(facts, categorical, missing)
    return Choice(facts.name, role, reason)


def _choice(facts: Facts, categorical: str, missing: str) -> tuple[str, str]:
    if facts.distinct <= 1:
        what = "has no values" if not facts.distinct else "is the same in all rows"
        return "drop", f"it {what}"
    if missing == "drop" and facts.empty > MOSTLY:
        return "drop", f"{facts.empty:.0%} of it is missing"
    if facts.kind in ("date", "other"):
        what = "a date" if facts.kind == "date" else "neither a number nor a category"
        return "drop", f"it is {what}: turn it into a number that matters (an age in days, a weekday) to use it"
    if facts.kind == "boolean":
        return "boolean", "it is true or false: 1 or 0"
    if facts.kind == "category":
        return _category(facts, categorical)
    note = f"; {facts.empty:.0%} of it is missing" if facts.empty > MOSTLY else ""
    if facts.kind == "integer" and facts.rows >= ROWS_FOR_IDS and facts.distinct == facts.rows:
        if facts.counts_up or ID.search(str(facts.name)):
            return "drop", "it numbers the rows: every value is another whole number"
    return "number", f"it is a number{note}"


def _category(facts: Facts, categorical: str) -> tuple[str, str]:
    there = facts.rows - facts.missing
    if there >= ROWS_FOR_IDS and facts.distinct > OWN * there:
        return "drop", f"it tells rows apart instead of grouping them: {facts.distinct} values in {there} rows"
    if categorical == "drop":
        return "drop", "it is a category, and categories were to be dropped"
    if categorical == "onehot" and facts.distinct > MOST_CATEGORIES:
        return "frequency", f"it has {facts.distinct} categories, too many for a column each: their frequencies"
    if categorical == "onehot":
        return "onehot", f"it has {facts.distinct} categories: a column each, 1 where it applies"
    return "frequency", f"it has {facts.distinct} categories: their frequencies"


def all_single(facts: list[Facts]) -> bool:
    """Whether all numbers are float32."""
    numbers = [each for each in facts if each.kind in ("number", "integer")]
    return bool(numbers) and all(each.single for each in numbers)


