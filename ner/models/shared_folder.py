"""A folder that several hosts share, at any address that fsspec opens: s3://bucket/prefix, file:///mnt/models, ...

Everything that a package for an address raises is told as a SharedFolderError. No message shows a password or a query
of an address. fsspec and the packages for the addresses are imported where a folder is opened.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ner.containers import with_secret_files
from ner.errors import BundleUnavailableError, ConfigError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

log = logging.getLogger(__name__)

_PROBE = ".may-be-written"
_SETTING = "`[models] remote` (MODEL_STORE)"
_CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "access_key_id",
    "AWS_SECRET_ACCESS_KEY": "secret_access_key",
    "AWS_SESSION_TOKEN": "session_token",
}
_KEYS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
_INSTALL = {"s3": 'pip install "ner-annotation-loop[s3]"'}
# A request that does not get through is tried three times, in about ten seconds. A part of a file may take longer.
_RETRIES = {"max_retries": 2, "retry_timeout": timedelta(seconds=10)}
_CLIENT = {"connect_timeout": "5s", "timeout": "60s", "allow_http": True}
# Where the S3 client asks for credentials when the environment holds none: the machine's own metadata service.
_METADATA_SERVICE = "169.254."


class SharedFolderError(BundleUnavailableError):
    """The shared folder refused or did not answer. by_hand: somebody has to change a setting, a right or a bucket."""

    def __init__(self, rule: str, *, value: object = None, next_step: str = "", by_hand: bool = False) -> None:
        super().__init__(rule, value=value, next_step=next_step)
        self.by_hand = by_hand


class SharedFolder:
    """Files by their path below the address, with forward slashes. Processes and threads may share the folder.

    Raises ConfigError for an address that is malformed, or whose package is not installed. Nothing is asked yet.
    """

    def __init__(self, address: str) -> None:
        self.shown = shown(address)
        self._files, self._root = _open(address, self.shown)
        self._is_local = urlsplit(address).scheme in ("file", "local")

    def check(self, *, writing: bool) -> None:
        """Prove that the folder can be listed, read, and written to where `writing`.

        Raises ConfigError for what somebody has to change, SharedFolderError where there is no answer.
        """
        try:
            self.names("")
            self.read(_PROBE)
            if writing:
                self.write(_PROBE, b"The loop checks here that it may write.\n")
        except SharedFolderError as error:
            if not error.by_hand:
                raise
            raise ConfigError(error.rule, value=error.value, next_step=error.next_step) from None

    def names(self, path: str) -> frozenset[str]:
        """The names of what lies in the folder `path`; none where the folder is not there."""
        with self._told(path):
            try:
                found = self._files.ls(self._at(path), detail=False)
            except FileNotFoundError as error:  # an object store knows no empty folder
                if self._is_away(error):
                    raise
                return frozenset()
            return frozenset(str(name).rstrip("/").rpartition("/")[2] for name in found)

    def read(self, path: str) -> bytes | None:
        """The content of a small file; None where there is no such file."""
        with self._told(path):
            try:
                content: bytes = self._files.cat_file(self._at(path))
            except FileNotFoundError as error:
                if self._is_away(error):
                    raise
                return None
            return content

    def write(self, path: str, content: bytes) -> None:
        """Write a small file, whole or not at all."""
        with self._told(path):
            self._make_folder_of(path)
            if self._is_local:
                _write_by_rename(Path(self._at(path)), content)
            else:
                self._files.pipe_file(self._at(path), content)

    def send(self, file: Path, path: str) -> None:
        """Copy a local file to `path`."""
        with self._told(path):
            self._make_folder_of(path)
            self._files.put_file(str(file), self._at(path))

    def parts(self, path: str, size: int) -> Iterator[bytes]:
        """The content of a file, in parts of `size` bytes."""
        with self._told(path):
            whole = self._size(path)
        for start in range(0, whole, size):
            with self._told(path):
                part: bytes = self._files.cat_file(self._at(path), start=start, end=min(start + size, whole))
            yield part

    def _size(self, path: str) -> int:
        try:
            size: int = self._files.size(self._at(path))
        except FileNotFoundError:
            raise SharedFolderError(
                "every file of a model is in the shared folder",
                value=f"{self.shown}/{path}",
                next_step="Remove that model's folder there; the host that trained it sends it again.",
            ) from None
        return size

    def _is_away(self, error: FileNotFoundError) -> bool:
        """Whether the shared folder itself is missing: no bucket, or a file system that is not mounted now."""
        return "NoSuchBucket" in str(error) or (self._is_local and not Path(self._root).is_dir())

    def _make_folder_of(self, path: str) -> None:
        if self._is_local and not Path(self._root).is_dir():
            raise FileNotFoundError(self._root)
        self._files.makedirs(self._at(path).rpartition("/")[0], exist_ok=True)

    def _at(self, path: str) -> str:
        return f"{self._root}/{path}" if path else self._root

    @contextmanager
    def _told(self, path: str) -> Iterator[None]:
        where = f"{self.shown}/{path}" if path else self.shown
        try:
            yield
        except SharedFolderError:
            raise
        except Exception as error:  # noqa: BLE001 - each package has errors of its own
            raise _translated(error, where) from None  # a chained error may show the address


def _write_by_rename(file: Path, content: bytes) -> None:
    """An object store writes whole objects; a disk that is full keeps half a file under its name."""
    draft = file.with_name(f".{file.name}-{os.getpid()}")
    try:
        draft.write_bytes(content)
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)


def shown(address: str) -> str:
    """The address without user, password and query."""
    scheme, mark, rest = address.partition("://")
    rest = re.split(r"[?#]", rest)[0].rstrip("/")
    host, slash, path = rest.partition("/")
    return f"{scheme}{mark}{host.rpartition('@')[2]}{slash}{path}"


def check_at_start(address: str, folder: Path, *, writing: bool) -> None:
    """Prove that the shared folder at `address` ("" for none) and the local folder can be used.

    Raises ConfigError for what somebody has to change. No answer is logged, since it may come later, and what the local
    folder holds can be served until then.
    """
    if not address:
        return
    check_local(folder)
    try:
        SharedFolder(address).check(writing=writing)
    except SharedFolderError as error:
        log.error("%s Until then, only models that are here can be used.", error)


def check_local(folder: Path) -> None:
    """Raise ConfigError unless models can be kept in the local folder."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f"{_PROBE}-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ConfigError(
            "models from a shared folder are kept in the local folder `[models] dir` (MODEL_DIR)",
            value=f"{folder}: {error.strerror}",
            next_step="Make it writable for the user of this process, free some space, or name another folder.",
        ) from error


