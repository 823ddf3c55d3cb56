"""Statistics of scaled features in the units that they had before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

AGREES = 1e-6  # relative to a feature's range; float32 scalers round at 1e-7


@dataclass(frozen=True)
class Units:
    """The inverse of a scaler, x -> slope x + offset feature by feature, or the identity."""

    scaler: Any
    slope: np.ndarray  # f64 [d]

    @classmethod
    def of(cls, scaler: Any, low: np.ndarray, high: np.ndarray) -> Units:
        """The inverse of `scaler` for features in low ... high, f64 [d].

        Raises
        ------
        ValueError
            If it is not affine in each feature by itself.
        """
        if scaler is None:
            return cls(None, np.ones(len(low)))
        if not hasattr(scaler, "inverse_transform"):
            raise ValueError(f"{type(scaler).__name__} has no inverse_transform; profile the rows before scaling.")
        high = np.where(high > low, high, low + np.maximum(1.0, np.abs(low)))
        shares = _shares(len(low))
        found = _inverse(scaler, low + shares * (high - low))
        slope = found[1] - found[0]
        expected = found[0] + shares * slope
        scale = np.maximum(np.abs(slope), AGREES * np.abs(found).max(axis=0))
        if not np.all(np.abs(found - expected) <= AGREES * scale + 1e-12 * np.abs(found).max(axis=0)):
            raise ValueError(
                f"The inverse of {type(scaler).__name__} is not a multiple and a shift of each feature, so that means"
                " and standard deviations cannot be carried back: profile the rows as they were before scaling."
            )
        return cls(scaler, slope / (high - low))

    @property
    def falls(self) -> np.ndarray:
        """Features that the scaler turned round, bool [d]."""
        return self.slope < 0

    def back(self, values: np.ndarray) -> np.ndarray:
        """Values f64 [..., d] in the units before scaling."""
        if self.scaler is None:
            return values
        out, flat = np.full(values.shape, np.nan).reshape(-1, values.shape[-1]), values.reshape(-1, values.shape[-1])
        known = np.isfinite(flat).all(axis=1)  # scalers refuse what is not finite
        if known.any():
            out[known] = _inverse(self.scaler, flat[known])
        return out.reshape(values.shape)

    def width(self, values: np.ndarray) -> np.ndarray:
        """Standard deviations f64 [..., d] in the units before scaling."""
        return values * np.abs(self.slope)


def _shares(d: int) -> np.ndarray:
    """Probes f64 [p, d], as shares of the features' ranges: all low, all high, between; then a probe for each binary
    digit of a feature's number, by which any two features differ once.
    """
    digits = np.arange(max(1, int(d - 1).bit_length()))[:, None]
    apart = (np.arange(d) >> digits & 1).astype(np.float64)
    return np.concatenate([np.repeat([0.0, 1.0, 0.25, 0.5, 0.75], d).reshape(5, d), apart, 1 - apart])


def _inverse(scaler: Any, rows: np.ndarray) -> np.ndarray:
    return np.array(scaler.inverse_transform(rows.copy()), np.float64)
