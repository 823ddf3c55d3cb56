"""What every part of the package needs of the user's data: rows as a source, names, labels, columns, tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, ClassVar, Final

import numpy as np

from ..backends.base import Array, Backend, Chunk
from ..backends.moments import Moments, Summary, of_rows
from ..config import Device, get_config
from ..data.source import Source
from ..errors import DataError, NotFiniteError
from ..extras import require
from ..validation import Reader, feature_names_of, open_source, refusing

BLOCK_BYTES: Final = 16 << 20  # of a block of rows on the host
COLUMN_BYTES: Final = 256 << 20  # of the columns that are held at a time
FEW_LABELS: Final = 1 << 20  # range of integer labels that are counted instead of sorted
NOISE: Final = -1  # the label that means "in no cluster"


@dataclass(frozen=True)
class Opened:
    """The user's rows, and what the features are called."""

    source: Source
    names: list[str]


@contextmanager
def opened(
    X: Any, feature_names: Sequence[Any] | None, device: Device, chunk_size: int | None, *, finite: bool = True
) -> Iterator[Opened]:
    """X of any supported kind; values that are not finite are refused inside, in scikit-learn's words.

    Raises
    ------
    ValueError
        If `feature_names` are not one for each feature; what scikit-learn raises for the same X.
    """
    holder, device = Reader(), device_at(X, device)
    source = open_source(holder, X, None, device, reset=True, chunk_size=chunk_size, finite=finite)
    check_unweighted(source)
    names = feature_names_of(holder, source.n_features) if feature_names is None else list(map(str, feature_names))
    if len(names) != source.n_features:
        raise ValueError(f"feature_names has {len(names)} entries, X has {source.n_features} features.")
    with refusing(holder, X, device):
        yield Opened(source, names)


def check_unweighted(source: Source) -> None:
    """Raise DataError where rows come with weights."""
    if source.weighted:
        raise DataError("Rows count once here; open the stream without its weights: columns= chooses what is read.")


def device_at(X: Any, device: Device) -> Device:
    """'auto': where the rows are, since what is computed here is computed on the host for the most part."""
    if device == "auto" and get_config().device == "auto" and not hasattr(X, "__cuda_array_interface__"):
        return "cpu"
    return device


@dataclass(frozen=True)
class Groups:
    """Rows by label."""

    names: np.ndarray  # the labels, ascending
    code: np.ndarray  # i32 [n]: index into names

    @classmethod
    def of(cls, labels: Any, n_rows: int) -> Groups:
        """Groups of the user's labels, wherever they are.

        Raises
        ------
        ValueError
            If they are not one for each row, or some are missing.
        """
        labels = np.asarray(labels.get() if hasattr(labels, "__cuda_array_interface__") else labels)
        if labels.shape != (n_rows,):
            raise ValueError(f"labels has shape {labels.shape}, expected ({n_rows},): one label for each row of X.")
        if pandas().isna(labels).any():
            raise ValueError("labels has missing values: drop those rows, or label them -1, which stands for noise.")
        if labels.dtype.kind in "iu" and n_rows and int(labels.max()) - int(labels.min()) < FEW_LABELS:
            wide = labels.astype(np.int64)
            least = wide.min()
            wide -= least
            count = np.bincount(wide)
            names = (np.flatnonzero(count) + least).astype(labels.dtype)
            return cls(names, np.cumsum(count > 0, dtype=np.int32)[wide] - np.int32(1))
        names, code = np.unique(labels, return_inverse=True)
        return cls(names, code.astype(np.int32))

    @property
    def noise(self) -> int | None:
        """Which group is noise, if any is."""
        if self.names.dtype.kind not in "if" or NOISE not in self.names:
            return None
        return int(np.searchsorted(self.names, NOISE))

    @property
    def clusters(self) -> np.ndarray:
        """The groups that are clusters, i64."""
        every = np.arange(len(self.names))
        return every if self.noise is None else np.delete(every, self.noise)

    def place(self, source: Source) -> None:
        """The ledger's labels <- the rows' groups."""
        source.allocate("label", np.int32, 0)
        source.fill("label", self.code)


