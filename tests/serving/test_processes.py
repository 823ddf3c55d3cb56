"""The service as processes: signals, workers that die, workers that agree."""

import contextlib
import http.client
import json
import logging.config
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import types

import psutil
import pytest
from typer.testing import CliRunner

from gpuclust import save_model
from gpuclust.cli.app import app

from .conftest import fitted

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
BODY = json.dumps({"rows": [[1, 2, 3]]})
HEADERS = {"content-type": "application/json"}


class Process:
    """`gpuclust serve`, and what it said."""

    def __init__(self, path, *options):
        command = [sys.executable, "-m", "gpuclust", "serve", str(path), "--port", "0", "--device", "cpu", *options]
        self.child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ | {"GPUCLUST_TOKEN": ""})
        self.said, self.port = [], None
        self.listener = threading.Thread(target=self._listen)
        self.listener.start()
        self.until(lambda: self.port and self.reached("Application startup complete") >= self.workers(options))

    @staticmethod
    def workers(options):
        return int(options[options.index("--workers") + 1]) if "--workers" in options else 1

    def _listen(self):
        for line in self.child.stderr:
            self.said.append(line)
            found = re.search(r"http://127\.0\.0\.1:(\d+)", line)
            self.port = int(found[1]) if found else self.port

    def reached(self, text):
        return sum(text in line for line in self.said)

    def until(self, condition, seconds=60):
        end = time.monotonic() + seconds
        while not condition():
            assert self.child.poll() is None and time.monotonic() < end, "".join(self.said)
            time.sleep(0.05)

    def connection(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def ask(self, method, path, body=None, connection=None):
        """Status, header and JSON (or text) of one answer."""
        if connection is None:
            with contextlib.closing(self.connection()) as connection:
                return self.ask(method, path, body, connection)
        connection.request(method, path, body, HEADERS if body else {})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()

    def models(self, times=60):
        """Which models answer, over many new connections."""
        return {self.ask("POST", "/v1/predict", BODY)[1]["x-model"] for _ in range(times)}

    def rows(self):
        text = self.ask("GET", "/metrics")[2].decode()
        return float(re.search(r"^gpuclust_rows_total (\S+)", text, re.MULTILINE)[1])

    def counted(self, name):
        """A metric's values by their labels."""
        text = self.ask("GET", "/metrics")[2].decode()
        return {labels: float(value) for labels, value in re.findall(rf"^{name}{{(.*)}} (\S+)$", text, re.MULTILINE)}

    def end(self, number=signal.SIGTERM):
        self.child.send_signal(number)
        return self.gone()

    def gone(self):
        """The exit status."""
        status = self.child.wait(30)
        self.listener.join()
        self.child.stderr.close()
        return status


class Load:
    """Clients that ask without a pause, until the block ends; each on one connection, renewed where it breaks."""

    def __init__(self, process, clients=4):
        self.process, self.done, self.lost, self.stop = process, 0, [], threading.Event()
        self.threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def _ask(self):
        connection = self.process.connection()
        while not self.stop.is_set():
            try:
                status, _, text = self.process.ask("POST", "/v1/predict", BODY, connection)
                assert status == 200, text
                self.done += 1
            except (OSError, http.client.HTTPException) as error:
                self.lost.append(error)
                connection.close()
                connection = self.process.connection()
        connection.close()

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *error):
        self.stop.set()
        for thread in self.threads:
            thread.join()

    def more(self, count=50):
        goal = self.done + count
        self.process.until(lambda: self.done >= goal)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("processes") / "model.gpuclust"
    save_model(fitted(), path)
    return path


@pytest.mark.parametrize(("chosen", "threads"), [(None, "2"), ("5", "5")])
def test_workers_share_the_cores(monkeypatch, chosen, threads):
    code = "import os; os.cpu_count = lambda: 5; from gpuclust.cli.serve import share_cores; share_cores(2)"
    code += "; import sys; assert 'numba' not in sys.modules; print(os.environ['NUMBA_NUM_THREADS'])"
    monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
    if chosen:
        monkeypatch.setenv("NUMBA_NUM_THREADS", chosen)
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == threads


@pytest.fixture(scope="module")
def two(path):
    process = Process(path, "--workers", "2")
    yield process
    assert process.end() == 0, "".join(process.said)


def children(process):
    """Its workers: those that say that they have started, and are alive."""
    said = (re.search(r"Started server process \[(\d+)\]", line) for line in process.said)
    return [int(found[1]) for found in said if found and psutil.pid_exists(int(found[1]))]


