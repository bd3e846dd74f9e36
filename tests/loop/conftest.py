"""What the tests of every room of the loop start from."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from loop.judging import ask
from store.database.session import Store
from tests.store.empty import new_store

Started = Callable[[str, Mapping[str, Any], float], CompletedProcess[bytes]]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty, open SQLite store."""
    store = new_store(tmp_path / "store.sqlite")
    yield store
    store.close()


@pytest.fixture
def judged_here(monkeypatch: pytest.MonkeyPatch) -> Started:
    """Models are asked in this process: a process of their own takes longer to start than a tiny model to answer."""
    started = ask._run

    def run(module: str, request: Mapping[str, Any], timeout: float) -> CompletedProcess[bytes]:
        handle = getattr(import_module(module), "tag" if module == ask.SERVED else "measure")
        said = ask.answered(handle, json.loads(json.dumps(request)))
        return CompletedProcess([module], 0, json.dumps(said).encode("ascii"), b"")

    monkeypatch.setattr(ask, "_run", run)
    return started


@pytest.fixture
def judged_apart(judged_here: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    """Models are asked in processes of their own, though the module asks for `judged_here`."""
    monkeypatch.setattr(ask, "_run", judged_here)
