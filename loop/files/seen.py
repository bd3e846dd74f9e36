"""What was seen first under each key, in a temporary file: memory does not grow with the number of keys.

SQLite keeps the table in a file of its own, which it makes only when the table outgrows the cache, and which it deletes
by itself. Nobody needs the file after a crash, so that nothing is done for its safety.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import weakref
from typing import Any

from ner.errors import InputError

_CACHE_KIB = 1024
_SET_UP = f"""
    PRAGMA journal_mode = OFF;
    PRAGMA synchronous = OFF;
    PRAGMA cache_size = -{_CACHE_KIB};
    CREATE TABLE seen (key BLOB PRIMARY KEY, value) WITHOUT ROWID;
    BEGIN;
"""


class Seen:
    """A table of keys. It is closed, and its file is deleted, when nothing refers to it any more.

    Each key is kept as a digest of 16 bytes. A table holds either values or counts. Raises InputError where there is no
    room for the temporary file.
    """

    def __init__(self) -> None:
        self._table: sqlite3.Connection | None = None

    def setdefault(self, key: str, value: Any) -> Any:
        """The value that was first given under the key, which is this value for a new key. Values are JSON."""
        digest = _digest(key)
        if self._run("INSERT OR IGNORE INTO seen VALUES (?, ?)", digest, json.dumps(value)).rowcount:
            return value
        return json.loads(self._run("SELECT value FROM seen WHERE key = ?", digest).fetchone()[0])

    def add(self, key: str) -> int:
        """Count the key; how often it was counted, with this time."""
        digest = _digest(key)
        if self._run("INSERT OR IGNORE INTO seen VALUES (?, 1)", digest).rowcount:
            return 1
        self._run("UPDATE seen SET value = value + 1 WHERE key = ?", digest)
        return self._count(digest)

    def count(self, key: str) -> int:
        """How often the key was counted."""
        return self._count(_digest(key))

    def _count(self, digest: bytes) -> int:
        found = self._run("SELECT value FROM seen WHERE key = ?", digest).fetchone()
        return found[0] if found else 0

    def _run(self, statement: str, *values: Any) -> sqlite3.Cursor:
        try:
            if self._table is None:
                self._table = _opened()
                weakref.finalize(self, self._table.close)
            return self._table.execute(statement, values)
        except sqlite3.OperationalError as error:
            step = "Make room for temporary files."
            raise InputError("a temporary file can be written", value=str(error), next_step=step) from error


def _opened() -> sqlite3.Connection:
    # An empty name stands for a temporary file. The object may be collected in another thread than the one it served.
    table = sqlite3.connect("", isolation_level=None, check_same_thread=False)
    table.executescript(_SET_UP)
    return table


def _digest(key: str) -> bytes:
    return hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).digest()
