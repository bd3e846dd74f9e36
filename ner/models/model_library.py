"""The models of this host: a local folder, and behind it, where one is set, the folder that several hosts share.

Whoever opens a model gets its folder here. A model that is not here is fetched once: into a hidden folder, each file
verified by its hash, then renamed. So a model is here whole or not at all. Processes of one host may share the local
folder. They agree by locks of the system (flock), which end with the process that holds them.

The local folder is then a cache: the models that were used least recently leave it when it grows too large. Never does
one that a process has in use, or one that the shared folder lacks.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import shutil
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from ner.errors import BundleError, BundleUnavailableError
from ner.models.bundle import MANIFEST, Manifest, check_files, parse_manifest, read_manifest
from ner.models.shared_folder import SharedFolder, SharedFolderError

log = logging.getLogger(__name__)

MIB = 1024 * 1024
_PART = 8 * MIB
_LOCK, _FETCHING, _LEAVING = ".fetch.lock", ".fetching-", ".leaving-"


class ModelLibrary:
    """Models by their path in the store, `<project>/<version>`. Threads may share a library.

    folder: where the models lie on this host. shared: the folder behind it, None for none; then nothing is fetched,
    locked or removed. cache_bytes: how large the local folder may grow. `files` is everywhere the SHA-256 of each file
    as the store noted it, {} where the store noted none.
    """

    def __init__(self, folder: Path, shared: SharedFolder | None = None, cache_bytes: int = 0) -> None:
        self.folder, self.shared, self._cache_bytes = folder, shared, cache_bytes
        self._in_use: dict[str, int] = {}
        self._known_shared: set[str] = set()
        self._guard = threading.RLock()

    @classmethod
    def at(cls, folder: Path, address: str, cache_mb: int) -> ModelLibrary:
        """The library of a folder and the address of a shared folder, "" for none. Raises ConfigError."""
        return cls(folder, SharedFolder(address) if address else None, cache_mb * MIB)

    def bundle(self, path: str, files: Mapping[str, str]) -> Path:
        """The local folder of a model, fetched if need be, and in use from now on.

        With a shared folder, the model is what the store says it is. A local copy that is not is fetched again. Raises
        BundleError where the shared copy is not, either; BundleUnavailableError where there is none, or no answer.
        """
        final = self.folder / path
        if self.shared is None:
            return final
        with self._guard:
            if path not in self._in_use:
                with self._alone(path):
                    if not (self._take(path) and self._is_whole(path, files)):
                        self._fetch(path, files)
                        self._take(path)
                self._make_room()
            with suppress(OSError):
                os.utime(final)
        return final

    def manifest(self, path: str, files: Mapping[str, str]) -> Manifest:
        """A model's manifest, without fetching the model. Raises what `bundle` raises."""
        if self.shared is None or (self.folder / path / MANIFEST).is_file():
            return read_manifest(self.folder / path)
        return self._shared_manifest(path, files)[0]

    def share(self, path: str, files: Mapping[str, str]) -> bool:
        """Send a model to the shared folder, its manifest last, unless it is there already; whether it was sent.

        Nothing is sent where the model is not here, or no folder is shared. Raises BundleError for a model that is not
        what the store says, or in whose place another model stands; SharedFolderError.
        """
        if self.shared is None or not (self.folder / path / MANIFEST).is_file() or self._is_shared(path):
            return False
        folder = self.folder / path
        manifest = read_manifest(folder)
        _check_recorded(manifest, (folder / MANIFEST).read_bytes(), path, files, str(folder))
        check_files(folder, manifest)
        for name in manifest.files:
            self.shared.send(folder / name, f"{path}/{name}")
        self.shared.write(f"{path}/{MANIFEST}", (folder / MANIFEST).read_bytes())
        self._known_shared.add(path)
        log.info("%s was sent to %s", path, self.shared.shown)
        self._make_room()
        return True

    def look_again(self, project: str) -> None:
        """Ask which models of a project the shared folder still has. Raises SharedFolderError."""
        if self.shared is not None:
            there = {f"{project}/{version}" for version in self.shared.names(project)}
            self._known_shared -= {path for path in self._known_shared - there if path.startswith(f"{project}/")}

    def release(self, keep: Collection[str] = ()) -> None:
        """Say that this process uses no models any more, but for those at the paths `keep`."""
        with self._guard:
            for path in self._in_use.keys() - set(keep):
                os.close(self._in_use.pop(path))

    def size(self) -> int:
        """The bytes of all models here."""
        return sum(_size(folder) for folder in self._folders())

    def _is_shared(self, path: str) -> bool:
        """Whether the shared folder has this model. Raises BundleError where it has another model in its place."""
        assert self.shared is not None
        if path not in self._known_shared:
            there = self.shared.read(f"{path}/{MANIFEST}")
            if there is None:
                return False
            if there != (self.folder / path / MANIFEST).read_bytes():
                raise BundleError(
                    "a shared folder holds one model under one path",
                    value=f"{self.shared.shown}/{path} is another model than {self.folder / path}",
                    next_step="Give each store a shared folder of its own: another prefix.",
                )
            self._known_shared.add(path)
        return True

    def _take(self, path: str) -> bool:
        """Hold the model's folder, so that no process removes it; False where there is none."""
        found = _hold(self.folder / path, fcntl.LOCK_SH)
        if found is not None:
            self._in_use[path] = found
        return found is not None

    def _is_whole(self, path: str, files: Mapping[str, str]) -> bool:
        """Whether the local copy is what the store says. One that is not is removed, if the shared folder has it."""
        assert self.shared is not None
        folder = self.folder / path
        try:
            manifest = read_manifest(folder)
            _check_recorded(manifest, (folder / MANIFEST).read_bytes(), path, files, str(folder))
            check_files(folder, manifest)
        except BundleError as error:
            self.release(self._in_use.keys() - {path})
            if self.shared.read(f"{path}/{MANIFEST}") is None:
                raise
            log.warning("%s is fetched again: %s", path, error)
            with _disk(folder):
                _remove(folder)
            return False
        return True

    @contextmanager
    def _alone(self, path: str) -> Iterator[None]:
        """One process of this host at a time verifies and fetches models of a project."""
        place = (self.folder / path).parent
        with _disk(place):
            place.mkdir(parents=True, exist_ok=True)
            lock = os.open(place / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            fcntl.flock(lock, fcntl.LOCK_UN)  # a child that was forked meanwhile has the lock open, too
            os.close(lock)

    def _fetch(self, path: str, files: Mapping[str, str]) -> None:
        final = self.folder / path
        building = final.parent / f"{_FETCHING}{final.name}"
        for left in (*final.parent.glob(f"{_FETCHING}*"), *final.parent.glob(f"{_LEAVING}*")):
            shutil.rmtree(left, ignore_errors=True)  # a process died over it
        try:
            manifest, written = self._shared_manifest(path, files)
            for name, digest in manifest.files.items():
                self._fetch_file(path, name, digest, building)
            with _disk(building):
                (building / MANIFEST).write_bytes(written)
                building.rename(final)
        finally:
            shutil.rmtree(building, ignore_errors=True)
        self._known_shared.add(path)
        assert self.shared is not None
        log.info("%s was fetched from %s", path, self.shared.shown)

    def _fetch_file(self, path: str, name: str, expected: str, building: Path) -> None:
        assert self.shared is not None
        file, digest = building / name, hashlib.sha256()
        if not file.resolve().is_relative_to(building.resolve()):
            raise BundleError("the files of a model lie in its folder", value=name)
        with _disk(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("wb") as target:
                for part in self.shared.parts(f"{path}/{name}", _PART):
                    digest.update(part)
                    target.write(part)
                target.flush()
                os.fsync(target.fileno())
        if digest.hexdigest() != expected:
            raise BundleError(
                f"the SHA-256 of {name} is that in {MANIFEST}",
                value=f"{digest.hexdigest()}, expected {expected} ({self.shared.shown}/{path})",
                next_step="Remove that folder; the host that trained the model sends it again.",
            )

    def _shared_manifest(self, path: str, files: Mapping[str, str]) -> tuple[Manifest, bytes]:
        assert self.shared is not None
        where = f"{self.shared.shown}/{path}"
        written = self.shared.read(f"{path}/{MANIFEST}")
        if written is None:
            raise BundleUnavailableError(
                "a model is in the local folder or in the shared folder",
                value=f"neither {self.folder / path} nor {where}",
                next_step="Run `loop run` or `loop promote` on the host that trained it: that sends the model.",
            )
        manifest = parse_manifest(written, where)
        _check_recorded(manifest, written, path, files, where)
        return manifest, written

    def _make_room(self) -> None:
        """Remove the models that were used least recently until the rest is small enough. Never raises for a model."""
        room = self._cache_bytes - self.size()
        for folder in sorted(self._folders(), key=_last_used):
            if room >= 0:
                return
            size = _size(folder)
            try:
                room += size if self._leave(folder) else 0
            except SharedFolderError as error:
                log.warning("the cache stays too large: %s", error)
                return  # each further model would wait for the same answer
            except (BundleError, OSError) as error:
                log.warning("%s stays in the cache: %s", folder, error)

    def _leave(self, folder: Path) -> bool:
        """Remove a model of the cache, unless it is in use somewhere or the shared folder lacks it."""
        path = folder.relative_to(self.folder).as_posix()
        if path in self._in_use or (held := _hold(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)) is None:
            return False
        try:
            self._known_shared.discard(path)
            if not self._is_shared(path):
                return False
            _remove(folder)
            log.info("%s leaves the cache", path)
            return True
        finally:
            os.close(held)

    def _folders(self) -> list[Path]:
        found = (file.parent for file in self.folder.glob(f"*/*/{MANIFEST}"))
        return [folder for folder in found if not folder.name.startswith(".")]


def _check_recorded(manifest: Manifest, written: bytes, path: str, recorded: Mapping[str, str], where: str) -> None:
    """Prove that a manifest is the one that the store knows."""
    known = {MANIFEST: hashlib.sha256(written).hexdigest(), **manifest.files}
    version = path.rpartition("/")[2]
    wrong = [name for name, digest in recorded.items() if known.get(name) != digest]
    if manifest.version != version or wrong:
        raise BundleError(
            "a model is the one that the store knows",
            value=f"{where}: {', '.join(wrong) or manifest.version}",
            next_step="Put the model's own folder back, or roll back to another version.",
        )


@contextmanager
def _disk(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BundleUnavailableError(
            "a model can be kept in the local folder",
            value=f"{place}: {error.strerror}",
            next_step="Free some space, or make the folder writable.",
        ) from error


def _hold(folder: Path, kind: int) -> int | None:
    """A lock on a folder, as the descriptor that holds it; None where there is no such folder, or others hold it."""
    while True:
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, kind)
            # While we waited, the folder may have been removed, and another may have come in its place.
            if os.path.samestat(os.fstat(descriptor), folder.stat()):
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            return None
        except FileNotFoundError:
            pass
        os.close(descriptor)


def _remove(folder: Path) -> None:
    """Remove a model's folder: under another name, so that no half of it stands under its own."""
    leaving = folder.with_name(f"{_LEAVING}{folder.name}")
    shutil.rmtree(leaving, ignore_errors=True)
    folder.rename(leaving)
    shutil.rmtree(leaving, ignore_errors=True)


def _last_used(folder: Path) -> float:
    """0.0 for a folder that another process has removed meanwhile."""
    try:
        return folder.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _size(folder: Path) -> int:
    """In bytes; 0 for a folder that another process removes meanwhile."""
    try:
        return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    except FileNotFoundError:
        return 0
