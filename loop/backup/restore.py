"""`loop restore`: a project from its backup, in an empty folder and an empty database.

The SHA-256 of every file is checked before anything is written. Then come the bundles and the project's files, each
whole or not at all; the store, in one transaction; and loop.toml last, so that a restore that was cut off left no
project. The same command completes the restore: what is there and right is not written again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from loop.backup.contents import STORE_PASSWORD, without_passwords
from loop.backup.files import OF_THE_SYSTEM, BackupError, place, sha256, told
from loop.backup.manifest import MODELS, PROJECT, STORE, BackupManifest, LeftOut, read_backup
from loop.backup.restored_store import check_fillable, fill_store
from loop.backup.snapshot import FILES, Progress
from loop.settings.settings import CONFIG_NAME, Settings, without_password
from loop.settings.toml_text import with_values
from loop.settings.whole_files import write_whole
from ner.containers import with_variables
from ner.models.bundle import MANIFEST
from store.database.session import connect

_CHECKED = "files checked"
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Restored:
    """A project that was restored. schema: of its store now. needed: the secrets that it has to be given, in words."""

    home: Path
    project: str
    store: str
    models: Path
    schema: str
    rows: int
    files: int
    bundles: tuple[str, ...]
    left_out: tuple[LeftOut, ...]
    needed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Target:
    """Where a backup goes. `store`, `models`: in place of what the environment or the backup's loop.toml names."""

    home: Path
    store: str | None = None
    models: Path | None = None
    keep_schema: bool = False


def restore(
    folder: Path, target: Target, environ: Mapping[str, str] | None = None, progress: Progress = lambda _w, _d: None
) -> Restored:
    """Restore the backup in `folder`. A backup of a store alone goes into the project that is there.

    `target.keep_schema` leaves the store at the schema of the backup. Raises BackupError for a backup that is not what
    its manifest says, and for a target that holds something already; StoreError where the database refuses.
    """
    environ = os.environ if environ is None else environ
    manifest = read_backup(folder)
    verify(folder, manifest, progress)
    if manifest.kind == "store":
        return _restore_store_alone(folder, manifest, target, environ, progress)
    toml = _loop_toml(folder, manifest, target)
    settings = _settings(toml, target, environ)
    _check_home(settings, manifest)
    _check_models(settings, folder, manifest)
    with told(f"{target.home} can be made"):
        target.home.mkdir(parents=True, exist_ok=True)
    _check_database(settings, manifest)
    for number, (source, goal, digest) in enumerate(_files(settings, folder, manifest), 1):
        place(source, goal, digest)
        progress(FILES, number)
    schema = _fill(settings, folder, manifest, target, progress)
    with told(f"{target.home} can be written to"):
        write_whole(settings.home / CONFIG_NAME, toml)
    return _restored(settings, manifest, schema, target)


def verify(folder: Path, manifest: BackupManifest, progress: Progress) -> None:
    """Raise BackupError, naming the files, unless every file of the manifest is there with its SHA-256."""
    wrong = []
    for number, (name, digest) in enumerate(manifest.files.items(), 1):
        path = folder / name
        if not path.is_file():
            wrong.append(f"{name} is missing")
        elif sha256(path) != digest:
            wrong.append(f"{name} was altered")
        progress(_CHECKED, number)
    if wrong:
        more = f", and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise BackupError(
            "every file of a backup is there, with the SHA-256 of its manifest",
            value=f"{folder}: {', '.join(wrong[:_SHOWN])}{more}",
            next_step="Nothing was written. Use another copy of the backup; `loop backup` into the folder mends it "
            "while the project is there.",
        )


def _restore_store_alone(
    folder: Path, manifest: BackupManifest, target: Target, environ: Mapping[str, str], progress: Progress
) -> Restored:
    given = environ if target.store is None else with_variables(environ, {"LOOP_STORE_URL": target.store})
    settings = Settings.load(target.home, given)
    if settings.project_name != manifest.project:
        raise BackupError(
            "a backup of a store goes into its own project",
            value=f"backup of {manifest.project!r}, project {settings.project_name!r}",
            next_step="Name the folder of that project.",
        )
    _check_database(settings, manifest)
    return _restored(settings, manifest, _fill(settings, folder, manifest, target, progress), target)


def _loop_toml(folder: Path, manifest: BackupManifest, target: Target) -> str:
    """The text of the restored loop.toml: the backup's own, with the places that the command names."""
    path = folder / manifest.state / PROJECT / CONFIG_NAME
    with told(f"{path} can be read"):
        text = path.read_text("utf-8")
    values: dict[str, str | int | float] = {}
    if target.store is not None:
        values["store.url"] = without_passwords(target.store)
    if target.models is not None:
        values["models.dir"] = str(target.models.absolute())
    return with_values(text, values)


