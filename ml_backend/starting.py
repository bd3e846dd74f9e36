"""What is checked before the backend listens: whether a person must mend something, or only wait.

A wrong password, another program's database or a folder of another user ends the backend with an error, since waiting
mends none of them. A store that is not there yet is no fault: the backend starts, says what it waits for, and serves as
soon as the store is there.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys
from pathlib import Path

from ml_backend.settings import LOCAL, ServerSettings
from ner.errors import ConfigError, RuleError
from ner.models.shared_folder import check_at_start

log = logging.getLogger(__name__)


def check_in_process(settings: ServerSettings) -> int:
    """Check in a process of its own; 0, or the exit code for the error that it has printed.

    The main process uses neither the store nor a shared folder of models: importing SQLAlchemy there would cost it
    40 MB for as long as it runs.
    """
    process = multiprocessing.get_context("spawn").Process(target=_check_and_exit, args=(settings,), daemon=True)
    process.start()
    process.join()
    return process.exitcode or 0


def check(settings: ServerSettings) -> None:
    """Raise ConfigError, StoreOpenError or EngineMismatchError for what a person must mend; log what needs time."""
    if settings.model_store:
        check_at_start(settings.model_store, settings.model_dir, writing=False)
    else:
        check_model_dir(settings.model_dir)
    from store.database.session import open_store
    from store.errors import StoreBusyError, StoreNotReadyError

    try:
        open_store(settings.store_url, migrate=False).close()
    except (StoreNotReadyError, StoreBusyError) as error:
        log.warning("the backend waits for the store: %s", error)
        return
    if settings.engine != LOCAL:
        from ml_backend.models.engine_check import check_engine

        check_engine(settings)


def check_model_dir(folder: Path) -> None:
    """Raise ConfigError for a model folder that this user cannot read; one that is not there is only logged."""
    try:
        found = folder.stat()
    except FileNotFoundError:
        log.warning("the model folder %s is not there yet: no model can be served", folder)
        return
    except OSError as error:
        raise ConfigError("MODEL_DIR is a folder that this user can read", value=str(error)) from error
    if not folder.is_dir() or not os.access(folder, os.R_OK | os.X_OK):
        # By numbers: names differ between containers.
        whose = f"of user {found.st_uid} with mode {found.st_mode & 0o777:o}, asked by user {os.geteuid()}"
        raise ConfigError(
            "MODEL_DIR is a folder that this user can read",
            value=f"{folder}, {whose}",
            next_step="Correct MODEL_DIR, or give the folder to the user that the backend runs as.",
        )


def _check_and_exit(settings: ServerSettings) -> None:
    logging.basicConfig(level=settings.logging_level, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        check(settings)
    except RuleError as error:
        print(error, file=sys.stderr)  # noqa: T201 - the edge prints
        sys.exit(error.exit_code)
