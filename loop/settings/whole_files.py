"""Files and folders that are there whole or not at all: written beside their place, flushed, then renamed."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from ner.disk import flush
from ner.errors import InputError


@contextmanager
def whole_file(path: Path) -> Iterator[TextIO]:
    """A UTF-8 text file that takes the place of `path` when the block ends well; else nothing is left of it.

    Raises InputError where `path` cannot be written.
    """
    path = path.absolute()
    try:
        handle, draft = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    except OSError as error:
        raise InputError(f"{path.parent} can be written to", value=str(error), next_step="Choose another.") from error
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        _replace(Path(draft), path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


def write_whole(path: Path, text: str) -> None:
    """Write `text` to `path`, whole or not at all."""
    with whole_file(path) as stream:
        stream.write(text)


def _replace(draft: Path, path: Path) -> None:
    """Rename with the permissions that a new file would have had (mkstemp makes it the owner's alone)."""
    try:
        draft.chmod(path.stat().st_mode & 0o777 if path.exists() else _permitted(0o666))
        draft.replace(path)
    except OSError as error:
        raise InputError(f"{path} can be written", value=str(error), next_step="Choose another name.") from error


def check_free(path: Path) -> None:
    """Raise InputError unless a folder can be made at `path`: nothing is there, or an empty folder, and the folder
    around it can be written to."""
    empty = path.is_dir() and not any(path.iterdir())
    if not empty and (path.exists() or path.is_symlink()):
        raise InputError("no folder is overwritten", value=str(path), next_step="Name a folder that does not exist.")
    around = path.absolute().parent
    if not os.access(around, os.W_OK | os.X_OK):
        found = "no right to write" if around.is_dir() else "no such folder"
        raise InputError(f"{around} can be written to", value=found, next_step="Make it, or choose another folder.")


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A folder to be filled, which becomes `path` when the block ends well; else nothing is left of it.

    Raises InputError where `path` is taken (`check_free`) or cannot be made.
    """
    path = path.absolute()
    check_free(path)
    try:
        draft = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
    except OSError as error:
        raise InputError(f"{path.parent} can be written to", value=str(error), next_step="Choose another.") from error
    try:
        yield draft
        for part in (*draft.rglob("*"), draft):
            flush(part)
        draft.chmod(_permitted(0o777))  # mkdtemp makes it the owner's alone
        draft.replace(path)
    except OSError as error:
        raise InputError(f"{path} can be written", value=str(error), next_step="Choose another place.") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _permitted(mode: int) -> int:
    """The permissions that something new with this mode has."""
    mask = os.umask(0)
    os.umask(mask)
    return mode & ~mask
