"""Labels of any kind as numbers 0 .. k - 1, and how often each pair of labels occurs, without sorting where they are
integers of a narrow range."""

from __future__ import annotations

import warnings
from typing import Any, Final, NamedTuple

import numpy as np
import scipy.sparse as sp
from sklearn.utils import check_array, check_consistent_length
from sklearn.utils.multiclass import type_of_target

from ..validation import host

BLOCK: Final = 1 << 16  # labels that are counted at once, in the cache
NARROW: Final = 1 << 16  # values that are counted in a table, or as many as there are labels


class Integers(NamedTuple):
    """Labels as integers from `low` on; `width` values are possible."""

    values: np.ndarray
    low: int
    width: int

    def part(self, start: int, stop: int) -> np.ndarray:
        """Labels start .. stop - 1, i64, counted from 0."""
        values = self.values[start:stop]
        if values.dtype == np.uint64:  # they may not fit i64 before `low` is taken from them
            return (values - np.uint64(self.low)).astype(np.int64)
        return values.astype(np.int64) - self.low


def checked(labels: Any, name: str) -> np.ndarray:
    """Labels [n] on the host.

    Raises
    ------
    ValueError
        If they are not one-dimensional, or NaN or infinite.
    """
    array = check_array(host(labels), ensure_2d=False, ensure_min_samples=0, dtype=None, input_name=name)
    if array.ndim != 1:
        raise ValueError(f"{name} must be 1D: shape is {array.shape!r}")
    return array


def checked_pair(labels_true: Any, labels_pred: Any) -> tuple[np.ndarray, np.ndarray]:
    """Both [n] on the host; a warning where they are not discrete.

    Raises
    ------
    ValueError
        If they are not one-dimensional or of different lengths.
    """
    true, pred = checked(labels_true, "labels_true"), checked(labels_pred, "labels_pred")
    if not (_discrete(true) and _discrete(pred)):
        warnings.warn(
            f"Clustering metrics expects discrete values but received {type_of_target(true)} values for label, and"
            f" {type_of_target(pred)} values for target",
            UserWarning,
            stacklevel=4,
        )
    check_consistent_length(true, pred)
    return true, pred


def _discrete(labels: np.ndarray) -> bool:
    return labels.dtype.kind != "f" or bool(np.all(labels == np.rint(labels)))


def integers(labels: np.ndarray) -> Integers:
    """Labels of any dtype as integers in their order; those of a wide range, and text, are sorted for it."""
    if not len(labels):
        return Integers(np.empty(0, np.int64), 0, 0)
    if labels.dtype.kind in "iub":
        low, high = int(labels.min()), int(labels.max())
        if high - low < max(NARROW, len(labels)):
            return Integers(labels, low, high - low + 1)
    values, codes = np.unique(labels, return_inverse=True)
    return Integers(codes, 0, len(values))


def encoded(labels: np.ndarray) -> tuple[np.ndarray, int]:
    """(codes i32 [n] in 0 .. k - 1 in the order of the labels, k)."""
    found, n = integers(labels), len(labels)
    counts = np.zeros(found.width, np.int64)
    for start, stop in _blocks(n, found.width):
        counts += np.bincount(found.part(start, stop), minlength=found.width)
    place, codes = (np.cumsum(counts > 0) - 1).astype(np.int32), np.empty(n, np.int32)
    for start, stop in _blocks(n, found.width):
        codes[start:stop] = place[found.part(start, stop)]
    return codes, int(np.count_nonzero(counts))


def pair_counts(labels_true: np.ndarray, labels_pred: np.ndarray) -> sp.csr_matrix:
    """How often each pair of labels occurs, i64 [true labels, predicted labels]; no row and no column is empty."""
    a, b, n = integers(labels_true), integers(labels_pred), len(labels_true)
    if a.width * b.width > max(NARROW, n):
        (one, rows), (two, columns) = encoded(labels_true), encoded(labels_pred)
        found = sp.coo_matrix((np.ones(n, np.int64), (one, two)), shape=(rows, columns)).tocsr()
        found.sum_duplicates()
        return found
    counts = np.zeros(a.width * b.width, np.int64)
    for start, stop in _blocks(n, len(counts)):
        code = a.part(start, stop)
        code *= b.width
        code += b.part(start, stop)
        counts += np.bincount(code, minlength=len(counts))
    table = counts.reshape(a.width, b.width)
    return sp.csr_matrix(table[table.any(axis=1)][:, table.any(axis=0)])


def _blocks(n: int, width: int) -> list[tuple[int, int]]:
    """Where blocks of labels start and stop: no smaller than the table that each one is added to."""
    size = max(BLOCK, width)
    return [(start, min(start + size, n)) for start in range(0, n, size)]