def _settings(toml: str, target: Target, environ: Mapping[str, str]) -> Settings:
    """The settings of the restored project, with the password that --store has and loop.toml has not."""
    given = dict(environ)
    if target.store is not None:
        settings = Settings.of_text(target.home, toml, {})
        url = settings.store_url if settings.store_url.startswith("sqlite") else target.store
        given = with_variables(given, {"LOOP_STORE_URL": url})
    if target.models is not None:
        given["MODEL_DIR"] = str(target.models.absolute())
    return Settings.of_text(target.home, toml, given)


def _files(settings: Settings, folder: Path, manifest: BackupManifest) -> Iterator[tuple[Path, Path, str]]:
    """(file of the backup, its place, SHA-256), without the store and loop.toml; a bundle's manifest comes last."""
    state = Path(manifest.state)
    for name, digest in sorted(manifest.files.items(), key=lambda item: (Path(item[0]).name == MANIFEST, item[0])):
        path = Path(name)
        if path.is_relative_to(MODELS):
            yield folder / path, settings.model_dir / path.relative_to(MODELS), digest
        elif path.is_relative_to(state / PROJECT) and path != state / PROJECT / CONFIG_NAME:
            yield folder / path, settings.home / path.relative_to(state / PROJECT), digest


def _check_home(settings: Settings, manifest: BackupManifest) -> None:
    """Refuse a folder with anything in it but what a restore puts there, the API key, and hidden files."""
    home, project = settings.home, Path(manifest.state, PROJECT)
    if not home.exists():
        return
    if not home.is_dir():
        raise BackupError("a project is a folder", value=str(home), next_step="Choose another name.")
    own = {Path(name).relative_to(project).parts[0] for name in manifest.files if Path(name).is_relative_to(project)}
    own |= {OF_THE_SYSTEM, str(settings.label_studio.api_key_file)}
    own |= {place.name for place in _places(settings) if place.parent == home}
    with told(f"{home} can be read"):
        found = sorted(path.name for path in home.iterdir() if not path.name.startswith("."))
    other = [name for name in found if name not in own]
    if (home / CONFIG_NAME).exists():
        other.insert(0, CONFIG_NAME)
    if other:
        raise BackupError(
            "a restore goes into an empty folder",
            value=f"{home} with {', '.join(other[:_SHOWN])}",
            next_step="Name another folder, or move that away.",
        )


def _places(settings: Settings) -> Iterator[Path]:
    """The models' folder and the files of a SQLite store, which may lie in the project's folder."""
    yield settings.model_dir
    if settings.store_url.startswith("sqlite"):
        path = Path(settings.store_url.removeprefix("sqlite:///"))
        yield from (path.with_name(path.name + end) for end in ("", "-wal", "-shm", "-journal"))


def _check_models(settings: Settings, folder: Path, manifest: BackupManifest) -> None:
    """Refuse models of the same versions with other contents. The same models may be there: bundles never change."""
    for source, goal, digest in _files(settings, folder, manifest):
        is_manifest = goal.is_relative_to(settings.model_dir) and goal.name == MANIFEST
        if is_manifest and goal.is_file() and sha256(goal) != digest:
            raise BackupError(
                "a model version is written once",
                value=f"{goal.parent} is another model than {source.parent}",
                next_step="Name another folder for the models, with --models.",
            )


def _check_database(settings: Settings, manifest: BackupManifest) -> None:
    """Refuse a database that holds something, before anything is written. An address that is none is refused, too."""
    with closing(connect(settings.store_url)) as store:
        check_fillable(store, manifest.digest)


def _fill(settings: Settings, folder: Path, manifest: BackupManifest, target: Target, progress: Progress) -> str:
    with closing(connect(settings.store_url)) as store:
        dump = folder / manifest.state / STORE
        return fill_store(store, dump, manifest, keep_schema=target.keep_schema, progress=progress)


def _restored(settings: Settings, manifest: BackupManifest, schema: str, target: Target) -> Restored:
    needed = [secret for secret in manifest.needed if target.store is None or secret != STORE_PASSWORD]
    if target.store is not None and without_passwords(target.store) != target.store:
        needed.append(STORE_PASSWORD)
    return Restored(
        home=settings.home,
        project=manifest.project,
        store=without_password(settings.store_url),
        models=settings.model_dir,
        schema=schema,
        rows=sum(manifest.rows.values()),
        files=len(manifest.files),
        bundles=manifest.bundles,
        left_out=manifest.left_out,
        needed=tuple(needed),
    )
