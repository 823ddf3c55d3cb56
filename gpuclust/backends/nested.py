"""Nested values: tuples, lists, dicts and dataclasses of other values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import Any


def changed(value: Any, one: Callable[[Any], Any]) -> Any:
    """`value` with what `one` makes of the parts that it knows; itself where that is nothing new."""
    new = one(value)
    if new is not value:
        return new
    if isinstance(value, (tuple, list)):
        parts = [changed(part, one) for part in value]
        if all(a is b for a, b in zip(parts, value, strict=True)):
            return value
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    if isinstance(value, dict):
        return {key: changed(part, one) for key, part in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        made = {f.name: changed(getattr(value, f.name), one) for f in fields(value) if f.init}
        return value if all(getattr(value, name) is new for name, new in made.items()) else replace(value, **made)
    return value