def host(backend: Backend, rows: Array) -> np.ndarray:
    """Rows dense and C-contiguous on the host."""
    found: Any = backend.to_host(rows)
    return np.ascontiguousarray(found.toarray() if hasattr(found, "toarray") else found)


def blocks(chunk: Chunk, width: int = 0) -> Iterator[tuple[slice, Array]]:
    """Where in the whole data a few rows of a chunk are, and the rows on the device, not yet dense.

    `width`: numbers to a row that are held beside it, if there are more of them than features.
    """
    n, d = chunk.X.shape
    step = max(1, BLOCK_BYTES // (8 * max(d, width)))
    for start in range(0, n, step):
        rows = chunk.X[start : start + step]
        yield slice(chunk.start + start, chunk.start + start + rows.shape[0]), rows


def moments(source: Source, code: np.ndarray, k: int, *, finite: bool = True) -> Summary:
    """Moments of the rows by group i32 [n]. One pass, or two where values lie far from 0 for their spread.

    Raises
    ------
    NotFiniteError
        If `finite` and a value is not.
    """
    if source.remote:
        Groups(np.arange(k), code).place(source)
    told = None if source.remote else code
    first: Moments = source.fold(_moments, told, np.zeros((k, source.n_features)))
    bad = np.flatnonzero(first.count.sum(axis=0) < len(code))
    if finite and len(bad):
        raise NotFiniteError(
            f"Input X contains NaN or infinity: feature {bad[0]}. Drop or impute those rows first, for example with"
            " sklearn.impute.SimpleImputer."
        )
    found = Summary(first.count, first.low, first.high, first.total, first.deviation())
    if not first.cancels():
        return found
    about: Moments = source.fold(_moments, told, np.nan_to_num(found.mean))
    return replace(found, deviation=about.deviation())


def _moments(backend: Backend, chunk: Chunk, code: np.ndarray | None, origin: np.ndarray) -> Moments:
    """`code` i32: of all rows there are; None: the ledger's labels."""
    first, code = (0, code) if code is not None else (chunk.start, backend.to_host(chunk.rows["label"]))
    parts = (
        of_rows(host(backend, rows), code[where.start - first : where.stop - first], origin)
        for where, rows in blocks(chunk)
    )
    return reduce(Moments.merge, parts)


@dataclass(frozen=True)
class Parts:
    """What is as long as the data, in row order."""

    ordered: ClassVar[bool] = True  # merged in the order of the rows only
    parts: tuple[Any, ...]

    def merge(self, other: Parts) -> Parts:
        return Parts(self.parts + other.parts)


def column_bytes() -> int:
    """Bytes of columns that are held at a time: a quarter of the memory budget, if there is one."""
    budget = get_config().memory
    return COLUMN_BYTES if budget is None else min(COLUMN_BYTES, budget // 4)


def columns(source: Source) -> Iterator[np.ndarray]:
    """Every feature as an array [n] in the rows' dtype, as many at a time as fit; a pass over the data for these."""
    wide = max(1, column_bytes() // (source.n_rows * source.dtype.itemsize))
    for first in range(0, source.n_features, wide):
        found: Parts = source.fold(_columns, first, first + wide)
        for f in range(len(found.parts[0])):
            yield np.concatenate([part[f] for part in found.parts])


def _columns(backend: Backend, chunk: Chunk, first: int, last: int) -> Parts:
    parts = (host(backend, rows[:, first:last]) for _, rows in blocks(chunk))
    return Parts(tuple(part.T.copy() for part in parts))


def listed(names: Sequence[Any], most: int = 5) -> str:
    """Names for a sentence."""
    text = ", ".join(map(str, names[:most]))
    return f"{text} and {len(names) - most} more" if len(names) > most else text


def pandas() -> Any:
    """The module.

    Raises
    ------
    ImportError
        With the line that installs it.
    """
    return require("pandas", "A table")
