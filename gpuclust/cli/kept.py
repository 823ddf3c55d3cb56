"""Prepared rows in a temporary file while they are clustered: a fit reads them some dozens of times.

To prepare a row costs many times what it costs to read it back, so a file is worth its space on the disk.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gpuclust.backends.statistics import Rows
from gpuclust.cli.failures import reading, sentence
from gpuclust.cli.prepare import prepared_problems
from gpuclust.cli.tables import Table
from gpuclust.data.readers import NpyReader
from gpuclust.data.stream import Stream, stream

MOST = 0.5  # share of the free space of the temporary directory that they may take


@contextlib.contextmanager
def kept(table: Table) -> Iterator[Table]:
    """A table whose rows are made anew in every pass, with these in a file until the block ends; told in its note.

    Where they would take more than half of the free space, or cannot be written, it is the same table.
    """
    with _ended_as_by_an_error(), contextlib.ExitStack() as stack:
        weighted, size, why = False, 0, ""
        try:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="gpuclust-fit-", dir=_place()))
            path = Path(folder, "rows.npy")
            weighted, size, why = _write(table, path)
        except OSError as error:
            why = f"they cannot be kept in a file ({sentence(error)}); TMPDIR names another place"
        if why:
            stack.close()
            yield _noted(table, f"the rows are prepared anew in every pass: {why}")
            return
        source = WeightedRows(path) if weighted else stream(path)
        made = replace(table, source=source, chunks=lambda step: source.open().blocks(step))
        yield _noted(made, f"the prepared rows are in a temporary file of {size:,} bytes during the fit")


@dataclass(frozen=True)
class WeightedRows(Stream):
    """A .npy file of rows of one dtype, with the bytes of a row's weight, which is float64, after its values."""

    @property
    def weighted(self) -> bool:
        return True

    def _read(self) -> NpyReader:
        return _WeightedReader(self.data)


class _WeightedReader(NpyReader):
    def __init__(self, path: Any):
        super().__init__(path)
        self.n_features -= 8 // self.dtype.itemsize
        self.weighted = True

    def _split(self, block: np.ndarray) -> Rows:
        weight = np.ascontiguousarray(block[:, self.n_features :]).view(np.float64)[:, 0]
        return np.ascontiguousarray(block[:, : self.n_features]), weight


def _place() -> str:
    """The directory of large temporary files: on many machines /tmp is memory, of which there is a budget."""
    own = os.environ.get("TMPDIR")
    return own or ("/var/tmp" if os.access("/var/tmp", os.W_OK) else tempfile.gettempdir())


@contextlib.contextmanager
def _ended_as_by_an_error() -> Iterator[None]:
    """What ends the process by default, as batch systems do it, leaves no file behind."""
    own = threading.current_thread() is threading.main_thread()
    names = [name for name in ("SIGTERM", "SIGHUP") if own and hasattr(signal, name)]
    caught = [number for number in map(signal.Signals.__getitem__, names) if signal.getsignal(number) == signal.SIG_DFL]
    for number in caught:
        signal.signal(number, _exit)
    try:
        yield
    finally:
        for number in caught:
            signal.signal(number, signal.SIG_DFL)


def _exit(number: int, frame: Any) -> None:
    raise SystemExit(128 + number)


def _noted(table: Table, note: str) -> Table:
    return replace(table, note=f"{table.note}; {note}" if table.note else note)


def _write(table: Table, path: Path) -> tuple[bool, int, str]:
    """Whether rows have weights, the bytes that they take, and why they are not in the file, if they are not."""
    with path.open("wb") as file:
        weighted, size = False, 0
        for rows, X, weight in _prepared(table):
            weighted = weight is not None
            whole = np.hstack([X, weight[:, None].view(X.dtype)]) if weighted else X
            if not rows.start:
                size = table.rows * whole.shape[1] * X.dtype.itemsize
                if size > MOST * shutil.disk_usage(path.parent).free:
                    told = f"{size:,} bytes of them, more than half of the free space of {_place()}"
                    return weighted, size, f"{told}; TMPDIR names another place"
                _header(file, (table.rows, whole.shape[1]), X.dtype)
            file.write(np.ascontiguousarray(whole).data)
    return weighted, size, ""


def _prepared(table: Table) -> Iterator[tuple[slice, Any, Any]]:
    """The table's blocks; what is wrong with the DATA file is no problem of the file that is written."""
    with prepared_problems(table.path), reading(table.path):
        yield from table.blocks()


def _header(file: Any, shape: tuple[int, ...], dtype: np.dtype) -> None:
    said = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, said)
