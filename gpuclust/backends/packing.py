"""Centres as the CPU kernels read them."""

from __future__ import annotations

from typing import Final

import numpy as np

from .frame import Frame
from .kernels.assign import PackedCenters
from .kernels.margins import ABSOLUTE, EXPANDED, SQUARED
from .kernels.pack import padded
from .kernels.short import LENGTH
from .kernels.tile import PANEL, WIDE
from .layout import Drift, Layout
from .metric import Metric

SHORT_FROM: Final = 32  # centres from which on a first look in 16-bit integers is taken
SHORT_FEATURES: Final = 32, 1 << 16  # and features; of more, the rounded length might push one out of 16 bits
DIFFERENCE_UP_TO: Final = 8  # features; (x - c)^2 costs twice |c|^2 - 2 x.c and needs far fewer exact rechecks
SHORTEST: Final = 1e-60  # squared length up to which a centre is taken as the origin: far less than `margins.TINY` off
NO_WEIGHT: Final = np.empty(0)
NOT_SHORT: Final = (np.empty(0, np.int32), np.empty(0, np.float32), 0.0)


def alias(a: np.ndarray) -> np.ndarray:
    """The same memory without the read-only flag: one compiled kernel serves memmaps and user arrays alike.

    No kernel writes to rows or weights.
    """
    if a.flags.writeable:
        return a
    face = dict(a.__array_interface__, data=(a.__array_interface__["data"][0], False))
    holder = type("Rows", (), {"__array_interface__": face, "owner": a})()
    return np.asarray(holder)


def rounding(d: int, metric: Metric) -> tuple[int, np.float32]:
    """Which form the scores take, and its error factor (see `kernels.margins`)."""
    if metric.l1:
        form, steps = ABSOLUTE, 4
    else:
        form, steps = (SQUARED, 4) if d <= DIFFERENCE_UP_TO else (EXPANDED, 8)
    return form, np.float32(1.05 * (d + steps) * 2.0**-24)


@np.errstate(over="ignore", invalid="ignore")  # centres far outside the rows: their scores are inf or NaN
def pack_centers(centers: np.ndarray, frame: Frame, layout: Layout, drift: Drift) -> PackedCenters:
    """Centred, scaled, float32, in panels; with what loosens the rows' bounds."""
    d = centers.shape[1]
    expanded = rounding(d, frame.metric)[0] == EXPANDED
    rounded = ((centers - frame.shift) * float(frame.scale)).astype(np.float32)
    placed = np.where(layout.real[:, None], rounded[layout.order], np.float32(0))
    lines = np.empty(0, np.float32)
    if expanded and d >= WIDE:
        lines = np.pad(placed * np.float32(-2), ((0, 0), (0, padded(d) - d))).ravel()
    panels = np.ascontiguousarray(placed.reshape(-1, PANEL, d).transpose(0, 2, 1)).ravel()
    square = np.einsum("jf,jf->j", rounded, rounded, dtype=np.float64)
    norms = np.where(layout.real, square[layout.order] if expanded else 0.0, np.inf).astype(np.float32)
    own, other, group, apart = loosening(drift)
    short, lengths, astray = NOT_SHORT
    if expanded and len(centers) >= SHORT_FROM and SHORT_FEATURES[0] <= d <= SHORT_FEATURES[1]:
        short, lengths, astray = _shortened(placed, square[layout.order])
    return PackedCenters(
        np.ascontiguousarray(centers), np.ascontiguousarray(centers.T), panels * np.float32(-2) if expanded else panels,
        lines, short, lengths, norms, np.float32(astray), layout.order, layout.start,
        layout.group_of, own, other, group, apart, frame.shift, frame.scale,
    )  # fmt: skip


def _shortened(placed: np.ndarray, square: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Centres f32 [places, d] in integers, as the kernels of `kernels.short` read them, what turns them back, and the
    largest share of a centre's length that rounding moved it by."""
    d = placed.shape[1]
    usable = (square > SHORTEST) & (square < np.inf)
    length = np.sqrt(np.where(usable, square, 0.0))
    scaled = placed * (LENGTH / np.where(usable, length, np.inf)).astype(np.float32)[:, None]
    scaled[~usable] = 0
    whole = np.rint(scaled)
    astray = np.sqrt(((scaled - whole) ** 2).sum(axis=1).max()) / LENGTH
    pairs = np.pad(whole.astype(np.int16), ((0, 0), (0, d % 2))).view(np.int32)
    panels = np.ascontiguousarray(pairs.reshape(-1, PANEL, pairs.shape[1]).transpose(0, 2, 1))
    return panels.ravel(), (length * (-2.0 / LENGTH)).astype(np.float32), float(astray)


def loosening(drift: Drift) -> tuple[np.ndarray, ...]:
    """own, other [k], group [groups] in float32, and apart [k]: own + other, rounded up."""
    own, other, group = (way.astype(np.float32) for way in (drift.own, drift.other, drift.group))
    return own, other, group, ((drift.own + drift.other) * (1 + 2.0**-18)).astype(np.float32)
