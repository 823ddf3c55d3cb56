"""Exceptions become one sentence on stderr and an exit code that scripts can rely on."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

USAGE, DATA, DEVICE, OUTPUT, INTERRUPTED = 2, 3, 4, 5, 130


class Problem(Exception):
    """Something the user can mend; the message is one sentence."""

    code = 1


class UsageProblem(Problem):
    """An option that does not fit."""

    code = USAGE


class DataProblem(Problem):
    """A file that is missing, damaged or unsuitable."""

    code = DATA


class OutputProblem(Problem):
    """A place that cannot be written to."""

    code = OUTPUT


@contextlib.contextmanager
def reported() -> Iterator[None]:
    """Turn what the user can mend into a sentence and an exit code; a defect of ours keeps its traceback."""
    try:
        yield
    except KeyboardInterrupt:
        exec("")  # CPython would end by the signal itself if it came while a string was executed; this makes it forget
        _leave("interrupted; no output was written", INTERRUPTED)
    except Exception as error:
        code = exit_code(error)
        if code is None:
            raise
        _leave(f"error: {sentence(error)}", code)


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Say which file could not be read, and why."""
    try:
        yield
    except OSError as error:
        raise DataProblem(f"cannot read {str(path)!r}: {error.strerror or sentence(error)}") from error


def exit_code(error: Exception) -> int | None:
    """Return the exit code of an exception, or None for one that should not happen."""
    from gpuclust import errors

    if isinstance(error, Problem):
        return error.code
    if isinstance(error, errors.DeviceUnavailableError | MemoryError):
        return DEVICE
    if isinstance(error, errors.DataError | errors.ModelFileError):
        return DATA
    if type(error).__name__ == "InvalidParameterError":  # scikit-learn's, not imported for a name
        return USAGE
    return None


def sentence(error: BaseException) -> str:
    """Return the message on one line."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}{f': {os.fspath(error.filename)!r}' if error.filename else ''}"
    text = " ".join(str(error).split())
    return text or (
        "not enough memory: give a smaller --memory" if isinstance(error, MemoryError) else repr(error)
    )


def _leave(text: str, code: int) -> None:
    import typer

    print(f"gpuclust: {text}", file=sys.stderr)
    raise typer.Exit(code)
