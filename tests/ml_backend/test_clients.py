"""Clients on bare sockets against the real server: slow ones, rude ones, and those beside them."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pytest

from ml_backend.app import create_app
from ml_backend.arrival import Arrival
from tests.ml_backend.given import Home, RunningBackend, make_home, request_body, running, until

GET = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
BODY = json.dumps(request_body("on windows")).encode()
HEAD = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
SECRET = b"SECRET"


@dataclass(frozen=True)
class Answer:
    status: int
    head: str
    body: bytes

    @property
    def closes(self) -> bool:
        return "connection: close" in self.head.lower()


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBackend]:
    """One worker of two threads, with a model in service; what is sent to it here changes nothing."""
    home = make_home(Path(tmp_path_factory.mktemp("worker")))
    home.promote(home.model())
    environ = home.environ(WORKERS="1", THREADS="2", MAX_BODY_BYTES="1000000")
    with running(environ, home.folder / "backend.log") as started:
        until(lambda: b"it-support-0001" in ask(started, GET).body)
        yield started
    home.store.close()


def connect(backend: RunningBackend) -> socket.socket:
    return socket.create_connection(address_of(backend), timeout=60)


def address_of(backend: RunningBackend) -> tuple[str, int]:
    host, _, port = backend.url.removeprefix("http://").partition(":")
    return host, int(port)


def read(connection: socket.socket) -> Answer:
    """One answer, with a body of the length that it names."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += _some(connection)
    head, _, body = received.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: *([0-9]+)", head)
    while length and len(body) < int(length.group(1)):
        body += _some(connection)
    return Answer(int(head.split()[1]), head.decode(), body)


def _some(connection: socket.socket) -> bytes:
    received = connection.recv(65536)
    assert received, "the server closed the connection before it had answered"
    return received


def ask(backend: RunningBackend, sent: bytes, *, end: bool = False) -> Answer:
    """The answer to these bytes; `end`: nothing comes after them."""
    with connect(backend) as connection:
        connection.sendall(sent)
        if end:
            connection.shutdown(socket.SHUT_WR)
        return read(connection)


def post(body: bytes) -> bytes:
    return HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body


@pytest.fixture(scope="module", autouse=True)
def half_a_head(backend: RunningBackend) -> Iterator[socket.socket]:
    """A client that stops in the middle of a head while the other tests go on."""
    with connect(backend) as client:
        client.sendall(HEAD)
        yield client


def test_many_half_sent_requests_keep_no_healthy_client_waiting(backend: RunningBackend) -> None:
    """Two threads answer here, beside 200 clients that stopped in the middle of a head and 200 that send a body slowly.

    All 400 together may cost the healthy client no more than seconds; held threads would cost it all of its patience.
    """
    with ExitStack() as stack:
        for sent in [HEAD[:-20]] * 200 + [post(BODY)[:-10]] * 200:
            stack.enter_context(connect(backend)).sendall(sent)
        began = time.monotonic()
        for _ in range(20):
            assert ask(backend, post(BODY)).status == 200
        assert time.monotonic() - began < 20


def test_a_body_that_comes_too_slowly_is_a_408_and_ends_the_connection(
    served: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ml_backend.arrival.BODY_SECONDS", 0.05)
    sent: list[Any] = []

    async def receive() -> NoReturn:
        await asyncio.sleep(60)
        raise AssertionError("waited for the whole body")

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"content-type", b"application/json")]
    scope = {"type": "http", "http_version": "1.1", "method": "POST", "path": "/predict", "query_string": b""}
    asyncio.run(Arrival(create_app(served.settings))({**scope, "headers": headers}, receive, send))
    assert sent[0]["status"] == 408
    assert (b"connection", b"close") in sent[0]["headers"]
    assert json.loads(sent[1]["body"])["error"]["rule"] == "a body arrives in time"


def test_clients_that_do_not_read_their_answers_are_let_go_of_and_the_others_answered(backend: RunningBackend) -> None:
    # The answer, of 5 MB, is more than the kernel keeps for a client.
    tasks = [{"id": number, "data": {"body": "windows " * 14}} for number in range(2000)]
    large = json.dumps({"project": "7.1", "tasks": tasks}).encode()
    with ExitStack() as stack:
        for _ in range(2):
            deaf = stack.enter_context(socket.socket())
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.settimeout(60)
            deaf.connect(address_of(backend))
            deaf.sendall(post(large))
        until(lambda: backend.log.read_bytes().count(b"tasks=2000") == 2, 60)
        assert ask(backend, GET).status == 200


def test_clients_that_say_nothing_keep_nobody_waiting(backend: RunningBackend) -> None:
    with ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(connect(backend))
        began = time.monotonic()
        assert ask(backend, GET).status == 200
        assert time.monotonic() - began < 20


def test_clients_that_do_not_close_keep_nobody_waiting(backend: RunningBackend) -> None:
    with ExitStack() as stack:
        began = time.monotonic()
        for _ in range(20):
            connection = stack.enter_context(connect(backend))
            connection.sendall(GET.replace(b"Host", b"Connection: close\r\nHost"))
            assert read(connection).closes
        assert time.monotonic() - began < 20
        assert connection.recv(1) == b""


