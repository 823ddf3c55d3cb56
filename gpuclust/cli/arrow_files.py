"""CSV, read whole, and Parquet, streamed; both through pyarrow."""

from __future__ import annotations

import base64
import csv as text_csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow import compute as pc
from pyarrow import csv, parquet

from gpuclust.cli.failures import DataProblem, sentence
from gpuclust.cli.tables import Table, array_chunks, choose, shortened
from gpuclust.data.stream import stream


def read_parquet(path: Path, columns: list[str] | None, weight: str | None) -> Table:
    """Read the footer of a Parquet file; the rows stay on disk."""
    schema, _ = parquet_footer(path)
    chosen = choose(path, schema.names, columns, weight)
    types = {name: schema.field(name).type for name in [*chosen, *([weight] if weight else [])]}
    if not all(map(is_number, types.values())):
        _check_types(path, types, schema, _first_rows(path, list(types)))
    source = stream(path, chosen, weight)
    reader = source.open()
    return Table(path, chosen, True, reader.n_rows or 0, source, None, reader.blocks)


def parquet_footer(path: Path) -> tuple[Any, int]:
    """Return the schema and the number of rows of a Parquet file."""
    try:
        with parquet.ParquetFile(path) as file:
            return file.schema_arrow, file.metadata.num_rows
    except pa.ArrowInvalid as error:
        raise DataProblem(f"{str(path)!r} is truncated, damaged or no Parquet file ({sentence(error)})") from error


def number_categories(path: Path, columns: Sequence[str]) -> dict[str, Any]:
    """Return, by column, ascending, the numbers that were keys of a dictionary when the file was written, as those of
    pandas' categories are: Parquet itself has them as plain numbers. One pass over these columns."""
    with parquet.ParquetFile(path, pre_buffer=False) as file:
        written = (file.metadata.metadata or {}).get(b"ARROW:schema")
        if written is None:
            return {}
        schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(written)))
        keyed = {field.name for field in schema if pa.types.is_dictionary(field.type)}
        now = file.schema_arrow
        found = {name: pa.array([], now.field(name).type) for name in columns if name in keyed}
        found = {name: none for name, none in found.items() if is_number(none.type) and none.type != pa.bool_()}
        for batch in file.iter_batches(columns=list(found)) if found else ():
            for name, before in found.items():
                found[name] = pa.chunked_array([before, batch.column(name)]).unique().drop_null()
    there = {name: each.filter(pc.equal(each, each)) for name, each in found.items()}  # NaN equals nothing
    return {name: each.take(pc.sort_indices(each)) for name, each in there.items()}


def _first_rows(path: Path, columns: list[str]) -> Any:
    """Return some rows of a Parquet file to show what is in them, or None."""
    with parquet.ParquetFile(path) as file:
        return next(file.iter_batches(batch_size=1000, columns=columns), None)


def read_csv(path: Path, columns: list[str] | None, weight: str | None) -> Table:
    """Read a CSV file into memory, as float64."""
    form = csv_form(path)
    try:
        chosen, wanted = _csv_columns(path, form, columns, weight)
        table = _read_floats(path, form, wanted)
    except pa.ArrowInvalid as error:
        raise DataProblem(
            f"{str(path)!r} is damaged or no table of numbers: {_explained(path, error)}"
        ) from error
    X, w = _matrix(table, chosen), _column(table, weight) if weight else None
    return Table(path, chosen, form.names is None, len(X), X, w, array_chunks(X, w), form.note)


class Form(NamedTuple):
    """How a CSV file is written."""

    delimiter: str
    names: list[str] | None  # for a file without a header line
    note: str = ""

    def options(self, threads: bool) -> dict[str, Any]:
        """Return pyarrow's options; its messages name the row only without threads."""
        return {
            "read_options": csv.ReadOptions(column_names=self.names, use_threads=threads),
            "parse_options": csv.ParseOptions(delimiter=self.delimiter),
        }


def csv_form(path: Path) -> Form:
    """Look at the first line: numbers are a row, unless they count columns from 0, as pandas' header may."""
    line = _first_line(path)
    delimiter = max(",;\t", key=line.count)
    names = next(text_csv.reader([line], delimiter=delimiter), [])
    counted = [str(number) for number in range(len(names))]
    if names == counted or not all(_is_float(name) for name in names):
        return Form(delimiter, None)
    note = "the first line holds numbers, so it was read as a row; columns are numbered from 0"
    return Form(delimiter, counted, note)


