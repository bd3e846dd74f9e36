"""A `POST /predict` as nearly every client sends it, read and answered in few steps.

A run of the model pushes all else out of the core's cache, and what gunicorn does for each request, in some hundred
calls, then takes an eighth of the time of a short text. What is read here is a strict part of what gunicorn accepts:
one request line, fields of plain ASCII, none twice, a body of a stated length. Any other head, right or wrong, is left
to gunicorn as it came.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from gunicorn.http.body import LengthReader
from gunicorn.http.unreader import Unreader
from gunicorn.util import http_date

_LINE = b"POST /predict HTTP/1.1\r\n"
_END = b"\r\n\r\n"
# Well below gunicorn's own limits, of 100 fields and 8,190 bytes in one.
_LONGEST_HEAD = 4096
_FIELDS = re.compile(rb"(?:[A-Za-z0-9-]+:[ -~]*\r\n){1,64}")
_MOST_DIGITS = 15
# How a body or an answer is framed depends on these, and fields of proxies may contradict each other: gunicorn knows.
_SPECIAL = frozenset({b"transfer-encoding", b"expect", b"upgrade", b"http2-settings"})
_KEYS = {
    b"content-type": "CONTENT_TYPE",
    b"content-length": "CONTENT_LENGTH",
    b"authorization": "HTTP_AUTHORIZATION",
}
_OF_PROXIES = b"x-forwarded-"


@dataclass(frozen=True, slots=True)
class PlainRequest:
    """What the gate needs of a request: `environ` is a part of WSGI's, `body` its `wsgi.input`."""

    environ: dict[str, Any]
    body: LengthReader


def read_plain(unreader: Unreader) -> PlainRequest | None:
    """The next request of a connection when it is a plain one; None, and nothing is taken, when it is not."""
    received = unreader.read()
    end = received.find(_END, 0, _LONGEST_HEAD)
    fields = _read_fields(received[len(_LINE) : end + 2]) if end >= 0 and received.startswith(_LINE) else None
    if fields is None:
        unreader.unread(received)
        return None
    unreader.unread(received[end + len(_END) :])
    body = LengthReader(unreader, int(fields[b"content-length"]))
    environ: dict[str, Any] = {"REQUEST_METHOD": "POST", "PATH_INFO": "/predict", "wsgi.input": body}
    for name, key in _KEYS.items():
        if name in fields:
            environ[key] = fields[name].decode("ascii")
    return PlainRequest(environ, body)


def _read_fields(head: bytes) -> dict[bytes, bytes] | None:
    """Values by name in lower case; None for anything that is not to be read here."""
    if not _FIELDS.fullmatch(head):
        return None
    lines = head.split(b"\r\n")[:-1]
    pairs = [line.split(b":", 1) for line in lines]
    fields = {name.lower(): value.strip() for name, value in pairs}
    length = fields.get(b"content-length", b"")
    plain = (
        len(fields) == len(lines)
        and length.isdigit()
        and len(length) <= _MOST_DIGITS
        and fields.get(b"connection", b"keep-alive").lower() == b"keep-alive"
        and _SPECIAL.isdisjoint(fields)
        and not any(name.startswith(_OF_PROXIES) for name in fields)
    )
    return fields if plain else None


@lru_cache(maxsize=2)
def _date(second: int) -> str:
    return str(http_date(second))


def answer_bytes(line: str, headers: Iterable[tuple[str, str]], body: bytes, keep: bool) -> bytes:
    """An answer as it goes over the wire, with the fields that gunicorn gives its answers."""
    fields = [
        ("Server", "gunicorn"),
        ("Date", _date(int(time.time()))),
        ("Connection", "keep-alive" if keep else "close"),
        *headers,
    ]
    head = "".join([f"HTTP/1.1 {line}\r\n", *(f"{name}: {value}\r\n" for name, value in fields), "\r\n"])
    return head.encode("latin-1") + body
