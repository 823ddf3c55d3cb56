"""Dask collections: what counts as one, its blocks of rows, and work that is done on them where they lie."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..config import Config, config_context, get_config
from ..errors import DataError
from .columns import wrong_columns_told
from .readers import EmptyFileError, float_type
from .stream import Stream

WAIT = 60.0  # seconds for a list of files


@dataclass(frozen=True)
class Blocks:
    """Rows in pieces that workers hold or can make: delayed objects or futures, in row order."""

    pieces: tuple[Any, ...]
    columns: tuple[str, ...] | None = None  # of DataFrames


def is_collection(X: Any) -> bool:
    """Whether X is a dask array or DataFrame, or was made by `gpuclust.shards`; dask is not imported to find out."""
    if isinstance(X, Blocks):
        return True
    return "dask" in sys.modules and hasattr(X, "__dask_graph__") and hasattr(X, "to_delayed")


def shards(
    pieces: Sequence[Any] | str | os.PathLike[str], columns: Sequence[Any] | None = None, weight: Any = None
) -> Blocks:
    """Rows that workers of a Dask cluster hold or can make, piece by piece; they never pass through the client.

    Parameters
    ----------
    pieces : sequence of delayed objects or futures, or path
        Each an array (n_rows, n_features), of NumPy or CuPy, or a DataFrame; an empty one counts for nothing. A path
        with wildcards names .parquet or .npy files, in the order of their names: each is a shard. Workers list and read
        them, so all must see the same folder.
    columns, weight : optional
        Of the files: columns to use and the column of the weights, as `gpuclust.stream` takes them.

    Returns
    -------
    Blocks
        To be passed as `X` to ``fit``, ``predict`` and ``transform``.

    Raises
    ------
    DataError
        If there are none.

    Notes
    -----
    Files are read once and held by the workers; with ``gpuclust.config_context(memory=...)``, which is then the budget
    of each worker, they are read in every pass.

    Examples
    --------
    ``KMeans(100).fit(gpuclust.shards("/data/part-*.parquet"))``
    """
    if isinstance(pieces, (str, os.PathLike)):
        return _files(os.fspath(pieces), columns, weight)
    if not len(pieces):
        raise DataError("There are no shards: pass one delayed object or future, or more.")
    return Blocks(tuple(pieces))


def _files(pattern: str, columns: Sequence[Any] | None, weight: Any) -> Blocks:
    import dask
    from distributed import default_client

    try:
        client = default_client()
    except ValueError:
        found = _listed(pattern)
    else:
        found = client.submit(_listed, pattern, pure=False).result(timeout=WAIT)
    if not found:
        raise DataError(f"No file is called {pattern}, as the workers see it.")
    made = dask.delayed(Stream)
    return Blocks(tuple(made(path, columns, weight) for path in found))


def _listed(pattern: str) -> list[str]:
    return sorted(map(os.path.abspath, glob.glob(pattern, recursive=True)))


def blocks_of(X: Any) -> Blocks:
    """The blocks of rows of a collection.

    Raises
    ------
    DataError
        If it is an array of another number of dimensions than 2.
    """
    if isinstance(X, Blocks):
        return X
    if hasattr(X, "columns"):
        return Blocks(tuple(X.to_delayed()), tuple(map(str, X.columns)))
    if getattr(X, "ndim", None) != 2:
        raise DataError(f"A dask array or DataFrame of 2 dimensions is needed, not {X!r}.")
    return Blocks(tuple(X.rechunk({1: -1}).to_delayed().ravel()))


def column_blocks(column: Any, X: Any, count: int) -> tuple[Any, ...]:
    """The blocks of a dask array or series of one entry a row, cut as X is where that is known.

    Raises
    ------
    DataError
        If they are more or fewer than the `count` blocks of X.
    """
    if isinstance(column, Blocks):
        pieces = column.pieces
    else:
        known = getattr(X, "chunks", None)
        if known and column.chunks[0] != known[0] and sum(column.chunks[0]) == sum(known[0]):
            column = column.rechunk({0: known[0]})
        pieces = tuple(np.ravel(np.array(column.to_delayed(), object)))
    if len(pieces) != count:
        raise DataError(f"X has {count} blocks of rows and sample_weight {len(pieces)}: give both the same chunks.")
    return pieces


def mapped(
    function: Callable[[Any], Any], X: Any, dtype: Any, width: int | None = None, *, stays: bool = False
) -> Any:
    """The lazy dask array of what `function` gives for each block: [n], or [n, width]; on the host, or where it
    `stays`, on a GPU where the blocks are. The settings of now hold whenever it is computed.
    """
    import dask.array as da

    function = Configured.now(function)
    empty = np.empty((0,) if width is None else (0, width), dtype)
    if stays and hasattr(getattr(X, "_meta", None), "__cuda_array_interface__"):
        empty = X._meta.reshape(empty.shape).astype(dtype)
    if hasattr(X, "map_partitions"):
        return X.map_partitions(function, meta=empty)
    if isinstance(X, Blocks):
        return _from_delayed(function, X, dtype, width)
    X = X.rechunk({1: -1})
    if width is None:
        return da.blockwise(OfOne(function), "i", X, "ij", dtype=dtype, meta=empty)
    return da.map_blocks(function, X, dtype=dtype, chunks=(X.chunks[0], (width,)), meta=empty)


def applied(function: Callable[[Any], Any], X: Any, dtype: Any, width: int, *, stays: bool) -> Any:
    """Blocks as `function` makes them, as a collection: a dask array [n, width], or shards where X is made of those.
    `stays` as in `mapped`.
    """
    function = Filled(function, dtype, width)
    if not isinstance(X, Blocks):
        return mapped(function, X, dtype, width, stays=stays)
    import dask

    made = dask.delayed(Configured.now(function), traverse=False)
    return Blocks(tuple(made(piece) for piece in X.pieces))


@dataclass(frozen=True)
class Configured:
    """A function that runs under the client's settings, where it has some: a worker's own hold otherwise."""

    function: Callable[[Any], Any]
    device: Any
    memory: int | None

    @classmethod
    def now(cls, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        config = get_config()
        return function if config == Config() else cls(function, config.device, config.memory)

    def __call__(self, block: Any) -> Any:
        with config_context(device=None if self.device == "auto" else self.device, memory=self.memory):
            return self.function(block)


@dataclass(frozen=True)
class OfOne:
    """A function of the only block beside which no other stands: dask would copy the block to give it alone."""

    function: Callable[[Any], Any]

    def __call__(self, blocks: Sequence[Any]) -> Any:
        (block,) = blocks
        return self.function(block)


@dataclass(frozen=True)
class Filled:
    """A function that knows no blocks without rows, unless they are on a GPU."""

    function: Callable[[Any], Any]
    dtype: Any
    width: int

    def __call__(self, block: Any) -> Any:
        known = hasattr(block, "__cuda_array_interface__") or has_rows(block)
        return self.function(block) if known else np.empty((0, self.width), self.dtype)


def dtype_of(X: Any) -> np.dtype:
    """What rows of a collection are once they are rows of numbers."""
    kinds = {np.dtype(kind) for kind in X.dtypes} if hasattr(X, "dtypes") else {getattr(X, "dtype", None)}
    return np.dtype(np.float32) if kinds == {np.dtype(np.float32)} else np.dtype(np.float64)


def _from_delayed(function: Callable[[Any], Any], X: Blocks, dtype: Any, width: int | None) -> Any:
    import dask
    import dask.array as da

    shape = (np.nan,) if width is None else (np.nan, width)
    parts = [da.from_delayed(dask.delayed(function)(piece), shape, dtype=dtype) for piece in X.pieces]
    return da.concatenate(parts, allow_unknown_chunksizes=True)


def has_rows(block: Any) -> bool:
    if not isinstance(block, Stream):
        return len(block) > 0
    try:
        block.open()
    except EmptyFileError:
        return False
    return True


def fetched(array: Any) -> Any:
    """A CUDA array copied to the host; anything else as it is."""
    return array.get() if hasattr(array, "get") and hasattr(array, "__cuda_array_interface__") else array


def rows_of(block: Any) -> np.ndarray:
    """A block as rows [n, d], float32 where all of it is, else float64.

    Raises
    ------
    DataError
        If it is no table of numbers.
    """
    if hasattr(block, "dtypes"):
        wide = np.dtype(np.float32) if all(kind == np.float32 for kind in block.dtypes) else np.dtype(np.float64)
        with wrong_columns_told(block):
            block = block.to_numpy(wide)
    rows = np.asarray(fetched(block))
    if rows.ndim != 2 or rows.dtype.kind not in "fiub":
        raise DataError(f"A block of rows has shape {rows.shape} and dtype {rows.dtype}: a table of numbers is needed.")
    return rows.astype(float_type(rows.dtype), copy=False)