def test_clients_that_send_without_pause_keep_nobody_waiting(backend: RunningBackend) -> None:
    stop = threading.Event()

    def send(connection: socket.socket) -> None:
        with suppress(OSError):
            while not stop.is_set():
                connection.sendall(GET * 1000)

    def discard(connection: socket.socket) -> None:
        with suppress(OSError):
            while connection.recv(1 << 20):
                pass

    with ExitStack() as stack:
        connections = [stack.enter_context(connect(backend)) for _ in range(2)]
        jobs: list[tuple[Callable[[socket.socket], None], socket.socket]]
        jobs = [(job, connection) for connection in connections for job in (send, discard)]
        threads = [threading.Thread(target=job, args=(connection,)) for job, connection in jobs]
        for thread in threads:
            thread.start()
        try:
            for _ in range(5):
                assert ask(backend, GET).status == 200
        finally:
            stop.set()
            for connection in connections:
                connection.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()


def test_pipelined_requests_are_answered_in_order(backend: RunningBackend) -> None:
    with connect(backend) as connection:
        connection.sendall(
            post(BODY) * 3
            + (CHUNKED + b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY))
            + post(BODY)
            + GET
            + GET.replace(b"/health", b"/nowhere")
        )
        received = b""
        while more := connection.recv(65536):
            received += more
    assert re.findall(rb"HTTP/1.1 ([0-9]+)", received) == [
        *[b"200"] * 6,
        b"404",
    ]


@pytest.mark.parametrize("path", [b"/predict", b"/setup"])
@pytest.mark.parametrize(
    "sent",
    [CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n", CHUNKED + b"2\r\n{}SECRET\r\n0\r\n\r\n"],
)
def test_a_malformed_body_is_a_400(backend: RunningBackend, path: bytes, sent: bytes) -> None:
    answer = ask(backend, sent.replace(b"/predict", path))
    assert (answer.status, answer.closes) == (400, True)
    assert json.loads(answer.body)["error"]["rule"]
    assert SECRET not in backend.log.read_bytes()


@pytest.mark.parametrize("sent", [CHUNKED + b"5\r\n{}", HEAD + b"Content-Length: 500\r\n\r\n{}"])
def test_a_client_that_leaves_halfway_harms_no_other(backend: RunningBackend, sent: bytes) -> None:
    with connect(backend) as connection:
        connection.sendall(sent)
    assert ask(backend, post(BODY)).status == 200


def test_a_chunked_body_is_read_to_its_end_and_the_connection_kept(backend: RunningBackend) -> None:
    with connect(backend) as connection:
        for _ in range(2):
            connection.sendall(CHUNKED + b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY))
            answer = read(connection)
            assert (answer.status, answer.closes) == (200, False)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (HEAD + b"Content-Length: 1000001\r\n\r\n" + b" " * 1_000_001, 413),
        (CHUNKED + b"200000\r\n" + b" " * 0x200000 + b"\r\n0\r\n\r\n", 413),
        (post(BODY).replace(b"application/json", b"text/plain"), 415),
        (post(BODY).replace(b"/predict", b"/nowhere"), 404),
        (post(BODY).replace(b"POST", b"PUT"), 405),
    ],
)
def test_a_refusal_without_reading_says_that_the_connection_ends(
    backend: RunningBackend, sent: bytes, status: int
) -> None:
    answer = ask(backend, sent)
    assert (answer.status, answer.closes) == (status, True)
    assert json.loads(answer.body)["error"]["rule"]


@pytest.mark.parametrize(
    "sent",
    [
        b"SECRET\r\n\r\n",
        b"GET / HTTP/SECRET\r\n\r\n",
        b"GET / HTTP/1.1\r\nSECRET\r\n\r\n",
        b"GET /" + SECRET * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"SECRET: x\r\n" * 20_000,
        b"POST /setup HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: SECRET\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused_and_is_in_no_log(backend: RunningBackend, sent: bytes) -> None:
    with connect(backend) as connection:
        with suppress(OSError):  # the server does not read a head to its end that is too long
            connection.sendall(sent)
        received = b""
        with suppress(OSError):
            while some := connection.recv(65536):
                received += some
    assert re.match(rb"HTTP/1.1 4[0-9][0-9] ", received)
    assert SECRET not in received
    assert SECRET not in backend.log.read_bytes()


def test_without_credentials_a_body_is_not_waited_for(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    environ = home.environ(BASIC_AUTH_USER="user", BASIC_AUTH_PASS="word")
    with running(environ, tmp_path / "backend.log") as started:
        until(lambda: ask(started, GET).status == 200)
        with connect(started) as connection:
            connection.sendall(post(BODY)[:-10])
            answer = read(connection)
    home.store.close()
    assert (answer.status, answer.closes) == (401, True)
    assert json.loads(answer.body)["error"]["rule"]


def test_a_client_that_waits_to_be_told_to_continue_is_told_at_once(backend: RunningBackend) -> None:
    with connect(backend) as connection:
        began = time.monotonic()
        for _ in range(50):
            connection.sendall(HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(BODY))
            assert read(connection).status == 100
            connection.sendall(BODY)
            assert read(connection).status == 200
    # The kernel sends a corked packet after 200 ms by itself.
    assert time.monotonic() - began < 8


def test_a_client_that_stops_in_the_middle_of_a_head_is_let_go_of(half_a_head: socket.socket) -> None:
    assert half_a_head.recv(1) == b""
