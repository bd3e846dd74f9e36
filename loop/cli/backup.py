"""`loop backup`, `loop restore` and `loop upgrade`: a project kept, brought back, and brought to a newer version."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loop import console
from loop.cli.invocation import Invocation, command, start_logging
from loop.wording import number_of

if TYPE_CHECKING:
    from loop.backup.manifest import LeftOut

_BUNDLE_REFUSED = 9
_MB = 1_000_000


def register(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    command(app, "backup", "loop backup /backups/desk")(backup)
    command(app, "restore", "loop restore /backups/desk desk --store sqlite:///loop.db")(restore)
    command(app, "upgrade", "loop upgrade")(upgrade)


def backup(
    invocation: Invocation,
    out: Annotated[
        Path,
        typer.Argument(
            metavar="OUT", help="A folder outside of the project's models and reports; empty, or with the last backup."
        ),
    ],
) -> int | None:
    """Copy the store, the models and the project's files into a folder, while the loop and the annotators work on.

    The store is read at one moment; then the models that it names are copied. A second backup into the same folder
    copies new models alone, and replaces the last backup when it is whole. A backup that was cut off goes on with the
    same command. The folder suits rsync, restic and tar.

    The API key and passwords are not copied. Label Studio has its own backup: make it after this one
    (docs/operations.md). The exit code is 9 when a model of the project is missing or damaged; the backup holds the
    rest.
    """
    from loop.backup.backup import back_up

    done = back_up(invocation.settings, out, _progress(invocation))
    made = done.manifest
    said = [
        f"Backup of {made.project!r} as of {made.taken_at}, schema {made.schema}: {done.folder}",
        f"{done.rows:,} rows, {number_of(len(made.bundles), 'model')} ({done.bundles_copied} new), "
        f"{number_of(len(made.files), 'file')}, {done.bytes / _MB:,.1f} MB "
        f"({done.copied_bytes / _MB:,.1f} MB written now).",
        *_left_out(made.left_out),
        *_needed(made.needed),
    ]
    invocation.answer(done, *said)
    return _BUNDLE_REFUSED if done.without else 0


def restore(
    invocation: Invocation,
    source: Annotated[Path, typer.Argument(metavar="BACKUP", help="The folder that `loop backup` was given.")],
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="DIR", help="The project's folder, empty or not there yet; by default LOOP_HOME, or ./"),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="An empty database, SQLite or PostgreSQL; by default LOOP_STORE_URL, or what the backup's loop.toml "
            "names. A relative path of SQLite is relative to DIR.",
        ),
    ] = None,
    models: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The models' folder; by default MODEL_DIR, or what loop.toml names."),
    ] = None,
    keep_schema: Annotated[
        bool,
        typer.Option(
            "--keep-schema", help="Leave the store at the schema of the backup, for an older version of this program."
        ),
    ] = False,
) -> int | None:
    """Bring a project back from its backup, into an empty folder and an empty database.

    Every file is checked first; nothing is written when one of them is missing or altered. A backup from SQLite goes
    into PostgreSQL, too, and the other way round. A restore that was cut off goes on with the same command. The backup
    that an upgrade made holds the store alone: it goes into the project's folder, with an empty database.

    The API key and passwords have to be given again; the answer names them. What annotators did since the backup comes
    with the next `loop pull`. Numbers of models leave 50 or more out, so that no version means two models.
    """
    from loop.backup.restore import Target, restore

    start_logging("DEBUG" if invocation.verbose else "INFO")
    home = folder or invocation.directory or Path(os.environ.get("LOOP_HOME") or ".")
    done = restore(source, Target(home, store, models, keep_schema), progress=_progress(invocation))
    models_in = f"{number_of(len(done.bundles), 'model')} in {done.models}"
    said = [
        f"Restored {done.project!r}: {done.home}",
        f"{done.rows:,} rows into {done.store}, schema {done.schema}; {models_in}.",
        *_left_out(done.left_out),
        *_needed(done.needed),
        f"Next: loop -C {shlex.quote(str(done.home))} doctor",
    ]
    invocation.answer(done, *said)
    return 0


def upgrade(
    invocation: Invocation,
    no_backup: Annotated[
        bool, typer.Option("--no-backup", help="Make no backup, for those who have one of their own.")
    ] = False,
    backups: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where the backup is made; by default backups/ in the project's folder."),
    ] = None,
) -> int | None:
    """Bring the store to this version's schema, after a backup of the store.

    The first command of a newer version does the same by itself; the ML backend never does. While a command is at work
    on the store, the upgrade is refused. A migration that fails, or that would lose a row, changes nothing.
    """
    from loop.backup.upgrade import BACKUPS, upgrade

    folder = None if no_backup else (backups or invocation.settings.home / BACKUPS)
    done = upgrade(invocation.settings, folder)
    if not done.changed:
        invocation.answer(done, f"The store is at schema {done.after} already: nothing to do.")
        return 0
    kept = "No backup was made." if done.backup is None else f"Backup of the store before: {done.backup}"
    invocation.answer(done, f"Upgraded from schema {done.before} to {done.after}: {done.rows:,} rows.", kept)
    return 0


def _progress(invocation: Invocation) -> Callable[[str, int], None]:
    """Tells what is counted, every few seconds."""
    tickers: dict[str, console.Ticker] = {}

    def tell(what: str, done: int) -> None:
        if what not in tickers:
            tickers[what] = invocation.ticker(what)
        tickers[what](done)

    return tell


def _left_out(items: Sequence[LeftOut]) -> list[str]:
    return [f"Not in the backup: {item.what}: {item.why}." for item in items]


def _needed(secrets: Sequence[str]) -> list[str]:
    return [f"To be given again after a restore: {secret}." for secret in secrets]
