"""When bounds pay: they save scoring a row and cost keeping them (nanoseconds a row, measured on one AVX2 core)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..backends.base import Bounds
from ..backends.statistics import Delta

KEEPING = 8.0  # to age and test the bounds of a row
RENEWING = 35.0  # to tighten a bound in vain, gather the row and renew its bounds


@dataclass(frozen=True)
class Pruning:
    """Whether the next assignment keeps bounds. Where too many rows got past them, they are tried again each time that
    the number of rows that move has halved."""

    bounds: Bounds
    worth: float  # share of rows past the bounds up to which they pay
    moved: float = float("inf")  # rows that moved when they were last given up

    @classmethod
    def start(cls, groups: int, k: int, d: int) -> Pruning:
        scoring = 10.0 + k * d / 70.0
        worth = 1.0 if groups > 1 else (scoring - KEEPING) / (scoring + RENEWING)
        return cls(Bounds.MAKE if worth > 0.5 else Bounds.NONE, worth)

    def after(self, delta: Delta, rows: int) -> Pruning:
        if self.bounds == Bounds.NONE:
            if self.moved == float("inf"):
                return replace(self, moved=delta.moved)
            return replace(self, bounds=Bounds.MAKE) if 2 * delta.moved <= self.moved else self
        if self.bounds == Bounds.KEEP and delta.scored > self.worth * rows:
            return replace(self, bounds=Bounds.NONE, moved=delta.moved)
        return replace(self, bounds=Bounds.KEEP)
