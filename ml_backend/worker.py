"""gunicorn's threaded worker, with less to do between two requests of one connection.

As it comes, a kept-alive connection goes back to the worker's main thread after each answer and from there to a thread
of the pool: two hand-overs of the interpreter lock and four system calls a request, more than the rest of the HTTP
layer takes for a short one. Here the thread that answered waits a moment for the next request itself.
"""

from __future__ import annotations

import select
import socket
from collections import deque
from typing import Any

from gunicorn.workers.gthread import TConn, ThreadWorker

_MOMENTS, _MOMENT_MS = 5, 1


class Worker(ThreadWorker):  # type: ignore[misc]
    """`gthread`, but that a thread stays with a connection for a few milliseconds unless another one waits for it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._waiting: deque[None] = deque()

    def enqueue_req(self, conn: TConn) -> None:
        """Called by the main thread for a connection with something to read."""
        self._waiting.append(None)
        super().enqueue_req(conn)

    def handle(self, conn: TConn) -> Any:
        """Answer what the connection asks, and what it asks right after. Runs in a thread of the pool."""
        self._waiting.pop()
        kept = super().handle(conn)
        while kept is True and self.alive and self._asks_again(conn):
            kept = super().handle(conn)
        return kept

    def handle_request(self, req: Any, conn: TConn) -> Any:
        """As gthread does, but that head and body of the answer leave in one packet."""
        conn.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        try:
            return super().handle_request(req, conn)
        finally:
            if conn.sock.fileno() >= 0:
                conn.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)

    def _asks_again(self, conn: TConn) -> bool:
        if conn.parser.unreader.buf.getvalue():
            return True
        poll = select.poll()
        poll.register(conn.sock, select.POLLIN)
        return any(not self._waiting and poll.poll(_MOMENT_MS) for _ in range(_MOMENTS))
