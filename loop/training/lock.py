"""One training or promotion at a time for a project, by a lock that the kernel takes back when its holder dies."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from loop.training.progress import ProjectHeldError

LOCK = ".lock"


@contextmanager
def project_lock(model_dir: Path, slug: str) -> Iterator[None]:
    """Hold `MODEL_DIR/<slug>/.lock` (flock; it holds the holder's pid); ProjectHeldError when another process does.

    The file stays: removing it would let two processes lock two files of one name.
    """
    folder = model_dir / slug
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        _acquire(descriptor, folder)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
        raise ProjectHeldError(
            "one training or promotion at a time works on a project",
            value=f"process {holder} holds {folder / LOCK}",
            next_step="Wait until it has ended, or end that process.",
        ) from None
