"""The store of a restored project: the dump in empty tables, with a note of the restore, in one transaction.

Two things are not as they were in the dump. A run that was at work then is marked as interrupted, since no process
works on it here; so is the model that it trained. And the numbers of models go on behind a hundred, with at least 50
numbers left out: models may have been trained after the backup, and their versions may stand on predictions in Label
Studio and in folders. A version that meant two models would take the predictions of the one for those of the other.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import func, insert, inspect, select, update
from sqlalchemy.orm import Session

from loop.backup.files import BackupError
from loop.backup.manifest import BackupManifest
from loop.backup.snapshot import ROWS, Progress, dump_reader
from store.database import migrating
from store.database.columns import utc_now
from store.database.dump import count_rows, is_empty, load_lines
from store.database.schema import Model, Project, Run
from store.database.session import Store, Transaction
from store.registry import INTERRUPTED as ENDED
from store.registry import TRAINING
from store.runs import DONE, INTERRUPTED, RUNNING

RESTORE_RUN = "restore"
RUNS = Run.__tablename__
_NUMBERS_APART, _LEAST_FREE = 100, 50
_TOLD_EVERY = 1_000
_SHOWN = 5


def check_fillable(store: Store, backup: str) -> None:
    """Raise BackupError unless the database is empty, or holds what a restore of this very backup left there."""
    with store.read() as session:
        if not is_empty(session):
            _check_ours(session, backup, store.url)


def fill_store(store: Store, dump: Path, manifest: BackupManifest, *, keep_schema: bool, progress: Progress) -> str:
    """Fill the empty database with the dump, and bring it to this program's schema; gives the schema that it is at.

    A database that this backup filled already is left as it is. All is done in one transaction.
    """
    store.prepare()
    with store.transaction() as tx:
        connection = tx.session.connection()
        migrating.lock(connection)
        if not is_empty(tx.session):
            _check_ours(tx.session, manifest.digest, store.url)
            return migrating.current_revision(connection) or ""
        migrating.upgrade(connection, manifest.schema)
        with dump_reader(dump) as lines:
            counts = load_lines(tx, _counted(lines, progress))
        _check_counts(counts, count_rows(tx.session), dict(manifest.rows))
        _end_runs(tx, manifest)
        _note_restore(tx, manifest)
        if not keep_schema:
            migrating.upgrade(connection)
        tx.commit()
    return store.schema_version() or ""


def _check_ours(session: Session, backup: str, address: str) -> None:
    if not _holds(session, backup):
        raise BackupError(
            "a restore goes into an empty database",
            value=f"{address} with tables {', '.join(sorted(_tables(session))[:_SHOWN])}",
            next_step="Name another database with --store, or make this one empty.",
        )


def _counted(lines: Iterable[str], progress: Progress) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        if number % _TOLD_EVERY == 0:
            progress(ROWS, number)
        yield line


def _check_counts(loaded: Mapping[str, int], there: Mapping[str, int], noted: Mapping[str, int]) -> None:
    wrong = [
        f"{table}: {there.get(table)} of {rows}"
        for table, rows in noted.items()
        if not rows == loaded.get(table) == there.get(table)
    ]
    if wrong or sum(there.values()) != sum(noted.values()):
        raise BackupError(
            "a restored store has as many rows as its backup notes",
            value=", ".join(wrong) or "rows that the backup does not have",
            next_step="Nothing was kept. Use another backup.",
        )


def _end_runs(tx: Transaction, manifest: BackupManifest) -> None:
    """Nobody works on the restored project: what was at work when the backup was made would hold it for minutes."""
    why = f"it was at work when the backup of {manifest.taken_at} was made, and did not come along"
    at = {"finished_at": utc_now(), "error": why}
    connection = tx.session.connection()
    connection.execute(update(Run).where(Run.state == RUNNING).values(state=INTERRUPTED, **at))
    connection.execute(update(Model).where(Model.state == TRAINING).values(state=ENDED, **at))


def _note_restore(tx: Transaction, manifest: BackupManifest) -> None:
    """For each project a run that says which backup it comes from, and the last number that is not given again."""
    for project_id, slug in tx.session.execute(select(Project.id, Project.slug)).all():
        run_id = _add_run(tx, project_id, manifest)
        _keep_numbers_free(tx, project_id, slug, run_id, manifest)


def _add_run(tx: Transaction, project_id: int, manifest: BackupManifest) -> int:
    """Only columns that every schema has are named, here and below: the tables may be those of an older one."""
    process, now = psutil.Process(), utc_now()
    run = {
        "project_id": project_id,
        "kind": RESTORE_RUN,
        "state": DONE,
        "pid": process.pid,
        "process_started": process.create_time(),
        "host": platform.node(),
        **dict.fromkeys(("started_at", "heartbeat_at", "finished_at"), now),
        "counts": {"backup": manifest.digest, "taken_at": manifest.taken_at, "rows": sum(manifest.rows.values())},
    }
    key: int = tx.session.connection().execute(insert(Run).values(run).returning(Run.id)).scalar_one()
    return key


def _keep_numbers_free(tx: Transaction, project_id: int, slug: str, run_id: int, manifest: BackupManifest) -> None:
    """A row without a model, its number a hundred that leaves at least 50 out: `start_model` goes on behind it."""
    largest = tx.session.scalar(select(func.max(Model.number)).where(Model.project_id == project_id)) or 0
    number = ((largest + _LEAST_FREE) // _NUMBERS_APART + 1) * _NUMBERS_APART
    version = f"{slug}-{number:04d}"
    why = f"no model: numbers up to {number} may be of models that were trained after the backup of {manifest.taken_at}"
    row: dict[str, Any] = {
        "version": version,
        "project_id": project_id,
        "number": number,
        "run_id": run_id,
        "state": ENDED,
        "encoder": "none",
        "path": f"{slug}/{version}",
        "data_fingerprint": "",
        "seed": 0,
        **{name: {} for name in ("settings", "libraries", "files", "figures")},
        "error": why,
        **dict.fromkeys(("created_at", "finished_at"), utc_now()),
    }
    tx.session.connection().execute(insert(Model).values(row))


def _holds(session: Session, backup: str) -> bool:
    """Whether the database was filled from this backup, and nothing has happened in it since."""
    if RUNS not in _tables(session):
        return False
    last = session.execute(select(Run.kind, Run.counts).order_by(Run.id.desc()).limit(1)).one_or_none()
    return last is not None and last.kind == RESTORE_RUN and last.counts.get("backup") == backup


def _tables(session: Session) -> set[str]:
    return set(inspect(session.connection()).get_table_names()) - {migrating.VERSION_TABLE}
