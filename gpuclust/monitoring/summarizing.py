"""The training summary of a model, from the rows that it was fitted on.

Rows of numbers that fit the memory are sorted, column by column. Of more rows than that, the values that are kept come
from a sample, and a second pass counts how many of all values are at most each: both are exact in what they say, and
differ only in where it is said.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .. import models
from .blocks import Block, open_rows
from .curves import Curve, Held, counted, wanted
from .summary import FAR, MOST_CATEGORIES, TrainingSummary
from .tally import finite


def summarize(model: Any, X: Any, *, sample_weight: Any = None) -> TrainingSummary:
    """What is to be known of a model's training rows to tell later whether new rows are like them.

    Reads the rows once where their numbers fit in 256 MB (a quarter of the memory budget, if there is one), else twice;
    keeps 12 bytes a row meanwhile (20 with weights). The result does not depend on the chunk size.

    Parameters
    ----------
    model : fitted clustering estimator, or Pipeline that ends in one
    X : array-like, sparse CSR, DataFrame, stream or path of shape (n_samples, n_features)
        The rows that the model was fitted on, as it was given them: before any preprocessing. Columns of a DataFrame
        or a Parquet file that are no numbers are categories.
    sample_weight : array-like of shape (n_samples,), optional
        The weights of the fit. Shares are by weight then, and tests take (sum w)^2 / sum w^2 for the number of rows.

    Returns
    -------
    TrainingSummary
        About 1000 values of each column of numbers (all of them, of up to 1000 rows), with the share of the rows that
        is at most each; fewer where there are more than 256 columns.

    Raises
    ------
    NotFittedError
        If `fit` was not called.
    ValueError
        If X has another number of columns, or the model can take none of its rows.
    DataError
        If a file cannot be read.
    """
    rows = open_rows(model, X, sample_weight)
    found = _Found(rows.categorical)
    for block in rows.read():
        found.add(_positive(block))
    if not len(np.concatenate(found.labels)):
        raise ValueError("X has no row that the model can take; there is nothing to sum up.")
    curves = found.held.curves()
    if found.held.limit is not None:
        curves = _exact(curves, found, rows.read())
    return found.summary(curves, len(models.parts(model).estimator.cluster_centers_))


def _positive(block: Block) -> Block:
    """The rows that count."""
    if block.weight is None or np.all(block.weight > 0):
        return block
    some = block.weight > 0
    return replace(
        block, columns=[column[some] for column in block.columns], weight=block.weight[some], label=block.label[some],
        distance=block.distance[some], number=block.number[some],
    )  # fmt: skip


@dataclass
class _Found:
    """What one pass tells."""

    categorical: np.ndarray  # bool [d]
    weighted: bool = False
    n_rows: int = 0
    weight: float = 0.0
    squares: float = 0.0  # of the weights
    held: Held = field(default_factory=Held)
    labels: list[np.ndarray] = field(default_factory=list)  # of the rows that the model can take
    distances: list[np.ndarray] = field(default_factory=list)
    weights: list[np.ndarray] = field(default_factory=list)
    names: list[dict[str, float]] = field(default_factory=list)  # weight of each category, by column
    missing: np.ndarray = field(default_factory=lambda: np.zeros(0))  # f64 [d], by weight
    low: np.ndarray = field(default_factory=lambda: np.zeros(0))
    high: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        d = len(self.categorical)
        self.names = [defaultdict(float) for _ in range(d)]
        self.missing, self.low, self.high = np.zeros(d), np.full(d, np.inf), np.full(d, -np.inf)

    def add(self, block: Block) -> None:
        weight = np.ones(len(block.number)) if block.weight is None else block.weight
        self.weighted |= block.weight is not None
        self.n_rows += len(weight)
        self.weight += weight.sum()
        self.squares += np.square(weight).sum()
        for f, column in enumerate(block.columns):
            (self._add_categories if self.categorical[f] else self._add_numbers)(f, column, weight)
        numeric = [column for column, text in zip(block.columns, self.categorical, strict=True) if not text]
        if numeric:
            self.held.add(numeric, block.weight, block.number)
        taken = block.label >= 0
        self.labels.append(block.label[taken])
        self.distances.append(block.distance[taken])
        self.weights += [weight[taken]] if self.weighted else []

    def _add_numbers(self, f: int, column: np.ndarray, weight: np.ndarray) -> None:
        there = finite(column)
        if there is not None:
            self.missing[f] += weight[~there].sum()
            column = column[there]
        if len(column):
            self.low[f] = min(self.low[f], column.min())
            self.high[f] = max(self.high[f], column.max())

    def _add_categories(self, f: int, column: np.ndarray, weight: np.ndarray) -> None:
        table = self.names[f]
        for name, part in zip(column.tolist(), weight.tolist(), strict=True):
            if name is None:
                self.missing[f] += part
            else:
                table[name] += part

    def summary(self, curves: list[Curve], k: int) -> TrainingSummary:
        label, distance = np.concatenate(self.labels), np.concatenate(self.distances)
        weight = np.concatenate(self.weights) if self.weighted else None
        held = np.bincount(label, weight, minlength=k)
        away = Curve.of(distance, weight, np.union1d(wanted(1), [FAR]))
        numeric, d = iter(curves), len(self.categorical)
        blank = Curve.of(np.empty(0), None, wanted(len(curves)))
        each = [blank if text else next(numeric) for text in self.categorical]
        effective = float(self.weight**2 / self.squares) if self.weighted else float(self.n_rows)
        return TrainingSummary(
            n_rows=self.n_rows,
            n_effective=min(effective, float(self.n_rows)),
            quantiles=np.array([curve.values for curve in each]).reshape(d, -1),
            probabilities=np.array([curve.shares for curve in each]).reshape(d, -1),
            missing=self.missing / self.weight,
            categories=tuple(_shares(self.names[f]) if text else None for f, text in enumerate(self.categorical)),
            counts=np.bincount(label, minlength=k).astype(np.int64),
            shares=held / held.sum(),
            distances=away.values,
            distance_probabilities=away.shares,
            far=float(away.values[np.searchsorted(away.shares, FAR * (1 - 1e-12))]),
        )


def _shares(weights: dict[str, float]) -> dict[str, float]:
    """Of the most frequent categories, most frequent first."""
    total = sum(weights.values())
    order = sorted(weights, key=lambda name: (-weights[name], name))[:MOST_CATEGORIES]
    return {name: weights[name] / total for name in order}


def _exact(curves: list[Curve], found: _Found, blocks: Iterator[Block]) -> list[Curve]:
    """The same values, between the least and the largest, with shares of all rows. One pass."""
    numeric = np.flatnonzero(~found.categorical)
    kept = [_ranged(curve.values, found.low[f], found.high[f]) for curve, f in zip(curves, numeric, strict=True)]
    cells = [np.zeros(len(values) + 1) for values in kept]
    for block in map(_positive, blocks):
        for i, f in enumerate(numeric):
            there = np.isfinite(block.columns[f])
            weight = None if block.weight is None else block.weight[there]
            cells[i] += counted(kept[i], block.columns[f][there].astype(np.float64), weight)
    upto = [np.cumsum(each[:-1]) for each in cells]
    with np.errstate(invalid="ignore"):  # a column without values
        return [Curve(values, each / each[-1]) for values, each in zip(kept, upto, strict=True)]


def _ranged(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Values of a sample (NaN where it has none) with the least and the largest of all rows, if there are any."""
    if low > high:
        return values
    inner = np.where(np.isnan(values[1:-1]), low, values[1:-1])
    return np.concatenate([[low], inner, [high]]) + 0.0
