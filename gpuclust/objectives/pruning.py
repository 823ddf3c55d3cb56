"""When bounds pay: they save scoring a row and cost keeping them (nanoseconds a row, measured on one AVX2 core)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..backends.base import Bounds
from ..backends.layout import divides
from ..backends.metric import Metric

KEEPING = 1.5  # to test the bounds of a row
GROUPED = 0.65  # share of the pairs of row and group up to which bounds to groups pay
DIVIDED = 0.2  # the same for rows, where a cell tells the label at the cost of a few bounds
CALM = 0.02  # share of rows: once half as many move, bounds are tried in place of cells
HELPLESS = 0.5  # share of rows that cells leave to be scored, from which on they are no reason to wait for that
RETRY = 8  # iterations without bounds after which they are tried again


@dataclass(frozen=True)
class Pruning:
    """Whether the next assignment keeps bounds. Where too many rows got past them, they are tried again once the number
    of rows that move has halved, or (without cells) after a while."""

    bounds: Bounds
    worth: float  # share of scoring past the bounds up to which they pay
    moved: float = float("inf")  # rows that moved when they were last given up
    without: int = 0  # iterations since
    plain: Pruning | None = None  # where cells tell the labels: what to do if they turn out not to

    @classmethod
    def start(cls, groups: int, k: int, d: int, rows: int, metric: Metric) -> Pruning:
        """Without bounds: after their first move, the centres are elsewhere. Where cells tell the label, longer."""
        rate = 10.0 if metric.l1 else 8.0 if d <= 8 else 33.0
        scoring = 8.0 + 0.3 * d + k * d / rate
        renewing = 35.0 + 0.6 * d  # to tighten a bound in vain, gather the row and renew its bounds
        plain = cls(Bounds.NONE, GROUPED if groups > 1 else (scoring - KEEPING) / (scoring + renewing))
        if not divides(d, rows):
            return plain
        return cls(Bounds.NONE, DIVIDED, moved=CALM * rows, plain=plain)

    def anew(self) -> Pruning:
        return replace(self, bounds=Bounds.MAKE)

    def after(self, moved: int, scored: int, rows: int) -> Pruning:
        """Once so many of the rows moved, and so many were settled neither by bounds nor by cells."""
        if self.bounds == Bounds.NONE:
            if self.plain and scored > HELPLESS * rows:
                return self.plain.after(moved, scored, rows)
            first = self.moved == float("inf")
            if first and self.worth <= 0.5:
                return replace(self, moved=moved)
            late = self.plain is None and self.without + 1 >= RETRY
            again = first or late or 2 * moved <= self.moved
            return self.anew() if again else replace(self, without=self.without + 1)
        if self.bounds == Bounds.KEEP and scored > self.worth * rows:
            return replace(self, bounds=Bounds.NONE, moved=moved, without=0)
        return replace(self, bounds=Bounds.KEEP)
