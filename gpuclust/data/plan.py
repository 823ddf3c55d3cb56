"""Rows per chunk from the bytes that may be used."""

from __future__ import annotations

from typing import NamedTuple

from ..backends.threads import thread_count
from ..config import get_config
from ..errors import DeviceMemoryError

ROW_STATE = 24  # bytes a row at most: label, two bounds or a cost, and the labels of the best restart
PARTS = 5  # of what is left: a chunk computing, one being read, both in another type or on the device, group bounds
COPIES = 8  # of the exact sums beside the threads': of chunks being merged, of this and the last iteration
WEIGHT_LEVELS = 4  # of the exact sums of weights
LEVELS = {4: 2, 8: 4}  # of the exact sums, by the bytes of a value
DEFAULT_CHUNK = 64 << 20  # bytes of a chunk without a budget: large against any overhead, small against any memory
LEAST_ROWS = 64


class Plan(NamedTuple):
    rows: int  # of a chunk
    bounds: int | None  # bytes that bounds to groups of centres may take in all; None: no budget


def plan(n_rows: int | None, row_bytes: int, statistics: int, chunk_size: int | None) -> Plan:
    """Rows of a streamed chunk: as asked for, else what the memory budget of `config_context` leaves.

    Raises
    ------
    DeviceMemoryError
        If the budget does not hold the rows' state, the statistics and four times 64 rows.
    """
    budget = get_config().memory
    if budget is None:
        return Plan(chunk_size or max(LEAST_ROWS, DEFAULT_CHUNK // row_bytes), None)
    state = ROW_STATE * (n_rows or 0)
    part = (budget - state - statistics) // PARTS
    if chunk_size is None and part < LEAST_ROWS * row_bytes:
        needed = state + statistics + PARTS * row_bytes * LEAST_ROWS
        raise DeviceMemoryError(
            f"A memory budget of {budget} bytes is too small: the state of the rows takes {state} bytes, the sums of"
            f" the clusters {statistics} and {PARTS} chunks of {LEAST_ROWS} rows {needed - state - statistics}. Allow"
            f" at least {needed} bytes."
        )
    rows = chunk_size or min(part // row_bytes, max(LEAST_ROWS, DEFAULT_CHUNK // row_bytes))
    return Plan(rows, max(0, part))


def brackets_bytes(clusters: int, n_features: int, itemsize: int, weighted: bool) -> int:
    """What brackets, their counts (of which two are merged at a time) and centres take, feature by feature."""
    kept, opened, centers, order = 6 * itemsize + 10 * 8, 3 * itemsize + 8 + 2 + 4 * 8, 4 * 8, 2 * 8
    counts = (2 + thread_count()) * (2 * 8 * WEIGHT_LEVELS if weighted else 12) + 3 * 8
    return (kept + opened + centers + order + counts) * clusters * n_features


def statistics_bytes(clusters: int, n_features: int, itemsize: int) -> int:
    """What sums and centres take while chunks are merged."""
    return (COPIES + thread_count()) * LEVELS[itemsize] * 8 * (clusters + 1) * (n_features + 1)
