"""Rows per chunk from the bytes that may be used."""

from __future__ import annotations

from ..config import get_config
from ..errors import DeviceMemoryError

ROW_STATE = 24  # bytes a row at most: label, bounds or cost, and the labels of the best restart
BUFFERS = 3  # one chunk computing, one being read, one in another type or on the device
DEFAULT_CHUNK = 64 << 20  # bytes of a chunk without a budget: large against any overhead, small against any memory
LEAST_ROWS = 64


def chunk_rows(n_rows: int | None, row_bytes: int, chunk_size: int | None) -> int:
    """Rows of a streamed chunk: as asked for, else what the memory budget of `config_context` leaves.

    Raises
    ------
    DeviceMemoryError
        If the budget does not hold the rows' state and three chunks of 64 rows.
    """
    if chunk_size is not None:
        return chunk_size
    budget = get_config().memory
    if budget is None:
        return max(LEAST_ROWS, DEFAULT_CHUNK // row_bytes)
    state = ROW_STATE * (n_rows or 0)
    rows = (budget - state) // (BUFFERS * row_bytes)
    if rows < LEAST_ROWS:
        needed = state + BUFFERS * row_bytes * LEAST_ROWS
        raise DeviceMemoryError(
            f"A memory budget of {budget} bytes is too small: the state of {n_rows} rows takes {state} bytes and three"
            f" chunks of {LEAST_ROWS} rows take {needed - state}. Allow at least {needed} bytes."
        )
    return int(min(rows, max(LEAST_ROWS, DEFAULT_CHUNK // row_bytes)))
