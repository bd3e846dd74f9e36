"""The store as it is at one moment, written as a compressed dump from one read transaction, beside everybody's work."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO

from sqlalchemy import select
from sqlalchemy.orm import Session

from loop.backup.bundles import KnownBundle, known_bundles
from loop.backup.files import BackupError, told
from store.database import migrating
from store.database.columns import utc_now
from store.database.dump import dump_lines
from store.database.schema import Project
from store.database.session import Store
from store.errors import NotFoundError, StoreOpenError

# Called with what is being counted, and how much of it is done.
Progress = Callable[[str, int], None]
ROWS, FILES = "rows", "files"
# A higher level takes twice the time for a tenth less.
_COMPRESSION = 3
_TOLD_EVERY = 1_000


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a dump shows. rows: by table. bundles: those of all projects of the store."""

    taken_at: datetime
    schema: str
    database: str
    rows: Mapping[str, int]
    bundles: tuple[KnownBundle, ...]


def write_snapshot(store: Store, path: Path, progress: Progress) -> Snapshot:
    """Write the dump of the store to `path`.

    Raises StoreOpenError for a database that is not a store, or a newer one; BackupError where the disk refuses.
    """
    with store.read() as session:
        schema = schema_of(session)
        bundles = tuple(known_bundles(session))
        taken_at = utc_now()
        rows = _write(dump_lines(session), path, progress)
        return Snapshot(taken_at, schema, session.connection().dialect.name, rows, bundles)


def schema_of(session: Session) -> str:
    """The revision of the store's tables. Raises StoreOpenError for another program's database, or an empty one."""
    migrating.is_current(session.connection())
    schema = migrating.current_revision(session.connection())
    if schema is None:
        raise StoreOpenError("the store is there", value="an empty database", next_step="Make one with `loop init`.")
    return schema


def identity_of(session: Session, project: str) -> tuple[str, str]:
    """The project's name, and when it was made (ISO 8601): no two projects have both. Raises NotFoundError."""
    query = select(Project.name, Project.created_at).where(Project.name == project)
    found = session.execute(query).one_or_none()
    if found is None:
        raise NotFoundError("a project is in the store", value=project, next_step="Correct project.name in loop.toml.")
    return found.name, found.created_at.isoformat()


@contextmanager
def dump_reader(path: Path) -> Iterator[IO[str]]:
    """The lines of a dump."""
    try:
        with gzip.open(path, "rt", encoding="ascii") as lines:
            yield lines
    except (OSError, EOFError) as error:
        raise BackupError("the dump of the store can be read", value=f"{path}: {error}") from error


def _write(lines: Iterator[str], path: Path, progress: Progress) -> dict[str, int]:
    """Write the lines, and count the rows of each table."""
    rows: dict[str, int] = {}
    done = 0
    with told(f"{path.parent} has room and can be written to"):
        path.parent.mkdir(parents=True)
        with path.open("xb") as raw:
            # Without a name and a time in it, the same rows give the same file.
            with gzip.GzipFile("", "wb", _COMPRESSION, raw, mtime=0) as packed:
                for line in lines:
                    packed.write(line.encode("ascii"))
                    if line.startswith("{"):
                        table = json.loads(line)["table"]
                        rows[table] = 0
                        continue
                    rows[table] += 1
                    done += 1
                    if done % _TOLD_EVERY == 0:
                        progress(ROWS, done)
            raw.flush()
            os.fsync(raw.fileno())
    return rows
