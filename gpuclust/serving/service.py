"""The service itself: a model, a queue, and what it does with a request."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from .answers import written
from .batching import Batcher
from .columns import Ask
from .crew import Crew
from .drift import Seen
from .loaded import Loaded
from .measures import Measures
from .problems import CODES, FAILED, JSON, Refused, busy, described, in_a_line
from .requests import Gone, Head, authorized, decoded, read_body
from .settings import Settings

logger = logging.getLogger("gpuclust.serving")
LARGE_BODY: Final = 1 << 16  # bytes from which a body is read beside the event loop
LARGE_ANSWER: Final = 1 << 14  # numbers from which an answer is written there
PREDICT: Final = "/v1/predict"
UPDATE: Final = "/v1/partial_fit"
OPEN: Final = {"/healthz", "/readyz"}  # for probes, which bear no token


class Service:
    """One model behind one event loop."""

    def __init__(self, path: str | os.PathLike[str], settings: Settings, crew: Crew | None = None) -> None:
        self.path, self.settings, self.crew = os.fspath(path), settings, crew
        self.loaded = Loaded.read(path, settings.device)
        self.measures = Measures(self.loaded.digest)
        self.batcher = Batcher(settings.timeout, self._tell)
        self.stopping = False
        self._in_flight = self._bytes = 0
        self._beside = ThreadPoolExecutor(2, "gpuclust-bodies")

    async def start(self) -> None:
        self._changing = asyncio.Lock()
        self.batcher.start()
        self._keeper = asyncio.create_task(self._keep())
        if self.crew is not None:
            self.crew.tell(self.loaded.digest)
            self.measures.joined(self.crew.members)

    async def stop(self) -> None:
        """Answer what was accepted."""
        self.stopping = True
        await self.batcher.close()
        self._keeper.cancel()
        self._beside.shutdown()

    # requests
    async def predict(self, scope: Any, receive: Any, send: Any) -> None:
        """An ASGI application: POST /v1/predict."""
        await self._respond(self._predicted, PREDICT, scope, receive, send)

    async def update(self, scope: Any, receive: Any, send: Any) -> None:
        """An ASGI application: POST /v1/partial_fit."""
        await self._respond(self._updated, UPDATE, scope, receive, send)

    async def _respond(self, work: Any, path: str, scope: Any, receive: Any, send: Any) -> None:
        began, status, code = time.perf_counter(), 200, None
        ticket = _Ticket(self)
        try:
            headers, body = await work(scope, receive, ticket)
        except Gone:
            return
        except Refused as refusal:
            status, headers, body = refusal.status, [JSON, *refusal.headers], described(refusal.status, refusal.message)
        except Exception:
            logger.exception("A request failed.")
            status, headers, body = 500, [JSON], described(500, FAILED)
        finally:
            ticket.back()
        headers.append((b"content-length", b"%d" % len(body)))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        code = None if status == 200 else CODES.get(status, "error")
        self.measures.answered(path, status, code, time.perf_counter() - began)

    async def _asked(self, scope: Any, receive: Any, ticket: _Ticket) -> tuple[Head, bytes, Loaded, Ask]:
        head = Head.of(scope)
        authorized(head.authorization, self.settings.token)
        kind = head.format()
        body = await read_body(receive, head.length, self.settings.max_body, ticket.took)
        ticket.take()  # not before: who sends slowly takes no place from others
        loaded = self.loaded
        if len(body) < LARGE_BODY:
            ask = decoded(kind, body, loaded.columns, head, self.settings)
        else:
            ask = await self._aside(decoded, kind, body, loaded.columns, head, self.settings)
        return head, kind, loaded, ask

    async def _predicted(self, scope: Any, receive: Any, ticket: _Ticket) -> tuple[list[Any], bytes]:
        head, kind, loaded, ask = await self._asked(scope, receive, ticket)
        loaded.check(ask, self.settings.max_values)
        answer = await self.batcher.submit(loaded, ask)
        wanted = head.answer(kind)
        small = answer.size < LARGE_ANSWER
        body = written(answer, wanted) if small else await self._aside(written, answer, wanted)
        return [(b"content-type", wanted), loaded.header], body

    async def _updated(self, scope: Any, receive: Any, ticket: _Ticket) -> tuple[list[Any], bytes]:
        *_, ask = await self._asked(scope, receive, ticket)
        async with self._changing:
            loaded = self.loaded
            if not loaded.learns:
                kind = loaded.info["estimator"]
                raise Refused(409, f"A {kind} does not learn by partial_fit: serve a mini-batch model.")
            self.loaded = await self.batcher.alone(lambda: loaded.taught(ask.rows, self.settings.device))
        self.measures.updated()
        body = b'{"rows":%d,"updates":%d}' % (len(ask.rows), self.loaded.updates)
        return [JSON, self.loaded.header], body

    async def _aside(self, work: Any, *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._beside, work, *args)

    def _tell(self, loaded: Loaded, seen: Seen) -> None:
        self.measures.scored(seen.label, loaded.scorer.n_clusters, loaded.digest)
        if loaded.drift is not None and loaded.drift.saw(seen):
            self._beside.submit(loaded.drift.count)

    # the model
    async def reload(self, *, called: bool = False) -> bool:
        """Serve what the model file holds now; whether that is another model. The old one stays where it is unsuitable.
        `called`: by the supervisor, which calls all workers for one reload.

        Raises
        ------
        Refused
            With what is wrong with the file.
        """
        async with self._changing:
            try:
                loaded = await self._aside(Loaded.read_if_new, self.path, self.settings.device, self.loaded)
            except Exception as error:
                if not called or self._first:
                    self.measures.reloaded(False)
                reason = in_a_line(error, None) or type(error).__name__
                logger.error("The model was not reloaded: %s", reason)
                raise Refused(409, f"The model is the one from before; its file cannot be served: {reason}") from error
            changed = loaded is not self.loaded
            self.loaded = loaded
        if self._first and (called or self.crew is None):
            self.measures.reloaded(True)
        if changed:
            self.measures.renewed(loaded.digest, None if self.crew is None else self.crew.members)
        logger.info("Serving %s, SHA-256 %s.", self.path, loaded.digest)
        if self.crew is not None:
            self.crew.tell(loaded.digest)
        return changed

    @property
    def _first(self) -> bool:
        """Whether this is the worker that counts what all of them are called for."""
        return self.crew is None or self.crew.first

    async def _keep(self) -> None:
        """Gauges that nobody sets in passing; and an end, where there is no supervisor any more."""
        looked = time.monotonic()
        while True:
            if self.crew is not None and self.crew.orphaned:
                os.kill(os.getpid(), signal.SIGTERM)
            self.measures.in_flight.set(self._in_flight)
            await asyncio.sleep(min(1.0, self.settings.drift_every))
            if time.monotonic() - looked >= self.settings.drift_every:
                looked = time.monotonic()
                await self._look_for_drift()

    async def _look_for_drift(self) -> None:
        drift = self.loaded.drift
        try:
            found = None if drift is None else await self._aside(drift.report, self.settings.drift_window)
        except Exception:  # predictions go on without it
            logger.exception("Drift could not be measured.")
            return
        if found is not None and drift is self.loaded.drift:
            self.measures.drifted(*found)


class _Ticket:
    """A request's place among those that wait for their answer, and the bytes of its body."""

    __slots__ = ("_held", "_service", "_size")

    def __init__(self, service: Service) -> None:
        self._service, self._size, self._held = service, 0, 0

    def take(self) -> None:
        if self._service._in_flight >= self._service.settings.queue:
            raise busy(f"{self._service.settings.queue} requests wait already; try again later.")
        self._service._in_flight += 1
        self._held = 1

    def took(self, size: int) -> None:
        self._size += size
        self._service._bytes += size
        if self._service._bytes > max(self._service.settings.queue_bytes, self._service.settings.max_body):
            raise busy("The requests that wait already fill the memory that they may have; try again later.")

    def back(self) -> None:
        self._service._in_flight -= self._held
        self._service._bytes -= self._size
