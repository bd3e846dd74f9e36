"""What a backup says of itself: written last, so that a folder without a manifest is no backup.

A backup is a folder:

    manifest.json          the schema, the rows of each table, and the SHA-256 of every file below
    20260131T120000Z/      what changes: the dump (store.jsonl.gz), and project/ with loop.toml, labels.xml, reports
    models/desk/desk-0001/ the bundles, which never change: the next backup into the folder copies new bundles alone
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from loop.backup.files import BackupError, told
from loop.settings.whole_files import write_whole
from store.database import migrating

MANIFEST_NAME = "manifest.json"
FORMAT = 1
MODELS, PROJECT, STORE = "models", "project", "store.jsonl.gz"
# All of a project, or its store alone, as an upgrade keeps it.
Kind = Literal["project", "store"]
STATE_NAME = re.compile(r"\d{8}T\d{6}Z")
_RESTORE_OLDER = "Restore it with the version of this program that made it, or with a newer one."


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Something that is not in the backup, and why."""

    what: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupManifest:
    """A finished backup.

    taken_at: the moment whose state the store's dump shows, ISO 8601. state: the folder with what changes. schema: the
    revision of the store's tables. rows: by table. files: SHA-256 (hex) by path within the backup. bundles: the
    versions whose bundle is in the backup. needed: the secrets that a restore has to be given again, in words.
    """

    kind: Kind
    project: str
    created_at: str
    taken_at: str
    state: str
    schema: str
    database: str
    rows: Mapping[str, int]
    files: Mapping[str, str]
    bundles: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    needed: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    format: int = FORMAT

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the manifest: the name of this very backup."""
        return hashlib.sha256(self._text().encode()).hexdigest()

    def write(self, folder: Path) -> None:
        """Write the manifest into its backup, whole, in place of an earlier one."""
        with told(f"{folder} can be written to"):
            write_whole(folder / MANIFEST_NAME, self._text())

    def _text(self) -> str:
        return json.dumps(asdict(self), indent=2, ensure_ascii=False, sort_keys=True) + "\n"


def read_backup(folder: Path) -> BackupManifest:
    """The manifest of a backup. Raises BackupError where there is none, or none that this program understands."""
    path = folder / MANIFEST_NAME
    if not path.is_file():
        raise BackupError(
            f"a backup is a folder with a {MANIFEST_NAME}",
            value=str(folder),
            next_step="Name the folder that `loop backup` was given. A backup that was cut off has no manifest yet: "
            "run the same `loop backup` again.",
        )
    with told(f"{path} can be read"):
        text = path.read_bytes()
    try:
        data = json.loads(text)
        if data["format"] != FORMAT:
            raise BackupError(f"a backup has format {FORMAT}", value=data["format"], next_step=_RESTORE_OLDER)
        manifest = _from_json(data)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise BackupError(
            f"{MANIFEST_NAME} is what `loop backup` writes", value=f"{path}: {error!r}", next_step="Use another backup."
        ) from error
    if not migrating.knows(manifest.schema):
        raise BackupError(
            "a backup is never newer than the program that restores it",
            value=f"backup at schema {manifest.schema}, program knows up to {migrating.head_revision()}",
            next_step=_RESTORE_OLDER,
        )
    return manifest


def _from_json(data: Mapping[str, Any]) -> BackupManifest:
    known = {one.name: data[one.name] for one in fields(BackupManifest) if one.name in data}
    known["left_out"] = tuple(LeftOut(**one) for one in data["left_out"])
    known["bundles"], known["needed"] = tuple(data["bundles"]), tuple(data["needed"])
    _refuse_paths_outside(known["files"])
    return BackupManifest(**known)


def _refuse_paths_outside(files: Mapping[str, str]) -> None:
    for name in files:
        path = Path(name)
        if path.is_absolute() or ".." in path.parts:
            raise BackupError("the files of a backup lie in its folder", value=name, next_step="Use another backup.")
