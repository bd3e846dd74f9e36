"""What is read the short way is what gunicorn reads, and whatever gunicorn refuses is left to it."""

from __future__ import annotations

import socket
from itertools import pairwise
from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.http.errors import NoMoreData, ParseException
from gunicorn.http.parser import RequestParser
from gunicorn.http.unreader import IterUnreader
from gunicorn.http.wsgi import create
from hypothesis import example, given
from hypothesis import strategies as st

from ml_backend.plain_request import answer_bytes, read_plain

LINE = b"POST /predict HTTP/1.1\r\n"
FIELDS = (
    b"Host: backend:9090",
    b"User-Agent: python-requests/2.32",
    b"Accept-Encoding: gzip, deflate",
    b"Content-Type: application/json",
    b"Content-Length: 5",
    b"Connection: keep-alive",
    b"Authorization: Basic dXNlcjpwYXNz",
)
# Each breaks a rule of HTTP, or changes what the bytes behind the head mean, or is merely odd.
ODD = (
    b"Content-Length: 5",
    b"Content-Length: 6",
    b"Content-Length: -1",
    b"Content-Length: +5",
    b"Content-Length: 5, 5",
    b"Content-Length: 0x5",
    b"Content-Length:",
    b"Content-Length : 5",
    b"content-length: 5",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: identity",
    b"transfer-encoding:\tchunked",
    b"Connection: close",
    b"Connection: keep-alive, Upgrade",
    b"Upgrade: h2c",
    b"Expect: 100-continue",
    b"X-Forwarded-Proto: https",
    b"X-Forwarded-Ssl: off",
    b"Content_Length: 7",
    b"Content_Type: text/plain",
    b"Authorization: Basic b3RoZXI=",
    b"X-Empty:",
    b"X-Tab: a\tb",
    b"X-Latin: \xe9",
    b"X-Nul: a\x00b",
    b"X-Bare: a\rb",
    b"X-Bare: a\nb",
    b"X Space: a",
    b": nothing",
    b"no colon",
    b" folded",
    b"",
)
KEYS = ("CONTENT_TYPE", "CONTENT_LENGTH", "HTTP_AUTHORIZATION", "REQUEST_METHOD", "PATH_INFO")


class Source(IterUnreader):  # type: ignore[misc]
    """Pieces as they come off a socket."""


def as_gunicorn(pieces: list[bytes]) -> tuple[dict[str, Any], bytes, bool] | None:
    """(environ, body, whether the connection is kept) by gunicorn's own parser; None for what it refuses."""
    parser = RequestParser(Config(), iter(pieces), ("127.0.0.1", 1))
    try:
        request = next(parser)
        body = request.body.read(1 << 20)
    except (ParseException, NoMoreData, StopIteration):
        return None
    # It never writes to the socket but for a client that expects to be told to go on, and such a request is not plain.
    sock = socket.socket()
    try:
        _, environ = create(request, sock, ("127.0.0.1", 1), ("127.0.0.1", 2), Config())
    except OSError:
        return None
    finally:
        sock.close()
    return {key: environ[key] for key in KEYS if key in environ}, body, not request.should_close()


def pieces_of(sent: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted(min(cut, len(sent)) for cut in cuts), len(sent)]
    return [piece for at, to in pairwise(places) if (piece := sent[at:to])]


@st.composite
def heads(draw: st.DrawFn) -> bytes:
    lines = [line for line in FIELDS if draw(st.integers(0, 9))]
    for line in draw(st.lists(st.sampled_from(ODD), max_size=2)):
        lines.insert(draw(st.integers(0, len(lines))), line)
    if draw(st.integers(0, 3)) == 0:
        lines.append(b"X-Any: " + draw(st.binary(max_size=8)))
    first = draw(
        st.sampled_from([LINE] * 6 + [b"POST /predict HTTP/1.0\r\n", b"GET /predict HTTP/1.1\r\n", b"\r\n" + LINE])
    )
    return first + b"\r\n".join([*lines, b"", b""])


@given(
    heads(),
    st.sampled_from([b"", b"{", b"hello", b"hellothere", b"hello" + LINE]),
    st.lists(st.integers(0, 400), max_size=3),
)
@example(LINE + b"Content-Length: 5\r\n\r\n", b"hello", [])
@example(LINE + b"Content-Length: 5\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Ssl: off\r\n\r\n", b"hello", [])
def test_a_plain_request_is_what_gunicorn_makes_of_it(head: bytes, body: bytes, cuts: list[int]) -> None:
    pieces = pieces_of(head + body, cuts)
    source = Source(iter(pieces))
    plain = read_plain(source)
    if plain is None:
        rest = b"".join(iter(source.read, b""))
        assert rest == head + body, "what is left to gunicorn must be whole"
        return
    expected = as_gunicorn(pieces)
    assert expected is not None, "gunicorn refuses this"
    environ, read, kept = expected
    assert kept
    assert {key: plain.environ[key] for key in KEYS if key in plain.environ} == environ
    assert plain.environ["wsgi.input"].read(1 << 20) == read
    behind = head + body
    assert b"".join(iter(source.read, b"")) == behind[behind.index(b"\r\n\r\n") + 4 + len(read) :]


def test_what_label_studio_sends_is_plain() -> None:
    head = LINE + b"\r\n".join([*FIELDS, b"", b""])
    plain = read_plain(Source(iter([head, b"hel", b"lo"])))
    assert plain is not None
    assert plain.environ["HTTP_AUTHORIZATION"] == "Basic dXNlcjpwYXNz"
    assert (plain.body.read(5), plain.body.length) == (b"hello", 0)


@pytest.mark.parametrize("line", ODD)
def test_no_odd_field_changes_what_is_read(line: bytes) -> None:
    test_a_plain_request_is_what_gunicorn_makes_of_it.hypothesis.inner_test(  # type: ignore[attr-defined]
        LINE + b"\r\n".join([b"Content-Length: 5", line, b"", b""]), b"hello", []
    )


def test_long_heads_are_left_to_gunicorn_and_its_limits() -> None:
    head = LINE + b"X-Long: " + b"a" * 4096 + b"\r\nContent-Length: 0\r\n\r\n"
    source = Source(iter([head]))
    assert read_plain(source) is None
    assert source.read() == head


def test_an_answer_says_whether_the_connection_is_kept() -> None:
    headers = [("Content-Type", "application/json"), ("Content-Length", "2")]
    kept, closed = (answer_bytes("200 OK", headers, b"{}", keep) for keep in (True, False))
    assert kept.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nConnection: keep-alive\r\n" in kept
    assert b"\r\nConnection: close\r\n" in closed
    assert kept.endswith(b"\r\nContent-Length: 2\r\n\r\n{}")
