"""Every store test runs on SQLite; tests with `given.on_both` run on a real PostgreSQL server, too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from store.database.schema import Project
from store.database.session import Store, open_store
from tests.store import cluster, given
from tests.store.empty import put_store


@pytest.fixture(scope="session")
def migrated_database(postgres: cluster.Cluster) -> str:
    """The name of an empty PostgreSQL store, to be copied."""
    name = postgres.create()
    open_store(postgres.url(name)).close()
    return name


@pytest.fixture
def backend() -> str:
    """The kind of database; `given.on_both` overrides it."""
    return "sqlite"


@pytest.fixture
def empty_url(backend: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a database with nothing in it."""
    if backend == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.sqlite'}"
        return
    server: cluster.Cluster = request.getfixturevalue("postgres")
    name = server.create()
    yield server.url(name)
    server.drop(name)


@pytest.fixture
def store_url(backend: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of an empty store at the newest schema."""
    if backend == "sqlite":
        yield put_store(tmp_path / "store.sqlite")
        return
    server: cluster.Cluster = request.getfixturevalue("postgres")
    name = server.create(request.getfixturevalue("migrated_database"))
    yield server.url(name)
    server.drop(name)


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """An empty, open store."""
    opened = open_store(store_url)
    yield opened
    opened.close()


@pytest.fixture
def project(store: Store) -> Project:
    """A project that draws half of its pool into the holdout, by a known salt."""
    return given.project(store)
