"""NumPy's files: .npy is streamed, .npz is read whole; nothing is unpickled."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from gpuclust.cli.failures import DataProblem, UsageProblem
from gpuclust.cli.tables import Table, array_chunks, choose, shortened
from gpuclust.data.stream import stream


def read_npy(path: Path, columns: list[str] | None, weight: str | None) -> Table:
    """Read the header of a .npy file; the rows stay on disk, unless they lie there column by column."""
    if _column_major(path):
        note = "the array is stored column by column (Fortran order), so it was read whole, not streamed"
        return _resident(path, np.load(path, allow_pickle=False), columns, weight, note=note)
    width = stream(path).open().n_features
    present = [str(number) for number in range(width)]
    chosen = choose(path, present, columns, weight)
    if chosen == present:
        return Table(
            path, chosen, False, stream(path).open().n_rows or 0, path, None, stream(path).open().blocks
        )
    source = stream(path, [int(name) for name in chosen], None if weight is None else int(weight))
    reader = source.open()
    return Table(path, chosen, False, reader.n_rows or 0, source, None, reader.blocks)


def _column_major(path: Path) -> bool:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)  # maps the file, reads only its header
    except (ValueError, EOFError):  # opening it as a stream names the reason
        return False
    return array.ndim == 2 and bool(array.flags.f_contiguous and not array.flags.c_contiguous)


def read_npz(path: Path, columns: list[str] | None, weight: str | None) -> Table:
    """Read an archive: its array X, or its only two-dimensional one; weights may be an array of their own."""
    if not zipfile.is_zipfile(path):
        raise DataProblem(f"{str(path)!r} is truncated or not a .npz file")
    try:
        with np.load(path, allow_pickle=False) as archive:
            X = _pick(path, archive)
            own = np.asarray(archive[weight]) if weight in archive.files else None
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile, zipfile.LargeZipFile) as error:
        kind = "holds Python objects" if "object" in str(error).lower() else "is truncated or damaged"
        raise DataProblem(f"{str(path)!r} {kind} ({error})") from error
    if own is not None and own.shape != X.shape[:1]:
        raise UsageProblem(f"weight {weight!r} has shape {own.shape}, but the data have shape {X.shape}")
    return _resident(path, X, columns, weight, own)


def _pick(path: Path, archive: Any) -> Any:
    names = list(archive.files)
    if {"indptr", "indices", "format"} <= set(names):
        raise DataProblem(
            f"{str(path)!r} holds a sparse matrix, which the command line does not read; use Python"
        )
    if "X" in names:
        return archive["X"]
    arrays = {name: archive[name] for name in names}
    matrices = [name for name, array in arrays.items() if array.ndim == 2]
    if len(matrices) != 1:
        raise DataProblem(
            f"{str(path)!r} holds {len(matrices)} two-dimensional arrays, none named X ({shortened(names)}); "
            "save the one to cluster as X"
        )
    return arrays[matrices[0]]


def _resident(
    path: Path, X: Any, columns: list[str] | None, weight: str | None, own: Any = None, note: str = ""
) -> Table:
    """Return a table in memory; `own` is the weight where it is no column of X."""
    _check_array(path, X)
    present = [str(number) for number in range(X.shape[1])]
    chosen = choose(path, present, columns, None if own is not None else weight)
    if own is None and weight is not None:
        own = X[:, int(weight)]
    w = None if own is None else np.array(own, dtype=np.float64)
    X = np.ascontiguousarray(X if chosen == present else X[:, [int(name) for name in chosen]])
    return Table(path, chosen, False, X.shape[0], X, w, array_chunks(X, w), note)


def _check_array(path: Path, array: Any) -> None:
    if array.dtype.kind not in "biuf":
        kind = {"U": "text", "S": "text", "c": "complex numbers", "M": "dates", "O": "Python objects"}
        raise DataProblem(
            f"{str(path)!r} holds {kind.get(array.dtype.kind, str(array.dtype))}, not real numbers"
        )
    if array.ndim != 2:
        raise DataProblem(f"{str(path)!r} has {array.ndim} dimension(s); rows and columns are needed")
