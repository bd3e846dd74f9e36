"""A home with a model in service, and the app on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from ml_backend.app import create_app
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
def open_app(home: Home) -> Iterator[Callable[..., FlaskClient]]:
    """Make a client of an app on `home` (or another), its settings changed as told; its threads end with the test."""
    made = []

    def make(at: Home = home, **changes: Any) -> FlaskClient:
        app = create_app(replace(at.settings, **changes))
        made.append(app)
        return app.test_client()

    yield make
    for app in made:
        app.extensions["ml_backend"].stop()


@pytest.fixture
def client(served: Home, open_app: Callable[..., FlaskClient]) -> FlaskClient:
    """A client of an app with a model in service."""
    return open_app()
