"""The service as a process, or as several under a supervisor."""

from __future__ import annotations

import gc
import logging
import logging.config
import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from typing import Any, Final

import uvicorn
from uvicorn.config import LOGGING_CONFIG

from ..persistence import read_model
from .app import create_app
from .crew import Crew
from .protocol import Protocol, TimedServer
from .series import FOLDER, mark_process_dead
from .settings import Settings

logger = logging.getLogger("gpuclust.serving")
BACKLOG: Final = 2048
TOO_SOON: Final = 1.0  # seconds: workers that die sooner than this are started again that much later


def serve(model_path: str | os.PathLike[str], *, settings: Settings | None = None) -> None:
    """Serve a model until SIGTERM or SIGINT; what was accepted until then is answered.

    Parameters
    ----------
    model_path : str or path-like
        A file that `gpuclust.save_model` wrote. SIGHUP has it read again.
    settings : Settings, optional

    Raises
    ------
    ModelFileError, OSError
        If the model cannot be read, or the address is taken.
    """
    settings = settings or Settings()
    logging.config.dictConfig(_log_config())
    with _bound(settings) as listening:
        host, port = listening.getsockname()[:2]
        logger.info("Serving %s on http://%s:%d, %d worker(s).", os.fspath(model_path), host, port, settings.workers)
        if settings.token is None and not host.startswith("127.") and host != "::1":
            logger.warning("Whoever reaches %s may use it: no token is set.", host)
        if settings.workers == 1:
            _work(model_path, settings, listening, None)
        else:
            read_model(model_path)  # what is wrong with it is better said once than by every worker
            _supervise(model_path, settings, listening)


def _bound(settings: Settings) -> socket.socket:
    """The socket that requests come to; workers share it."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
    except OSError:
        listening.close()
        raise
    listening.listen(BACKLOG)
    listening.set_inheritable(True)
    return listening


def _log_config() -> dict[str, Any]:
    """uvicorn's, to stderr, with our logger in it."""
    found: dict[str, Any] = {**LOGGING_CONFIG, "loggers": dict(LOGGING_CONFIG["loggers"])}
    found["loggers"]["gpuclust"] = {"handlers": ["default"], "level": "INFO", "propagate": False}
    return found


def _work(
    model_path: str | os.PathLike[str], settings: Settings, listening: socket.socket, crew: Crew | None
) -> None:
    """One process that answers, until it is told to stop."""
    _hold_back_reloads()
    logging.config.dictConfig(_log_config())
    app = create_app(model_path, settings=settings, crew=crew)
    server = TimedServer(config_of(app, settings), app.service)  # type: ignore[attr-defined]
    for number in (signal.SIGINT, signal.SIGTERM):  # uvicorn raises them again in the end, which is no failure
        signal.signal(number, lambda number, frame: setattr(server, "should_exit", True))
    gc.collect()
    gc.freeze()  # what was imported is not searched for garbage again and again: that would take half a second
    server.run([listening])


def config_of(app: Any, settings: Settings) -> uvicorn.Config:
    """uvicorn's configuration."""
    protocol = type("LimitedProtocol", (Protocol,), {"limits": settings})
    return uvicorn.Config(
        app, http=protocol, ws="none", log_config=None, access_log=False, proxy_headers=False, server_header=False,
        timeout_keep_alive=settings.idle_timeout, backlog=BACKLOG, lifespan="on",  # type: ignore[arg-type]
        timeout_graceful_shutdown=settings.shutdown_timeout,  # type: ignore[arg-type]
    )  # fmt: skip


def _hold_back_reloads() -> None:
    """SIGHUP waits until there is a handler: until then it would end the process."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})


def _let_reloads_through() -> None:
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})


@dataclass
class _Worker:
    """A process, when it was started, and what starts another one."""

    start: Callable[[], Any]
    process: Any = field(init=False)
    since: float = field(init=False)

    def __post_init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        self.since = time.monotonic()
        self.process = self.start()


def _supervise(model_path: str | os.PathLike[str], settings: Settings, listening: socket.socket) -> None:
    """Keep so many workers alive, hand SIGHUP on to them, and end them together."""
    signals, waker = _caught_signals()
    with tempfile.TemporaryDirectory(prefix="gpuclust-serve-") as folder:
        os.environ[FOLDER] = folder
        crew = Crew(folder, settings.workers, os.getpid())
        context = _context()

        def start() -> Any:
            process = context.Process(target=_member, args=(model_path, settings, listening, crew))
            _hold_back_reloads()  # workers inherit that
            process.start()
            _let_reloads_through()
            return process

        workers = [_Worker(start) for _ in range(settings.workers)]
        try:
            _watch(workers, crew, signals, waker)
        finally:
            _end(workers, settings)


def _context() -> Any:
    """How workers are made. The supervisor has imported everything, and used no thread and no device: on Linux a fork
    of it is there in a moment."""
    return multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")


def _member(model_path: str | os.PathLike[str], settings: Settings, listening: socket.socket, crew: Crew) -> None:
    """A worker; the supervisor's signals are not its own."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    _work(model_path, settings, listening, crew)


def _caught_signals() -> tuple[list[int], Any]:
    """Signals as they come, and what becomes readable when one does."""
    found: list[int] = []
    readable, writable = socket.socketpair()
    writable.setblocking(False)
    signal.set_wakeup_fd(writable.fileno(), warn_on_full_buffer=False)
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda number, frame: found.append(number))
    found_writable = writable  # kept open as long as the signals are caught
    return found, (readable, found_writable)


def _watch(workers: list[_Worker], crew: Crew, signals: list[int], waker: Any) -> None:
    readable = waker[0]
    while True:
        wait([readable, *(worker.process.sentinel for worker in workers)])
        _drain(readable)
        while signals:
            if signals.pop(0) != getattr(signal, "SIGHUP", None):
                return
            for worker in workers:
                _signal(worker.process, signal.SIGHUP)
        for worker in workers:
            if not worker.process.is_alive():
                _replace(worker, crew)


def _replace(worker: _Worker, crew: Crew) -> None:
    """Start a worker in the place of one that died; soon, but not in a tight loop."""
    pid, code = worker.process.pid, worker.process.exitcode
    logger.error("Worker %d ended with exit code %s; another one is started.", pid, code)
    mark_process_dead(pid, crew.folder)
    crew.forget(pid)
    if time.monotonic() - worker.since < TOO_SOON:
        time.sleep(TOO_SOON)
    worker.renew()


def _drain(readable: socket.socket) -> None:
    readable.setblocking(False)
    try:
        while readable.recv(4096):
            pass
    except BlockingIOError:
        pass


def _signal(process: Any, number: int) -> None:
    if process.is_alive():
        os.kill(process.pid, number)


def _end(workers: list[_Worker], settings: Settings) -> None:
    """Let workers answer what they accepted; end those that do not come to an end."""
    for worker in workers:
        _signal(worker.process, signal.SIGTERM)
    end = time.monotonic() + settings.shutdown_timeout + 5
    for worker in workers:
        worker.process.join(max(0.0, end - time.monotonic()))
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
