"""What readers read from: a file, unpacked where it is packed, or a folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import BinaryIO

from loop.files.packed import Budget, Member, is_archive, members, temporary_copy, unpacked, visible_name
from ner.errors import InputError

STANDARD_INPUT = Path("-")
HEAD_BYTES = 64 * 1024
# Files of these names mark a folder that the library `datasets` saved.
DATASET_MARKS = ("dataset_dict.json", "state.json")
_MOST_MEMBERS = 1000
_ABOUT_OTHERS = ("readme", "license", "licence", "notice", "changelog", "citation")


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
