"""What the tests of every room of the loop start from."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from store.session import Store, open_store


@pytest.fixture
def store(migrated_file: Path, tmp_path: Path) -> Iterator[Store]:
    """An empty, open SQLite store."""
    store = open_store(f"sqlite:///{shutil.copy(migrated_file, tmp_path / 'store.sqlite')}")
    yield store
    store.close()
