"""Certified labels on CUDA: float32 products, float64 products, then the definition, each for fewer rows.

A product gives |c|^2 - 2 x.c, centred and scaled, for a tile of rows. A row keeps its label where the gap
between the best two exceeds the rounding error of both (`kernels.margins._margin`, expanded form; every order of
summation keeps that bound). The others go to the next precision; what float64 cannot tell either is summed
directly, features in order. Manhattan distances are summed directly from the start: they have no product.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import cupy
import numpy as np

from .cuda_memory import send, tiles
from .frame import Frame
from .metric import Metric
from .statistics import Array

PRECISIONS: Final = (np.float32, np.float64)
PROBE: Final = 64


class Factor(NamedTuple):
    """Centres in one precision, centred and scaled."""

    product: Array  # [d, k]: -2 c
    square: Array  # [k]: |c|^2
    norm: Array  # [k]: upper bounds of |c|
    delta: Array  # []: error of a score in units of (|x| + |c|)^2; inf where products are less precise
    tiny: float  # what underflow can add


class PackedCenters(NamedTuple):
    columns: Array  # f64 [d, k], as they are
    shift: Array  # X's dtype [d]
    scale: Any
    factors: tuple[Factor, ...]  # float32, float64; none for Manhattan distances
    metric: Metric


def pack(centers: np.ndarray, frame: Frame) -> PackedCenters:
    """Host centres f64 [k, d] on the device."""
    with np.errstate(over="ignore", invalid="ignore"):  # centres far outside: inf scores, decided in float64
        exact = (centers - frame.shift) * float(frame.scale)
        precisions = () if frame.metric.l1 else PRECISIONS
        factors = tuple(_factor(exact, np.dtype(dtype)) for dtype in precisions)
    return PackedCenters(send(centers.T), send(frame.shift), frame.scale, factors, frame.metric)


def _factor(exact: np.ndarray, dtype: np.dtype) -> Factor:
    d = exact.shape[1]
    rounded, info = exact.astype(dtype), np.finfo(dtype)
    square = np.einsum("jf,jf->j", rounded, rounded, dtype=np.float64)
    norm = np.sqrt(np.einsum("jf,jf->j", exact, exact)) * (1 + 1e-6)
    delta = 1.05 * (d + 8) * float(info.eps) / 2
    return Factor(
        send(-2 * rounded.T), send(square, dtype), send(norm, dtype),
        cupy.where(_is_precise(dtype), delta, np.inf).astype(dtype), float(info.tiny) * 4 * (d + 8),
    )  # fmt: skip


def _is_precise(dtype: np.dtype) -> Array:
    """Whether products keep every bit of `dtype`, bool [] left on the device so that nothing waits for it.

    TF32 or an emulation, switched on by the user or the environment, would break the bound.
    """
    odd = cupy.arange(PROBE * PROBE).reshape(PROBE, PROBE) * 2 + 1
    probe = (odd * float(np.finfo(dtype).eps) + 1.0).astype(dtype)
    return (cupy.dot(probe, cupy.eye(PROBE, dtype=dtype)) == probe).all()


def nearest(X: Array, packed: PackedCenters, level: int = 0) -> Array:
    """Index of the nearest centre, i32 [n], from precision `level` on."""
    if level == len(packed.factors):
        return _nearest_direct(X, packed.columns, packed.metric)
    label = cupy.empty(len(X), np.int32)
    doubt = cupy.flatnonzero(_score(X, packed, level, label))

    def step(start: int, stop: int) -> None:
        part = doubt[start:stop]
        label[part] = nearest(X[part], packed, level + 1)

    tiles(len(doubt), X.shape[1] * X.itemsize + 48, step)
    return label


def _score(X: Array, packed: PackedCenters, level: int, label: Array) -> Array:
    """label <- best by the products of one precision; returns which rows they cannot decide, bool [n]."""
    factor, dtype = packed.factors[level], np.dtype(PRECISIONS[level])
    (n, d), k = X.shape, len(factor.square)
    one, two, square = (cupy.empty(n, dtype) for _ in range(3))

    def step(start: int, stop: int) -> None:
        x = _centred(X[start:stop], packed, dtype)
        score = cupy.dot(x, factor.product)
        score += factor.square
        best = score.argmin(axis=1)
        flat, at = score.reshape(-1), cupy.arange(stop - start) * k + best
        label[start:stop] = best
        one[start:stop] = flat[at]
        flat[at] = np.inf
        two[start:stop] = score.min(axis=1)
        square[start:stop] = (x * x).sum(axis=1)

    tiles(n, (k + 2 * d) * dtype.itemsize + 32, step)
    return ~_certain(one, two, square, factor.norm[label], factor)


def _centred(X: Array, packed: PackedCenters, dtype: np.dtype) -> Array:
    """(X - shift) * scale: in X's own precision or in `dtype`, whichever is wider."""
    wide = np.promote_types(X.dtype, dtype)
    x = X.astype(wide, copy=False) - packed.shift.astype(wide, copy=False)
    x *= wide.type(packed.scale)
    return x.astype(dtype, copy=False)


