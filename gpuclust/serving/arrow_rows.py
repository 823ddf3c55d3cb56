"""Rows from an Arrow IPC stream.

What a stream says of itself is looked at before anything is made of it: its column types, its number of rows, and
whether it is compressed, which is refused, since a few bytes could then stand for any number of them; so are many rows
of type null, which take none, and long text that a dictionary or views repeat.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from .columns import Columns
from .problems import in_a_line, malformed, too_large, unsuitable

HEADER, LENGTH, COMPRESSION = 2, 0, 3  # numbers of fields of Message and of RecordBatch in Arrow's Message.fbs
DICTIONARY_DATA: Final = 1  # the RecordBatch of a DictionaryBatch
LONGER: Final = 32  # times the length of the stream: what the text of a column may be


def read_arrow(body: bytes, columns: Columns, max_rows: int) -> np.ndarray:
    """The rows, float32 or float64 [n, d], or object where some columns are categories.

    Raises
    ------
    Refused
        If the stream is damaged or compressed, or its columns are not the model's.
    """
    try:
        _check_batches(body, max_rows)
        with pa.ipc.open_stream(pa.py_buffer(body)) as reader:
            where = _places(reader.schema, columns)
            table = reader.read_all()
        table.validate(full=True)
        _check_nulls(table, len(body))
    except (pa.ArrowException, OSError, struct.error, IndexError, OverflowError, UnicodeDecodeError) as error:
        said = in_a_line(error, 200).rstrip(".") or type(error).__name__
        raise malformed(f"The body is not an Arrow IPC stream that can be read: {said}.") from None
    if table.num_rows < 1:
        raise unsuitable("The stream has no rows.")
    return _rows(table, where, columns, len(body))


def _check_batches(body: bytes, max_rows: int) -> None:
    """Raise where a stream is compressed or has too many rows, before a column of it is made."""
    rows = 0
    for kind, batch, metadata in _batches(body):
        if _field(metadata, batch, COMPRESSION) is not None:
            raise unsuitable("The stream is compressed; send it without compression.")
        at = _field(metadata, batch, LENGTH)
        length = 0 if at is None else struct.unpack_from("<q", metadata, at)[0]
        if length < 0:
            raise malformed("The stream has a batch of less than 0 rows.")
        rows = rows + length if kind == "record batch" else rows
        if max(rows, length) > max_rows:
            raise too_large(f"{max(rows, length)} rows are more than the {max_rows} that a request may have.")


def _check_nulls(table: Any, size: int) -> None:
    """Raise where columns that take no bytes would become more numbers than the whole stream has bytes."""
    if table.num_rows * sum(map(types.is_null, table.schema.types)) > size:
        raise unsuitable("The stream has more values of type null than bytes; give these columns a type.")


def _batches(body: bytes) -> Iterator[tuple[str, int, bytes]]:
    """Kind, place of the RecordBatch in the metadata, and the metadata, of every message that has one."""
    for message in pa.ipc.MessageReader.open_stream(pa.py_buffer(body)):
        if message.type not in ("record batch", "dictionary"):
            continue
        metadata = message.metadata.to_pybytes()
        header = _table(metadata, _field(metadata, _offset(metadata, 0), HEADER))
        if message.type == "dictionary":
            header = _table(metadata, _field(metadata, header, DICTIONARY_DATA))
        yield message.type, header, metadata


def _offset(buffer: bytes, at: int) -> int:
    return at + int(struct.unpack_from("<I", buffer, at)[0])


def _table(buffer: bytes, at: int | None) -> int:
    if at is None:
        raise malformed("The stream has a message without a header.")
    return _offset(buffer, at)


def _field(buffer: bytes, table: int, number: int) -> int | None:
    """Where a field of a FlatBuffers table lies; None where it has its default."""
    vtable = table - struct.unpack_from("<i", buffer, table)[0]
    if vtable < 0:
        raise IndexError("a table lies outside its message")
    size = struct.unpack_from("<H", buffer, vtable)[0]
    entry = 4 + 2 * number
    offset = struct.unpack_from("<H", buffer, vtable + entry)[0] if entry + 2 <= size else 0
    return table + offset if offset else None


def _places(schema: Any, columns: Columns) -> list[int]:
    """Which column of the stream each of the model's is; -1: none, which is allowed where the model drops it."""
    names = list(schema.names)
    if columns.named:
        columns.check_names(names, "The stream")
        where = [names.index(name) if name in names else -1 for name in columns.names]
    else:
        columns.check_width(len(names), "The stream")
        where = list(range(len(names)))
    kinds = schema.types  # made anew whenever it is asked for
    for at, feature in zip(where, columns.features, strict=True):
        if not feature.used:
            continue
        kind = kinds[at]
        kind = kind.value_type if types.is_dictionary(kind) else kind
        number = types.is_floating(kind) or types.is_integer(kind) or types.is_null(kind)
        text = types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
        if not (number or (text and feature.categories is not None)):
            wanted = "numbers: cast it to float64" if feature.categories is None else "text or numbers"
            raise unsuitable(f"Column {feature.name!r} has type {str(kind)[:80]}; it must hold {wanted}.")
    return where


