"""What the tests of every room of the loop start from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from store.session import Store
from tests.store.empty import new_store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty, open SQLite store."""
    store = new_store(tmp_path / "store.sqlite")
    yield store
    store.close()
