"""The real server: gunicorn with its workers, on a port, started and stopped."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest

from ml_backend.libraries import prepare
from ml_backend.serve import listen, options
from ml_backend.settings import ServerSettings
from ml_backend.wsgi import application
from ner.errors import ConfigError
from tests.ml_backend.given import Home, RunningBackend, request_body, running, until

BODY = json.dumps(request_body("on windows")).encode()
TYPE = {"Content-Type": "application/json"}


@pytest.fixture
def backend(served: Home, tmp_path: Path) -> Iterator[RunningBackend]:
    """Two workers with a model in service."""
    with running(served.environ(WORKERS="2", THREADS="2"), tmp_path / "backend.log") as started:
        until(lambda: get(started, "/health")["projects"])
        yield started


def get(backend: RunningBackend, path: str) -> dict[str, object]:
    return dict(json.loads(get_bytes(backend, path)))


def get_bytes(backend: RunningBackend, path: str) -> bytes:
    connection = http.client.HTTPConnection(backend.url.removeprefix("http://"), timeout=30)
    connection.request("GET", path)
    body = connection.getresponse().read()
    connection.close()
    return body


@dataclass
class Caller:
    """Asks for predictions, on one connection or on a new one each time, until told to stop."""

    address: str
    keep_alive: bool
    stop: threading.Event
    versions: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def run(self) -> None:
        connection = http.client.HTTPConnection(self.address, timeout=60)
        while not self.stop.is_set():
            try:
                connection.request("POST", "/predict", BODY, TYPE)
                answer = connection.getresponse()
                body = answer.read()
                if answer.status == 200:
                    self.versions.append(json.loads(body)["results"][0]["model_version"])
                else:
                    self.failures.append(f"{answer.status} {body!r}")
            except OSError as error:
                self.failures.append(repr(error))
            if not self.keep_alive:
                connection.close()


def test_promotions_and_a_rollback_under_load_fail_no_request(served: Home, backend: RunningBackend) -> None:
    stop = threading.Event()
    address = backend.url.removeprefix("http://")
    callers = [Caller(address, keep_alive, stop) for keep_alive in (True, True, False, False)]
    threads = [threading.Thread(target=caller.run) for caller in callers]
    for thread in threads:
        thread.start()

    def everyone_sees(version: str) -> bool:
        return all(caller.versions[-1:] == [version] for caller in callers)

    until(lambda: everyone_sees("it-support-0001"))
    for _ in range(3):
        version = served.promote(served.model())
        until(lambda version=version: everyone_sees(version))
    bad = served.promote(served.model(width=2))
    seen = len(callers[0].versions)
    until(lambda: len(callers[0].versions) > seen + 50)
    assert everyone_sees(version)
    served.roll_back()
    until(lambda: str(get(backend, "/health")).count(version) == 2)
    stop.set()
    for thread in threads:
        thread.join()
    assert [caller.failures for caller in callers] == [[], [], [], []]
    answered = {version for caller in callers for version in caller.versions}
    assert answered == {f"it-support-000{number}" for number in (1, 2, 3, 4)}
    assert bad not in answered
    # A connection stays with its worker, and a worker never goes back to what it has let go of.
    assert all(
        earlier <= later for caller in callers if caller.keep_alive for earlier, later in pairwise(caller.versions)
    )


def test_the_metrics_of_all_workers_are_one_answer(backend: RunningBackend) -> None:
    text = 'ner_backend_model_serving{project="it-support",version="it-support-0001"} 2.0'
    until(lambda: text in get_bytes(backend, "/metrics").decode())


def test_a_worker_that_dies_is_replaced_and_leaves_the_sums(backend: RunningBackend) -> None:
    children = Path(f"/proc/{backend.process.pid}/task/{backend.process.pid}/children")
    before = children.read_text().split()
    os.kill(int(before[0]), signal.SIGKILL)
    until(lambda: len(children.read_text().split()) == 2 and children.read_text().split() != before)
    text = 'ner_backend_model_serving{project="it-support",version="it-support-0001"} 2.0'
    until(lambda: text in get_bytes(backend, "/metrics").decode())


@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_every_process_and_leaves_nothing_behind(
    served: Home, tmp_path: Path, number: signal.Signals, early: bool
) -> None:
    (tmp_path / "tmp").mkdir()
    environ = served.environ(WORKERS="2", TMPDIR=str(tmp_path / "tmp"))
    with running(environ, tmp_path / "backend.log") as backend:
        if not early:
            until(lambda: get(backend, "/health")["projects"])
        children = Path(f"/proc/{backend.process.pid}/task/{backend.process.pid}/children").read_text().split()
        backend.process.send_signal(number)
        assert backend.process.wait(30) == 0
    assert not any(Path(f"/proc/{child}").exists() for child in children)
    assert list((tmp_path / "tmp").iterdir()) == []
    assert "Traceback" not in backend.log.read_text("utf-8")
    assert "terminate called" not in backend.log.read_text("utf-8")


@dataclass
class Booting:
    """A worker that loads its models, as the backend in it sees it."""

    alive: bool = True
    notified: int = 0
    started: bool = False

    def notify(self) -> None:
        self.notified += 1

    @property
    def wsgi(self) -> Booting:
        return self

    @property
    def extensions(self) -> dict[str, Booting]:
        return {"ml_backend": self}

    def start(self, go_on: Callable[[], bool]) -> None:
        assert go_on()
        assert self.notified == 1
        self.alive = False
        assert not go_on()
        self.started = True


def test_a_worker_says_that_it_is_alive_before_each_model_and_loads_none_once_told_to_end() -> None:
    initialise = options(ServerSettings("sqlite://", Path()), 3)["post_worker_init"]
    interval = sys.getswitchinterval()
    try:
        loading, ending = Booting(), Booting(alive=False)
        initialise(loading)
        initialise(ending)
    finally:
        sys.setswitchinterval(interval)
    assert (loading.started, loading.notified) == (True, 2)
    assert not ending.started


def test_a_port_that_is_taken_is_an_error_that_says_so(served: Home) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        environ = served.environ(PORT=str(port))
        ended = subprocess.run([sys.executable, "-m", "ml_backend"], env=environ, capture_output=True, text=True)
    assert ended.returncode == ConfigError.exit_code
    assert f"127.0.0.1:{port}" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_wrong_setting_is_an_error_that_names_it(served: Home) -> None:
    environ = served.environ(WORKERS="many")
    ended = subprocess.run([sys.executable, "-m", "ml_backend"], env=environ, capture_output=True, text=True)
    assert ended.returncode == ConfigError.exit_code
    assert "WORKERS" in ended.stderr


def test_an_address_of_another_machine_is_refused(served: Home) -> None:
    with pytest.raises(ConfigError, match=r"192\.0\.2\.1"):
        listen(ServerSettings(served.store_url, served.model_dir, host="192.0.2.1"))


def test_a_connection_made_before_the_workers_are_ready_is_not_slowed_down(served: Home) -> None:
    listener = listen(ServerSettings(served.store_url, served.model_dir, port=0))
    with listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_any_wsgi_server_can_make_the_app(served: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in served.environ().items():
        monkeypatch.setenv(name, value)
    app = application()
    try:
        answer = app.test_client().post("/predict", data=BODY, headers=TYPE)
        assert answer.status_code == 200
    finally:
        app.extensions["ml_backend"].stop()


def test_importing_the_server_starts_nothing_and_imports_no_library_before_the_fork() -> None:
    code = """
import os, sys, ml_backend.wsgi, ml_backend.serve, ml_backend.worker
print(len(os.listdir("/proc/self/task")), {"numpy", "onnxruntime", "prometheus_client"} & set(sys.modules))"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.stdout == "1 set()\n"


def test_numpy_is_told_to_keep_no_threads_unless_the_operator_says_so() -> None:
    quiet: dict[str, str] = {}
    prepare(quiet)
    assert quiet == {"OPENBLAS_NUM_THREADS": "1"}
    told = {"OPENBLAS_NUM_THREADS": "2"}
    prepare(told)
    assert told == {"OPENBLAS_NUM_THREADS": "2"}
