"""Opening the store, and its two kinds of transaction: ones that write, and ones that only read.

SQLite runs in WAL mode, so readers never wait for the writer, with `synchronous=FULL`: WAL with NORMAL may take back
the last commits at a power cut, and a promotion that was reported, or annotations imported from a file that is gone,
must not be taken back. One fsync a commit is cheap where commits are pages, not rows.

A write transaction takes SQLite's write lock at its start (BEGIN IMMEDIATE), for which it waits up to 30 seconds. So it
cannot fail half-way because the lock is taken. A reader sees one snapshot for as long as it is open, on PostgreSQL too.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, Row, Select, create_engine, event, exc, insert, make_url
from sqlalchemy.engine import URL
from sqlalchemy.orm import InstrumentedAttribute, Session

from store.database import migrating
from store.database.columns import to_json
from store.database.schema import Base
from store.errors import StoreNotReadyError, StoreOpenError, translate

BUSY_SECONDS = 30.0
DIALECTS = ("sqlite", "postgresql")
_WRITES = "store_writes"
# SQLite allows 32,766 variables in a statement, PostgreSQL 65,535; a few are left for the rest of the statement.
_VARIABLES = 30_000
# Of a result that is read row by row, what the driver holds.
ROWS_AT_ONCE = 1_000
# A server that is cut off says nothing: without limits, a statement would wait for a quarter of an hour (tcp(7)).
# These are libpq's parameters; those of the store's address win over them.
_LIMITS_OF_POSTGRESQL = {
    "connect_timeout": 5,  # seconds
    "tcp_user_timeout": 10_000,  # milliseconds until data that nobody acknowledged ends the connection
    "keepalives_idle": 10,  # seconds without data until a connection is probed
    "keepalives_interval": 5,
    "keepalives_count": 2,
}
_Item = TypeVar("_Item")
_UPGRADE = "`loop upgrade` makes a backup and brings it up to date."
_EXAMPLES = "Such as sqlite:////path/store.sqlite or postgresql+psycopg://user@host/name."


class Transaction:
    """What `Store.transaction` gives: `session` to work with, and `commit()`, without which nothing is kept."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def commit(self) -> None:
        """Keep everything done so far; raises StoreError when the database refuses it."""
        with translated():
            self.session.commit()


class Store:
    """An open store. Open it in the process that uses it, after any fork: connections do not cross one."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writer = engine.execution_options(**{_WRITES: True})
        self._reader = engine.execution_options(**_reader_options(engine))

    @property
    def url(self) -> str:
        """The address, its password hidden, wherever in the address it stands."""
        return self._engine.url.difference_update_query(["password"]).render_as_string(hide_password=True)

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """A write transaction, rolled back unless `commit()` is called; database errors come out as StoreError."""
        with translated(), Session(self._writer, expire_on_commit=False) as session:
            # The lock is taken now: what is read inside is what the writes will stand on.
            session.connection()
            yield Transaction(session)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A read-only session on one snapshot; what it tries to write is refused."""
        with translated(), Session(self._reader, expire_on_commit=False) as session:
            yield session

    def prepare(self) -> None:
        """Have SQLite keep this file in WAL mode; nothing on PostgreSQL."""
        if self._engine.dialect.name == "sqlite":
            with translated():
                _use_wal(self._engine)

    def schema_version(self) -> str | None:
        """The revision of the schema that the database is at."""
        with self.read() as session:
            return migrating.current_revision(session.connection())

    def close(self) -> None:
        """Let go of every connection; the store opens them anew if it is used again."""
        self._engine.dispose()


# What surrounds the upgrade of an older store: called with the store, its revision, and the transaction of the upgrade.
Upgrading = Callable[[Store, str, Transaction], AbstractContextManager[None]]


def open_store(url: str, migrate: bool = True, upgrading: Upgrading | None = None) -> Store:
    """The store at a SQLAlchemy URL, at this code's schema.

    `migrate` makes the tables in an empty database; any number of processes may do so at once. An older store is
    upgraded only where `upgrading` is given. One process enters it, holding the lock on the schema, before anything is
    changed, and leaves it before the change is committed; what it raises leaves the store as it was.

    Raises StoreOpenError for an address that is none, and for a database that does not let this user in, that belongs
    to something else, or whose schema is newer; StoreNotReadyError for a server that does not answer, for a store that
    is not there without `migrate`, and for an older one without `upgrading`; StoreBusyError after 30 seconds of
    somebody else's lock.
    """
    store = connect(url, make=migrate)
    try:
        with translated():
            _bring_up_to_date(store, migrate, upgrading)
    except BaseException:
        store.close()
        raise
    return store


def connect(url: str, make: bool = True) -> Store:
    """The store at a SQLAlchemy URL, whatever its schema; for restoring and for looking at the schema.

    Without `make`, the file of a SQLite store has to be there. Raises StoreOpenError for an address that is none.
    """
    return Store(_create_engine(url, make))


@contextmanager
def translated() -> Iterator[None]:
    """Database errors inside come out as StoreError."""
    try:
        yield
    except exc.SQLAlchemyError as error:
        raise translate(error) from error


def chunks(items: Iterable[_Item]) -> Iterator[list[_Item]]:
    """The items in lists that fit into one statement of every database, in order."""
    rest = list(items)
    for start in range(0, len(rest), _VARIABLES):
        yield rest[start : start + _VARIABLES]