def read_csv_whole(path: Path, form: Form, text: Sequence[str] = ()) -> Any:
    """Read a CSV file as a table of all types, each told from all of its column; empty cells are missing."""
    block = min(path.stat().st_size + 1, (1 << 31) - 1)
    options = form.options(threads=True)
    options["read_options"].block_size = block
    types = dict.fromkeys(text, pa.string())
    convert = csv.ConvertOptions(column_types=types, strings_can_be_null=True)
    return csv.read_csv(path, convert_options=convert, **options)


def _first_line(path: Path) -> str:
    with path.open(encoding="utf-8-sig", errors="replace") as handle:
        return handle.readline(1 << 20).rstrip("\r\n")


def _csv_columns(
    path: Path, form: Form, columns: list[str] | None, weight: str | None
) -> tuple[list[str], list[str]]:
    """Return the columns to cluster and those to read, after a look at the types in the first block."""
    with csv.open_csv(path, **form.options(threads=False)) as reader:
        schema = reader.schema
        chosen = choose(path, schema.names, columns, weight)
        wanted = [*chosen, *([weight] if weight else [])]
        types = {name: schema.field(name).type for name in wanted}
        types = {
            name: kind for name, kind in types.items() if not pa.types.is_null(kind)
        }  # empty so far: may be numbers
        if not all(is_number(kind) for kind in types.values()):
            _check_types(path, types, schema, reader.read_next_batch())
    return chosen, wanted


def _read_floats(path: Path, form: Form, wanted: list[str]) -> Any:
    # float64 for all: the first block's types would fail where a column of whole numbers turns fractional
    convert = csv.ConvertOptions(include_columns=wanted, column_types=dict.fromkeys(wanted, pa.float64()))
    try:
        return csv.read_csv(path, convert_options=convert, **form.options(threads=True))
    except pa.ArrowInvalid:
        return csv.read_csv(path, convert_options=convert, **form.options(threads=False))


def _explained(path: Path, error: Exception) -> str:
    """Return pyarrow's message with the column's name and the line instead of their numbers."""
    text = sentence(error).replace("CSV parse error: ", "").replace("CSV conversion error", "no conversion")
    text = re.sub(r"Row #(\d+)", r"line \1", text)
    column = re.match(r"In CSV column #(\d+): ", text)
    if column is None:
        return text
    names = next(text_csv.reader([_first_line(path)], delimiter=csv_form(path).delimiter), [])
    at = int(column[1])
    return f"column {names[at] if at < len(names) else at!r}: {text[column.end() :]}"


def _is_float(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def is_number(kind: Any) -> bool:
    """Tell whether values of an Arrow type can be clustered."""
    return any(test(kind) for test in (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean))


def _check_types(path: Path, types: dict[str, Any], schema: Any, batch: Any = None) -> None:
    wrong = [name for name, kind in types.items() if not is_number(kind)]
    if not wrong:
        return
    numbers = [field.name for field in schema if is_number(field.type)]
    hint = f"; choose numeric columns with --columns {','.join(numbers)}," if numbers else ";"
    hint += " or let fit encode the others: --scale robust --impute median --categorical onehot"
    what = shortened([_described(name, types[name], batch) for name in wrong], most=5)
    raise DataProblem(f"{str(path)!r} is not all numbers: {what}{hint}")


def _described(name: str, kind: Any, batch: Any) -> str:
    """Return what a column holds, with the first value that is no number."""
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    if not text:
        return f"column {name!r} holds {kind}"
    if batch is not None:
        for row, value in enumerate(batch.column(batch.schema.get_field_index(name)).to_pylist()):
            if value and not _is_float(value):
                return f"column {name!r} holds text (row {row}: {value[:40]!r})"
    return f"column {name!r} holds text"


def _matrix(table: Any, names: list[str]) -> Any:
    X = np.empty((table.num_rows, len(names)))
    for at, name in enumerate(names):
        X[:, at] = _column(table, name)
    return X


def _column(table: Any, name: str) -> Any:
    """Return a column as float64, missing values as NaN."""
    column = table.column(table.schema.get_field_index(name))
    values = column.cast(pa.float64(), safe=False)
    return values.to_numpy(zero_copy_only=False)
