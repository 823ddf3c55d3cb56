"""Centres as the CPU kernels read them."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from .frame import Frame
from .kernels.margins import ABSOLUTE, EXPANDED, SQUARED
from .kernels.pack import padded
from .kernels.scores import PackedCenters
from .kernels.short import LENGTH
from .kernels.short_abs import MOST, ROUNDED, TYPICAL
from .kernels.tile import PANEL, WIDE
from .layout import Drift, Layout, loosening
from .metric import Metric

SHORT_FROM: Final = 32  # centres from which on a first look in 16-bit integers is taken
SHORT_FEATURES: Final = 32, 1 << 16  # and features; of more, the rounded length might push one out of 16 bits
SHORT_ABS: Final = 8, 4, 64  # the same for Manhattan distances: centres, and features from .. to
PLACES: Final = 1 << 16  # of which 16 bits can tell the best
DIFFERENCE_UP_TO: Final = 8  # features; (x - c)^2 costs twice |c|^2 - 2 x.c and needs far fewer exact rechecks
SHORTEST: Final = 1e-60  # squared length up to which a centre is taken as the origin: far less than `margins.TINY` off
FARTHEST: Final = 2.0**100  # Manhattan norm of a centre, scaled; rows that `certify` settles are within `bounds.FAR`
NO_WEIGHT: Final = np.empty(0)


class Shortened(NamedTuple):
    """Centres in 16-bit integers: the fields of `PackedCenters` that a first look reads."""

    short: np.ndarray = np.empty(0, np.int32)
    lengths: np.ndarray = np.empty(0, np.float32)
    astray: float = 0.0
    base: np.ndarray = np.empty(0, np.int32)
    per_unit: float = 1.0
    beyond: float = np.inf


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
        form, steps = ABSOLUTE, 5
    else:
        form, steps = (SQUARED, 4) if d <= DIFFERENCE_UP_TO else (EXPANDED, 8)
    return form, np.float32(1.05 * (d + steps) * 2.0**-24)


@np.errstate(over="ignore", invalid="ignore")  # centres far outside the rows: their scores are inf or NaN
def pack_centers(centers: np.ndarray, frame: Frame, layout: Layout, drift: Drift) -> PackedCenters:
    """Centred, scaled, float32, in panels; with what loosens the rows' bounds."""
    d = centers.shape[1]
    form = rounding(d, frame.metric)[0]
    expanded = form == EXPANDED
    rounded = ((centers - frame.shift) * float(frame.scale)).astype(np.float32)
    placed = np.where(layout.real[:, None], rounded[layout.order], np.float32(0))
    lines = np.empty(0, np.float32)
    if expanded and d >= WIDE:
        lines = np.pad(placed * np.float32(-2), ((0, 0), (0, padded(d) - d))).ravel()
    panels = np.ascontiguousarray(placed.reshape(-1, PANEL, d).transpose(0, 2, 1)).ravel()
    square = np.einsum("jf,jf->j", rounded, rounded, dtype=np.float64)
    start = square if expanded else _minus_half(rounded) if form == ABSOLUTE else np.zeros(len(centers))
    norms = np.where(layout.real, start[layout.order], np.inf).astype(np.float32)
    own, other, group, apart = loosening(drift)
    few = Shortened()
    if expanded and len(centers) >= SHORT_FROM and SHORT_FEATURES[0] <= d <= SHORT_FEATURES[1]:
        few = _shortened(placed, square[layout.order])
    elif form == ABSOLUTE and len(centers) >= SHORT_ABS[0] and SHORT_ABS[1] <= d <= SHORT_ABS[2]:
        few = _shortened_abs(placed, layout.real) if len(placed) <= PLACES else few
    return PackedCenters(
        np.ascontiguousarray(centers), np.ascontiguousarray(centers.T), panels * np.float32(-2) if expanded else panels,
        lines, few.short, few.lengths, norms, np.float32(few.astray), few.base, np.float32(few.per_unit),
        np.float32(few.beyond), layout.order, layout.start, layout.group_of, own, other, group, apart, frame.shift,
        frame.scale,
    )  # fmt: skip


def _minus_half(rounded: np.ndarray) -> np.ndarray:
    """-sum c / 2 of every centre; +inf, out of reach, for those that might overflow a float32 score."""
    size = np.abs(rounded).sum(axis=1, dtype=np.float64)
    return np.where(size < FARTHEST, -0.5 * rounded.sum(axis=1, dtype=np.float64), np.inf)


def _shortened(placed: np.ndarray, square: np.ndarray) -> Shortened:
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
    return Shortened(panels.ravel(), (length * (-2.0 / LENGTH)).astype(np.float32), float(astray))


def _shortened_abs(placed: np.ndarray, real: np.ndarray) -> Shortened:
    """The same for `kernels.short_abs`. Centres that are too long, and padding, are stood in for by one far away."""
    norm = np.abs(placed).sum(axis=1, dtype=np.float64)
    middle = float(np.median(norm[real]))
    if not 2.0**-90 < middle < FARTHEST:
        return Shortened()
    per_unit = np.float32(TYPICAL / middle)
    usable = real & (norm * per_unit < MOST)
    scaled = np.where(usable[:, None], placed, np.float32(0)) * per_unit
    scaled[~usable, 0] = MOST
    whole = np.rint(scaled)
    astray = float(np.abs(scaled - whole).sum(axis=1, dtype=np.float64).max()) + ROUNDED
    base = -(whole.sum(axis=1).astype(np.int64) >> 1)
    panels = whole.reshape(-1, PANEL, whole.shape[1]).transpose(0, 2, 1)
    return Shortened(
        _twice(panels).ravel(), np.where(usable, np.float32(0), np.float32(np.inf)), astray, _twice(base),
        float(per_unit), float(np.min(norm, where=real & ~usable, initial=np.inf)) * (1 - 2.0**-22),
    )  # fmt: skip


def _twice(numbers: np.ndarray) -> np.ndarray:
    """Every number as two i16 in 32 bits."""
    return np.repeat(numbers.astype(np.int16)[..., None], 2, axis=-1).view(np.int32)[..., 0]
