"""Arrays on the device, and the same work on both."""

from __future__ import annotations

from laws.runs import fit


def device_array(cupy, host):
    """Return a host array's copy on the current device."""
    out = cupy.empty(host.shape, host.dtype)
    out.set(host)
    return out


def both(X, weight=None, **how):
    """Return the same fit on a GPU and on the CPU."""
    return fit(X, weight, device="cuda", **how), fit(X, weight, device="cpu", **how)
