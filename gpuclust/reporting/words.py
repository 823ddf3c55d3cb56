"""Numbers as they are read."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any


def number(value: Any, digits: int = 4) -> str:
    """A number to read: whole ones with separators, others in four figures, a dash for none."""
    if value is None or isinstance(value, str):
        return value or "–"
    value = float(value)
    if not math.isfinite(value):
        return "–" if math.isnan(value) else str(value)
    if value == int(value) and abs(value) < 1e12:
        return f"{int(value):,}"
    power = math.floor(math.log10(abs(value)))
    if not -4 <= power < 12:
        return f"{value:.{digits - 1}e}"
    text = f"{value:,.{max(0, digits - 1 - power)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def score(value: Any) -> str:
    """A measure between -1 and 1."""
    return "–" if value is None or math.isnan(value) else f"{float(value):.3f}"


def percent(value: Any) -> str:
    """A share."""
    return f"{float(value):.1%}"


def probability(value: Any) -> str:
    """A p-value."""
    value = float(value)
    return "–" if math.isnan(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"


def quantity(count: int, noun: str) -> str:
    """A count with its noun: '1 row', '2,000 rows'."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def joined(words: Iterable[Any]) -> str:
    """Words as a sentence lists them: a, b and c."""
    *most, last = [str(word) for word in words]
    return f"{', '.join(most)} and {last}" if most else last
