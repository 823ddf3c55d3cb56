"""`gpuclust serve`: the prediction service of a model file."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any, Final

from gpuclust.cli.failures import DataProblem, OutputProblem, UsageProblem, sentence

TOKEN: Final = "GPUCLUST_TOKEN"


def run(model: Path, token_file: Path | None, **options: Any) -> None:
    """Serve until a signal ends it."""
    if hasattr(signal, "pthread_sigmask"):  # it would end the process until there is a handler, seconds from now
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    share_cores(options["workers"])
    try:
        from gpuclust.serving import Settings, serve
    except ImportError as error:
        raise UsageProblem(sentence(error)) from None

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


def share_cores(workers: int) -> None:
    """Give each worker its share of the cores, unless the user has chosen: Numba looks when it is imported."""
    os.environ.setdefault("NUMBA_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))


def _token(path: Path | None) -> str | None:
    """The token of a file, or of the environment. Never an argument: those are everyone's to read."""
    if path is None:
        return os.environ.get(TOKEN) or None
    try:
        return path.read_text().strip()
    except OSError as error:
        raise DataProblem(f"{error.strerror}: {os.fspath(path)!r}") from None
