"""Packages of the extras, which not everyone has."""

from __future__ import annotations

import importlib
from typing import Any


def require(name: str, purpose: str, extra: str = "analysis") -> Any:
    """A module of an extra.

    Raises
    ------
    ImportError
        With the line that installs it.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise ImportError(f"{purpose} needs {package}: run pip install 'gpuclust[{extra}]'") from error
