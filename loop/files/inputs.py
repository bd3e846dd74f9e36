"""What readers read from: a file, unpacked where it is packed, or a folder."""

from __future__ import annotations

import gzip
import sys
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryFile
from typing import BinaryIO

from ner.errors import InputError

STANDARD_INPUT = Path("-")
HEAD_BYTES = 64 * 1024
_GZIP, _ZIP = b"\x1f\x8b", (b"PK\x03\x04", b"PK\x05\x06")  # an archive of files, an empty archive
# What an unpacked file may hold: far more than people label, and far less than a disk.
_MOST_BYTES = 16 * 1024**3
_CHUNK = 1024 * 1024


@dataclass(frozen=True)
class Input:
    """One file's bytes, which can be read again and again, or a folder.

    name: for people, such as `export.zip/all.jsonl`. stem: begins the ids of records without one. head: the first
    bytes; empty for a folder. suffixes: of the name, without those that only say how the file is packed.
    """

    name: str
    path: Path
    stem: str
    head: bytes = b""
    stream: BinaryIO | None = None

    @property
    def suffix(self) -> str:
        """The ending of the name in lower case, such as `.csv`; empty where the name has none."""
        return PurePosixPath(self.name.removesuffix(".gz")).suffix.lower()

    def rewound(self) -> BinaryIO:
        """The stream at its first byte. Raises InputError for a folder."""
        if self.stream is None:
            raise InputError("a file is read", value=f"the folder {self.name}", next_step="Name a file in it.")
        self.stream.seek(0)
        return self.stream


@contextmanager
def open_inputs(path: Path) -> Iterator[tuple[Input, ...]]:
    """The file, the folder, or each file of a zip archive, open until the block ends; `-` is standard input.

    A pipe and a packed file are copied to a temporary file first. Raises InputError for what cannot be opened or
    unpacked, and for an archive without a file.
    """
    with ExitStack() as stack:
        if path.is_dir():
            yield (Input(str(path), path, path.name),)
            return
        stream = stack.enter_context(_opened(path))
        name = "standard input" if path == STANDARD_INPUT else path.name
        if stream.read(4) in _ZIP and zipfile.is_zipfile(stream):
            yield tuple(_members(stream, path, stack))
            return
        stream.seek(0)
        if stream.read(2) == _GZIP:
            stream.seek(0)
            stream = stack.enter_context(_copied(gzip.GzipFile(fileobj=stream), name))  # type: ignore[arg-type]
            name = name.removesuffix(".gz")
        yield (_input(name, path, stream),)


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    if path == STANDARD_INPUT:
        with _copied(sys.stdin.buffer, "standard input") as copy:
            yield copy
        return
    try:
        stream = path.open("rb")
    except OSError as error:
        raise InputError(f"{path} can be read", value=error.strerror, next_step="Check the name.") from error
    with stream:
        if stream.seekable():
            yield stream
            return
        with _copied(stream, path.name) as copy:  # of a pipe, which gives what it holds only once
            yield copy


@contextmanager
def _copied(packed: BinaryIO, name: str) -> Iterator[BinaryIO]:
    with TemporaryFile() as copy:
        try:
            while chunk := packed.read(_CHUNK):
                copy.write(chunk)
                if copy.tell() > _MOST_BYTES:
                    raise InputError(f"{name} unpacks to at most 16 GiB", next_step="Split it.")
        except (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
            raise InputError(f"{name} can be unpacked", value=str(error), next_step="Fetch it again.") from error
        copy.seek(0)
        yield copy


def _members(stream: BinaryIO, path: Path, stack: ExitStack) -> Iterator[Input]:
    try:
        archive = stack.enter_context(zipfile.ZipFile(stream))
    except zipfile.BadZipFile as error:
        raise InputError(f"{path.name} can be unpacked", value=str(error), next_step="Fetch it again.") from error
    files = [one for one in archive.infolist() if not one.is_dir() and not _is_of_the_system(one.filename)]
    if not files:
        raise InputError("an archive holds a file", value=f"{path.name} holds none", next_step="Check the archive.")
    for one in files:
        try:
            packed = archive.open(one)
        except (zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
            raise InputError(f"{one.filename} can be unpacked", value=str(error)) from error
        copy = stack.enter_context(_copied(packed, one.filename))  # type: ignore[arg-type]
        yield _input(f"{path.name}/{one.filename}", path, copy)


def _is_of_the_system(name: str) -> bool:
    return name.startswith("__MACOSX/") or PurePosixPath(name).name.startswith(".")


def _input(name: str, path: Path, stream: BinaryIO) -> Input:
    stream.seek(0)
    head = stream.read(HEAD_BYTES)
    stream.seek(0)
    return Input(name, path, PurePosixPath(name).stem, head, stream)
