"""`gpuclust serve`: the prediction service of a model file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

from gpuclust.cli.failures import DataProblem, OutputProblem, UsageProblem
from gpuclust.extras import require

TOKEN: Final = "GPUCLUST_TOKEN"


def run(model: Path, token_file: Path | None, **options: Any) -> None:
    """Serve until a signal ends it."""
    try:
        require("gpuclust.serving", "The prediction service", "serve")
    except ImportError as error:
        raise UsageProblem(str(error.__cause__ or error)) from None
    from gpuclust.serving import Settings, serve

    given = {name: value for name, value in options.items() if value is not None}
    try:
        settings = Settings(token=_token(token_file), **given)
    except ValueError as error:
        raise UsageProblem(str(error)) from None
    if not model.is_file():
        raise DataProblem(f"No such file: {os.fspath(model)!r}")
    try:
        serve(model, settings=settings)
    except OSError as error:
        raise OutputProblem(f"cannot listen on {settings.host}:{settings.port}: {error.strerror}") from None


def _token(path: Path | None) -> str | None:
    """The token of a file, or of the environment. Never an argument: those are everyone's to read."""
    if path is None:
        return os.environ.get(TOKEN) or None
    try:
        return path.read_text().strip()
    except OSError as error:
        raise DataProblem(f"{error.strerror}: {os.fspath(path)!r}") from None
