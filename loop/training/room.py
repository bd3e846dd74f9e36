"""Whether models can be written where they belong: told before a training, which would otherwise fail at its end."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ner.errors import ConfigError

# A model takes about 30 MB, a training three times that.
LEAST_FREE = 100 * 1024 * 1024
_MIB = 1024 * 1024


class NoRoomError(ConfigError):
    """The disk for models is full."""


def check_writable(folder: Path, name: str) -> None:
    """Raise ConfigError unless this user may write into the folder, or make it; `name` is what the folder is for."""
    there = existing(folder)
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        # By numbers: names differ between containers.
        found = there.stat()
        whose = f"of user {found.st_uid} with mode {found.st_mode & 0o777:o}, asked by user {os.geteuid()}"
        raise ConfigError(
            f"{name} can be written to",
            value=f"{there}, {whose}",
            next_step="Give the folder (in containers: the volume) to the user that runs this program.",
        )


def check_room(model_dir: Path) -> None:
    """Raise ConfigError where no model can be written, NoRoomError where the disk has too little room for one."""
    check_writable(model_dir, "the model folder")
    there = existing(model_dir)
    free = shutil.disk_usage(there).free
    if free < LEAST_FREE:
        raise NoRoomError(
            f"a training needs {LEAST_FREE // _MIB} MiB of room for its model",
            value=f"{free // _MIB:,} MiB free at {there}",
            next_step="Free some space, or name a folder on another disk as models.dir (MODEL_DIR).",
        )


def existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    return next(place for place in (folder, *folder.absolute().parents) if os.path.lexists(place))
