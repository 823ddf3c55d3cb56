"""What the library must agree with, written as plainly as possible: direct float64 sums, exact means and medians."""

from __future__ import annotations

import math
import operator
from fractions import Fraction
from itertools import accumulate
from typing import NamedTuple

import numpy as np


def direct_costs(X, centers, l1=False):
    """Return costs f64 [n, k]: (x - c)^2, or |x - c|, in float64, features added in order."""
    X, centers = np.asarray(X, np.float64), np.asarray(centers, np.float64)
    out = np.zeros((len(X), len(centers)))
    for f in range(X.shape[1]):
        diff = X[:, f, None] - centers[None, :, f]
        out += np.abs(diff) if l1 else diff * diff
    return out


def direct_labels(X, centers, l1=False):
    """Return the argmin of `direct_costs`, lowest index on ties, a block of rows at a time."""
    rows = max(1, (1 << 22) // len(centers))
    parts = [direct_costs(X[i : i + rows], centers, l1).argmin(axis=1) for i in range(0, len(X), rows)]
    return np.concatenate(parts).astype(np.int32)


def exact_integers(values):
    """Return floats as integers in a common unit, and how many units make 1: a sum of fractions takes ten times as
    long."""
    ratios = [value.as_integer_ratio() for value in np.asarray(values, np.float64).tolist()]
    unit = max((below for _, below in ratios), default=1)  # a power of two, as the others
    return [above * (unit // below) for above, below in ratios], unit


def exact_dot(values, weight=None) -> Fraction:
    """Return sum of w x without any rounding."""
    terms, unit = exact_integers(values)
    if weight is None:
        return Fraction(sum(terms), unit)
    weights, heavy = exact_integers(weight)
    return Fraction(sum(map(operator.mul, weights, terms)), heavy * unit)


def in_integers(X, weight, unit=2.0**-20):
    """Return rows and weights as int64 where sums of them cannot overflow, else None."""
    rows = X / unit
    fits = np.abs(rows).max(initial=0) * weight.sum() < 2**62 and np.array_equal(weight, np.rint(weight))
    return (rows.astype(np.int64), weight.astype(np.int64)) if fits and np.array_equal(rows, np.rint(rows)) else None


class Sums(NamedTuple):
    total: list  # Fraction [k][d]: sum of w x
    size: list  # Fraction [k][d]: sum of w |x|
    mass: list  # Fraction [k]


def exact_sums(X, labels, k, weight=None) -> Sums:
    """Return the clusters' own sums as rational numbers."""
    X = np.asarray(X, np.float64)
    w = np.ones(len(X)) if weight is None else np.asarray(weight, np.float64)
    members = [np.flatnonzero(labels == j) for j in range(k)]
    mass = [exact_dot(w[m]) for m in members]
    return Sums(column_sums(X, w, members), column_sums(np.abs(X), w, members), mass)


def column_sums(X, w, members):
    """Return sum of w x by cluster and feature, as rational numbers."""
    whole = in_integers(X, w)
    if whole is None:
        return [[exact_dot(X[m, f], w[m]) for f in range(X.shape[1])] for m in members]
    rows, w = whole
    return [[Fraction(int(s), 2**20) for s in (rows[m] * w[m, None]).sum(axis=0)] for m in members]


def exact_means(X, labels, old, weight=None):
    """Return means f64 [k, d], each rounded once; a cluster without mass keeps its old centre."""
    X, old = np.asarray(X, np.float64), np.asarray(old, np.float64)
    w = np.ones(len(X)) if weight is None else np.asarray(weight, np.float64)
    members = [np.flatnonzero(labels == j) for j in range(len(old))]
    totals, masses = column_sums(X, w, members), [exact_dot(w[m]) for m in members]
    rows = [[rounded_ratio(s, m) for s in row] if m > 0 else c for row, m, c in zip(totals, masses, old, strict=True)]
    return np.array(rows)


def rounded_ratio(a, b):
    """Return float(a / b) of fractions: Python rounds a quotient of integers once, whether it is in lowest terms or
    not."""
    return a.numerator * b.denominator / (a.denominator * b.numerator)


def median_interval(x, w):
    """Return the least and the greatest minimiser of sum w |x - c|, both of them values of positive weight."""
    order = np.argsort(x, kind="stable")
    x, w = x[order][w[order] > 0], exact_integers(w[order][w[order] > 0])[0]
    total = sum(w)
    for i, running in enumerate(accumulate(w)):
        if 2 * running >= total:
            return x[i], x[i + 1] if 2 * running == total else x[i]
    raise ValueError("no weight")


def exact_medians(X, labels, old, weight=None, lower=False):
    """Return medians f64 [k, d]; a cluster without mass keeps its old centre."""
    X, centers = np.asarray(X, np.float64), np.array(old, np.float64)
    w = np.ones(len(X)) if weight is None else np.asarray(weight, np.float64)
    for j in range(len(centers)):
        own = labels == j
        if np.any(w[own] > 0):
            for f in range(X.shape[1]):
                one, two = median_interval(X[own, f], w[own])
                centers[j, f] = one if lower else (one + two) / 2
    return centers + 0.0


class Step(NamedTuple):
    labels: np.ndarray
    cost: float  # of the labels against the centres that they were made with
    centers: np.ndarray  # the next ones


def lloyd_medians(X, centers, max_iter, weight=None, lower=False):
    """Return the steps of plain Lloyd with Manhattan distances and medians; relocated rows are of their new cluster."""
    X, centers, steps, before = np.asarray(X, np.float64), np.asarray(centers, np.float64), [], None
    w = np.ones(len(X)) if weight is None else np.asarray(weight, np.float64)
    for _ in range(max_iter):
        costs = direct_costs(X, centers, True)
        labels = costs.argmin(axis=1)
        own = costs[np.arange(len(X)), labels]
        given = relocated(labels, own, w, len(centers))
        steps.append(Step(labels, math.fsum(w * own), exact_medians(X, given, centers, w, lower)))
        if before is not None and np.array_equal(labels, before):
            break
        centers, before = steps[-1].centers, given
    return steps


def lloyd(X, centers, max_iter, weight=None):
    """Return the steps of plain Lloyd: every row against every centre, exact means, relocation, no bounds."""
    X, centers, steps = np.asarray(X, np.float64), np.asarray(centers, np.float64), []
    w = np.ones(len(X)) if weight is None else np.asarray(weight, np.float64)
    for _ in range(max_iter):
        costs = direct_costs(X, centers)
        labels = costs.argmin(axis=1)
        own = costs[np.arange(len(X)), labels]
        given = relocated(labels, own, w, len(centers))
        steps.append(Step(labels, math.fsum(w * own), exact_means(X, given, centers, w)))
        same = len(steps) > 1 and np.array_equal(labels, steps[-2].labels)
        if same or np.array_equal(centers, steps[-1].centers):
            break
        centers = steps[-1].centers
    return steps


def relocated(labels, own, weight, k):
    """Return labels in which clusters without mass own the farthest rows: highest cost, lowest row, never cost 0."""
    labels, mass = labels.copy(), np.bincount(labels, weight, k)
    empty = np.flatnonzero(~(mass > 0))
    candidates = np.flatnonzero((weight > 0) & (own > 0))
    order = candidates[np.lexsort((candidates, -own[candidates]))]
    for j, row in zip(empty, order, strict=False):
        labels[row] = j
    return labels
