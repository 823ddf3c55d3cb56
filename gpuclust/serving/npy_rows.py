"""Rows from the bytes of a .npy file. Nothing in one is ever unpickled."""

from __future__ import annotations

import io
from math import prod

import numpy as np

from .columns import Columns
from .problems import malformed, too_large, unsuitable

LONGEST_HEADER = 4096
READERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read_npy(body: bytes, columns: Columns, max_rows: int) -> np.ndarray:
    """The array, float32 or float64 [n, d].

    Raises
    ------
    Refused
        If it is no two-dimensional array of numbers with the model's number of columns.
    """
    handle = io.BytesIO(body)
    try:
        version = np.lib.format.read_magic(handle)
        shape, fortran, dtype = READERS[version](handle, max_header_size=LONGEST_HEADER)
    except Exception:  # the header is Python's literals: whatever its tokenizer and parser raise
        raise malformed("The body is not a .npy file of version 1 or 2.") from None
    if dtype.kind not in "fiu" or dtype.itemsize > 8:
        raise unsuitable(f"The array has dtype {str(dtype)[:80]}; it must hold real numbers of at most 64 bits.")
    if not columns.numbers:
        raise unsuitable("Some of the model's features are not numbers: send JSON or Arrow.")
    if len(shape) != 2 or bool in map(type, shape) or min(shape) < 1:
        raise unsuitable(f"The array has shape {str(shape)[:80]}; it must be (rows, features), with one row or more.")
    columns.check_width(shape[1], "A row")
    if shape[0] > max_rows:
        raise too_large(f"{shape[0]} rows are more than the {max_rows} that a request may have.")
    start = handle.tell()
    if len(body) - start != prod(shape) * dtype.itemsize:
        raise malformed(f"The body holds {len(body) - start} bytes of numbers, not what its header says.")
    rows = np.frombuffer(body, dtype, offset=start).reshape(shape, order="F" if fortran else "C")
    wanted = np.float32 if dtype.kind == "f" and dtype.itemsize <= 4 else np.float64
    rows = np.ascontiguousarray(rows, wanted)
    columns.check_finite(rows)
    return rows
