"""gunicorn's threaded worker, with less to do between two requests, and no client that can keep the others waiting.

As it comes, a kept-alive connection goes back to the worker's main thread after each answer and from there to a thread
of the pool: two hand-overs of the interpreter lock and four system calls a request, more than the rest of the HTTP
layer takes for a short one. Here the thread that answered waits a moment for the next request itself.

As it comes, too, a new connection takes a thread before it has sent anything, closing one holds up the main thread
until the client has closed it as well, and a signal may find the main thread holding what its handler wants.
"""

from __future__ import annotations

import errno
import select
import selectors
import signal
import socket
import time
from collections import deque
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any

from gunicorn import util
from gunicorn.http.errors import ExpectationFailed, LimitRequestHeaders, LimitRequestLine, ParseException
from gunicorn.workers.gthread import ThreadWorker

from ml_backend.answers import encode, failure
from ml_backend.connection import Connection
from ml_backend.plain_request import PlainRequest, answer_bytes, read_plain
from ml_backend.refusals import error_body

_MOMENTS, _MOMENT_MS = 5, 1
_LINGER_SECONDS = 2.0
_NOBODY = (errno.EAGAIN, errno.EWOULDBLOCK, errno.ECONNABORTED)
_STATUSES = {
    LimitRequestLine: "414 URI Too Long",
    LimitRequestHeaders: "431 Request Header Fields Too Large",
    ExpectationFailed: "417 Expectation Failed",
}


