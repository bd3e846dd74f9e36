"""The whole store as lines of JSON, the same for SQLite and PostgreSQL, and from such lines back into empty tables.

A dump is read from the tables as the database has them, so a store of an older schema is dumped as it is. Each table
begins with a line `{"table": name, "columns": [...]}`; each row is one line, a JSON array in the order of the columns.
Instants are ISO 8601 in UTC. A JSON column is carried as the text that the database holds, so that nothing in it
changes. Both directions take memory for a few hundred rows, however large the store is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    Connection,
    DateTime,
    MetaData,
    String,
    Table,
    cast,
    event,
    func,
    insert,
    inspect,
    select,
    text,
    update,
)
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.types import TypeDecorator

from store.database import migrating
from store.database.columns import Instant
from store.database.schema import Base
from store.database.session import ROWS_AT_ONCE, Transaction
from store.errors import StoreError

# Projects and models point at each other: a project's row comes first, and its pointer once the models are there.
_PROJECTS, _POINTER = "projects", "promoted_version"
# A model comes after its parent, which has a lower number. Other tables are read in the order of their keys.
_ORDER = {"models": ("project_id", "number")}
_INSERTED_AT_ONCE = 500


class _JsonText(TypeDecorator[str]):
    """A JSON column as the text that it holds. `on_server`: the database has a type of its own for it."""

    impl = String
    cache_ok = True

    def __init__(self, on_server: bool) -> None:
        super().__init__()
        self.on_server = on_server

    def column_expression(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        """SQLite keeps a JSON number as a number."""
        return cast(column, String)

    def bind_expression(self, bindparam: Any) -> ColumnElement[Any]:
        """PostgreSQL takes no text for a JSON column; in SQLite such a cast would make a number of it."""
        return cast(bindparam, JSON) if self.on_server else bindparam


def dump_lines(session: Session) -> Iterator[str]:
    """Every table of the store, each line with its line break, as the session's snapshot shows them."""
    for table in _tables(session.connection()):
        yield _line({"table": table.name, "columns": [column.name for column in table.columns]})
        instants = [place for place, column in enumerate(table.columns) if isinstance(column.type, Instant)]
        rows = session.execute(_in_order(table).execution_options(yield_per=ROWS_AT_ONCE))
        for row in rows:
            values = list(row)
            for place in instants:
                values[place] = values[place] and values[place].isoformat()
            yield _line(values)


def load_lines(tx: Transaction, lines: Iterable[str]) -> dict[str, int]:
    """Insert what `dump_lines` gave into the empty tables of the same schema; gives the number of rows by table.

    Ids, the pointer to the model in service and everything else come back as they were. On PostgreSQL the next ids
    follow the largest ones. Raises StoreError for a table or a column that this schema does not have.
    """
    connection = tx.session.connection()
    tables = {table.name: table for table in _tables(connection)}
    pointers: list[dict[str, Any]] = []
    counts: dict[str, int] = {}
    for name, columns, rows in _sections(lines):
        table = tables.get(name)
        if table is None or set(columns) != set(table.columns.keys()):
            raise StoreError(
                "a dump has the tables and columns of its schema",
                value=f"{name} with {', '.join(columns)}",
                next_step="It was not made by `loop backup` at that schema.",
            )
        counts[name] = 0
        for batch in _batches(rows, table, columns):
            if name == _PROJECTS:
                pointers += [{"id": row["id"], _POINTER: row.pop(_POINTER)} for row in batch]
            connection.execute(insert(table), batch)
            counts[name] += len(batch)
    for row in pointers:
        mine = update(tables[_PROJECTS]).where(tables[_PROJECTS].c.id == row["id"])
        connection.execute(mine.values({_POINTER: row[_POINTER]}))
    _continue_ids(connection, tables.values())
    return counts


def count_rows(session: Session) -> dict[str, int]:
    """The number of rows of every table."""
    connection = session.connection()
    return {
        table.name: connection.scalar(select(func.count()).select_from(table)) or 0 for table in _tables(connection)
    }


def is_empty(session: Session) -> bool:
    """Whether the database has no table at all."""
    return not inspect(session.connection()).get_table_names()


def _tables(connection: Connection) -> list[Table]:
    """The tables as they are in the database, each after the tables that its rows point at.

    At this code's schema these are the declared ones, whatever else somebody put into the database.
    """
    declared = [table.name for table in Base.metadata.sorted_tables]
    there = [name for name in inspect(connection).get_table_names() if name != migrating.VERSION_TABLE]
    if migrating.current_revision(connection) == migrating.head_revision():
        there = [name for name in there if name in declared]
    metadata = MetaData()
    on_server = connection.dialect.name == "postgresql"

    @event.listens_for(metadata, "column_reflect")
    def _make_portable(_inspector: object, _table: object, column: Any) -> None:
        if isinstance(column["type"], JSON):
            column["type"] = _JsonText(on_server)
        elif isinstance(column["type"], DateTime):
            column["type"] = Instant()

    metadata.reflect(connection, only=there)
    places = {name: place for place, name in enumerate(declared)}
    return [metadata.tables[name] for name in sorted(there, key=lambda name: places.get(name, len(places)))]


def _in_order(table: Table) -> Any:
    keys: Iterable[Column[Any]] = table.primary_key.columns
    if table.name in _ORDER:
        keys = [table.columns[name] for name in _ORDER[table.name]]
    return select(table).order_by(*keys)


def _sections(lines: Iterable[str]) -> Iterator[tuple[str, list[str], Iterator[list[Any]]]]:
    """(table, columns, rows) of each table. The rows of a table are read before the next table."""
    numbered = iter(lines)
    header = next(numbered, None)
    while header is not None:
        head = json.loads(header)
        following: list[str] = []

        def rows(following: list[str] = following) -> Iterator[list[Any]]:
            for line in numbered:
                if line.startswith("{"):
                    following.append(line)
                    return
                yield json.loads(line)

        yield head["table"], head["columns"], rows()
        header = following[0] if following else None


def _batches(rows: Iterator[list[Any]], table: Table, columns: list[str]) -> Iterator[list[dict[str, Any]]]:
    instants = [name for name in columns if isinstance(table.columns[name].type, Instant)]
    batch: list[dict[str, Any]] = []
    for row in rows:
        values = dict(zip(columns, row, strict=True))
        for name in instants:
            values[name] = values[name] and datetime.fromisoformat(values[name])
        batch.append(values)
        if len(batch) == _INSERTED_AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch


def _continue_ids(connection: Connection, tables: Iterable[Table]) -> None:
    """On PostgreSQL a number given by hand leaves the sequence behind, and the next row would get it again."""
    if connection.dialect.name != "postgresql":
        return
    for table in tables:
        if "id" in table.columns:
            largest = connection.scalar(select(func.max(table.columns["id"])))
            if largest is not None:
                setting = text("SELECT setval(pg_get_serial_sequence(:table, 'id'), :largest)")
                connection.execute(setting, {"table": table.name, "largest": largest})


def _line(value: Any) -> str:
    return json.dumps(value, separators=(",", ":")) + "\n"
