"""What rows must hold, and the checks that every way of sending them shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from ..models import Feature
from .problems import unsuitable


class Ask(NamedTuple):
    """Rows, and what is asked about them."""

    rows: np.ndarray  # float32 or float64 [n, d]; object where some columns are categories
    distances: bool = False  # to all centres
    anomaly: bool = False


@dataclass(frozen=True)
class Columns:
    """The columns that a model is given."""

    features: tuple[Feature, ...]
    named: bool  # whether the model knows their names; x0, x1, ... stand for them otherwise

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(feature.name for feature in self.features)

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.names)

    @cached_property
    def _used(self) -> frozenset[str]:
        return frozenset(feature.name for feature in self.features if feature.used)

    @cached_property
    def plain(self) -> bool:
        """Whether all that are used are numbers, none of which may be missing."""
        return not any(each.used and (each.missing or each.categories is not None) for each in self.features)

    @cached_property
    def numbers(self) -> bool:
        return all(feature.categories is None for feature in self.features)

    def check_names(self, given: Sequence[str], what: str) -> None:
        """Raise unless these are the names of the columns, in any order; those that the model drops may be left out."""
        there = set(given)
        if self._used <= there <= self._known and len(there) == len(given):
            return
        missing = [name for name in self.names if name in self._used and name not in there]
        more = [name for name in given if name not in self._known]
        parts = [f"{said} {_listed(names)}" for said, names in (("lacks", missing), ("has unknown", more)) if names]
        wrong = " and ".join(parts) or "has a feature twice"
        raise unsuitable(f"{what} {wrong}; the model's are {_listed(self.names)}.")

    def check_width(self, width: int, what: str) -> None:
        if width != len(self.features):
            raise unsuitable(f"{what} has {width} values; the model has {len(self.features)} features.")

    def check_finite(self, rows: np.ndarray) -> None:
        """Raise where a number is infinite, or missing though the model has no way with missing values."""
        odd = ~np.isfinite(rows)
        if not odd.any():
            return
        odd &= [feature.used for feature in self.features]
        odd &= ~(np.isnan(rows) & [feature.missing for feature in self.features])
        if odd.any():
            row, at = np.unravel_index(odd.argmax(), odd.shape)
            raise not_finite(int(row), self.features[at])

    def value(self, value: Any, row: int, at: int) -> Any:
        """A value of JSON as the model takes it; NaN whatever it is, where the model drops it."""
        feature, kind = self.features[at], type(value)
        if not feature.used:
            return np.nan
        if value is None:
            if not feature.missing:
                raise not_finite(row, feature)
            return np.nan if feature.categories is None else None
        if feature.categories is None:
            if kind is not float and kind is not int:
                instead = ", or null where it is missing" if feature.missing else ""
                raise unsuitable(
                    f"Row {row}: {feature.name!r} must be a number, not {_shown(value)}. Send a number{instead}."
                )
            return float(value)
        if kind is not str and (kind is bool or not isinstance(value, int | float)):
            raise unsuitable(f"Row {row}: {feature.name!r} must be text or a number, not {_shown(value)}.")
        return value


def not_finite(row: int, feature: Feature) -> Exception:
    return unsuitable(
        f"Row {row}: {feature.name!r} is missing, NaN or infinite, and the model has no way with that. Leave such rows"
        " out, or serve a model whose pipeline imputes."
    )


def _shown(value: Any) -> str:
    kinds = {str: "text", bool: "true or false", list: "an array", dict: "an object"}
    shown = kinds.get(type(value), type(value).__name__)
    return f"{shown} ({value[:40]!r})" if isinstance(value, str) else shown


def _listed(names: Sequence[str], most: int = 10) -> str:
    shown = ", ".join(repr(name[:80]) for name in names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