class Worker(ThreadWorker):  # type: ignore[misc]
    """`gthread`, but that a thread stays with a connection for a few milliseconds unless another one waits for it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._waiting: deque[None] = deque()
        self._leaving: deque[Connection] = deque()

    def init_signals(self) -> None:
        """Signals that came since the fork were held back until there are handlers for them (`serve.Arbiter`)."""
        super().init_signals()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT))

    def handle_quit(self, sig: int, frame: Any) -> None:
        """SIGINT and SIGQUIT end the worker as SIGTERM does, from its main loop.

        gunicorn's own handler takes a lock that the main thread may hold, and leaves by SystemExit from wherever the
        main thread is, which may be the import of an extension module.
        """
        self.handle_exit(sig, frame)

    def accept(self, listener: socket.socket) -> None:
        """Take a new connection, and wait with all the others that have sent nothing; no thread is kept for it."""
        try:
            sock, client = listener.accept()
        except OSError as error:
            if error.errno in _NOBODY:
                return
            raise
        self.nr_conns += 1
        conn = Connection(self.cfg, sock, client, listener.getsockname())
        conn.set_timeout()
        self.pending_conns.append(conn)
        self.poller.register(sock, selectors.EVENT_READ, partial(self.on_pending_socket_readable, conn))

    def enqueue_req(self, conn: Connection) -> None:
        """Called by the main thread for a connection with something to read."""
        self._waiting.append(None)
        super().enqueue_req(conn)

    def handle(self, conn: Connection) -> Any:
        """Answer what the connection asks, and what it asks right after. Runs in a thread of the pool."""
        self._waiting.pop()
        kept = self._handle_one(conn)
        while kept is True and self.alive and self._asks_again(conn):
            kept = self._handle_one(conn)
        return kept

    def handle_request(self, req: Any, conn: Connection) -> Any:
        """Answer, in one packet, and say whether the connection is kept."""
        try:
            return self._while_plain(req, conn) if isinstance(req, PlainRequest) else self._as_gthread(req, conn)
        except BlockingIOError:
            raise ConnectionResetError(errno.ECONNRESET, "the client does not read its answer") from None

    def handle_error(self, _req: Any, client: socket.socket, _addr: Any, exc: Exception) -> None:
        """Answer what is no HTTP. Of what was sent, nothing is logged and nothing sent back: it may be a text."""
        if isinstance(exc, ParseException):
            line, kind = _STATUSES.get(type(exc), "400 Bad Request"), type(exc).__name__
            content = error_body("a request is HTTP/1.1", kind, "Send a well-formed request.")
            self.log.warning("a request that is no HTTP refused (%s): %s", line[:3], kind)
        else:
            line, content = "500 Internal Server Error", failure(exc)[1]
            self.log.error("answering failed", exc_info=exc)
        body = encode(content)
        head = f"HTTP/1.1 {line}\r\nConnection: close\r\nContent-Type: application/json\r\n"
        try:
            util.write_nonblock(client, f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        except OSError:
            self.log.debug("nobody is there to read the error")

    def finish_request(self, conn: Connection, fs: Future[Any]) -> None:
        """Called by the main thread when a thread is done with a connection, kept or not."""
        if fs.cancelled() or fs.exception() is not None or not fs.result():
            self._let_go(conn)
        else:
            super().finish_request(conn, fs)

    def murder_pending(self) -> None:
        """Close what has said nothing for too long, and what was let go of."""
        super().murder_pending()
        while self._leaving and self._leaving[0].timeout <= time.monotonic():
            self._close(self._leaving[0])

    def _cap_keepalive(self, deadline: float) -> None:
        """A worker that ends waits for new connections no longer than for kept ones."""
        super()._cap_keepalive(deadline)
        for conn in self.pending_conns:
            conn.timeout = min(conn.timeout, deadline)

    def _handle_one(self, conn: Connection) -> Any:
        conn.unreader.expect_head()
        return super().handle(conn)

    def _while_plain(self, request: PlainRequest, conn: Connection) -> bool:
        """Answer it and the plain requests that come right after; any other is left where it is."""
        following: PlainRequest | None = request
        while following is not None:
            if not self._answer(following, conn):
                return False
            if not self.alive or not self._asks_again(conn):
                return True
            conn.unreader.expect_head()
            following = read_plain(conn.unreader)
        return True

    def _answer(self, request: PlainRequest, conn: Connection) -> bool:
        """Of gunicorn's settings for a request (hooks, an access log, a most number of requests) it follows none."""
        conn.unreader.expect_body()
        begun: list[Any] = []
        body = b"".join(self.wsgi(request.environ, lambda *line_and_headers: begun.extend(line_and_headers)))
        whole = request.body.length == 0 and not conn.unreader.ended
        keep = whole and self.alive and len(self.keepalived_conns) < self.max_keepalived
        conn.sock.sendall(answer_bytes(begun[0], begun[1], body, keep))
        return keep

    def _as_gthread(self, req: Any, conn: Connection) -> Any:
        conn.unreader.expect_body()
        # A client that waits for "100 Continue" is not to wait for the rest of the packet.
        _cork(conn.sock, all(name != "EXPECT" for name, _ in req.headers))
        try:
            return super().handle_request(req, conn)
        finally:
            _cork(conn.sock, False)

    def _asks_again(self, conn: Connection) -> bool:
        if self._waiting:
            return False
        if conn.unreader.buf.getvalue():
            return True
        poll = select.poll()
        poll.register(conn.sock, select.POLLIN)
        return any(not self._waiting and poll.poll(_MOMENT_MS) for _ in range(_MOMENTS))

    def _let_go(self, conn: Connection) -> None:
        """Say that no more will come, and close when the client has closed, or after _LINGER_SECONDS.

        To close while bytes of the client are unread cuts off the answer (RFC 9112, 9.6).
        """
        conn.timeout = time.monotonic() + _LINGER_SECONDS
        self._leaving.append(conn)
        try:
            conn.sock.setblocking(False)
            conn.sock.shutdown(socket.SHUT_WR)
            self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._discard, conn))
        except (OSError, ValueError):
            self._close(conn)
        else:
            self._discard(conn)

    def _discard(self, conn: Connection, _sock: object = None) -> None:
        try:
            if conn.sock.recv(65536):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self._close(conn)

    def _close(self, conn: Connection) -> None:
        self._leaving.remove(conn)
        with suppress(KeyError, ValueError):  # it may never have been registered
            self.poller.unregister(conn.sock)
        self.nr_conns -= 1
        conn.close()


def _cork(sock: socket.socket, corked: bool) -> None:
    if sock.fileno() >= 0:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, corked)
