"""Rows from JSON.

orjson reads numbers several times as fast as the standard library, but takes the last of two equal keys; and NumPy
would take true for 1, null for NaN and "2" for 2. Both are seen to without looking at every value: the numbers of
quotes and of true, false and null in the text say whether anything but numbers can be in the rows. Where they do not
add up, every value is looked at.
"""

from __future__ import annotations

import json
from operator import itemgetter
from typing import Any

import numpy as np
import orjson

from .columns import Ask, Columns
from .problems import malformed, too_large, unsuitable

OPTIONS = "distances", "anomaly"
SHAPE = '{"rows": [[...], ...] or [{feature: value}, ...], "distances": false, "anomaly": false}'


def read_json(body: bytes, columns: Columns, max_rows: int) -> Ask:
    """What a body of JSON asks.

    Raises
    ------
    Refused
        If it is not what the service's schema says, with the first thing that is wrong.
    """
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise malformed(f"The body is not JSON: {error}.") from None
    rows = _rows(found)
    if len(rows) > max_rows:
        raise too_large(f"{len(rows)} rows are more than the {max_rows} that a request may have.")
    flags = [_flag(found, name) for name in OPTIONS]
    table = _numbers(body, found, rows, columns) if columns.plain else None
    if table is None:
        _refuse_twins(body)
        table = _looked_at(rows, columns)
    return Ask(table, *flags)


def _rows(found: Any) -> list[Any]:
    if type(found) is not dict or "rows" not in found:
        raise unsuitable(f"The body must be an object: {SHAPE}.")
    for name in found:
        if name != "rows" and name not in OPTIONS:
            raise unsuitable(f"{name[:80]!r} is not known; the body is {SHAPE}.")
    rows = found["rows"]
    if type(rows) is not list or not rows:
        raise unsuitable('"rows" must be an array of one row or more.')
    return rows


def _flag(found: dict[str, Any], name: str) -> bool:
    value = found.get(name, False)
    if type(value) is not bool:
        raise unsuitable(f'"{name}" must be true or false.')
    return value


def _numbers(body: bytes, found: dict[str, Any], rows: list[Any], columns: Columns) -> np.ndarray | None:
    """The rows, f64 [n, d], where it is sure at a glance that they hold numbers and nothing else; None otherwise."""
    d, names = len(columns.features), len(found)
    try:
        if type(rows[0]) is dict:
            if any(len(row) != d for row in rows):
                return None
            rows, names = list(map(itemgetter(*columns.names), rows)), names + len(rows) * d
            table = np.array(rows, np.float64).reshape(len(rows), -1)
        else:
            table = np.array(rows, np.float64)
    except (ValueError, TypeError, OverflowError, KeyError):
        return None
    said = body.count(b"true") + body.count(b"false") == len(found) - 1
    alone = said and body.count(b'"') == 2 * names and b"null" not in body
    return table if alone and table.ndim == 2 and table.shape[1] == d else None


def _refuse_twins(body: bytes) -> None:
    """Raise where an object has a key twice."""

    def once(pairs: list[tuple[str, Any]]) -> None:
        if len({name for name, _ in pairs}) < len(pairs):
            raise unsuitable("An object of the body has a key twice.")

    try:
        json.loads(body, object_pairs_hook=once)
    except (ValueError, RecursionError):
        raise malformed("The body is not JSON that can be read.") from None


def _looked_at(rows: list[Any], columns: Columns) -> np.ndarray:
    """The rows, every value checked: f64 [n, d], or object where some columns are categories."""
    table = [_row(row, number, columns) for number, row in enumerate(rows)]
    if columns.numbers:
        return np.array(table, np.float64)
    found = np.empty((len(table), len(columns.features)), object)
    for number, row in enumerate(table):
        found[number] = row
    return found


def _row(row: Any, number: int, columns: Columns) -> list[Any]:
    if type(row) is dict:
        columns.check_names(list(row), f"Row {number}")
        row = [row.get(name) for name in columns.names]
    elif type(row) is not list:
        raise unsuitable(f"Row {number} must be an array of values or an object of features.")
    columns.check_width(len(row), f"Row {number}")
    return [columns.value(value, number, at) for at, value in enumerate(row)]
