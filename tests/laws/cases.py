"""Data that break careless arithmetic, by name. Every maker takes (rng, n, d, dtype)."""

from __future__ import annotations

import numpy as np


def blobs(rng, n, d, dtype):
    """Overlapping mixtures: many rows have two centres at nearly the same distance."""
    means = rng.normal(size=(6, d)) * 3
    return (means[rng.integers(6, size=n)] + rng.normal(size=(n, d))).astype(dtype)


def uniform(rng, n, d, dtype):
    return rng.uniform(-1, 1, (n, d)).astype(dtype)


def grid(rng, n, d, dtype):
    """Small integers: exact ties everywhere."""
    return rng.integers(0, 4, (n, d)).astype(dtype)


def duplicates(rng, n, d, dtype):
    """Few distinct rows, each many times."""
    return rng.normal(size=(max(2, n // 9), d)).astype(dtype)[rng.integers(max(2, n // 9), size=n)]


def outlier(rng, n, d, dtype):
    """One row at 1e30 among rows of unit scale."""
    X = blobs(rng, n, d, dtype)
    X[n // 3] = 1e30
    return X


def offset(rng, n, d, dtype):
    """Unit scale at 1e6: float32 keeps four bits after the point."""
    return (1e6 + blobs(rng, n, d, np.float64)).astype(dtype)


def integers(rng, n, d, dtype):
    return rng.integers(-1000, 1000, (n, d)).astype(dtype)


def denormals(rng, n, d, dtype):
    """float32: all below the least normal number. float64: as small as its squares allow."""
    return (rng.normal(size=(n, d)) * (1e-41 if dtype == np.float32 else 1e-150)).astype(dtype)


def negative_zeros(rng, n, d, dtype):
    """Half of the entries are zeros, of both signs."""
    X = rng.normal(size=(n, d)).astype(dtype)
    X[rng.uniform(size=X.shape) < 0.25] = 0.0
    X[rng.uniform(size=X.shape) < 0.25] = -0.0
    return X


def scales(rng, n, d, dtype):
    """Features from 1e-8 to 1e8."""
    return (rng.normal(size=(n, d)) * 10.0 ** rng.uniform(-8, 8, d)).astype(dtype)


def wide(rng, n, d, dtype):
    """Values of one feature from 1e-15 to 1e15, both signs: cancellation in every sum."""
    return (rng.choice([-1, 1], (n, d)) * 10.0 ** rng.uniform(-15, 15, (n, d))).astype(dtype)


KINDS = {
    f.__name__: f
    for f in (blobs, uniform, grid, duplicates, outlier, offset, integers, denormals, negative_zeros, scales, wide)
}


def unit_weights(rng, n):
    return None


def integer_weights(rng, n):
    return rng.integers(0, 4, n).astype(float)


def wide_weights(rng, n):
    """From 1e-12 to 1e12."""
    return 10.0 ** rng.uniform(-12, 12, n)


WEIGHTS = {"none": unit_weights, "integer": integer_weights, "wide": wide_weights}
