"""`loop backup`: the store as it is at one moment, the bundles that it names, and the project's files, in one folder.

The store is read first, in one read transaction, while everybody goes on writing. Then the bundles that this snapshot
names are copied: bundles are never changed, so the pair fits together whatever the loop does meanwhile. The manifest is
written last. A backup that is cut off leaves the last backup in the folder as it was. The same command goes on:
bundles that are there and have the right SHA-256 are not copied again.
"""

from __future__ import annotations

import platform
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from importlib import metadata
from pathlib import Path
from typing import Any

from loop.backup.bundles import KnownBundle, files_of, unknown_bundles
from loop.backup.contents import project_files, public_loop_toml, secrets_needed
from loop.backup.files import OF_THE_SYSTEM, AlteredError, BackupError, alone_in, place, sha256, sync_folders, told
from loop.backup.manifest import (
    MANIFEST_NAME,
    MODELS,
    PROJECT,
    STATE_NAME,
    STORE,
    BackupManifest,
    LeftOut,
    read_backup,
)
from loop.backup.snapshot import FILES, Progress, Snapshot, identity_of, schema_of, write_snapshot
from loop.settings.settings import CONFIG_NAME, Settings
from loop.settings.whole_files import write_whole
from ner.errors import BundleError
from store.database.columns import utc_now
from store.database.session import Store, connect

_LOCK = ".lock"
_STATE_TIME = "%Y%m%dT%H%M%SZ"
_DISTRIBUTION = "ner-annotation-loop"


@dataclass(frozen=True, slots=True)
class BackedUp:
    """A backup that was made.

    bytes: of the whole backup; copied_bytes: of what was written into it now. bundles_copied: bundles that were not
    there before. without: bundles of this project that are missing or damaged, and so not in the backup.
    """

    folder: Path
    manifest: BackupManifest
    rows: int
    bytes: int
    copied_bytes: int
    bundles_copied: int
    without: tuple[LeftOut, ...]


def _silent(_what: str, _done: int) -> None:
    """No progress is told."""


def back_up(settings: Settings, folder: Path, progress: Progress = _silent) -> BackedUp:
    """Bring the backup in `folder` up to date, or make one there.

    Raises BackupError for a folder that holds something else, or where the disk refuses; BackupHeldError while another
    backup writes there; StoreError for a store that cannot be read. Then the last backup in the folder still stands.
    """
    folder = folder.absolute()
    _check_place(settings, folder)
    with closing(connect(settings.store_url, make=False)) as store:
        with store.read() as session:
            schema_of(session)
            identity = identity_of(session, settings.project_name)
        with _begun(folder):
            return _back_up(settings, store, folder, identity, _last(folder, identity), progress)


def keep_store(settings: Settings, store: Store, folder: Path) -> BackupManifest:
    """A backup of the store alone in the new folder `folder`: what is kept before an upgrade. Raises BackupError."""
    with store.read() as session:
        identity = identity_of(session, settings.project_name)
    with _begun(folder):
        state = _free_state(folder)
        dump = folder / state / STORE
        snapshot = write_snapshot(store, dump, _silent)
        files = {f"{state}/{STORE}": sha256(dump)}
        manifest = _manifest(snapshot, identity, state, kind="store", files=files)
        _finish(folder, manifest)
    return manifest


def _back_up(
    settings: Settings,
    store: Store,
    folder: Path,
    identity: tuple[str, str],
    last: BackupManifest | None,
    progress: Progress,
) -> BackedUp:
    state = _free_state(folder)
    snapshot = write_snapshot(store, folder / state / STORE, progress)
    writing = _Writing(folder, progress)
    writing.note(folder / state / STORE)
    bundles = [bundle.version for bundle in snapshot.bundles if writing.add_bundle(settings, bundle)]
    unknown = [
        LeftOut(str(path), "the store knows no such model")
        for path in unknown_bundles(settings.model_dir, snapshot.bundles)
    ]
    writing.add_project(settings, state, last)
    manifest = _manifest(
        snapshot,
        identity,
        state,
        kind="project",
        bundles=tuple(bundles),
        left_out=(*writing.left_out, *unknown, *writing.without),
        needed=tuple(secrets_needed(settings)),
        files=dict(sorted(writing.files.items())),
    )
    _finish(folder, manifest)
    size = sum((folder / name).stat().st_size for name in manifest.files)
    rows = sum(snapshot.rows.values())
    return BackedUp(folder, manifest, rows, size, writing.copied_bytes, writing.bundles_copied, tuple(writing.without))