def _rows(table: Any, where: list[int], columns: Columns, size: int) -> np.ndarray:
    shape, kinds = (table.num_rows, len(where)), table.schema.types
    used = [(f, at) for f, at in enumerate(where) if columns.features[f].used]
    if columns.numbers:
        short = all(types.is_floating(kinds[at]) and kinds[at].bit_width <= 32 for _, at in used)
        rows = np.full(shape, np.nan, np.float32 if short else np.float64)
        for f, at in used:
            rows[:, f] = _numbers(table.column(at))
        columns.check_finite(rows)
        return rows
    rows = np.full(shape, np.nan, object)
    for f, at in used:
        feature, column = columns.features[f], table.column(at)
        if feature.categories is None:
            numbers = _numbers(column).astype(np.float64)
            Columns((feature,), True).check_finite(numbers[:, None])
            rows[:, f] = numbers
        else:
            _check_missing(column, feature, columns)
            _check_text(column, feature, size)
            rows[:, f] = column.to_pylist()
    return rows


def _numbers(column: Any) -> np.ndarray:
    """A column without any value has no type either: all of it is NaN. NumPy sees no null behind a dictionary."""
    if types.is_null(column.type):
        column = column.cast(pa.float64())
    elif types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    found: np.ndarray = column.to_numpy()
    return found


def _check_missing(column: Any, feature: Any, columns: Columns) -> None:
    if column.null_count and not feature.missing:
        at = columns.names.index(feature.name)
        columns.value(None, int(column.is_null().index(pa.scalar(True)).as_py()), at)


def _check_text(column: Any, feature: Any, size: int) -> None:
    if sum(_text_of(chunk) for chunk in column.chunks) > LONGER * size:
        raise unsuitable(f"Column {feature.name!r} repeats long text too often; send it as plain strings.")


def _text_of(chunk: Any) -> int:
    """Bytes of all values, each as often as it is there."""
    if not types.is_dictionary(chunk.type):
        return int(_lengths(chunk).sum())
    return int(_lengths(chunk.dictionary)[chunk.indices.drop_null().to_numpy()].sum())


def _lengths(values: Any) -> np.ndarray:
    """i64 [n]; 0 where it is no text."""
    there: np.ndarray = values.is_valid().to_numpy(zero_copy_only=False)
    if types.is_string_view(values.type) and len(values):  # a view is four numbers, of which the first is its length
        views = np.frombuffer(values.buffers()[1], np.int32).reshape(-1, 4)[values.offset :][: len(values)]
        return np.where(there, views[:, 0], 0).astype(np.int64)
    if types.is_string(values.type) or types.is_large_string(values.type):
        return np.asarray(pc.binary_length(values).fill_null(0), np.int64)
    return np.zeros(len(values), np.int64)
