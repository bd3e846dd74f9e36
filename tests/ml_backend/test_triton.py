"""The remote engine with a real Triton: the same answers, a model of two classes refused, and a kill under load."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts.bench.serving import triton_server
from scripts.bench.serving.triton_server import Triton, triton, write_model
from tests.ml_backend.given import Home, make_home, request_body, running, until

SLUG = "it-support"
BODY = json.dumps(request_body("excel on windows", "nothing to see", "windows " * 40)).encode()
TYPE = {"Content-Type": "application/json"}


@pytest.fixture(autouse=True)
def kept(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pytest's cache keeps the server between sessions, unless the environment names a folder."""
    cache = getattr(request.config, "cache", None)
    if cache and "TRITON_FOLDER" not in os.environ:
        monkeypatch.setattr(triton_server, "CACHE", cache.mkdir("triton") / triton_server.CACHE.name)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    made = make_home(tmp_path_factory.mktemp("home"))
    made.promote(made.model())
    yield made
    made.store.close()


@pytest.fixture
def repository(home: Home, tmp_path: Path) -> Path:
    """A model repository with the model in service, and a model of two classes."""
    folder = tmp_path / "repository"
    write_model(folder, SLUG, home.model_dir / SLUG / "it-support-0001" / "model.onnx", 5)
    two = home.model_dir / SLUG / "two"
    if not two.exists():
        home.model(width=2)
        (home.model_dir / SLUG / "it-support-0002").rename(two)
    write_model(folder, "two", two / "model.onnx", 2)
    return folder


def ask(url: str) -> Any:
    with urllib.request.urlopen(urllib.request.Request(f"{url}/predict", BODY, TYPE), timeout=30) as answer:
        return json.loads(answer.read())["results"]


def engine(url: str) -> str:
    with urllib.request.urlopen(f"{url}/health", timeout=30) as answer:
        return str(json.loads(answer.read())["projects"][SLUG]["engine"])


def test_triton_is_used_refused_with_two_classes_killed_under_load_and_taken_again(
    home: Home, repository: Path, tmp_path: Path
) -> None:
    log = tmp_path / "triton.log"
    port = triton_server.free_port()
    with triton(repository, log, port) as first:
        refused = subprocess.run(
            [sys.executable, "-m", "ml_backend"],
            env=home.environ(ENGINE=first.url, ENGINE_MODEL="two"),
            capture_output=True,
            timeout=60,
        )
        assert refused.returncode == 3
        assert b"2 outputs where 5 labels are needed" in refused.stderr
        with running(home.environ(ENGINE=first.url), tmp_path / "backend.log") as backend:
            until(lambda: engine(backend.url) == "remote")
            expected = ask(backend.url)
            assert [region["value"]["labels"] for region in expected[0]["result"]] == [["SOFTWARE"], ["OS"]]
            kill_under_load(first, backend.url, expected)
            assert engine(backend.url) == "local"
            with triton(repository, log, port):
                until(lambda: engine(backend.url) == "remote", 60)
                assert ask(backend.url) == expected


def kill_under_load(server: Triton, url: str, expected: Any) -> None:
    """Every answer is given, and is the same, before the kill, in it and after it."""
    stop, wrong, asked = threading.Event(), list[object](), list[int]()

    def run() -> None:
        while not stop.is_set():
            try:
                answer = ask(url)
            except OSError as error:
                answer = error
            asked.append(1)
            if answer != expected:
                wrong.append(answer)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    until(lambda: len(asked) > 100)
    server.kill()
    after = len(asked)
    until(lambda: len(asked) > after + 100)
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong
