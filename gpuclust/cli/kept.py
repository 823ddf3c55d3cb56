"""Prepared rows in a temporary file while they are clustered: a fit reads them some dozens of times.

To prepare a row costs many times what it costs to read it back, so a file is worth its space on the disk.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from gpuclust.cli.failures import OutputProblem
from gpuclust.cli.prepare import prepared_problems
from gpuclust.cli.tables import Table

MOST = 0.5  # share of the free space of the temporary directory that they may take


@contextlib.contextmanager
def kept(table: Table) -> Iterator[Table]:
    """A table whose rows are made anew in every pass, with these in a file until the block ends; told in its note.

    Where they would take more than half of the free space, it is the same table.
    """
    from gpuclust.data.stream import stream

    with tempfile.TemporaryDirectory(prefix="gpuclust-fit-") as folder:
        path = Path(folder, "rows.npy")
        try:
            with prepared_problems(table.path):
                weighted, size, written = _write(table, path)
        except OSError as error:
            raise OutputProblem(
                f"cannot keep the prepared rows in {folder!r}: {error.strerror}; TMPDIR names another place"
            ) from error
        if not written:
            told = f"the rows are prepared anew in every pass: {size:,} bytes of them, more than half of the free space"
            yield _noted(table, f"{told} of {tempfile.gettempdir()}; TMPDIR names another place")
            return
        source = stream(path, None, weighted)
        made = replace(table, source=source, chunks=lambda step: source.open().blocks(step))
        yield _noted(made, f"the prepared rows are in a temporary file of {size:,} bytes during the fit")


def _noted(table: Table, note: str) -> Table:
    return replace(table, note=f"{table.note}; {note}" if table.note else note)


def _write(table: Table, path: Path) -> tuple[int | None, int, bool]:
    """The column of the weights, the bytes that the rows take, and whether they are in the file."""
    with path.open("wb") as file:
        column, size = None, 0
        for rows, X, weight in table.blocks():
            if not rows.start:
                column = None if weight is None else X.shape[1]
                dtype = np.dtype(np.float64) if weight is not None else X.dtype
                shape = table.rows, X.shape[1] + (weight is not None)
                size = shape[0] * shape[1] * dtype.itemsize
                if dtype != X.dtype or size > MOST * shutil.disk_usage(path.parent).free:
                    return column, size, False
                _header(file, shape, dtype)
            whole = X if weight is None else np.column_stack([X, weight])
            file.write(np.ascontiguousarray(whole).data)
    return column, size, True


def _header(file: Any, shape: tuple[int, ...], dtype: np.dtype) -> None:
    said = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, said)
