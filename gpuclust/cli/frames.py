"""A DATA file as DataFrames, with columns of any type: what is to be prepared before it is clustered."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gpuclust.cli.failures import DataProblem, reading, sentence
from gpuclust.cli.tables import CHUNK_BYTES, choose, open_table

Pieces = Callable[[], Iterator[tuple[Any, Any]]]
LEAST_BYTES = 1 << 16
TEXT_BYTES = 256  # that a value of text may take as an object of Python's
HELD = 1 << 30  # bytes of numbers that are held in memory where no budget is given


@dataclass(frozen=True)
class Frames:
    """A DATA file after its header was read."""

    path: Path
    columns: list[str]
    rows: int
    pieces: Pieces  # -> (DataFrame of the columns, weights f64 or None), a few megabytes at a time
    note: str = ""

    @property
    def fits(self) -> bool:
        """Whether all rows may be in memory at once."""
        from gpuclust.config import get_config

        budget = get_config().memory
        return 8 * self.rows * len(self.columns) <= (HELD if budget is None else budget // 4)

    def of(self, columns: Sequence[str]) -> Frames:
        """Some of the columns."""
        names, pieces = list(columns), self.pieces
        return replace(self, columns=names, pieces=lambda: ((frame[names], weight) for frame, weight in pieces()))

    def renamed(self, names: list[str]) -> Frames:
        """The same columns under other names."""
        pieces = self.pieces
        return replace(
            self, columns=names, pieces=lambda: ((frame.set_axis(names, axis=1), weight) for frame, weight in pieces())
        )  # fmt: skip

    def mapped(self, change: Callable[[Any], Any]) -> Frames:
        """The same rows, changed frame by frame."""
        pieces = self.pieces
        return replace(self, pieces=lambda: ((change(frame), weight) for frame, weight in pieces()))

    def kept(self, keep: Callable[[Any], Any], rows: int) -> Frames:
        """The `rows` rows for which `keep` of a frame is true."""
        pieces = self.pieces

        def left() -> Iterator[tuple[Any, Any]]:
            for frame, weight in pieces():
                mask = keep(frame)
                yield frame[mask], None if weight is None else weight[mask]

        return replace(self, rows=rows, pieces=left)

    def frames(self) -> Iterator[Any]:
        """The DataFrames without their weights."""
        return (frame for frame, _ in self.pieces())

    def head(self, most: int) -> Any:
        """The first rows."""
        import pandas as pd

        found, rows = [], 0
        for frame in self.frames():
            found.append(frame)
            rows += len(frame)
            if rows >= most:
                break
        return pd.concat(found, ignore_index=True)[:most] if found else pd.DataFrame(columns=self.columns)


def open_frames(
    path: Path, columns: Sequence[str] | None = None, weight: str | None = None, text: Sequence[str] = ()
) -> Frames:
    """Read a DATA file's header (all of a .csv or .npz). Columns in `text` are read as text from a .csv."""
    for module in ("pandas", "pyarrow"):
        if importlib.util.find_spec(module) is None:
            raise DataProblem(f"to prepare columns of all types needs {module}: run pip install 'gpuclust[files]'")
    suffix = path.suffix.lower()
    names = None if columns is None else list(columns)
    if suffix not in (".csv", ".parquet", ".pq"):
        return _of_numbers(path, names, weight)
    with reading(path):
        if path.stat().st_size == 0:
            raise DataProblem(f"{str(path)!r} is empty")
        frames = _of_csv(path, names, weight, text) if suffix == ".csv" else _of_parquet(path, names, weight)
    if not frames.rows:
        raise DataProblem(f"{str(path)!r} has no rows")
    return frames


def _of_numbers(path: Path, columns: list[str] | None, weight: str | None) -> Frames:
    import pandas as pd

    table = open_table(path, columns, weight)

    def pieces() -> Iterator[tuple[Any, Any]]:
        for _, X, w in table.blocks():
            yield pd.DataFrame(np.array(X), columns=table.columns), w

    return Frames(path, table.columns, table.rows, pieces, table.note)


