"""Worker processes: one per library, each holding the data, asked in turn so that repeats interleave.

A library in a process of its own brings only its own thread pools, and its memory can be measured; taking
turns (A B A B) exposes all of them to the same drift of the machine.
"""

from __future__ import annotations

import multiprocessing
import time
import traceback
from collections.abc import Callable
from typing import Any

from .measure import Measure, measure, wait_quiet

SPAWN = multiprocessing.get_context("spawn")  # a fork would inherit the parent's memory and threads


class WorkerError(RuntimeError):
    """The library raised; the text is its traceback."""

    @property
    def reason(self) -> str:
        """Return the last line, which names no file of this machine."""
        return str(self).strip().splitlines()[-1]


class TooSlow(RuntimeError):
    """The call was stopped at its time limit."""


def _serve(pipe: Any, setup: Callable[..., Callable[..., Any]], kwargs: dict[str, Any]) -> None:
    try:
        start = time.perf_counter()
        task = setup(**kwargs)
        pipe.send(("ready", time.perf_counter() - start, None))
        while (request := pipe.recv()) is not None:
            patience = request.pop("_patience", 0.0)
            wait_quiet(patience)
            pipe.send(("start", None, None))
            value, measured = measure(lambda request=request: task(**request))
            pipe.send(("done", value, measured))
    except EOFError:
        pass
    except BaseException:  # whatever the library throws is a result of the benchmark, not of the harness
        pipe.send(("error", traceback.format_exc(limit=-3), None))


class Worker:
    """A process that ran ``setup(**kwargs)`` and answers calls of the task which that returned."""

    def __init__(self, setup: Callable[..., Callable[..., Any]], **kwargs: Any) -> None:
        self._pipe, theirs = SPAWN.Pipe()
        self._process = SPAWN.Process(target=_serve, args=(theirs, setup, kwargs), daemon=True)
        self._process.start()
        theirs.close()
        self.load_seconds = self._receive(None)[1]

    def _receive(self, timeout: float | None) -> tuple[str, Any, Any]:
        if not self._pipe.poll(timeout):
            self.close()
            raise TooSlow(f"stopped after {timeout:.1f} s")
        try:
            kind, value, measured = self._pipe.recv()
        except EOFError:
            raise WorkerError(f"the process died, exit code {self._process.exitcode}") from None
        if kind == "error":
            raise WorkerError(value)
        return kind, value, measured

    def call(
        self, timeout: float | None = None, patience: float = 0.0, **request: Any
    ) -> tuple[Any, Measure]:
        """Run the task once and return its value and measurement; the time limit counts from its start.

        ``patience``: seconds to wait for a quiet machine first.
        """
        self._pipe.send({**request, "_patience": patience})
        self._receive(None)
        _, value, measured = self._receive(timeout)
        return value, measured

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()
        self._pipe.close()
