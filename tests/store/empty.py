"""Empty SQLite stores, as copies of one: the migrations take longer than most tests."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from store.database.session import Store, open_store


def put_store(path: Path) -> str:
    """Put an empty store at today's schema at `path`; gives its address."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_migrated())
    return f"sqlite:///{path}"


def new_store(path: Path) -> Store:
    """An empty store at `path`, open."""
    return open_store(put_store(path))


@cache
def _migrated() -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "store.sqlite"
        open_store(f"sqlite:///{path}").close()
        return path.read_bytes()
