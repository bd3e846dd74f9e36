"""What readers read from: a file, unpacked where it is packed, or a folder.

Packed files (gz, bz2, xz) and archives (zip, tar) are copied to temporary files that can be read again and again.
Nothing in an archive chooses where a file is written, and what an archive unpacks to is limited.
"""

from __future__ import annotations

import bz2
import errno
import gzip
import lzma
import os
import re
import struct
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from tempfile import SpooledTemporaryFile, TemporaryDirectory
from typing import IO, BinaryIO, cast

from ner.errors import InputError

STANDARD_INPUT = Path("-")
HEAD_BYTES = 64 * 1024
# Files of these names mark a folder that the library `datasets` saved.
DATASET_MARKS = ("dataset_dict.json", "state.json")
_MOST_MEMBERS = 1000
_ABOUT_OTHERS = ("readme", "license", "licence", "notice", "changelog", "citation")
_ZIP, _EMPTY_ZIP = b"PK\x03\x04", b"PK\x05\x06"
_TAR, _TAR_AT = b"ustar", 257
_ENCRYPTED = 1
# Packed annotations shrink 5 to 40 times; a file that shrank 200 times is made to fill a disk. Small files may.
_RATIO, _ALWAYS, _MOST_BYTES = 200, 1024**3, 16 * 1024**3
_CHUNK, _IN_MEMORY = 1024 * 1024, 4 * 1024 * 1024
_LAYERS = 2
_NESTED = "Unpack it first."
# What the standard library raises for packed bytes that are not well-formed.
_BROKEN = (
    *(OSError, EOFError, RuntimeError, ValueError, ArithmeticError, LookupError, AttributeError, MemoryError),
    *(zlib.error, lzma.LZMAError, struct.error, zipfile.BadZipFile, tarfile.TarError),
)
_COMPRESSIONS: tuple[tuple[re.Pattern[bytes], tuple[str, ...], Callable[[BinaryIO], object]], ...] = (
    (re.compile(rb"\x1f\x8b\x08"), (".gz", ".gzip"), lambda stream: gzip.GzipFile(fileobj=stream, mode="rb")),
    (re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)"), (".bz2",), bz2.BZ2File),
    (re.compile(rb"\xfd7zXZ\x00"), (".xz",), lzma.LZMAFile),
)
# Files that are zip archives to their programs, by a file in them.
_DOCUMENTS = (
    ("xl/", "an Excel workbook", "Save the sheet as CSV UTF-8 in Excel, or as Parquet with pandas."),
    ("word/", "a Word document", "Save it as plain text in UTF-8, or export the annotations in another format."),
    ("ppt/", "a PowerPoint file", "Save its text as plain text in UTF-8."),
    ("mimetype", "an OpenDocument or EPUB file", "Save it as CSV or as plain text, in UTF-8."),
)
_CONTENT_TYPES = "[Content_Types].xml"


@dataclass(frozen=True)
class Input:
    """One file's bytes, which can be read again and again, or a folder.

    name: for people, such as `export.zip/all.jsonl`. path: of the file, or of the folder. stem: begins the ids of
    records without one. head: the first bytes; empty for a folder. said: what was done to get at the file, for people.
    """

    name: str
    path: Path
    stem: str
    head: bytes = b""
    stream: BinaryIO | None = None
    said: tuple[str, ...] = ()

    @property
    def suffix(self) -> str:
        """The ending of the name in lower case, such as `.csv`; empty where the name has none."""
        return PurePosixPath(self.name).suffix.lower()

    def rewound(self) -> BinaryIO:
        """The stream at its first byte. Raises InputError for a folder."""
        if self.stream is None:
            raise InputError("a file is read", value=f"the folder {self.name}", next_step="Name a file in it.")
        self.stream.seek(0)
        return self.stream

    def ends_with_line(self) -> bool:
        """Whether the last line has a line end: a file that was cut off has none. Raises InputError for a folder."""
        stream = self.rewound()
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, size - 1))
        return stream.read(1) in (b"\n", b"\r")


