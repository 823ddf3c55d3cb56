"""Packages of the extra `analysis`, which not everyone has."""

from __future__ import annotations

import importlib
from typing import Any


def require(name: str, purpose: str) -> Any:
    """A module of the extra.

    Raises
    ------
    ImportError
        With the line that installs it.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise ImportError(f"{purpose} needs {package}: run pip install 'gpuclust[analysis]'") from error
