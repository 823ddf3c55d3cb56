"""Cluster numbers that do not move from one run to the next."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.utils import check_consistent_length, column_or_1d


def align_labels(reference: Any, labels: Any) -> np.ndarray:
    """`labels` with their clusters numbered as in `reference`, as far as they share rows.

    Clusters are matched one to one so that as many rows as possible keep their number (the Hungarian method; Kuhn,
    Naval Research Logistics Quarterly 2, 1955). Among equal matches the one that changes fewest numbers is taken.

    Parameters
    ----------
    reference, labels : array-like of int of shape (n_samples,)

    Returns
    -------
    aligned : int64 array of shape (n_samples,)
        Clusters without a match have new numbers, from the largest of `reference` plus one on, in their old order.

    Raises
    ------
    ValueError
        If the labels are not integers, not one-dimensional, or differ in number.

    Examples
    --------
    >>> from gpuclust.selection import align_labels
    >>> align_labels([0, 0, 1, 1, 2], [2, 2, 0, 0, 1])
    array([0, 0, 1, 1, 2])
    """
    kept, own = _integers(reference, "reference"), _integers(labels, "labels")
    check_consistent_length(kept, own)
    if not len(kept):
        return own
    (names, rows), (mine, columns) = (np.unique(each, return_inverse=True) for each in (kept, own))
    overlap = contingency(rows, columns, len(names), len(mine))
    numbers, matched = np.empty(len(mine), np.int64), np.zeros(len(mine), bool)
    # as many rows as possible; then, among equals, as many numbers as possible that stay
    stays = names[:, None] == mine
    for row, column in zip(*linear_sum_assignment(overlap * (min(overlap.shape) + 1) + stays, True), strict=True):
        if overlap[row, column]:
            numbers[column], matched[column] = names[row], True
    numbers[~matched] = names[-1] + 1 + np.arange(np.count_nonzero(~matched))
    return numbers[columns]


def _integers(labels: Any, name: str) -> np.ndarray:
    found = column_or_1d(labels.get() if hasattr(labels, "get") and hasattr(labels, "device") else labels)
    if found.dtype.kind not in "iu" and len(found):
        raise ValueError(f"{name} must be integers, not {found.dtype}: new clusters get new numbers.")
    if found.dtype == np.uint64 and found.max(initial=0) > np.iinfo(np.int64).max:
        raise ValueError(f"{name} holds numbers that int64 cannot: number the clusters from 0.")
    return found.astype(np.int64)


def contingency(one: np.ndarray, other: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """How many rows have each pair of labels 0 .. rows - 1 and 0 .. columns - 1, i64 [rows, columns]."""
    pair = one.astype(np.int64) * columns + other
    return np.bincount(pair, minlength=rows * columns).reshape(rows, columns)
