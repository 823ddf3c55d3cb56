"""Pytest plugin of ci/gpu.sh: one JSON line per finished test, and the first failures in full in a text beside it.

Both are written at once: a run cut short leaves what it has. A kernel that fails late fails its own test, and no other:
a process whose GPU does not answer any more ends, and pytest-xdist starts another.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Generator
from pathlib import Path

import pytest

IN_FULL = 50  # failures
LONGEST = 20_000  # characters of one
BROKEN = 70  # exit status of a worker


class Results:
    """Append each test's outcome to a file as it is known."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.file = path.open("w", encoding="utf-8")
        self.failures = path.with_suffix(".failures.txt").open("w", encoding="utf-8")
        self.failed = self.finished = 0
        self.write(
            python=sys.version.split()[0], machine=platform.platform(), argv=sys.argv[1:], time=time.time()
        )

    def write(self, **record: object) -> None:
        self.file.write(json.dumps(record) + "\n")
        self.file.flush()

    def tell(self, what: str, text: str) -> None:
        """One line for every failure, which begins with FAILED; of the first ones all that is known."""
        self.failed += 1
        last = next((line for line in reversed(text.splitlines()) if line.startswith("E ")), text.strip()[-200:])
        self.failures.write(f"FAILED {what}: {' '.join(last.split())[:200]}\n")
        if self.failed <= IN_FULL:
            self.failures.write(text[-LONGEST:] + "\n\n")
        self.failures.flush()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.finished += report.when == "teardown"
        if report.when == "call" or report.outcome != "passed":
            text = "" if report.passed else str(report.longrepr)
            self.write(
                test=report.nodeid,
                when=report.when,
                outcome=report.outcome,
                seconds=report.duration,
                text=text[-2000:],
            )
            if report.failed:
                self.tell(report.nodeid, text)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.tell(report.nodeid, str(report.longrepr))

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        counts = {"collected": session.testscollected, "finished": self.finished, "failed": self.failed}
        self.write(exit=int(exitstatus), **counts)  # of a run that time cuts off, 0 now and then: fewer have finished
        self.file.close()
        self.failures.close()


class Watch:
    """What a test began on the GPU is waited for before the next one."""

    def __init__(self, worker: bool) -> None:
        self.worker, self.broken = worker, False

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, None, None]:
        yield
        if item.get_closest_marker("gpu") and "cupy" in sys.modules:
            try:
                sys.modules["cupy"].cuda.runtime.deviceSynchronize()
            except Exception:  # the error of a kernel stays with its process
                self.broken = True
                raise

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logfinish(self) -> None:
        if self.broken and self.worker:
            os._exit(BROKEN)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        done = yield
        if self.broken:
            item.session.shouldstop = "the GPU does not answer this process any more: with pytest-xdist others go on"
        return done


def pytest_configure(config: pytest.Config) -> None:
    worker = hasattr(config, "workerinput")
    path = os.environ.get("PYTEST_JSONL")
    if path and not worker:
        config.pluginmanager.register(Results(Path(path)), "json-lines")
    config.pluginmanager.register(Watch(worker), "gpu-watch")
    if os.environ.get("GPUCLUST_SANITIZE"):
        import cupy

        cupy.cuda.set_allocator(None)  # every array its own allocation, so that memcheck sees its end