def _open(address: str, shown_address: str) -> tuple[AbstractFileSystem, str]:
    scheme, mark, rest = address.partition("://")
    if not mark or not rest or (scheme in ("file", "local") and not rest.startswith("/")):
        raise ConfigError(
            f"{_SETTING} is an address",
            value=shown_address,
            next_step="Write it as s3://bucket/prefix, or as file:///absolute/path.",
        )
    try:
        if scheme == "s3":
            return _open_s3(), rest.strip("/")
        from fsspec.core import url_to_fs

        files, root = url_to_fs(address)
        return files, str(root).rstrip("/")
    except ConfigError:
        raise
    except ImportError as error:
        mend = _INSTALL.get(scheme) or f"Install the package that fsspec needs for {scheme}:// addresses"
        raise ConfigError(
            f"the package for {scheme}:// addresses is installed",
            value=str(error).splitlines()[0],
            next_step=f"{mend}.",
        ) from error
    except Exception as error:  # noqa: BLE001 - each package has errors of its own
        raise ConfigError(
            f"{_SETTING} is an address that fsspec opens",
            value=f"{shown_address}: {_detail(error)}",
            next_step="Correct the address, or install the package for such addresses.",
        ) from None  # the error may show the address


def _open_s3() -> AbstractFileSystem:
    """S3 by obstore, one package that needs no other: s3fs pins the version of botocore, which Label Studio has, too.

    The AWS_ variables count, and AWS_..._FILE for the credentials. FSSPEC_S3_ variables (with the names of obstore's
    configuration) win over them.
    """
    from fsspec.config import conf
    from obstore.fsspec import FsspecStore

    found = with_secret_files(os.environ, _CREDENTIALS)
    own = {option: found[name] for name, option in _CREDENTIALS.items() if os.environ.get(f"{name}_FILE")}
    options: dict[str, Any] = {"client_options": _CLIENT, "retry_config": _RETRIES, "skip_instance_cache": True}
    files: AbstractFileSystem = FsspecStore("s3", **{**options, **own, **conf.get("s3", {})})
    return files


def _translated(error: Exception, where: str) -> SharedFolderError:
    said, detail = str(error), _detail(error)
    if _METADATA_SERVICE in said:
        rule, step = "the shared folder of the models takes our credentials", f"Set {_KEYS}."
        return SharedFolderError(rule, value=f"none for {where}", next_step=step, by_hand=True)
    if "NoSuchBucket" in said or isinstance(error, FileNotFoundError):
        rule, step = "the shared folder of the models is there", f"Make {where}, mount it, or correct {_SETTING}."
    elif isinstance(error, PermissionError) or re.search(r"\b40[13]\b", said) or "Permission" in type(error).__name__:
        rule = "the shared folder of the models can be used with our rights"
        step = (
            f"Allow listing and reading, and writing for the loop (S3: s3:ListBucket, s3:GetObject, s3:PutObject), or "
            f"correct {_KEYS}."
        )
    else:
        rule, step = (
            "the shared folder of the models answers",
            "Check the network and AWS_ENDPOINT_URL, then try again.",
        )
        return SharedFolderError(rule, value=f"{where}: {detail}", next_step=step)
    return SharedFolderError(rule, value=f"{where}: {detail}", next_step=step, by_hand=True)


def _detail(error: Exception) -> str:
    """What the error says, in a line: the code of S3 where there is one; without credentials and queries."""
    said = str(error)
    if code := re.search(r"<Code>(\w+)</Code>", said):
        return code[1]
    line = said.strip().splitlines()[0] if said.strip() else type(error).__name__
    return re.sub(r"//[^/@\s]+@", "//", re.sub(r"\?\S+", "", line))[:150]
