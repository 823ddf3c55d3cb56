"""What a request is refused for: a status, a code that programs can rely on, and a sentence."""

from __future__ import annotations

from typing import Final

import orjson

LARGEST: Final = 1e150  # of a number for which distances surely stay within float64
JSON: Final = (b"content-type", b"application/json")
CODES: Final = {
    400: "bad_request", 401: "unauthorized", 404: "not_found", 405: "method_not_allowed", 408: "timeout",
    409: "model_file", 413: "too_large", 415: "unsupported_media_type", 422: "unsuitable", 429: "too_many_requests",
    431: "too_large", 500: "internal_error", 503: "unavailable", 504: "timeout",
}  # fmt: skip


FAILED: Final = "Something failed; the service's log says what."


class Refused(Exception):
    """A request that is not answered as it wished."""

    def __init__(self, status: int, message: str, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(message)
        self.status, self.message, self.headers = status, message, headers


def described(status: int, message: str) -> bytes:
    """The body of a refusal."""
    return orjson.dumps({"error": {"code": CODES.get(status, "error"), "message": message}})


def in_a_line(error: BaseException, most: int | None = 300) -> str:
    """What an error says, as a part of a message of `most` characters; empty where it says nothing."""
    return " ".join(str(error).split())[:most]


def malformed(message: str) -> Refused:
    """The bytes are not what the content type says."""
    return Refused(400, message)


def unsuitable(message: str) -> Refused:
    """The bytes are well-formed; the model cannot take the rows in them."""
    return Refused(422, message)


def too_large(message: str) -> Refused:
    """More than the service's limits; the rest of the body is not read."""
    return Refused(413, message, (b"connection", b"close"))


def busy(message: str) -> Refused:
    return Refused(429, message, (b"retry-after", b"1"))


def overdue(message: str) -> Refused:
    return Refused(503, message, (b"retry-after", b"1"))
