"""Bringing a database to the schema of this code, by the packaged alembic migrations, safely beside other processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from store.columns import MARIADB
from store.errors import StoreBusyError, StoreOpenError

_VERSION_TABLE = "alembic_version"
# Any number that nothing else in the database locks by.
_ADVISORY_LOCK = 7_209_114_263
# MariaDB's advisory locks are the server's, not the database's.
_MARIADB_LOCK = "CONCAT('store-schema-', MD5(DATABASE()))"
_LOCK_SECONDS = 30
# MariaDB cannot take back a migration that fails half-way. This table stands while one is under way, so that one that
# was cut off is known.
_UNDER_WAY = "migration_under_way"


def head_revision() -> str:
    """The newest revision this code knows."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    if head is None:
        raise StoreOpenError("the store's migrations are installed", next_step="Install the package again.")
    return head


def current_revision(connection: Connection) -> str | None:
    """The revision the database is at; None for one that holds nothing of the store yet."""
    return MigrationContext.configure(connection).get_current_revision()


def upgrade(connection: Connection) -> None:
    """To head, in the open write transaction of `connection`; a database already there is left alone.

    The first of several processes holds the lock and the others, once let in, find nothing to do: SQLite's BEGIN
    IMMEDIATE is that lock, PostgreSQL and MariaDB get an advisory one.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
    if connection.dialect.name == MARIADB:
        _upgrade_mariadb(connection)
        return
    _refuse_foreign(connection, current_revision(connection))
    _to_head(connection)


def is_current(connection: Connection) -> bool:
    """Whether the database is at head; raises StoreOpenError when it is newer or not the store's at all."""
    if connection.dialect.name == MARIADB:
        # Others would be seen half-way.
        with _mariadb_lock(connection):
            return not _is_cut_off(connection) and _is_current(connection)
    return _is_current(connection)


def _is_current(connection: Connection) -> bool:
    current = current_revision(connection)
    _refuse_foreign(connection, current)
    return current == head_revision()


def _to_head(connection: Connection) -> None:
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _upgrade_mariadb(connection: Connection) -> None:
    """The same where every statement on the schema commits: a new store that was cut off is begun again."""
    with _mariadb_lock(connection):
        _clear_cut_off(connection)
        if _is_current(connection):
            return
        begun_from = current_revision(connection) or ""
        connection.execute(text(f"CREATE TABLE {_UNDER_WAY} SELECT '{begun_from}' AS begun_from"))
        try:
            _to_head(connection)
            connection.execute(text(f"DROP TABLE {_UNDER_WAY}"))
        except BaseException:
            # It may be in the middle of anything; without it, its locks are gone.
            connection.invalidate()
            with connection.engine.begin() as another, _mariadb_lock(another):
                _clear_cut_off(another)
            raise


@contextmanager
def _mariadb_lock(connection: Connection) -> Iterator[None]:
    got = connection.scalar(text(f"SELECT GET_LOCK({_MARIADB_LOCK}, {_LOCK_SECONDS})"))
    if got != 1:
        raise StoreBusyError(
            "one process at a time changes the store's schema",
            value=f"held for more than {_LOCK_SECONDS} seconds",
            next_step="Try again when the other one has ended.",
        )
    try:
        yield
    except BaseException:
        # With the connection goes the lock.
        connection.invalidate()
        raise
    connection.execute(text(f"SELECT RELEASE_LOCK({_MARIADB_LOCK})"))


def _is_cut_off(connection: Connection) -> bool:
    return inspect(connection).has_table(_UNDER_WAY)


def _clear_cut_off(connection: Connection) -> None:
    """Remove what a process left that died while it made a new store; refuse an older store that was left so."""
    if not _is_cut_off(connection):
        return
    begun_from = connection.scalar(text(f"SELECT begun_from FROM {_UNDER_WAY}"))
    if begun_from:
        raise StoreOpenError(
            "a store's schema is changed whole",
            value=f"an upgrade from {begun_from} was cut off",
            next_step="Restore the database from the backup made before; MariaDB cannot take an upgrade back.",
        )
    connection.execute(text("SET foreign_key_checks=0"))
    # Last the table that says so: this may be cut off too.
    names = sorted(inspect(connection).get_table_names(), key=lambda name: name == _UNDER_WAY)
    for name in names:
        connection.execute(text(f"DROP TABLE `{name}`"))
    connection.execute(text("SET foreign_key_checks=1"))


def _refuse_foreign(connection: Connection, current: str | None) -> None:
    if current is None:
        tables = sorted(set(inspect(connection).get_table_names()) - {_VERSION_TABLE})
        if tables:
            raise StoreOpenError(
                "a new store starts in an empty database",
                value=f"tables {', '.join(tables[:5])}",
                next_step="This database belongs to another program: give the store one of its own.",
            )
    elif current not in {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}:
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
