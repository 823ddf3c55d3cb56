"""Clients that do not do their part, on a real socket; the server is a thread of this process."""

import json
import re
import socket
import time

import pytest

from gpuclust.serving.protocol import LONGEST_HEADER, PIECE

from .client import served

BODY = b'{"rows": [[1, 2, 3]]}'
HEAD = b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
GOOD = HEAD % len(BODY) + b"\r\n" + BODY
CHUNKED_HEAD = GOOD.partition(b"Content-Length")[0] + b"Transfer-Encoding: chunked\r\n\r\n"
LIMITS = {"header_timeout": 0.3, "body_timeout": 0.3, "idle_timeout": 1.0, "connections": 8}


@pytest.fixture(scope="module")
def port(model_path):
    with served(model_path, **LIMITS) as port:
        yield port


@pytest.fixture
def connect(port):
    made = []

    def connection():
        made.append(socket.create_connection(("127.0.0.1", port), timeout=10))
        return made[-1]

    yield connection
    for each in made:
        each.close()


def to_the_end(connection):
    """Everything until the server closes."""
    parts = []
    while part := connection.recv(1 << 16):
        parts.append(part)
    return b"".join(parts)


def status(answer):
    """Status and code of the last answer."""
    head, _, body = answer.rpartition(b"\r\n\r\n")
    return int(head.rsplit(b"HTTP/1.1 ", 1)[1][:3]), json.loads(body)["error"]["code"]


def answers(connection):
    """Whether a good request is answered."""
    connection.sendall(GOOD)
    return connection.recv(1 << 16).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "begun",
    [b"", b"POST /v1/pre", b"\r\n", HEAD % 5, HEAD % len(BODY) + b"\r\n" + BODY[:-3], HEAD % 99 + b"\r\n"],
    ids=["nothing", "half a line", "an empty line", "half a header", "half a body", "no body"],
)
def test_what_is_half_sent_is_dropped(connect, begun):
    connection, began = connect(), time.monotonic()
    connection.sendall(begun)
    assert status(to_the_end(connection)) == (408, "timeout")
    assert 0.2 < time.monotonic() - began < 5
    assert answers(connect())


def test_half_a_header_after_a_whole_request(connect):
    connection = connect()
    assert answers(connection)
    connection.sendall(b"POST /v1/")
    assert status(to_the_end(connection)) == (408, "timeout")


def test_bytes_that_trickle_do_not_help(connect):
    connection, began = connect(), time.monotonic()
    connection.sendall(HEAD % len(BODY))
    with pytest.raises(OSError):
        for byte in b"X-Long: " + b"a" * 100:
            connection.sendall(bytes([byte]))
            time.sleep(0.05)
    assert time.monotonic() - began < 4


def test_idle_connections_are_closed(connect):
    connection = connect()
    assert answers(connection)
    assert to_the_end(connection) == b""


def test_headers_have_an_end(connect):
    connection = connect()
    connection.sendall(HEAD % 5 + b"X-Long: " + b"a" * (LONGEST_HEADER + 10))
    assert status(to_the_end(connection)) == (431, "too_large")


LATE = b"a" * (LONGEST_HEADER + 2 * PIECE)


@pytest.mark.parametrize(
    ("after", "status_code"),
    [
        (HEAD % 5 + b"X-Long: " + LATE, 431), (b"\x16\x03 what is not HTTP\r\n\r\n", 400),
        (CHUNKED_HEAD + b"zz\r\n", 400), (GOOD + HEAD % 5 + b"X-Long: " + LATE, 431),
    ],
    ids=["header", "garbage", "body", "third"],
)  # fmt: skip
def test_requests_before_a_bad_one_are_answered(connect, after, status_code):
    connection = connect()
    connection.sendall(GOOD + after)
    got = to_the_end(connection)
    good = 2 if after.startswith(GOOD) else 1
    assert re.findall(rb"HTTP/1.1 (\d+)", got) == [b"200"] * good + [b"%d" % status_code]
    assert got.count(b'"labels"') == good


CHUNKED = CHUNKED_HEAD + b"%x\r\n%s\r\n0\r\n" % (len(BODY), BODY)


@pytest.mark.parametrize("trailers", [b"X: y\r\n" * LONGEST_HEADER, b"X: " + b"y" * 2 * LONGEST_HEADER], ids=["many", "long"])
def test_what_follows_a_chunked_body_has_an_end(connect, trailers):
    connection = connect()
    connection.sendall(CHUNKED + trailers[: LONGEST_HEADER + PIECE])
    assert status(to_the_end(connection)) == (431, "too_large")


def test_what_follows_a_chunked_body_is_no_header(connect):
    connection = connect()
    connection.sendall(CHUNKED + b"Content-Type: text/plain\r\n\r\n")
    assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200")


def test_a_long_body_is_no_part_of_the_next_header(connect):
    body = BODY[:-1] + b" " * LONGEST_HEADER + b"}"
    connection = connect()
    connection.sendall(HEAD % len(body) + b"\r\n" + body + GOOD[:20])
    assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200")
    connection.sendall(GOOD[20:])
    assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200")


UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAA\r\n\r\n"


@pytest.mark.parametrize("pause", [0, 0.05])
def test_who_would_rather_speak_http_2_is_answered(connect, pause):
    """As Java's client asks; what it sends is a body, and no next request."""
    connection = connect()
    for body in (BODY, GOOD):
        connection.sendall(HEAD % len(body) + UPGRADE)
        time.sleep(pause)
        connection.sendall(body)
    connection.sendall(GOOD)
    got = b""
    while got.count(b"HTTP/1.1") < 3:
        got += connection.recv(1 << 16)
    assert re.findall(rb"HTTP/1.1 (\d+)", got) == [b"200", b"400", b"200"]
    assert b"not JSON" in got


def test_a_body_that_is_not_to_come_hides_no_header(connect):
    begun = b"CONNECT http://x.com/ HTTP/1.1\r\nHost: x\r\nContent-Length: 60000000\r\n\r\n"
    connection = connect()
    connection.sendall(begun.ljust(PIECE) + GOOD.replace(b"\r\n", b"\r\nX: %s\r\n" % (b"a" * LONGEST_HEADER), 1))
    assert status(to_the_end(connection)) == (400, "bad_request")


@pytest.mark.parametrize("garbage", [b"\x16\x03\x01\x02\x00\x01\x00", b"GET\r\n\r\n", b"A" * 100 + b"\r\n\r\n"])
def test_what_is_not_http(connect, garbage):
    connection = connect()
    connection.sendall(garbage)
    assert status(to_the_end(connection)) == (400, "bad_request")
    assert answers(connect())


def test_requests_in_a_row_on_one_connection(connect):
    connection = connect()
    connection.sendall(GOOD * 5)
    got = b""
    while got.count(b'"labels"') < 5:
        got += connection.recv(1 << 16)
    assert got.count(b"HTTP/1.1 200") == 5


def test_too_many_connections(connect):
    held = [connect() for _ in range(8)]
    assert all(answers(each) for each in held)
    assert status(to_the_end(connect())) == (503, "unavailable")
    held.pop().close()
    time.sleep(0.1)
    assert answers(connect())
