"""Many rows in few statements, under every database's limit on the variables of one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import Row, Select, insert
from sqlalchemy.orm import InstrumentedAttribute, Session

from store.schema import Base

# SQLite allows 32,766 variables in a statement, PostgreSQL 65,535; a few are left for the rest of the statement.
_VARIABLES = 30_000
# MariaDB has no such limit, but one on the bytes of a statement, 16 MiB unless its server is set otherwise.
_BYTES = 8_000_000
_BYTES_OF_A_CHARACTER = 4
_Values = TypeVar("_Values", bound=tuple[Any, ...])
_Item = TypeVar("_Item")


def chunks(items: Iterable[_Item], size: int = _VARIABLES) -> Iterator[list[_Item]]:
    """The items in lists of at most `size`, in order."""
    rest = list(items)
    for start in range(0, len(rest), size):
        yield rest[start : start + size]


def select_in(
    session: Session,
    query: Select[*tuple[Any, ...]],
    column: InstrumentedAttribute[Any],
    values: Iterable[Any],
) -> Iterator[Row[*tuple[Any, ...]]]:
    """The rows of `query` whose `column` is among `values`, one statement for thousands of them."""
    wanted = list(values)
    for chunk in chunks(wanted, _chunk_size(wanted)):
        yield from session.execute(query.where(column.in_(chunk)))


def _chunk_size(values: Iterable[Any]) -> int:
    longest = max((len(str(value)) for value in values), default=0)
    return min(_VARIABLES, _BYTES // ((longest + 1) * _BYTES_OF_A_CHARACTER))


def insert_rows(session: Session, table: type[Base], rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert the rows in one statement, executed for all of them at once.

    Their new keys are not asked for: SQLite would run one statement a row to give them in order.
    """
    if rows:
        session.execute(insert(Base.metadata.tables[table.__tablename__]), list(rows))
