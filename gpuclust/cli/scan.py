"""Passes over the data in chunks: each cluster's size and inertia, and where the first NaN is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gpuclust.cli.failures import DataProblem
from gpuclust.cli.tables import Table

LABELS = 1 << 20


@dataclass(frozen=True)
class Clusters:
    """Per cluster: rows, weight (equal to rows where there are none) and inertia."""

    size: Any
    weight: Any
    inertia: Any


def summarize(table: Table, centers: Any, labels: Any, manhattan: bool = False) -> Clusters:
    """Sum the cost of each row at its own center, in float64: the distance, Manhattan or squared."""
    k = len(centers)
    centers = np.asarray(centers, dtype=np.float64)
    weights, inertia = np.zeros(k), np.zeros(k)
    for rows, X, weight in table.blocks():
        label = labels[rows]
        offset = X - centers[label]
        cost = np.abs(offset).sum(axis=1) if manhattan else np.einsum("ij,ij->i", offset, offset)
        if weight is not None:
            weight = np.asarray(weight, dtype=np.float64)
            cost *= weight
        inertia += np.bincount(label, cost, minlength=k)
        weights += np.bincount(label, weight, minlength=k)
    return Clusters(sizes(labels, k), weights, inertia)


def sizes(labels: Any, k: int) -> Any:
    """Count each cluster's rows, in blocks: bincount widens labels to int64, too much for all at once."""
    total = np.zeros(k, dtype=np.int64)
    for start in range(0, len(labels), LABELS):
        total += np.bincount(labels[start : start + LABELS], minlength=k)
    return total


def require_finite(table: Table) -> None:
    """Raise DataProblem that names the first cell that is NaN or infinite, if there is one."""
    for rows, X, weight in table.blocks():
        for values, names in ((X, table.columns), (weight, ["of weights"])):
            if values is None or values.dtype.kind not in "f":
                continue
            bad = ~np.isfinite(values.reshape(len(values), -1))
            if bad.any():
                row, column = np.argwhere(bad)[0]
                found = values.reshape(len(values), -1)[row, column]
                raise DataProblem(
                    f"{str(table.path)!r} has {_word(found)} in column {names[column]!r}, "
                    f"row {rows.start + row} (the first row is 0); remove or fill such rows first"
                )


def _word(value: Any) -> str:
    return "NaN or nothing" if np.isnan(value) else "an infinite value"
