"""Files that are there whole or not at all: written beside their place, flushed to the disk, then renamed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

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
    mask = os.umask(0)
    os.umask(mask)
    try:
        draft.chmod(path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~mask)
        draft.replace(path)
    except OSError as error:
        raise InputError(f"{path} can be written", value=str(error), next_step="Choose another name.") from error
