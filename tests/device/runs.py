"""Arrays on the device, and the same work on both."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from laws.runs import fit


def device_array(cupy, host):
    """Return a host array's copy on the current device."""
    out = cupy.empty(host.shape, host.dtype)
    out.set(host)
    return out


def both(X, weight=None, **how):
    """Return the same fit on a GPU and on the CPU."""
    return fit(X, weight, device="cuda", **how), fit(X, weight, device="cpu", **how)


def with_square(total, t):
    """Return total + t * t, rounded once, for arrays of one type (float32: but for halves in float64)."""
    if t.dtype == np.float32:  # in float64 the square is exact
        return (t.astype(np.float64) ** 2 + total).astype(np.float32)
    exact = np.frompyfunc(lambda total, t: float(Fraction(total) + Fraction(t) ** 2), 2, 1)
    return exact(total, t).astype(np.float64)
