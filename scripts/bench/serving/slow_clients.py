"""Clients that never finish a request: `scripts.bench.serving.predict --slow` holds them beside a healthy one.

Half of them send half a request head and then nothing. The others send a whole head, and then a body byte by byte.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any

HALF_A_HEAD = b"POST /predict HTTP/1.1\r\nHost: bench\r\nContent-Ty"
HEAD = b"POST /predict HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n"


@contextmanager
def slow_clients(address: str, number: int, drip_seconds: float) -> Iterator[None]:
    """`number` of each kind, all connected when the block begins, in a process of their own.

    Each slow body goes on by one byte every `drip_seconds`. Prints how many connections the server has ended meanwhile.
    """
    context = get_context("fork")
    ready, done = context.Event(), context.Event()
    process = context.Process(target=_hold, args=(address, number, drip_seconds, ready, done))
    process.start()
    try:
        if not ready.wait(120):
            raise RuntimeError(f"{address} did not take {2 * number} connections within 120 s")
        yield
    finally:
        done.set()
        process.join()


def _hold(address: str, number: int, drip_seconds: float, ready: Any, done: Any) -> None:
    heads = [_connect(address, HALF_A_HEAD) for _ in range(number)]
    bodies = [_connect(address, HEAD) for _ in range(number)]
    ready.set()
    pause = drip_seconds / max(number, 1)
    while not done.is_set():
        due = time.monotonic()
        for body in bodies:
            _drip(body)
            due += pause
            if done.wait(max(0.0, due - time.monotonic())):
                break
    for one in (*heads, *bodies):
        one.close()


def _connect(address: str, sent: bytes) -> socket.socket:
    host, _, port = address.partition(":")
    connection = socket.create_connection((host, int(port)), timeout=120)
    connection.sendall(sent)
    return connection


def _drip(connection: socket.socket) -> None:
    try:
        connection.send(b" ", socket.MSG_DONTWAIT)
    except OSError:  # the server has ended the connection, which is its right
        return
