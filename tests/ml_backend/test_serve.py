"""The real server: granian with its workers, on a port, started and stopped."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
from starlette.testclient import TestClient

from ml_backend.serve import application, find_address, prepare_libraries
from ml_backend.settings import ServerSettings
from ner.errors import ConfigError
from tests.ml_backend.given import BODY, TYPE, Caller, Home, RunningBackend, running, until

SIGNALS = (signal.SIGTERM, signal.SIGINT)


@pytest.fixture
def backend(served: Home, tmp_path: Path) -> Iterator[RunningBackend]:
    """Two workers with a model in service."""
    with running(served.environ(WORKERS="2", THREADS="2"), tmp_path / "backend.log") as started:
        until(lambda: get(started, "/health")["projects"])
        yield started


def children_of(backend: RunningBackend) -> list[psutil.Process]:
    return psutil.Process(backend.process.pid).children(recursive=True)


def workers_of(backend: RunningBackend) -> list[psutil.Process]:
    """The processes that answer; Python's resource tracker is none."""
    return [child for child in children_of(backend) if _answers(child)]


def _answers(child: psutil.Process) -> bool:
    try:
        return child.status() != psutil.STATUS_ZOMBIE and "resource_tracker" not in " ".join(child.cmdline())
    except psutil.Error:  # it has just ended
        return False


def get(backend: RunningBackend, path: str) -> dict[str, object]:
    return dict(json.loads(get_bytes(backend, path)))


def get_bytes(backend: RunningBackend, path: str) -> bytes:
    connection = http.client.HTTPConnection(backend.url.removeprefix("http://"), timeout=30)
    connection.request("GET", path)
    body = connection.getresponse().read()
    connection.close()
    return body


def test_promotions_and_a_rollback_under_load_fail_no_request(served: Home, backend: RunningBackend) -> None:
    # A worker that starts later, after the bad promotion, has no model to go on with.
    until(lambda: both_serve(backend))
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


def both_serve(backend: RunningBackend) -> bool:
    """Whether the sums over all workers say so; no worker may be listening yet, or again."""
    text = 'ner_backend_model_serving{project="it-support",version="it-support-0001"} 2.0'
    with suppress(OSError):
        return text in get_bytes(backend, "/metrics").decode()
    return False


def test_the_metrics_of_all_workers_are_one_answer(backend: RunningBackend) -> None:
    until(lambda: both_serve(backend))


def test_a_worker_that_dies_is_replaced_and_leaves_the_sums(backend: RunningBackend) -> None:
    until(lambda: both_serve(backend))
    before = workers_of(backend)
    before[0].kill()
    until(lambda: len(workers_of(backend)) == 2 and workers_of(backend) != before)
    until(lambda: both_serve(backend))


@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_every_process_and_leaves_nothing_behind(
    served: Home, tmp_path: Path, number: signal.Signals, early: bool
) -> None:
    (tmp_path / "tmp").mkdir()
    environ = served.environ(WORKERS="2", TMPDIR=str(tmp_path / "tmp"))
    with running(environ, tmp_path / "backend.log", ready=not early) as backend:
        children = children_of(backend)
        backend.process.send_signal(number)
        assert backend.process.wait(30) == 0
    until(lambda: not psutil.wait_procs(children, timeout=0)[1])
    assert list((tmp_path / "tmp").iterdir()) == []
    assert "Traceback" not in backend.log.read_text("utf-8")
    assert "terminate called" not in backend.log.read_text("utf-8")


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
        find_address(ServerSettings(served.store_url, served.model_dir, host="192.0.2.1"))


def test_any_asgi_server_can_make_the_app(served: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in served.environ().items():
        monkeypatch.setenv(name, value)
    interval = sys.getswitchinterval()
    try:
        with TestClient(application()) as client:
            assert client.post("/predict", content=BODY, headers=TYPE).status_code == 200
    finally:
        sys.setswitchinterval(interval)


@pytest.mark.parametrize("path", ["/health", "/predict"])
def test_variables_of_other_servers_change_nothing(served: Home, tmp_path: Path, path: str) -> None:
    """Such as SCRIPT_NAME, by which some servers cut a prefix off every path."""
    environ = served.environ(SCRIPT_NAME="/elsewhere", HTTP_AUTHORIZATION="x", WEB_CONCURRENCY="3", ROOT_PATH="/x")
    with running(environ, tmp_path / "backend.log") as backend:
        connection = http.client.HTTPConnection(backend.url.removeprefix("http://"), timeout=30)
        connection.request("POST" if path == "/predict" else "GET", path, BODY, TYPE)
        assert connection.getresponse().status == 200
        connection.close()
        assert len(workers_of(backend)) == 1


def test_the_parent_process_imports_no_library_of_the_workers() -> None:
    code = """
import os, sys, ml_backend.serve
print(len(os.listdir("/proc/self/task")), {"numpy", "onnxruntime", "prometheus_client"} & set(sys.modules))"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.stdout == "1 set()\n"


def test_numpy_is_told_to_keep_no_threads_unless_the_operator_says_so() -> None:
    quiet: dict[str, str] = {}
    prepare_libraries(quiet)
    assert quiet == {"OPENBLAS_NUM_THREADS": "1"}
    told = {"OPENBLAS_NUM_THREADS": "2"}
    prepare_libraries(told)
    assert told == {"OPENBLAS_NUM_THREADS": "2"}
