"""Services as processes, and wrk, which loads them."""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from .measure import QUIET, children_cpu, machine_busy, wait_quiet

WRK = "wrk is needed: apt install wrk, or https://github.com/wg/wrk"
SCRIPT = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "{kind}"
local file = io.open("{body}", "rb")
wrk.body = file:read("*a")
file:close()
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('RESULT {{"requests": %d, "seconds": %f, "p50_ms": %f, "p99_ms": %f, "max_ms": %f, '
    .. '"lost": %d, "refused": %d, "timeouts": %d}}\\n', summary.requests, summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency.max / 1e3,
    e.connect + e.read + e.write, e.status, e.timeout))
end
"""


class Load(NamedTuple):
    """What is sent where."""

    path: str
    kind: str
    body: bytes
    rows: int


class Service:
    """A server process and everything below it."""

    def __init__(self, name: str, words: list[str], port: int) -> None:
        self.name, self.port = name, port
        quiet: Any = subprocess.DEVNULL
        self.child = subprocess.Popen([sys.executable, "-m", *words], stdout=quiet, stderr=quiet)
        self.process = psutil.Process(self.child.pid)
        end = time.monotonic() + 120
        while not self._answers():
            if self.child.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"{name} did not start: python -m {' '.join(words)}")
            time.sleep(0.2)

    def _answers(self) -> bool:
        """Whether it answers anything."""
        try:
            self.ask("GET", "/readyz")
        except (OSError, http.client.HTTPException):
            return False
        return True

    def ask(self, method: str, path: str) -> bytes:
        """The body of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            connection.request(method, path)
            return connection.getresponse().read()

    def processes(self) -> list[psutil.Process]:
        """The server's processes."""
        return [self.process, *self.process.children(recursive=True)]

    def cpu(self) -> float:
        """CPU seconds of all of them so far."""
        return sum(sum(each.cpu_times()[:2]) for each in self.processes())

    def rss_mb(self) -> dict[int, float]:
        """Resident memory of each process."""
        return {each.pid: each.memory_info().rss / 2**20 for each in self.processes()}

    def close(self) -> None:
        """End it."""
        self.child.terminate()
        self.child.wait(60)


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def start_wrk(service: Service, load: Load, folder: Path, seconds: float, connections: int) -> subprocess.Popen[str]:
    """Begin to load a service."""
    if shutil.which("wrk") is None:
        raise SystemExit(WRK)
    body, script = folder / "body", folder / "load.lua"
    body.write_bytes(load.body)
    script.write_text(SCRIPT.format(kind=load.kind, body=body))
    url = f"http://127.0.0.1:{service.port}{load.path}"
    length = f"-d{max(1, round(seconds))}s"
    command = ["wrk", "-t1", f"-c{connections}", length, "--timeout", "30s", "-s", str(script), url]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def result_of(running: subprocess.Popen[str]) -> dict[str, Any]:
    """What wrk counted."""
    text, _ = running.communicate()
    lines = [line for line in text.splitlines() if line.startswith("RESULT ")]
    if not lines:
        raise SystemExit(f"wrk failed: {text}")
    return dict(json.loads(lines[0].removeprefix("RESULT ")))


def drive(
    service: Service, load: Load, folder: Path, seconds: float, connections: int, patience: float = 0.0
) -> dict[str, Any]:
    """Load a service and measure: requests and rows per second, latencies, CPU time of a request."""
    wait_quiet(patience)
    busy, cpu, own = machine_busy(), service.cpu(), children_cpu()
    found = result_of(start_wrk(service, load, folder, seconds, connections))
    cpu, own, after = service.cpu() - cpu, children_cpu() - own, machine_busy()
    other = None if busy is None or after is None else max(0.0, after - busy - cpu - own) / found["seconds"]
    good = found["requests"] - found["refused"]
    rate = good / found["seconds"]
    return {
        "service": service.name, "connections": connections, **found, "requests_per_second": rate,
        "rows_per_second": rate * load.rows, "server_cpu_us": 1e6 * cpu / max(1, good),
        "other": other, "contended": other is not None and other > QUIET,
    }  # fmt: skip

