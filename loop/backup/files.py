"""Files of a backup: copied whole or not at all, proven by their SHA-256, and not copied when they are there."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ner import disk
from ner.errors import RuleError

PART = ".part"
# What the root of a fresh file system holds.
OF_THE_SYSTEM = "lost+found"
_BLOCK = 1024 * 1024
_MENDS = {
    errno.ENOSPC: "Free some space, then run the same command: it goes on where it stopped.",
    errno.EDQUOT: "Free some space, then run the same command: it goes on where it stopped.",
    errno.EFBIG: "Raise the limit on the size of a file, then run the same command.",
    errno.EACCES: "Give this user the right to it, or choose another folder.",
    errno.EPERM: "Give this user the right to it, or choose another folder.",
    errno.EROFS: "Choose a folder that can be written to.",
}


class BackupError(RuleError):
    """A backup or a restore that cannot be made, or a backup that is not what its manifest says."""

    exit_code = 11


class AlteredError(BackupError):
    """A file has not the content that is noted for it."""


class BackupHeldError(RuleError):
    """Another process writes into the backup."""

    exit_code = 6


@contextmanager
def told(what: str) -> Iterator[None]:
    """Errors of the operating system come out as BackupError: `what` says what has to be possible."""
    try:
        yield
    except OSError as error:
        mend = _MENDS.get(error.errno or 0, "Look after that, then run the same command: it goes on where it stopped.")
        raise BackupError(what, value=str(error), next_step=mend) from error


@contextmanager
def alone_in(folder: Path, name: str) -> Iterator[None]:
    """Hold the file `name` of `folder` locked, so that one process at a time writes there."""
    with told(f"{folder} can be written to"):
        descriptor = os.open(folder / name, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        next_step = "Wait for that process, or choose another folder."
        raise BackupHeldError(
            "one process at a time writes into a backup", value=str(folder), next_step=next_step
        ) from error
    try:
        yield
    finally:
        os.close(descriptor)


def sha256(path: Path) -> str:
    """The SHA-256 (hex) of a file."""
    with told(f"{path} can be read"):
        return disk.sha256(path)


def place(source: Path, target: Path, digest: str, twin: Path | None = None) -> bool:
    """Have the file `source`, whose SHA-256 is `digest`, at `target`; False when it was there.

    `twin`: a file that may have the same content, on the file system of `target`, which then shares the disk space with
    it. Raises AlteredError when `source` has another content, BackupError when a file cannot be read or written.
    """
    if target.is_file() and sha256(target) == digest:
        return False
    with told(f"{target.parent} can be written to"):
        target.parent.mkdir(parents=True, exist_ok=True)
    if twin is not None and _share(twin, target, digest):
        return True
    draft = target.with_name(f".{target.name}{PART}")
    try:
        found = _copy(source, draft)
        if found != digest:
            raise AlteredError(
                "a file has the SHA-256 that is noted for it",
                value=f"{source}: {found}, noted {digest}",
                next_step="The file was altered. Take it from another backup.",
            )
        with told(f"{target} can be written"):
            draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
    return True


def sync_folders(folder: Path) -> None:
    """Flush a folder and the folders in it: what was renamed there outlives a power cut."""
    for path in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
        disk.flush(path)


def _share(twin: Path, target: Path, digest: str) -> bool:
    if not twin.is_file() or sha256(twin) != digest:
        return False
    try:
        target.unlink(missing_ok=True)
        os.link(twin, target)
    except OSError:  # a file system without hard links
        return False
    return True


def _copy(source: Path, draft: Path) -> str:
    """Copy and flush; gives the SHA-256 of what was copied."""
    digest = hashlib.sha256()
    room = f"{draft.parent} has room and can be written to"
    with told(f"{source} can be read"), source.open("rb") as read, told(room), draft.open("wb") as written:
        while block := read.read(_BLOCK):
            digest.update(block)
            written.write(block)
        written.flush()
        os.fsync(written.fileno())
        shutil.copymode(source, draft)
    return digest.hexdigest()