def test_a_reload_reaches_all_workers(two, path):
    before = two.models()
    save_model(fitted(k=4), path)
    status, _, text = two.ask("POST", "/v1/reload")
    told = json.loads(text)
    assert status == 200 and told["workers"] == told["workers_reloaded"] == 2
    assert two.models() == {told["sha256"][:16]} != before
    two.until(lambda: two.counted("gpuclust_reloads_total") == {'result="done"': 1})
    rows = two.counted("gpuclust_cluster_rows_total")
    assert sum(rows.values()) == 60 and all(told["sha256"][:16] in labels for labels in rows)
    shares = two.counted("gpuclust_cluster_share")
    assert sum(shares.values()) == pytest.approx(1) and all(told["sha256"][:16] in labels for labels in shares)


def test_a_killed_worker_loses_what_it_was_doing_and_is_replaced(two, path):
    pids = children(two)
    assert len(pids) == 2
    started = two.reached("Application startup complete")
    with Load(two) as load:
        load.more()
        os.kill(pids[0], signal.SIGKILL)
        load.more()
        two.until(lambda: two.reached("Application startup complete") > started)
        load.more()
    assert len(load.lost) <= len(load.threads)
    assert len(children(two)) == 2 and pids[0] not in children(two)
    counted = sum(two.counted("gpuclust_cluster_rows_total").values())
    assert counted > 60  # those of the dead one among them
    save_model(fitted(k=5), path)
    told = json.loads(two.ask("POST", "/v1/reload")[2])
    assert told["workers_reloaded"] == 2 and two.models(20) == {told["sha256"][:16]}
    two.until(lambda: sum(two.counted("gpuclust_cluster_rows_total").values()) == 20)


def test_measures_are_summed_over_workers(two):
    before = two.rows()
    two.models(times=40)
    assert two.rows() == before + 40


def test_reloads_under_load_and_an_end_that_answers(path):
    process = Process(path)
    with Load(process) as load:
        for k in (5, 6, 3):
            load.more(20)
            save_model(fitted(k=k), path)
            loaded = process.reached("Serving")
            process.child.send_signal(signal.SIGHUP)
            process.until(lambda said=loaded: process.reached("Serving") > said)
        load.more(20)
    assert not load.lost
    with socket.create_connection(("127.0.0.1", process.port), timeout=30) as connection:
        head = f"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n"
        connection.sendall((head + BODY[:5]).encode())
        time.sleep(0.2)
        process.child.send_signal(signal.SIGTERM)
        process.until(lambda: process.reached("Shutting down"))
        connection.sendall(BODY[5:].encode())
        answer = b""
        while part := connection.recv(65536):
            answer += part
        assert answer.startswith(b"HTTP/1.1 200") and b"connection: close" in answer and b'"labels"' in answer
    assert process.gone() == 0, "".join(process.said)


def test_what_the_command_refuses(path, tmp_path, monkeypatch):
    def said(code, *arguments):
        done = CliRunner().invoke(app, ["serve", *map(str, arguments)])
        assert done.exit_code == code and "gpuclust: error:" in done.output, done.output
        return done.output

    monkeypatch.setattr(logging.config, "dictConfig", lambda config: None)
    monkeypatch.setenv("NUMBA_NUM_THREADS", "1")  # which the command would set for good
    (tmp_path / "cut").write_bytes(path.read_bytes()[:-9])
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert "cannot listen" in said(5, path, "--port", port)
    assert "truncated" in said(3, tmp_path / "cut", "--port", 0)
    assert "No such file" in said(3, tmp_path / "missing")
    assert "No such file" in said(3, path, "--token-file", tmp_path / "missing")
    assert "single worker" in said(2, path, "--workers", 2, "--allow-updates")
    assert "positive" in said(2, path, "--timeout", 0)
    monkeypatch.setenv("GPUCLUST_TOKEN", "\N{SNOWMAN}")
    assert "printable ASCII" in said(2, path)
    monkeypatch.delenv("GPUCLUST_TOKEN")
    monkeypatch.setitem(sys.modules, "fastapi", None)
    for name in [name for name in sys.modules if name.startswith("gpuclust.serving")]:
        monkeypatch.delitem(sys.modules, name)
    assert "pip install 'gpuclust[serve]'" in said(2, path)


def test_a_signal_to_reload_does_not_end_what_is_only_starting(model_path, monkeypatch):
    """What the service needs takes seconds to import."""
    held = []

    class Absent(types.ModuleType):
        def __getattr__(self, name):
            held.extend(signal.pthread_sigmask(signal.SIG_BLOCK, []))
            raise AttributeError("as if it were not there")

    monkeypatch.setenv("NUMBA_NUM_THREADS", "1")
    before = signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGHUP])
    try:
        monkeypatch.setitem(sys.modules, "gpuclust.serving", Absent("gpuclust.serving"))
        CliRunner().invoke(app, ["serve", str(model_path)])
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert signal.SIGHUP in held
