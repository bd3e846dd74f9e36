"""Which bundles belong into a backup: those of every model that the store may serve, judge or go back to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from loop.backup.files import sha256
from ner.errors import BundleError
from ner.models.bundle import MANIFEST, read_manifest
from store.database.schema import Model, Project
from store.registry import FAILED, INTERRUPTED, TRAINING

_WITHOUT = (TRAINING, INTERRUPTED, FAILED)


@dataclass(frozen=True, slots=True)
class KnownBundle:
    """A model of the store whose bundle has to be there.

    path: relative to MODEL_DIR. project: its project's name. files: the SHA-256 of each file, as the store noted it.
    """

    version: str
    path: str
    project: str
    files: Mapping[str, str]


def known_bundles(session: Session) -> list[KnownBundle]:
    """Every finished model of every project of the store, oldest first."""
    query = (
        select(Model.version, Model.path, Project.name, Model.files)
        .join(Project, Project.id == Model.project_id)
        .where(Model.state.not_in(_WITHOUT))
        .order_by(Model.project_id, Model.number)
    )
    return [KnownBundle(*row) for row in session.execute(query)]


def files_of(folder: Path, noted: Mapping[str, str]) -> dict[str, str]:
    """SHA-256 (hex) of each file of a bundle, by path within it; the bundle's manifest, which makes it whole, is last.

    noted: what the store says of the files. Raises BundleError for a folder that is no bundle, that lacks a file, or
    that is of another model than the store says.
    """
    files = {**read_manifest(folder).files, MANIFEST: sha256(folder / MANIFEST)}
    missing = [name for name in files if not (folder / name).is_file()]
    if missing:
        raise BundleError("every file of a model is there", value=f"{folder} without {', '.join(missing)}")
    other = [name for name, digest in noted.items() if name in files and files[name] != digest]
    if other:
        raise BundleError("a bundle is the one that the store knows", value=f"{folder}: {', '.join(other)}")
    return files


def unknown_bundles(model_dir: Path, known: Sequence[KnownBundle]) -> Iterator[Path]:
    """Bundles in the folders of the store's projects that no row of the store names."""
    paths = {model_dir / bundle.path for bundle in known}
    for folder in sorted({path.parent for path in paths}):
        for found in sorted(folder.iterdir()) if folder.is_dir() else ():
            if found.is_dir() and (found / MANIFEST).is_file() and found not in paths:
                yield found
