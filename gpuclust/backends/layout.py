"""How centres are laid out for the kernels: groups that share a bound, each a whole number of panels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .kernels.cells import AXES
from .kernels.tile import PANEL, WIDE
from .metric import Metric

# Below so many centres one bound a row prunes as much as it costs; centres that share a bound. Measured.
GROUPED_FROM, GROUP_SIZE = 192, 48
WIDE_GROUPED_FROM, WIDE_GROUP_SIZE = 48, 12
DIVIDED_FROM = 1 << 15  # rows from which on a grid of cells is worth making


@dataclass(frozen=True)
class Layout:
    order: np.ndarray  # i32 [panels * 6]: place -> centre; padding repeats centre 0
    real: np.ndarray  # bool [panels * 6]
    start: np.ndarray  # i64 [groups + 1], in panels
    group_of: np.ndarray  # i32 [k]

    @property
    def groups(self) -> int:
        return len(self.start) - 1

    @classmethod
    def build(cls, centers: np.ndarray, groups: int) -> Layout:
        members = _split(centers, np.arange(len(centers)), groups)
        order, real, start = [], [], [0]
        group_of = np.empty(len(centers), np.int32)
        for g, index in enumerate(members):
            padding = -len(index) % PANEL
            order.append(np.append(index, np.zeros(padding, index.dtype)))
            real.append(np.arange(len(index) + padding) < len(index))
            start.append(start[-1] + (len(index) + padding) // PANEL)
            group_of[index] = g
        return cls(np.concatenate(order).astype(np.int32), np.concatenate(real), np.array(start), group_of)


@dataclass(frozen=True)
class Drift:
    """How far the centres have gone since the rows' bounds were made, in units of the frame's scale.

    The bounds that a row keeps are counted from that time, so that a row whose bounds settle it is read only.
    """

    own: np.ndarray  # f64 [k]: the length of each centre's way
    other: np.ndarray  # f64 [k]: sum over the iterations of the longest step among the other centres
    group: np.ndarray  # f64 [groups]: the same among the centres of each group

    @classmethod
    def none(cls, layout: Layout) -> Drift:
        k = len(layout.group_of)
        return cls(np.zeros(k), np.zeros(k), np.zeros(layout.groups))

    def after(self, old: np.ndarray, new: np.ndarray, scale: float, layout: Layout, metric: Metric) -> Drift:
        """Once the centres have moved from `old` to `new`, f64 [k, d]."""
        way = new - old
        step = np.abs(way).sum(axis=1) if metric.l1 else np.sqrt((way**2).sum(axis=1))
        step *= scale * (1 + 1e-6)
        lead = int(np.argmax(step))
        other = np.full(len(step), step[lead])
        other[lead] = np.delete(step, lead).max(initial=0.0)
        group = np.zeros(layout.groups)
        np.maximum.at(group, layout.group_of, step)
        return Drift(self.own + step, self.other + other, self.group + group)


def loosening(drift: Drift) -> tuple[np.ndarray, ...]:
    """own, other [k], group [groups] in float32, and apart [k]: own + other, rounded up."""
    own, other, group = (way.astype(np.float32) for way in (drift.own, drift.other, drift.group))
    return own, other, group, ((drift.own + drift.other) * (1 + 2.0**-18)).astype(np.float32)


def divides(d: int, rows: int) -> bool:
    """Whether rows without bounds are labelled by the cell that they lie in."""
    return d <= AXES and rows >= DIVIDED_FROM


def group_count(k: int, d: int, itemsize: int) -> int:
    """Bounds take at most a quarter of the rows' own bytes."""
    least, size = (WIDE_GROUPED_FROM, WIDE_GROUP_SIZE) if d >= WIDE else (GROUPED_FROM, GROUP_SIZE)
    return 1 if k < least else max(1, min(k // size, d * itemsize // 16 - 1))


def _split(centers: np.ndarray, index: np.ndarray, groups: int) -> list[np.ndarray]:
    """Cut along the principal axis into parts of equal size, again and again; indices inside a group ascend."""
    if groups <= 1 or len(index) <= 1:
        return [np.sort(index)]
    part = centers[index] - centers[index].mean(axis=0)
    along = index[np.argsort(_principal(part), kind="stable")]
    left = groups // 2
    cut = round(len(along) * left / groups)
    cut = max(1, min(len(along) - 1, round(cut / PANEL) * PANEL or cut))
    return _split(centers, along[:cut], left) + _split(centers, along[cut:], groups - left)


def _principal(part: np.ndarray) -> np.ndarray:
    """Where centred rows [m, d] lie along their principal axis, up to a factor; from the smaller of two products."""
    m, d = part.shape
    part = part / (np.abs(part).max() or 1.0)
    if m <= d:
        return np.linalg.eigh(part @ part.T)[1][:, -1]
    return part @ np.linalg.eigh(part.T @ part)[1][:, -1]
