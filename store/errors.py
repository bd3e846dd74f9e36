"""What the store refuses, and the translation of the database's own errors at its boundary."""

from __future__ import annotations

from sqlalchemy import exc

from ner.errors import RuleError

_BUSY = (
    *("database is locked", "database table is locked"),
    *("lock timeout", "deadlock detected", "could not serialize"),
)
_UNREADABLE = {
    "file is not a database": "Point the store's address at another file; this one was not made by the store.",
    "malformed": "The file is damaged: restore it from a backup, or pull and import again into a new one.",
    "unable to open": "Check that the folder exists and that this user may write in it.",
    "readonly database": "Check that this user may write to the file and its folder.",
    "permission denied for": "Grant this user the right to create tables, and to read and write them.",
    "disk is full": "Free some space; nothing of this transaction was kept.",
    "disk i/o error": "Check the disk and the mount; nothing of this transaction was kept.",
}

# What a PostgreSQL server says to a client that it does not let in.
_TURNED_AWAY = {
    "authentication failed": "Correct the user and the password in the store's address.",
    "no password supplied": "Put the password into the store's address.",
    "no pg_hba.conf entry": "Let this user and this host in, in pg_hba.conf of the server.",
    "does not exist": "Correct the user and the database in the store's address, or create them on the server.",
    "permission denied": "Grant this user the right to connect to the database.",
}


class StoreError(RuleError):
    """The database refused, or something asked of it is not there or not allowed."""


class StoreOpenError(StoreError):
    """The store cannot be opened: its address, its file, its server or its schema is not what it must be."""

    exit_code = 3


class StoreNotReadyError(StoreOpenError):
    """The store cannot be used yet, but may be later without any change here: another process makes or upgrades it."""


class StoreAwayError(StoreNotReadyError):
    """The store's server does not answer now; it may answer later, without any change here."""


class StoreBusyError(StoreError):
    """Another process held the store longer than this one waits."""

    exit_code = 6


class NotFoundError(StoreError):
    """A project, model or document that was named is not in the store."""

    exit_code = 3


class RefusedError(StoreError):
    """A rule of the store (frozen splits, states of models, append-only history) forbids the change."""

    exit_code = 4


class RunHeldError(StoreError):
    """Another live run holds the project, or took it over."""

    exit_code = 6


def translate(error: exc.SQLAlchemyError) -> RuleError:
    """The store's error for one of SQLAlchemy's; never shows parameters (texts, addresses with passwords)."""
    if isinstance(error, exc.StatementError) and isinstance(error.orig, RuleError):
        return error.orig
    if not isinstance(error, exc.DBAPIError):
        return StoreError("the store can run this statement", value=type(error).__name__ + ": " + str(error)[:300])
    message = " ".join(str(error.orig).split())
    lowered = message.lower()
    if any(sign in lowered for sign in _BUSY):
        return StoreBusyError(
            "one process writes to the store at a time",
            value=message,
            next_step="Another process held it for longer than the time limit; try again when that has ended.",
        )
    if "append-only" in lowered:
        return RefusedError(
            "annotation versions are append-only", value=message, next_step="Append a new version instead."
        )
    for sign, next_step in _UNREADABLE.items():
        if sign in lowered:
            return StoreOpenError("the store's database can be read and written", value=message, next_step=next_step)
    if isinstance(error, exc.IntegrityError):
        return StoreError(
            "rows keep the store's keys", value=message, next_step="Nothing of this transaction was kept."
        )
    if error.connection_invalidated or (isinstance(error, exc.OperationalError) and _is_unreached(lowered)):
        return _unreached(message, lowered)
    return StoreError("the store can run this statement", value=message)


def _is_unreached(message: str) -> bool:
    return "connect" in message or "resolve host" in message


def _unreached(message: str, lowered: str) -> StoreOpenError:
    """The server refuses this user or does not know the database, which waiting does not mend; or it is away."""
    for sign, next_step in _TURNED_AWAY.items():
        if sign in lowered:
            return StoreOpenError("the store's server lets this user in", value=message, next_step=next_step)
    return StoreAwayError(
        "the store's database answers", value=message, next_step="Check the store's address and its server."
    )