def select_in(
    session: Session,
    query: Select[*tuple[Any, ...]],
    column: InstrumentedAttribute[Any],
    values: Iterable[Any],
) -> Iterator[Row[*tuple[Any, ...]]]:
    """The rows of `query` whose `column` is among `values`, one statement for thousands of them."""
    for chunk in chunks(values):
        yield from session.execute(query.where(column.in_(chunk)))


def insert_rows(session: Session, table: type[Base], rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert the rows in one statement, executed for all of them at once.

    Their new keys are not asked for: SQLite would run one statement a row to give them in order.
    """
    if rows:
        session.execute(insert(Base.metadata.tables[table.__tablename__]), list(rows))


def _bring_up_to_date(store: Store, migrate: bool, upgrading: Upgrading | None) -> None:
    with store.read() as session:
        # Looked at before anything is changed: the file may be another program's.
        current = migrating.is_current(session.connection())
        found = migrating.current_revision(session.connection())
    if not current and (not migrate or (found is not None and upgrading is None)):
        raise StoreNotReadyError(
            "the store's schema is this program's",
            value=f"store at {found or 'nothing'}, program at {migrating.head_revision()}",
            next_step=_UPGRADE if found else "`loop init` or `loop run` makes the tables.",
        )
    store.prepare()
    if current:
        return
    with store.transaction() as tx:
        connection = tx.session.connection()
        migrating.lock(connection)
        found = migrating.current_revision(connection)
        is_due = found not in (None, migrating.head_revision())
        with upgrading(store, found or "", tx) if upgrading is not None and is_due else nullcontext():
            migrating.upgrade(connection)
        tx.commit()


def _create_engine(url: str, migrate: bool) -> Engine:
    try:
        parsed = make_url(url)
        dialect = parsed.get_backend_name()
        _check_dialect(dialect)
        if dialect == "sqlite":
            _check_sqlite(parsed, migrate)
        engine = create_engine(
            parsed, json_serializer=to_json, pool_pre_ping=dialect != "sqlite", connect_args=_limits(parsed)
        )
    except (exc.SQLAlchemyError, ImportError, ValueError) as error:
        # Not the error's own words: some quote the address, and it may hold a password.
        raise StoreOpenError(
            "the store's address is a SQLAlchemy URL whose driver is installed",
            value=f"{url.partition(':')[0]}:... ({type(error).__name__})",
            next_step=_EXAMPLES,
        ) from error
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _limits(url: URL) -> dict[str, int]:
    """How long a connection to a server may say nothing, where the address does not say so itself."""
    limits = _LIMITS_OF_POSTGRESQL if url.get_backend_name() == "postgresql" else {}
    return {name: value for name, value in limits.items() if name not in url.query}


def _check_dialect(name: str) -> None:
    """Others want other columns, triggers and locks; a store that half works loses labels."""
    if name not in DIALECTS:
        raise StoreOpenError(
            f"a store's database is one of {', '.join(DIALECTS)}",
            value=name,
            next_step=_EXAMPLES,
        )


def _check_sqlite(url: URL, migrate: bool) -> None:
    if not url.database or url.database == ":memory:":
        raise StoreOpenError(
            "a store outlives its process", value=url.render_as_string(), next_step="Name a file in the address."
        )
    file = Path(url.database)
    if not migrate and not file.parent.is_dir():
        raise StoreOpenError(
            "the folder of the store is there", value=str(file.parent), next_step="Correct the store's address."
        )
    _check_may_write(file.parent)
    _check_may_write(file)
    if not migrate and not file.exists():
        raise StoreNotReadyError("the store is there", value=url.database, next_step="Make one with `loop init`.")


def _check_may_write(place: Path) -> None:
    """SQLite's own words do not name the file. In WAL mode, a reader writes beside the file as well."""
    try:
        found = place.stat()
    except OSError:  # what is not there is told by others
        return
    if not os.access(place, os.R_OK | os.W_OK):
        # By numbers: names differ between containers.
        whose = f"of user {found.st_uid} with mode {found.st_mode & 0o777:o}, asked by user {os.geteuid()}"
        raise StoreOpenError(
            "this user may read and write the store's file and its folder",
            value=f"{place}, {whose}",
            next_step="Give both to the user that runs this program, or correct the store's address.",
        )


def _reader_options(engine: Engine) -> dict[str, Any]:
    if engine.dialect.name == "postgresql":
        return {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    return {}


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    # The driver would begin transactions by its own rules; _begin_sqlite does it by ours.
    connection.isolation_level = None
    for pragma in (f"busy_timeout={int(BUSY_SECONDS * 1000)}", "foreign_keys=ON", "synchronous=FULL"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql(f"PRAGMA query_only={'OFF' if writes else 'ON'}")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _use_wal(engine: Engine) -> None:
    """Switch the file to WAL, which it keeps. SQLite does not wait until nobody else uses the file, so this waits."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            _switch_to_wal(engine)
            return
        except sqlite3.DatabaseError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise exc.OperationalError(None, None, error) from error
            time.sleep(0.02)


def _switch_to_wal(engine: Engine) -> None:
    connection = engine.raw_connection()
    try:
        cursor = connection.cursor()
        if cursor.execute("PRAGMA journal_mode").fetchone() != ("wal",):
            cursor.execute("PRAGMA journal_mode=WAL")
    finally:
        connection.close()
