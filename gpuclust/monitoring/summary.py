"""What a model file tells of the rows that the model was fitted on, so that new rows can be compared without them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, Final, Self

import numpy as np

MOST_CATEGORIES: Final = 1000  # of a column; what is rarer is not listed, and the listed shares sum to less than 1
EXACT: Final = 1e-9  # by how much shares may miss 1
FAR: Final = 0.999  # share of the training rows that lie within `TrainingSummary.far`


@dataclass(frozen=True)
class TrainingSummary:
    """Order statistics of the training rows, before any preprocessing, and of their distances to the centres.

    Of a column of numbers, q of its values are kept, with the exact share of the training rows that are at most each.
    """

    n_rows: int
    n_effective: float  # (sum of weights)^2 / sum of squared weights (Kish 1965); n_rows where rows count once
    quantiles: np.ndarray  # f64 [d, q], ascending: values of each column, from its least to its largest; NaN: none
    probabilities: np.ndarray  # f64 [d, q]: share of the column's values that are at most `quantiles`; the last is 1
    missing: np.ndarray  # f64 [d]: share of rows without a value
    categories: tuple[dict[str, float] | None, ...]  # by column: share of each value among those there; None: numbers
    counts: np.ndarray  # i64 [k]: rows of each cluster
    shares: np.ndarray  # f64 [k]: of each cluster, by weight
    distances: np.ndarray  # f64 [p], ascending: distances of rows to their own centre
    distance_probabilities: np.ndarray  # f64 [p]: share of the rows whose distance is at most that
    far: float  # the distance that 99.9 % of the rows do not exceed

    @property
    def n_features(self) -> int:
        return len(self.missing)

    def as_dict(self) -> dict[str, Any]:
        """Plain values and NumPy arrays by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_dict(cls, values: dict[str, Any], n_features: int, n_clusters: int) -> Self:
        """The summary that `as_dict` told of a model with so many columns and clusters.

        Raises
        ------
        ValueError
            If something is missing, or is not what a summary holds.
        """
        names = [field.name for field in fields(cls)]
        if not isinstance(values, dict) or sorted(map(str, values)) != sorted(names):
            raise ValueError(f"a training summary has {', '.join(names)}")
        _check_shapes(values, n_features, n_clusters)
        for fine, problem in _rules(values):
            if not fine:
                raise ValueError(f"the training summary is damaged: {problem}")
        return cls(**(values | {"categories": tuple(values["categories"])}))


def _check_shapes(values: dict[str, Any], d: int, k: int) -> None:
    q, p = (np.shape(values[name])[-1:] for name in ("quantiles", "distances"))
    shapes = {
        "quantiles": (d, *q), "probabilities": (d, *q), "missing": (d,), "counts": (k,), "shares": (k,),
        "distances": p, "distance_probabilities": p,
    }  # fmt: skip
    for name, shape in shapes.items():
        found, dtype = values[name], np.int64 if name == "counts" else np.float64
        if not isinstance(found, np.ndarray) or found.dtype != dtype or found.shape != shape or 0 in shape:
            kind = f"{found.dtype} {found.shape}" if isinstance(found, np.ndarray) else type(found).__name__
            raise ValueError(f"{name} of the training summary is {kind}, not {np.dtype(dtype)} {shape}")


def _rules(values: dict[str, Any]) -> Iterator[tuple[bool, str]]:
    """Pairs of what must hold and what is wrong otherwise."""
    n, effective, far = (values[name] for name in ("n_rows", "n_effective", "far"))
    yield type(n) is int and 0 < n < 1 << 53, f"n_rows is {n!r}"
    yield _number(effective) and 0 < effective <= n * (1 + EXACT), f"n_effective is {effective!r}"
    yield _number(far) and far >= 0, f"far is {far!r}"
    yield _within(values["missing"], 0, 1), "a share of missing values is not in [0, 1]"
    yield _within(values["shares"], 0, 1) and abs(values["shares"].sum() - 1) < EXACT, "the shares do not sum to 1"
    counts = values["counts"]
    yield bool(np.all((counts >= 0) & (counts <= n))), "a cluster has fewer than 0 rows, or more than all"
    yield 0 < int(counts.sum()) <= n, "the clusters do not have the rows"
    yield _curve(values["distances"], values["distance_probabilities"]), "the distances are not in order"
    yield values["distances"][0] >= 0, "a distance is negative"
    yield values["distances"][0] <= far <= values["distances"][-1], "far is none of the distances"
    yield from _column_rules(values)


def _column_rules(values: dict[str, Any]) -> Iterator[tuple[bool, str]]:
    categories = values["categories"]
    yield isinstance(categories, tuple | list) and len(categories) == len(values["missing"]), "columns are missing"
    for f, listed in enumerate(categories):
        cut, share = values["quantiles"][f], values["probabilities"][f]
        if listed is not None:
            yield _listed(listed, values["missing"][f]), f"the categories of column {f} are not shares that sum to 1"
        if listed is not None or values["missing"][f] == 1:
            yield bool(np.all(np.isnan(cut) & np.isnan(share))), f"column {f} has no numbers, but quantiles"
        else:
            yield _curve(cut, share), f"the quantiles of column {f} are not in order"


def _number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _within(values: np.ndarray, low: float, high: float) -> bool:
    return bool(np.all((values >= low) & (values <= high)))


def _curve(values: np.ndarray, shares: np.ndarray) -> bool:
    """Whether finite values rise with shares that end at 1."""
    rise = np.all(np.diff(values) >= 0) and np.all(np.diff(shares) >= 0)
    return bool(rise and np.isfinite(values).all() and shares[0] > 0 and shares[-1] == 1)


def _listed(shares: Any, missing: float) -> bool:
    if not isinstance(shares, dict) or len(shares) > MOST_CATEGORIES:
        return False
    if not all(type(name) is str and _number(share) and 0 < share <= 1 for name, share in shares.items()):
        return False
    total = math.fsum(shares.values())
    if missing == 1:
        return not shares
    return abs(total - 1) < EXACT or (len(shares) == MOST_CATEGORIES and total < 1)
