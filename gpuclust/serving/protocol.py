"""HTTP connections that do not wait for ever.

uvicorn closes a connection that is idle between requests. A header that never ends, a body that trickles and an answer
that nobody takes are this module's business: every connection has a time by which the client must have done its part,
and `Server` looks at all of them twice a second.
"""

from __future__ import annotations

import sys
import time
from typing import Any, Final

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import Server

from .problems import described
from .service import Service
from .settings import Settings

LONGEST_HEADER: Final = 1 << 16
PIECE: Final = 1 << 14  # bytes that are parsed at a time: what belongs to a header is known that exactly
EVERY: Final = 5  # ticks of uvicorn's main loop, a tenth of a second each


class Protocol(HttpToolsProtocol):
    """uvicorn's, with time limits, a limit to headers, and errors in the service's form. `limits` is the server's."""

    limits = Settings()
    _until: float | None = None  # when the client must have sent what it began to send
    _header = 0  # bytes of an unfinished header, or of what follows a body
    _in_header = False
    _body = 0  # bytes of the body that are still to come; 0 where that is not known
    _piece = b""  # what is parsed just now
    _between = True  # whether what comes belongs to no request that is known yet
    _refusal: tuple[int, str] | None = None  # what is said once all requests before it are answered
    _untaken = 0, 0.0  # bytes that wait for the client to take them, and since when none was taken

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._begin()
        if len(self.connections) > self.limits.connections:
            self._refuse(503, "There are too many connections; try again later.")

    def data_received(self, data: bytes) -> None:
        if self._until is None and (self.cycle is None or self.cycle.response_complete):
            self._begin()
        at = 0
        while at < len(data) and not self.transport.is_closing() and self._refusal is None:
            size = PIECE if self._in_header else max(PIECE, self._body)
            self._feed(data[at : at + size])
            at += size

    def _feed(self, piece: bytes) -> None:
        self._header += len(piece)
        self._piece = piece
        super().data_received(piece)
        self._piece = b""
        if self._until is not None and self._header > LONGEST_HEADER:
            self._refuse(431, f"The header is longer than {LONGEST_HEADER} bytes.")

    def _should_upgrade(self) -> bool:
        return True  # uvicorn then leaves the request to the next method

    def handle_websocket_upgrade(self) -> None:
        """Read the request again without its wish for another protocol, say HTTP/2, as Java's client has it: the parser
        would take its body for the next request.
        """
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        if method == b"CONNECT":
            return self.send_400_response("There is no proxy here.")
        rest = self._piece[sys.exception().args[0] :]  # type: ignore[union-attr]
        lines = [name + b": " + value for name, value in self.headers if name != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's own
        return self._feed(b"\r\n".join([b"%s %s HTTP/%s" % (method, self.url, version), *lines, b"", rest]))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        began_in = min(self._header, PIECE)
        self._begin()
        self._header, self._body = began_in, 0

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_header:  # what follows a chunked body is no part of it
            super().on_header(name, value)
            if name.lower() == b"content-length" and value.isdigit():
                self._body = int(value)

    def on_body(self, body: bytes) -> None:
        self._header, self._body = 0, max(0, self._body - len(body))
        super().on_body(body)

    def on_headers_complete(self) -> None:
        self._in_header, self._until = False, time.monotonic() + self.limits.body_timeout
        before = self.cycle
        super().on_headers_complete()
        self._between = self.cycle is before

    def on_message_complete(self) -> None:
        self._until, self._between = None, True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        last = not self.pipeline
        super().on_response_complete()
        if last and self._refusal is not None:
            self._answer(*self._refusal)

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, msg)

    def look(self, now: float) -> None:
        """Close where time is up."""
        if self._until is not None and now > self._until:
            self._until = None
            self._refuse(408, "The request took too long to arrive.")
        size, since = self._untaken
        waiting = self.transport.get_write_buffer_size()
        if waiting != size or not waiting:
            self._untaken = waiting, now
        elif now > since + self.limits.body_timeout:
            self.transport.abort()

    def _begin(self) -> None:
        self._in_header, self._header = True, 0
        self._until = time.monotonic() + self.limits.header_timeout

    def _refuse(self, status: int, message: str) -> None:
        """Answer without the application, where nothing was answered yet, and close; but not before the requests that
        came before are answered.
        """
        if self.transport.is_closing() or self._refusal is not None:
            return
        waits = self._between and self.cycle is not None and not self.cycle.response_complete
        if not (waits or self.pipeline):
            return self._answer(status, message)
        if not self._between:
            self.pipeline.popleft()  # it is refused itself
        self._refusal, self._until = (status, message), None
        self.flow.pause_reading()

    def _answer(self, status: int, message: str) -> None:
        if self.transport.is_closing():
            return
        if self._refusal or self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            body = described(status, message)
            head = b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
            self.transport.write(STATUS_LINE[status] + head + body)
        self.transport.close()


class TimedServer(Server):
    """uvicorn's server, which looks at its connections."""

    def __init__(self, config: Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    async def on_tick(self, counter: int) -> bool:
        if counter % EVERY == 0:
            now = time.monotonic()
            for connection in list(self.server_state.connections):
                connection.look(now)  # type: ignore[union-attr]
        return await super().on_tick(counter)

    async def shutdown(self, sockets: Any = None) -> None:
        self._service.stopping = True
        await super().shutdown(sockets)
