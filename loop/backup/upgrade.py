"""The store at this program's schema: `loop upgrade`, and what the first command of a newer version does by itself.

A migration changes the tables for good. So a backup of the store comes before it, made by the one process that holds
the lock on the schema. The models and the project's files are not in this backup: a migration does not touch them.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select

from loop.settings.settings import Settings
from ner.errors import RuleError
from store.database import migrating
from store.database.columns import utc_now
from store.database.dump import count_rows
from store.database.schema import Run
from store.database.session import Store, Transaction, open_store
from store.errors import RunHeldError
from store.runs import RUNNING, is_alive

logger = logging.getLogger(__name__)

BACKUPS = "backups"


class UpgradeError(RuleError):
    """A migration would lose something."""

    exit_code = 11


@dataclass(frozen=True, slots=True)
class Upgraded:
    """What an upgrade did. before: the schema that it found. backup: its folder, None where none was made."""

    store: str
    before: str | None
    after: str
    backup: Path | None
    rows: int

    @property
    def changed(self) -> bool:
        """Whether there was anything to do."""
        return self.before != self.after


def open_upgraded(settings: Settings) -> Store:
    """The project's store, made where it is missing. An older store is backed up into backups/ and upgraded first.

    Raises RunHeldError while a command is at work on the older store, BackupError where no backup can be made.
    """
    return open_store(settings.store_url, upgrading=_Upgrade(settings, settings.home / BACKUPS))


def upgrade(settings: Settings, backups: Path | None) -> Upgraded:
    """Bring the project's store to this program's schema; `backups` is the folder for the backup, None for no backup.

    Raises what `open_upgraded` raises, and UpgradeError where a migration would lose rows.
    """
    step = _Upgrade(settings, backups)
    with closing(open_store(settings.store_url, upgrading=step)) as store:
        with store.read() as session:
            rows = count_rows(session)
        after = store.schema_version() or ""
        return Upgraded(store.url, step.found or after, after, step.folder, sum(rows.values()))


class _Upgrade:
    """What surrounds a migration; keeps what it found."""

    def __init__(self, settings: Settings, backups: Path | None) -> None:
        self._settings, self._backups = settings, backups
        self.found: str | None = None
        self.folder: Path | None = None

    @contextmanager
    def __call__(self, store: Store, revision: str, tx: Transaction) -> Iterator[None]:
        """Refuse while somebody works on the store, make the backup, and let no migration lose a row."""
        _refuse_live_runs(store)
        self.found = revision
        with self._kept(store, revision):
            before = count_rows(tx.session)
            yield
            _check_kept(before, count_rows(tx.session))

    @contextmanager
    def _kept(self, store: Store, revision: str) -> Iterator[None]:
        """Make the backup. It goes where the upgrade fails: a service that is started again and again fills no disk."""
        if self._backups is None:
            yield
            return
        from loop.backup.backup import keep_store  # most commands need nothing of it

        folder = self._backups / f"{utc_now():%Y%m%dT%H%M%SZ}-schema-{revision}"
        was_there = folder.exists()
        try:
            keep_store(self._settings, store, folder)
            head = migrating.head_revision()
            logger.warning("the store is upgraded from schema %s to %s; its backup: %s", revision, head, folder)
            yield
        except BaseException:
            if not was_there:
                shutil.rmtree(folder, ignore_errors=True)
            raise
        self.folder = folder


def _refuse_live_runs(store: Store) -> None:
    with store.read() as session:
        live = [run for run in session.scalars(select(Run).where(Run.state == RUNNING)) if is_alive(run)]
    if live:
        run = live[0]
        raise RunHeldError(
            "nobody works on a store while its schema changes",
            value=f"{run.kind} of process {run.pid} on {run.host} since {run.started_at:%Y-%m-%d %H:%M:%S} UTC",
            next_step="End that process, or wait for it. A process of another host that died counts as gone after ten "
            "minutes.",
        )


def _check_kept(before: Mapping[str, int], after: Mapping[str, int]) -> None:
    lost = [
        f"{table}: {rows} rows, then {after[table]}" for table, rows in before.items() if after.get(table, rows) < rows
    ]
    if lost:
        raise UpgradeError(
            "an upgrade keeps every row",
            value=", ".join(lost),
            next_step="Nothing was changed. Go on with the version of this program that made the store.",
        )