def _certain(one: Array, two: Array, square: Array, norm: Array, factor: Factor) -> Array:
    """Whether the best score beats the second by more than the errors of both (False for NaN)."""
    xn = cupy.sqrt(square)
    distance = cupy.maximum(one + square, 0.0)
    own = _margin(xn + norm, factor)
    reach = cupy.sqrt(distance + own)  # no centre farther out than |x| + reach can be nearer
    return two - one > own + _margin(xn + (xn + reach), factor)


def _margin(total: Array, factor: Factor) -> Array:
    return total * total * factor.delta + factor.tiny


def _nearest_direct(X: Array, columns: Array, metric: Metric) -> Array:
    """The definition of a label: lowest index of the least direct sum; -1 where a value is not finite."""
    label = cupy.empty(len(X), np.int32)

    def step(start: int, stop: int) -> None:
        nearest = direct_sums(X[start:stop], columns, metric).argmin(axis=1)
        label[start:stop] = cupy.where(cupy.isfinite(X[start:stop]).all(axis=1), nearest, -1)

    tiles(len(X), 24 * columns.shape[1], step)
    return label


def term(diff: Array, metric: Metric) -> Array:
    """What a difference in one feature costs; `diff` is used up."""
    if metric.l1:
        return cupy.abs(diff)
    diff *= diff
    return diff


def direct_sums(X: Array, columns: Array, metric: Metric) -> Array:
    """Costs f64 [n, k] summed directly, features in order; columns f64 [d, k]."""
    out = cupy.zeros((len(X), columns.shape[1]))
    for f in range(len(columns)):
        out += term(X[:, f].astype(np.float64)[:, None] - columns[f], metric)
    return out


def distances(X: Array, centers: np.ndarray, dtype: Any, metric: Metric) -> Array:
    """Distances [n, k], summed in float64, rounded once to `dtype`."""
    columns = send(centers.T, np.float64)
    out = cupy.empty((len(X), len(centers)), dtype)

    def step(start: int, stop: int) -> None:
        cost = direct_sums(X[start:stop], columns, metric)
        out[start:stop] = cost if metric.l1 else cupy.sqrt(cost)

    tiles(len(X), 24 * len(centers), step)
    return out


def costs(X: Array, centers: np.ndarray, label: Array, metric: Metric) -> Array:
    """Cost of each row at its own centre, summed directly, features in order. f64 [n]."""
    columns = send(centers.T, np.float64)
    out = cupy.empty(len(X))

    def step(start: int, stop: int) -> None:
        own, cost = label[start:stop], cupy.zeros(stop - start)
        for f in range(len(columns)):
            cost += term(X[start:stop, f].astype(np.float64) - columns[f][own], metric)
        out[start:stop] = cost

    tiles(len(X), 32, step)
    return out
