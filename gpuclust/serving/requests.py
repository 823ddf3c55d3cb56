"""The parts of a request: header, options, body."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl

from .answers import ARROW, FORMATS, JSON, NPY
from .arrow_rows import read_arrow
from .columns import Ask, Columns
from .json_rows import OPTIONS, read_json
from .npy_rows import read_npy
from .problems import Refused, malformed, too_large, unsuitable
from .settings import Settings

TRUTH: Final = {"true": True, "false": False, "1": True, "0": False}
PLAIN_JSON: Final = (JSON, b"application/json; charset=utf-8", b"application/json;charset=utf-8")


class Gone(Exception):
    """The client went away before it had sent all."""


class Head(NamedTuple):
    """What the header says."""

    kind: bytes  # of the body
    accept: bytes
    authorization: bytes
    length: int
    options: dict[str, bool]

    @classmethod
    def of(cls, scope: Any) -> Head:
        """Read a request's header.

        Raises
        ------
        Refused
            If its options cannot be read, or its body is encoded.
        """
        kind = accept = authorization = b""
        length = 0
        for name, value in scope["headers"]:
            if name == b"content-type":
                kind = value
            elif name == b"accept":
                accept = value
            elif name == b"authorization":
                authorization = value
            elif name == b"content-length":
                length = int(value) if value.isdigit() else 0
            elif name == b"content-encoding" and value.strip().lower() != b"identity":
                raise Refused(415, "Encoded bodies are not read: send it without Content-Encoding.")
        query = scope["query_string"]
        return cls(kind, accept, authorization, length, _options(query) if query else {})

    def format(self) -> bytes:
        """The format of the body.

        Raises
        ------
        Refused
            If it is none that the service reads.
        """
        if self.kind in PLAIN_JSON:
            return JSON
        kind, _, parameters = self.kind.partition(b";")
        kind, parameters = kind.strip().lower(), parameters.strip().lower().replace(b'"', b"")
        if kind not in FORMATS or (kind == JSON and parameters not in (b"", b"charset=utf-8")):
            raise Refused(415, f"The content type must be one of {', '.join(each.decode() for each in FORMATS)}.")
        return kind

    def answer(self, kind: bytes) -> bytes:
        """The format of the answer to a body of that kind."""
        if not self.accept or self.accept == b"*/*" or kind in self.accept:
            return kind
        wanted = [part.partition(b";")[0].strip().lower() for part in self.accept.split(b",")]
        named = [each for each in wanted if each in FORMATS]
        return named[0] if named else kind if b"*/*" in wanted else JSON


def _options(query: bytes) -> dict[str, bool]:
    try:
        pairs = parse_qsl(query.decode(), keep_blank_values=True, strict_parsing=True, max_num_fields=10)
    except ValueError:
        raise unsuitable("The query cannot be read; it takes distances=true and anomaly=true.") from None
    for name, value in pairs:
        if name not in OPTIONS or value not in TRUTH:
            raise unsuitable("The query takes distances and anomaly, each true or false, and nothing else.")
    return {name: TRUTH[value] for name, value in pairs}


def authorized(head: bytes, token: str | None) -> None:
    """Raise unless the request bears the token; how long that takes does not depend on where they differ."""
    if token is None:
        return
    scheme, _, given = head.partition(b" ")
    if scheme.lower() != b"bearer" or not hmac.compare_digest(given.strip(), token.encode()):
        message = "This service wants the header Authorization: Bearer TOKEN."
        raise Refused(401, message, (b"www-authenticate", b"Bearer"))


async def read_body(receive: Any, length: int, limit: int, took: Callable[[int], None]) -> bytes:
    """The whole body; `took` is told of its bytes as they come.

    Raises
    ------
    Refused
        If it is longer than `limit`.
    Gone
        If it ends before it is whole.
    """
    problem = f"The body is longer than the {limit} bytes that a request may have."
    if length > limit:
        raise too_large(problem)
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise Gone
        part: bytes = message.get("body", b"")
        more = message.get("more_body", False)
        size += len(part)
        if size > limit:
            raise too_large(problem)
        took(len(part))
        parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def decoded(kind: bytes, body: bytes, columns: Columns, head: Head, settings: Settings) -> Ask:
    """What a body of this kind asks; options are in JSON bodies, in the query, or both."""
    if not body:
        raise malformed("The body is empty.")
    if kind == JSON:
        ask = read_json(body, columns, settings.max_rows)
    else:
        ask = Ask({ARROW: read_arrow, NPY: read_npy}[kind](body, columns, settings.max_rows))
    if not head.options:
        return ask
    distances, anomaly = (getattr(ask, name) or head.options.get(name, False) for name in OPTIONS)
    return Ask(ask.rows, distances, anomaly)