def _of_parquet(path: Path, columns: list[str] | None, weight: str | None) -> Frames:
    import pyarrow as pa
    from pyarrow import parquet

    from gpuclust.cli.arrow_files import number_categories, parquet_footer

    schema, rows = parquet_footer(path)
    chosen = choose(path, schema.names, columns, weight)
    wanted = [*chosen, *([weight] if weight else [])]
    step = _rows_at_a_time([schema.field(name).type for name in chosen])
    categories = number_categories(path, chosen)

    def pieces() -> Iterator[tuple[Any, Any]]:
        with parquet.ParquetFile(path, pre_buffer=False) as file:
            for batch in file.iter_batches(batch_size=step, columns=wanted):
                yield _piece(path, pa.Table.from_batches([batch]), chosen, weight, categories)

    return Frames(path, chosen, rows, pieces)


def _of_csv(path: Path, columns: list[str] | None, weight: str | None, text: Sequence[str]) -> Frames:
    import pyarrow as pa

    from gpuclust.cli.arrow_files import csv_form, read_csv_whole

    form = csv_form(path)
    try:
        table = read_csv_whole(path, form, text)
    except pa.ArrowInvalid as error:
        raise DataProblem(f"{str(path)!r} is damaged or no table: {sentence(error)}") from error
    chosen = choose(path, table.column_names, columns, weight)

    def pieces() -> Iterator[tuple[Any, Any]]:
        step = _rows_at_a_time([table.schema.field(name).type for name in chosen])
        for start in range(0, table.num_rows, step):
            yield _piece(path, table.slice(start, step), chosen, weight)

    return Frames(path, chosen, table.num_rows, pieces, form.note)


def _rows_at_a_time(kinds: Sequence[Any]) -> int:
    """Rows of a piece: a few megabytes, fewer where the budget is small; text takes more than its place in a table."""
    import pyarrow as pa

    from gpuclust.config import get_config

    budget = get_config().memory
    room = CHUNK_BYTES if budget is None else min(CHUNK_BYTES, max(budget // 16, LEAST_BYTES))
    plain = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_temporal)
    return max(1, room // sum(8 if any(test(kind) for test in plain) else TEXT_BYTES for kind in kinds))


def _piece(
    path: Path, table: Any, chosen: list[str], weight: str | None, categories: Mapping[str, Any] | None = None
) -> tuple[Any, Any]:
    """Columns and weights of some rows. `categories`: of the columns whose numbers are such, all of these numbers."""
    import pandas as pd

    known = categories or {}
    columns = {name: table.column(name) for name in chosen}
    values = {name: _keyed(c, known[name]) if name in known else _values(c) for name, c in columns.items()}
    frame = pd.DataFrame({name: pd.Series(each) for name, each in values.items()}, copy=False)
    return frame, None if weight is None else _weights(path, table.column(weight), weight)


def _keyed(column: Any, categories: Any) -> Any:
    """A column of numbers that are categories, for pandas: the same categories in every piece."""
    import pandas as pd
    import pyarrow.compute as pc

    codes = pc.index_in(column, categories).fill_null(-1).to_numpy()
    return pd.Categorical.from_codes(codes, categories.to_numpy(zero_copy_only=False))


def _values(column: Any) -> Any:
    """A column for pandas: numbers as float32 or float64, text as objects, what is missing as NaN or None."""
    import pandas as pd
    import pyarrow as pa

    kinds = pa.types
    if kinds.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if kinds.is_float32(column.type):
        return column.to_numpy()
    if kinds.is_floating(column.type) or kinds.is_integer(column.type) or kinds.is_decimal(column.type):
        return column.cast(pa.float64(), safe=False).to_numpy()
    if kinds.is_boolean(column.type) and not column.null_count:
        return column.to_numpy()
    if kinds.is_temporal(column.type):
        return column.to_pandas()
    return pd.Series(column.to_numpy(), dtype=object)


def _weights(path: Path, column: Any, name: str) -> Any:
    import pyarrow as pa

    try:
        values = column.cast(pa.float64(), safe=False).to_numpy()
    except pa.ArrowInvalid as error:
        raise DataProblem(f"{str(path)!r}: weights in column {name!r} are not numbers ({sentence(error)})") from error
    if not np.all((values >= 0) & np.isfinite(values)):
        raise DataProblem(f"{str(path)!r}: weights in column {name!r} must be finite and not negative")
    return values
