"""Pytest plugin: one JSON line per finished test, written at once: a run cut short still leaves results."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from pathlib import Path


class JsonLines:
    """Append each test's outcome to a file as it is known."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.file = path.open("w", encoding="utf-8")
        self.write(
            python=sys.version.split()[0], machine=platform.platform(), argv=sys.argv[1:], time=time.time()
        )

    def write(self, **record: object) -> None:
        self.file.write(json.dumps(record) + "\n")
        self.file.flush()

    def pytest_runtest_logreport(self, report) -> None:  # type: ignore[no-untyped-def]
        if report.when == "call" or report.outcome != "passed":
            text = "" if report.outcome == "passed" else str(report.longrepr)[-2000:]
            self.write(
                test=report.nodeid,
                when=report.when,
                outcome=report.outcome,
                seconds=report.duration,
                text=text,
            )

    def pytest_sessionfinish(self, session, exitstatus) -> None:  # type: ignore[no-untyped-def]
        self.write(exit=int(exitstatus), collected=session.testscollected, failed=session.testsfailed)
        self.file.close()


def pytest_configure(config) -> None:  # type: ignore[no-untyped-def]
    path = os.environ.get("PYTEST_JSONL")
    if path:
        config.pluginmanager.register(JsonLines(Path(path)), "json-lines")
    if os.environ.get("GPUCLUST_SANITIZE"):
        import cupy

        cupy.cuda.set_allocator(None)  # every array its own allocation, so that memcheck sees its end
