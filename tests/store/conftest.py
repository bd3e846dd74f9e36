"""Every store test runs on SQLite, on a real PostgreSQL and on a real MariaDB."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from store.schema import Project
from store.session import Store, open_store
from tests.store import cluster, given, mariadb

_Servers = cluster.Cluster | mariadb.Server
_SERVERS = {"postgresql": "postgres", "mariadb": "maria"}
_TEMPLATES = {"postgresql": "migrated_database", "mariadb": "migrated_maria"}


@pytest.fixture(scope="session")
def maria() -> Iterator[mariadb.Server]:
    """A MariaDB server for the session; skips with the reason where it is not installed."""
    programs = mariadb.binaries()
    if programs is None:
        pytest.skip("MariaDB is not installed; Debian: apt-get install mariadb-server")
    with mariadb.running(programs) as server:
        yield server


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty SQLite store, to be copied."""
    path = tmp_path_factory.mktemp("template") / "store.sqlite"
    open_store(f"sqlite:///{path}").close()
    return path


@pytest.fixture(scope="session")
def migrated_database(postgres: cluster.Cluster) -> str:
    """The name of an empty PostgreSQL store, to be copied."""
    name = postgres.create()
    open_store(postgres.url(name)).close()
    return name


@pytest.fixture(scope="session")
def migrated_maria(maria: mariadb.Server) -> str:
    """The name of an empty MariaDB store, to be copied."""
    name = maria.create()
    open_store(maria.url(name)).close()
    return name


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def backend(request: pytest.FixtureRequest) -> str:
    """The kind of database."""
    return str(request.param)


@pytest.fixture
def empty_url(backend: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a database with nothing in it."""
    if backend == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.sqlite'}"
        return
    server: _Servers = request.getfixturevalue(_SERVERS[backend])
    name = server.create()
    yield server.url(name)
    server.drop(name)


@pytest.fixture
def store_url(backend: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of an empty store at the newest schema."""
    if backend == "sqlite":
        path = tmp_path / "store.sqlite"
        shutil.copy(request.getfixturevalue("migrated_file"), path)
        yield f"sqlite:///{path}"
        return
    server: _Servers = request.getfixturevalue(_SERVERS[backend])
    name = server.create(request.getfixturevalue(_TEMPLATES[backend]))
    yield server.url(name)
    server.drop(name)


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """An empty, open store."""
    opened = open_store(store_url)
    yield opened
    opened.close()


@pytest.fixture
def sqlite_url(migrated_file: Path, tmp_path: Path) -> str:
    """The address of an empty SQLite store, for what is SQLite's alone."""
    return f"sqlite:///{shutil.copy(migrated_file, tmp_path / 'sqlite-only.sqlite')}"


@pytest.fixture
def maria_empty_url(maria: mariadb.Server) -> Iterator[str]:
    """The address of a MariaDB database with nothing in it, for what is MariaDB's alone."""
    name = maria.create()
    yield maria.url(name)
    maria.drop(name)


@pytest.fixture
def maria_url(maria: mariadb.Server, migrated_maria: str) -> Iterator[str]:
    """The address of an empty MariaDB store, for what is MariaDB's alone."""
    name = maria.create(migrated_maria)
    yield maria.url(name)
    maria.drop(name)


@pytest.fixture
def project(store: Store) -> Project:
    """A project that draws half of its pool into the holdout, by a known salt."""
    return given.project(store)
