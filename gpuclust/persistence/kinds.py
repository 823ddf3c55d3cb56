"""The classes that a model file may hold; nothing else is ever built from one."""

from __future__ import annotations

import importlib
from typing import Any

from .clusterers import CLUSTERERS
from .compound import COMPOUND
from .encoders import ENCODERS
from .kind import Kind
from .preprocessors import PREPROCESSORS
from .transformers import TRANSFORMERS

KINDS: dict[str, Kind] = {**CLUSTERERS, **COMPOUND, **PREPROCESSORS, **TRANSFORMERS, **ENCODERS}


def name_of(value: Any) -> str:
    """What files call an object's class: its library and its name."""
    kind = type(value)
    return f"{kind.__module__.partition('.')[0]}.{kind.__name__}"


def class_of(name: str) -> Any:
    """A class of the list.

    Raises
    ------
    KeyError
        If the list does not have it.
    """
    return getattr(importlib.import_module(KINDS[name].home), name.rpartition(".")[2])


def kind_of(value: Any) -> Kind | None:
    """What the list says of an object's class; None for one that is not on it, which includes derived ones."""
    name = name_of(value)
    return KINDS[name] if name in KINDS and type(value) is class_of(name) else None
