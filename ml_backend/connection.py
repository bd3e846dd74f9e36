"""One client's connection: what it may take its time over, and what is read of it."""

from __future__ import annotations

import socket
import struct
import time
from typing import Any

from gunicorn.http.errors import NoMoreData
from gunicorn.http.message import Request as GunicornRequest
from gunicorn.http.parser import RequestParser
from gunicorn.http.unreader import SocketUnreader
from gunicorn.workers.gthread import TConn

from ml_backend.plain_request import read_plain

# A thread waits for one client at a time, and there are few threads: no client may keep one for long.
SILENT_SECONDS = 10
HEAD_SECONDS = 10.0
BODY_SECONDS = 60.0


class Connection(TConn):  # type: ignore[misc]
    """As gthread has it, but that no read and no write waits for longer than SILENT_SECONDS.

    That limit is the kernel's: gunicorn makes the socket blocking time and again, which would undo Python's.
    """

    def __init__(self, cfg: Any, sock: socket.socket, client: Any, server: Any) -> None:
        super().__init__(cfg, sock, client, server)
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            sock.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", SILENT_SECONDS, 0))
        self.unreader = Unreader(sock)

    def init(self) -> None:
        """Called before each request; does its work once."""
        if not self.initialized:
            super().init()
            self.parser = Parser(self.cfg, self.sock, self.client)
            self.parser.unreader = self.unreader


class Unreader(SocketUnreader):  # type: ignore[misc]
    """Reads the socket, within a time for the whole of a head and another for the whole of a body.

    `ended`: the client was asked for more than it sent, and will send no more.
    """

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self.ended = False
        self.expect_head()

    def expect_head(self) -> None:
        """From now on a request's head is awaited; one that comes too slowly is left unanswered."""
        self._late: type[OSError] = NoMoreData
        self._until = time.monotonic() + HEAD_SECONDS

    def expect_body(self) -> None:
        """From now on its body is read; one that comes too slowly raises TimeoutError."""
        self._late = TimeoutError
        self._until = time.monotonic() + BODY_SECONDS

    def chunk(self, size_hint: int | None = None) -> bytes:
        """Some bytes, none at the end."""
        if time.monotonic() < self._until:
            try:
                received = bytes(super().chunk(size_hint))
            except BlockingIOError:  # how the kernel's time limit shows
                raise self._late from None
            self.ended = not received
            return received
        raise self._late


class Request(GunicornRequest):  # type: ignore[misc]
    """A request whose connection ends with its answer, and says so there, when its body was not read to the end."""

    def should_close(self) -> bool:
        """Asked when the answer's head is written, and again before the next request is read."""
        return bool(super().should_close()) or self.unreader.ended or _unread(self.body)


class Parser(RequestParser):  # type: ignore[misc]
    """The requests of a connection, plain ones as `PlainRequest`."""

    mesg_class = Request
    mesg: Any

    def __next__(self) -> Any:
        if self.mesg is not None:
            if self.mesg.should_close() or not self.finish_body():
                raise StopIteration
            self.mesg = None
        return read_plain(self.unreader) or super().__next__()


def _unread(body: Any) -> bool:
    reader = body.reader
    left = reader.parser is not None if hasattr(reader, "parser") else getattr(reader, "length", 0) > 0
    return body.failed or left
