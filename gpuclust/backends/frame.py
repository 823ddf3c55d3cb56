"""The coordinates of a fit: where rows are centred, how they are scaled, and the grids of the exact sums."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..errors import DataError
from .metric import Metric
from .statistics import Scan

NO_GRIDS = np.zeros((1, 1))
MOST = 1023  # exponent of a grid
HEADROOM = 56  # the largest centred coordinate becomes about 2^56: squares of it, and of far smaller ones, fit float32


@dataclass(frozen=True)
class Frame:
    """shift [d] and scale (a power of two) in the rows' dtype; magic f64 [K, d + 1], or [K, 1] for medians, which sum
    weights only; the variance behind `tol` of means."""

    shift: np.ndarray
    scale: Any
    magic: np.ndarray
    variance: float  # mean over features of the unweighted variance
    mass: float
    largest: float  # bound of the cost of a row at another, in units of scale
    metric: Metric = Metric.EUCLIDEAN

    def inside(self, point: np.ndarray) -> np.ndarray:
        """A point f64 [d], or the centre of the rows where it lies far outside them."""
        away = float((((point - self.shift) * float(self.scale)) ** 2).sum())
        return point if away <= self.largest else self.shift.astype(np.float64)

    @classmethod
    def around(
        cls, centers: np.ndarray, dtype: Any, metric: Metric = Metric.EUCLIDEAN, *, centre: bool = True
    ) -> Frame:
        """Coordinates for labelling rows that were not scanned, which sums nothing; rows far outside are decided in
        float64."""
        reach = centers.mean(axis=0), centers.min(axis=0), centers.max(axis=0)
        shift, scale, largest = _coordinates(*reach, dtype, metric, centre)
        return cls(shift, scale, NO_GRIDS, 0.0, 0.0, largest, metric)

    @classmethod
    def of(
        cls, scan: Scan, origin: np.ndarray, dtype: Any, metric: Metric = Metric.EUCLIDEAN, *, centre: bool = True
    ) -> Frame:
        mean, mass = origin + scan.total.value() / scan.rows, float(scan.mass.value())
        shift, scale, largest = _coordinates(mean, scan.low, scan.high, dtype, metric, centre)
        if metric.l1:
            _check_weights(scan, mass)
            return cls(shift, scale, mass_grids(scan), 0.0, mass, largest, metric)
        return cls(shift, scale, grids(scan, dtype), _variance(scan), mass, largest, metric)


def _coordinates(
    mean: np.ndarray, low: np.ndarray, high: np.ndarray, dtype: Any, metric: Metric, centre: bool
) -> tuple[np.ndarray, Any, float]:
    """(shift, scale, largest) for rows from `low` to `high`, f64 [d]."""
    shift = mean.astype(dtype) if centre else np.zeros(len(mean), dtype)
    reach = np.maximum(high - shift, shift - low)
    widest = float(reach.max(initial=0.0))
    limit = 100 if np.dtype(dtype) == np.float32 else 900
    size = np.log2(len(mean)) if metric.l1 else np.log2(len(mean)) / 2 - 6
    headroom = HEADROOM - max(0, int(np.ceil(size)))
    power = 0 if widest == 0 else int(np.clip(headroom - np.ceil(np.log2(widest)), -limit, limit))
    scale = np.dtype(dtype).type(2.0**power)
    widths = 2.0 * reach * float(scale)
    return shift, scale, float(np.sum(widths if metric.l1 else widths**2))


def _variance(scan: Scan) -> float:
    """(sum |x - o|^2 - |sum (x - o)|^2 / n) / (n d); o is a row, so at most n eps is lost."""
    total = scan.total.value()
    spread = float(scan.square.value()) - float(np.sum(total * (total / scan.rows)))
    return max(spread, 0.0) / scan.rows / len(total)


def _check_weights(scan: Scan, mass: float) -> None:
    if not (scan.lightest > 2.0**-900 and mass < 2.0**1000):
        raise ValueError(
            f"Weights from {scan.lightest:g} to a total of {mass:g} leave the range in which they are summed exactly,"
            " 2**-900 to 2**1000: multiply sample_weight by a constant."
        )


def mass_grids(scan: Scan) -> np.ndarray:
    """`grids` of the weights alone."""
    nothing = np.empty(0)
    return grids(replace(scan, low=nothing, high=nothing, least=nothing), np.float64)


def grids(scan: Scan, dtype: Any) -> np.ndarray:
    """Rounding constants 1.5 * 2^e of the levels of the exact sums, f64 [K, d + 1]; column d serves the mass.

    Level b keeps multiples of 2^(e_b - 52). The first level holds any partial sum of w x; every next one the residuals
    of all rows. Levels are added until the last grid is 2^-52 of the smallest product or less (float32 without weights:
    2^-23): it divides every value, so that sums of rows without weights, or with integer weights, have no error, and
    others one under 2^-50 of the cluster's own sum of w |x|.

    Raises
    ------
    DataError
        If the first grid is more than float64 can hold.
    """
    size = np.append(np.maximum(np.abs(scan.low), np.abs(scan.high)), 1.0)
    least = np.append(scan.least, 1.0)
    mass = max(float(scan.mass.value()), scan.heaviest)
    exact = np.dtype(dtype) == np.float32 and scan.heaviest == scan.lightest == 1.0
    with np.errstate(divide="ignore", over="ignore"):
        top = np.ceil(np.log2(np.where(size > 0, size, 1.0) * mass)) + 2
        need = np.floor(np.log2(least)) - 23 if exact else np.floor(np.log2(least * scan.lightest)) - 52
    if top.max() > MOST:
        raise DataError(
            f"Values up to {size[:-1].max(initial=0.0):g} with a total weight of {mass:g} have sums that float64 cannot"
            " hold: divide X, or sample_weight, by a large number."
        )
    if exact:
        need = np.maximum(need, -149.0)
    step = 51 - int(np.ceil(np.log2(4.0 * scan.rows)))
    levels = [top]
    while np.any(levels[-1] - 52 > need) and levels[-1].max() > -900:
        levels.append(levels[-1] - step)
    return 1.5 * np.exp2(np.maximum(np.stack(levels), -960.0))