@dataclass
class _Writing:
    """What has been put into the backup so far: the SHA-256 of each file, and what was left out."""

    folder: Path
    progress: Progress
    files: dict[str, str] = field(default_factory=dict)
    left_out: list[LeftOut] = field(default_factory=list)
    without: list[LeftOut] = field(default_factory=list)
    copied_bytes: int = 0
    bundles_copied: int = 0

    def note(self, path: Path) -> None:
        """Take in a file that was written into the backup just now."""
        self.files[self._name(path)] = sha256(path)
        self.copied_bytes += path.stat().st_size

    def add_bundle(self, settings: Settings, bundle: KnownBundle) -> bool:
        """Copy a bundle, unless it is there; False where there is no whole bundle to be had."""
        target = self.folder / MODELS / bundle.path
        try:
            settings.library.release()  # a cache need not hold all models at once
            source = settings.library.bundle(bundle.path, bundle.files)
            files = files_of(source, bundle.files)
            new = [name for name, digest in files.items() if place(source / name, target / name, digest)]
        except (BundleError, AlteredError) as error:
            kept = _whole_bundle(target, bundle)
            why = f"{error.rule}: {error.value}"
            if kept is None:
                of_ours = bundle.project == settings.project_name
                (self.without if of_ours else self.left_out).append(LeftOut(bundle.version, why))
                return False
            self.left_out.append(LeftOut(f"the models folder's {bundle.version}", f"{why}; an earlier backup had it"))
            files, new = kept, []
        self.files |= {self._name(target / name): digest for name, digest in files.items()}
        self.copied_bytes += sum((target / name).stat().st_size for name in new)
        self.bundles_copied += bool(new)
        self.progress(FILES, len(self.files))
        return True

    def add_project(self, settings: Settings, state: str, last: BackupManifest | None) -> None:
        """Copy the project's files. A file that the last backup has, too, shares its disk space."""
        project = self.folder / state / PROJECT
        before = None if last is None else self.folder / last.state / PROJECT
        for item in project_files(settings):
            if isinstance(item, LeftOut):
                self.left_out.append(item)
                continue
            inside = item.relative_to(settings.home)
            digest = sha256(item)
            place(item, project / inside, digest, None if before is None else before / inside)
            self.files[self._name(project / inside)] = digest
            self.progress(FILES, len(self.files))
        with told(f"{project} can be written to"):
            project.mkdir(exist_ok=True)
            write_whole(project / CONFIG_NAME, public_loop_toml(settings))
        self.note(project / CONFIG_NAME)

    def _name(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()


def _whole_bundle(folder: Path, bundle: KnownBundle) -> dict[str, str] | None:
    """The files of a bundle that is in the backup already, or None where it is not whole."""
    try:
        files = files_of(folder, bundle.files)
    except BundleError:
        return None
    return files if all(sha256(folder / name) == digest for name, digest in files.items()) else None


def _manifest(snapshot: Snapshot, identity: tuple[str, str], state: str, **fields: Any) -> BackupManifest:
    project, created_at = identity
    return BackupManifest(
        project=project,
        created_at=created_at,
        taken_at=snapshot.taken_at.isoformat(),
        state=state,
        schema=snapshot.schema,
        database=snapshot.database,
        rows=snapshot.rows,
        versions={"program": _program(), "python": platform.python_version()},
        **fields,
    )


def _program() -> str:
    try:
        return metadata.version(_DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return "not installed as a package"


def _finish(folder: Path, manifest: BackupManifest) -> None:
    """Make it a backup: flush, write the manifest, then remove what earlier backups left."""
    with told(f"{folder} can be written to"):
        sync_folders(folder)
        manifest.write(folder)
        sync_folders(folder)
        for path in folder.iterdir():
            if STATE_NAME.fullmatch(path.name) and path.name != manifest.state:
                shutil.rmtree(path)


@contextmanager
def _begun(folder: Path) -> Iterator[None]:
    """The folder, made where it is missing, and nobody else's until the end."""
    with told(f"{folder} can be made"):
        folder.mkdir(parents=True, exist_ok=True)
    with alone_in(folder, _LOCK):
        yield


def _last(folder: Path, identity: tuple[str, str]) -> BackupManifest | None:
    """The backup that is in the folder. Raises BackupError for another project's, or one that cannot be read."""
    if not (folder / MANIFEST_NAME).exists():
        return None
    last = read_backup(folder)
    if (last.project, last.created_at) != identity:
        raise BackupError(
            "a folder holds the backup of one project",
            value=f"{folder} is of {last.project!r}, made {last.created_at}",
            next_step="Choose another folder.",
        )
    return last


def _check_place(settings: Settings, folder: Path) -> None:
    """Refuse a folder that holds something else, or that would be copied into itself."""
    if folder.exists() and not folder.is_dir():
        raise BackupError("a backup is a folder", value=str(folder), next_step="Pack it with tar afterwards.")
    with told(f"{folder} can be read"):
        there = sorted({path.name for path in folder.iterdir()} - {OF_THE_SYSTEM}) if folder.exists() else []
    if there and not {_LOCK, MANIFEST_NAME} & set(there):
        raise BackupError(
            "a backup goes into an empty folder, or into that of the last backup",
            value=f"{folder} with {', '.join(there[:5])}",
            next_step="Choose another folder.",
        )
    for copied in (settings.model_dir, settings.reports):
        if folder.is_relative_to(copied):
            raise BackupError(
                "a backup lies outside of what it copies", value=f"{folder}", next_step="Choose another folder."
            )


def _free_state(folder: Path) -> str:
    """A name for this backup's state: the time, and a second later where two backups are made in one second."""
    now = utc_now()
    while (folder / now.strftime(_STATE_TIME)).exists():
        now += timedelta(seconds=1)
    return now.strftime(_STATE_TIME)
