"""The one inertia by which every library is judged: float64, direct differences, for given centres."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

TILE_BYTES = 32 << 20
SHORT = 1e-7  # of the inertia; rounding the centres to float32 alone makes up to 2e-8 (case F)


def assign(X: np.ndarray, centres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each row's nearest centre and squared distance, in float64.

    Data and centres are shifted by the mean centre before they are squared, so that the candidate search
    loses no digits on data far from the origin; the distance itself is summed directly.
    """
    C = np.asarray(centres, dtype=np.float64)
    shift = C.mean(axis=0)
    centred = C - shift
    half = 0.5 * np.einsum("ij,ij->i", centred, centred)
    step = max(256, TILE_BYTES // (8 * max(len(C), X.shape[1])))
    labels = np.empty(len(X), dtype=np.int32)
    costs = np.empty(len(X))
    for start in range(0, len(X), step):
        rows = np.asarray(X[start : start + step], dtype=np.float64) - shift
        near = np.argmax(rows @ centred.T - half, axis=1)
        rows -= centred[near]
        labels[start : start + step] = near
        costs[start : start + step] = np.einsum("ij,ij->i", rows, rows)
    return labels, costs


def inertia(X: np.ndarray, centres: np.ndarray) -> float:
    """Return the sum of squared distances to the nearest centre, correctly rounded over the rows."""
    return math.fsum(assign(X, centres)[1])


def next_fall(X: np.ndarray, centres: np.ndarray) -> float:
    """Return the share of the inertia that moving the centres to the means of their rows takes away."""
    labels, costs = assign(X, centres)
    rows = np.bincount(labels, minlength=len(centres))
    sums = [np.bincount(labels, X[:, f].astype(np.float64) - centres[:, f].astype(np.float64)[labels], len(centres))
            for f in range(X.shape[1])]  # fmt: skip
    fall = sum((s[rows > 0] ** 2 / rows[rows > 0]).sum() for s in sums)
    return float(fall / math.fsum(costs))


def stopped_short(row: dict[str, Any]) -> bool:
    """Return whether a library took for a fixed point what is none."""
    return bool(row.get("next_fall", 0.0) > SHORT)
