"""A home with a model in service, and the app on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from ml_backend.app import create_app
from ml_backend.arrival import Arrival
from tests.ml_backend.given import Home, make_home


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """A store with one linked project and no model; nothing is held out."""
    made = make_home(tmp_path)
    yield made
    made.store.close()


@pytest.fixture
def served(home: Home) -> Home:
    """The same with a model in service."""
    home.promote(home.model())
    return home


@pytest.fixture
def open_app(home: Home) -> Iterator[Callable[..., TestClient]]:
    """Make a client of an app on `home` (or another), its settings changed as told; its threads end with the test."""
    with ExitStack() as stack:

        def make(at: Home = home, **changes: Any) -> TestClient:
            app = Arrival(create_app(replace(at.settings, **changes)))
            return stack.enter_context(TestClient(app, raise_server_exceptions=False))

        yield make


@pytest.fixture
def client(served: Home, open_app: Callable[..., TestClient]) -> TestClient:
    """A client of an app with a model in service."""
    return open_app()