@contextmanager
def open_inputs(path: Path) -> Iterator[tuple[Input, ...]]:
    """The file, the folder, or each file of an archive (zip, tar), open until the block ends; `-` is standard input.

    A pipe and a packed file (gz, bz2, xz) are copied to a temporary file first. An archive that holds a folder of the
    library `datasets` is unpacked to a temporary folder. Raises InputError for what cannot be opened or unpacked, and
    for an archive without a file.
    """
    with ExitStack() as stack:
        if path.is_dir():
            yield (Input(str(path), path, visible_name(path.resolve().name)),)
            return
        stream = stack.enter_context(_opened(path))
        name = "standard input" if path == STANDARD_INPUT else visible_name(path.name)
        budget = Budget.of(stream)
        stream, name = unpacked(stream, name, stack, budget)
        if is_archive(stream):
            yield _of_archive(members(stream, name, stack), name, stack, budget)
        else:
            yield (_input(name, path, stream),)


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    if path == STANDARD_INPUT:
        with ExitStack() as stack:
            yield temporary_copy(sys.stdin.buffer, "standard input", stack, Budget())
        return
    try:
        stream = path.open("rb")
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        value = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(f"{path} can be read", value=value, next_step="Check the name.") from error
    with stream, ExitStack() as stack:
        # A pipe gives what it holds only once.
        yield stream if stream.seekable() else temporary_copy(stream, path.name, stack, Budget())


def _of_archive(found: list[Member], name: str, stack: ExitStack, budget: Budget) -> tuple[Input, ...]:
    files = [one for one in found if not _is_of_the_system(one.name)]
    wanted = [one for one in files if not PurePosixPath(one.name.lower()).name.startswith(_ABOUT_OTHERS)]
    left_out = [one.name for one in files if one not in wanted] if wanted else []
    said = (f"Not read: {', '.join(left_out)}, which tell of the other files.",) if left_out else ()
    files = wanted or files
    if not files:
        raise InputError("an archive holds a file", value=f"{name} holds none", next_step="Check the archive.")
    if len(files) > _MOST_MEMBERS:
        rule = f"an archive holds at most {_MOST_MEMBERS:,} files"
        raise InputError(rule, value=f"{len(files):,} in {name}", next_step="Unpack it, and put the files together.")
    roots = [PurePosixPath(one.name).parent for one in files if PurePosixPath(one.name).name in DATASET_MARKS]
    if roots:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        for one in files:
            one.unpack(folder, budget)
        root = min(roots, key=lambda one: len(one.parts))
        return (Input(name, folder / root, PurePosixPath(name).stem, said=said),)
    return tuple(_of_member(one, name, said, stack, budget) for one in files)


def _of_member(one: Member, archive: str, said: tuple[str, ...], stack: ExitStack, budget: Budget) -> Input:
    name = f"{archive}/{one.name}"
    stream, name = unpacked(one.copy(name, stack, budget), name, stack, budget)
    if is_archive(stream):
        raise InputError("an archive holds files, and no archives", value=name, next_step="Unpack the outer archive.")
    return _input(name, Path(name), stream, said)


def _is_of_the_system(name: str) -> bool:
    path = PurePosixPath(name)
    return "__MACOSX" in path.parts or path.name.startswith(".") or path.name.lower() in ("thumbs.db", "desktop.ini")


def _input(name: str, path: Path, stream: BinaryIO, said: tuple[str, ...] = ()) -> Input:
    stream.seek(0)
    head = stream.read(HEAD_BYTES)
    stream.seek(0)
    return Input(name, path, PurePosixPath(name).stem, head, stream, said)


@dataclass
class Budget:
    """How many bytes may still be unpacked: far more than people label, and far less than a disk holds."""

    left: int = _MOST_BYTES

    @classmethod
    def of(cls, stream: BinaryIO) -> Budget:
        """For a packed file of this size."""
        size = stream.seek(0, os.SEEK_END)
        stream.seek(0)
        return cls(min(_MOST_BYTES, max(_ALWAYS, _RATIO * size)))

    def spend(self, count: int, name: str) -> None:
        """Raise InputError when no more may be unpacked."""
        self.left -= count
        if self.left < 0:
            rule = f"{name} unpacks to at most {_MOST_BYTES // 1024**3} GiB, and to at most {_RATIO} times its size"
            raise InputError(rule, value="more", next_step="Check the archive; unpack it yourself if it is right.")


