"""Bringing a database to the schema of this code, by the packaged alembic migrations, safely beside other processes."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from store.errors import StoreOpenError

VERSION_TABLE = "alembic_version"
# Any number that nothing else in the database locks by.
_ADVISORY_LOCK = 7_209_114_263


def head_revision() -> str:
    """The newest revision this code knows."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    if head is None:
        raise StoreOpenError("the store's migrations are installed", next_step="Install the package again.")
    return head


def current_revision(connection: Connection) -> str | None:
    """The revision the database is at; None for one that holds nothing of the store yet."""
    return MigrationContext.configure(connection).get_current_revision()


def lock(connection: Connection) -> None:
    """Keep other processes from changing the schema until the open write transaction of `connection` ends.

    On SQLite the write transaction itself is that lock (BEGIN IMMEDIATE); on PostgreSQL it is an advisory lock.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})


def upgrade(connection: Connection, revision: str = "head") -> None:
    """To `revision`, in the open write transaction of `connection`; a database already there is left alone.

    The first of several processes holds the lock, and the others find nothing to do once they get the lock.
    """
    lock(connection)
    _refuse_foreign(connection, current_revision(connection))
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def knows(revision: str) -> bool:
    """Whether this code has the migration that leads to `revision`."""
    return revision in {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}


def is_current(connection: Connection) -> bool:
    """Whether the database is at head; raises StoreOpenError when it is newer or not the store's at all."""
    current = current_revision(connection)
    _refuse_foreign(connection, current)
    return current == head_revision()


def _refuse_foreign(connection: Connection, current: str | None) -> None:
    if current is None:
        tables = sorted(set(inspect(connection).get_table_names()) - {VERSION_TABLE})
        if tables:
            raise StoreOpenError(
                "a new store starts in an empty database",
                value=f"tables {', '.join(tables[:5])}",
                next_step="This database belongs to another program: give the store one of its own.",
            )
    elif not knows(current):
        raise StoreOpenError(
            "a store is never newer than the program that opens it",
            value=f"store at {current}, program knows up to {head_revision()}",
            next_step="Install the version of this program that made it, or a newer one.",
        )


def _config() -> Config:
    config = Config()
    folder = str(Path(__file__).parent / "migrations")
    config.set_main_option("script_location", folder.replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
