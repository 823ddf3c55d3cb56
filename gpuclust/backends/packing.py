"""Centres as the CPU kernels read them."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from .frame import Frame
from .kernels.assign import PackedCenters
from .kernels.tile import PANEL
from .layout import Layout

DIFFERENCE_UP_TO: Final = 8  # features; (x - c)^2 costs twice |c|^2 - 2 x.c and needs far fewer exact rechecks
NO_WEIGHT: Final = np.empty(0)


def alias(a: np.ndarray) -> np.ndarray:
    """The same memory without the read-only flag: one compiled kernel serves memmaps and user arrays alike.

    No kernel writes to rows or weights.
    """
    if a.flags.writeable:
        return a
    face = dict(a.__array_interface__, data=(a.__array_interface__["data"][0], False))
    holder = type("Rows", (), {"__array_interface__": face, "owner": a})()
    return np.asarray(holder)


def rounding(d: int) -> tuple[bool, np.float32]:
    """Which form the scores take, and its error factor (see `kernels.assign._margin`)."""
    diff = d <= DIFFERENCE_UP_TO
    return diff, np.float32(1.05 * (d + (4 if diff else 8)) * 2.0**-24)


def pack_centers(centers: np.ndarray, frame: Frame, layout: Layout, before: np.ndarray | None) -> PackedCenters:
    """Centred, scaled, float32, in panels; with how far each moved from `before` (None: no bounds to age)."""
    k, d = centers.shape
    diff = rounding(d)[0]
    rounded = ((centers - frame.shift) * float(frame.scale)).astype(np.float32)
    placed = rounded[layout.order] * layout.real[:, None].astype(np.float32)
    panels = np.ascontiguousarray(placed.reshape(-1, PANEL, d).transpose(0, 2, 1)).ravel()
    square = np.einsum("jf,jf->j", rounded, rounded, dtype=np.float64)
    norms = np.where(layout.real, 0.0 if diff else square[layout.order], np.inf).astype(np.float32)
    drift = np.zeros(k) if before is None else np.sqrt(((centers - before) ** 2).sum(axis=1)) * float(frame.scale)
    drift = (drift * (1 + 1e-6)).astype(np.float32)
    return PackedCenters(
        np.ascontiguousarray(centers), np.ascontiguousarray(centers.T), panels if diff else panels * np.float32(-2),
        norms, layout.order, layout.start, layout.group_of, drift, *_leaders(drift, layout), frame.shift, frame.scale,
    )  # fmt: skip


def _leaders(drift: np.ndarray, layout: Layout) -> tuple[Any, Any, Any]:
    """Largest drift of each group, the largest of the others, and who leads."""
    most, second = np.zeros(layout.groups, np.float32), np.zeros(layout.groups, np.float32)
    lead = np.zeros(layout.groups, np.int32)
    for g in range(layout.groups):
        members = np.flatnonzero(layout.group_of == g)
        ranked = members[np.argsort(drift[members], kind="stable")]
        lead[g], most[g] = ranked[-1], drift[ranked[-1]]
        second[g] = drift[ranked[-2]] if len(ranked) > 1 else 0.0
    return most, second, lead