@dataclass(frozen=True)
class Member:
    """A file in an archive: its name, with / between folders, and how it is opened."""

    name: str
    open: Callable[[], IO[bytes] | None]

    def copy(self, name: str, stack: ExitStack, budget: Budget) -> BinaryIO:
        """The unpacked file, of this name for people, at its first byte. Raises InputError."""
        with _translated(name):
            stream = cast(BinaryIO, self.open())
        return temporary_copy(stream, name, stack, budget)

    def unpack(self, folder: Path, budget: Budget) -> None:
        """Write the file to its place in the folder. Raises InputError for a name that leads out of the folder."""
        path = PurePosixPath(self.name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in self.name:
            raise InputError("a name in an archive leads to a place in it", value=self.name, next_step=_NESTED)
        with _translated(self.name):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            with cast(BinaryIO, self.open()) as packed, (folder / path).open("wb") as out:
                _copy(packed, out, self.name, budget)


def unpacked(stream: BinaryIO, name: str, stack: ExitStack, budget: Budget) -> tuple[BinaryIO, str]:
    """The stream, and the name without the ending of what was unpacked (gz, bz2, xz; `.tgz` becomes `.tar`)."""
    for _ in range(_LAYERS):
        stream.seek(0)
        head = stream.read(16)
        stream.seek(0)
        found = next(((ends, make) for magic, ends, make in _COMPRESSIONS if magic.match(head)), None)
        if found is None:
            return stream, name
        endings, make = found
        with _translated(name):
            opened = cast(BinaryIO, make(stream))
        stream, name = temporary_copy(opened, name, stack, budget), _without(name, endings)
    raise InputError(f"a file is packed at most {_LAYERS - 1} time", value=name, next_step=_NESTED)


def temporary_copy(packed: BinaryIO, name: str, stack: ExitStack, budget: Budget) -> BinaryIO:
    """What the stream gives, in a temporary file that the stack closes, at its first byte. Raises InputError."""
    copy = cast(BinaryIO, stack.enter_context(SpooledTemporaryFile(_IN_MEMORY)))  # noqa: SIM115
    with _translated(name):
        _copy(packed, copy, name, budget)
    copy.seek(0)
    return copy


def is_archive(stream: BinaryIO) -> bool:
    """Whether the stream begins as a zip or tar archive; it is at its first byte afterwards."""
    stream.seek(0)
    head = stream.read(_TAR_AT + len(_TAR))
    stream.seek(0)
    return head.startswith((_ZIP, _EMPTY_ZIP)) or head[_TAR_AT:] == _TAR


def members(stream: BinaryIO, name: str, stack: ExitStack) -> list[Member]:
    """The files of an archive, without its folders and links. Raises InputError for an archive that is broken,
    encrypted, or the file of an office program.
    """
    is_zip = stream.read(2) == _ZIP[:2]
    stream.seek(0)
    with _translated(name):
        return _of_zip(stream, name, stack) if is_zip else _of_tar(stream, stack)


def visible_name(name: str) -> str:
    """The name with each character that cannot be shown or stored as a question mark."""
    return "".join(character if character.isprintable() else "?" for character in name)


def _of_zip(stream: BinaryIO, name: str, stack: ExitStack) -> list[Member]:
    archive = stack.enter_context(zipfile.ZipFile(stream))
    files = [one for one in archive.infolist() if not one.is_dir()]
    _refuse_documents([one.filename for one in files], archive, name)
    if any(one.flag_bits & _ENCRYPTED for one in files):
        raise InputError("an archive is not encrypted", value=name, next_step="Unpack it with its password first.")
    return [Member(visible_name(one.filename), partial(archive.open, one)) for one in files]


def _of_tar(stream: BinaryIO, stack: ExitStack) -> list[Member]:
    archive = stack.enter_context(tarfile.open(fileobj=stream, mode="r:"))  # noqa: SIM115
    files = [one for one in archive.getmembers() if one.isfile()]
    return [Member(visible_name(one.name), partial(archive.extractfile, one)) for one in files]


def _refuse_documents(names: Sequence[str], archive: zipfile.ZipFile, name: str) -> None:
    is_office = _CONTENT_TYPES in names
    is_open = names[:1] == ["mimetype"] and archive.getinfo("mimetype").file_size < 100
    for start, what, step in _DOCUMENTS:
        if (is_open if start == "mimetype" else is_office) and any(one.startswith(start) for one in names):
            raise InputError(
                "a file holds texts in a format that is read here", value=f"{name}, {what}", next_step=step
            )


def _copy(packed: BinaryIO, out: BinaryIO, name: str, budget: Budget) -> None:
    while chunk := packed.read(_CHUNK):
        budget.spend(len(chunk), name)
        out.write(chunk)


@contextmanager
def _translated(name: str) -> Iterator[None]:
    """What the libraries raise for broken bytes, as an InputError that names the file."""
    try:
        yield
    except _BROKEN as error:
        no_room = isinstance(error, OSError) and error.errno == errno.ENOSPC
        step = "Make room for temporary files." if no_room else "It may be cut off or damaged: fetch it again."
        value = str(error) or type(error).__name__
        raise InputError(f"{name} can be unpacked", value=value, next_step=step) from error


def _without(name: str, endings: tuple[str, ...]) -> str:
    for ending in endings:
        if name.lower().endswith(ending):
            return name[: -len(ending)]
    return f"{name[:-4]}.tar" if name.lower().endswith((".tgz", ".tbz", ".txz")) else name
