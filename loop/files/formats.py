"""The formats that files are read from and written to, and how the format of a file is found.

A new format is a module with a `FileFormat`, and one line in FORMATS; `--format` of the command line offers its name.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO

from loop.files import conll, jsonl, label_studio_json
from loop.files.record_ids import each_id_once
from loop.files.records import BYTE_ORDER_MARK, FileFormat, Problem, Record, Source
from ner.errors import InputError

AUTO = "auto"
# In the order in which the first bytes of a file are tried; the last format takes any text.
FORMATS: tuple[FileFormat, ...] = (label_studio_json.FORMAT, jsonl.FORMAT, conll.FORMAT)
_HEAD_BYTES = 4096


@contextmanager
def open_input(path: Path) -> Iterator[BinaryIO]:
    """The file, open for reading bytes, however often. Raises InputError when the file cannot be opened."""
    try:
        stream = path.open("rb")
    except OSError as error:
        raise InputError(f"{path} can be read", value=error.strerror, next_step="Check the name.") from error
    with stream:
        if stream.seekable():
            yield stream
            return
        with TemporaryFile() as copy:  # of a pipe, which gives what it holds only once
            shutil.copyfileobj(stream, copy)
            copy.seek(0)
            yield copy


def format_named(name: str) -> FileFormat:
    """The format of this name; raises InputError for an unknown name."""
    for one in FORMATS:
        if one.name == name:
            return one
    known = ", ".join((AUTO, *(one.name for one in FORMATS)))
    raise InputError(f"a format is one of {known}", value=name, next_step="Name one of them.")


def find_format(path: Path, stream: BinaryIO) -> FileFormat:
    """The format of a file by its suffix, else by its first bytes; the stream stands at its begin before and after."""
    head = stream.read(_HEAD_BYTES).removeprefix(BYTE_ORDER_MARK).lstrip()
    stream.seek(0)
    by_suffix = (one for one in FORMATS if path.suffix.lower() in one.suffixes)
    return next(by_suffix, None) or next(one for one in FORMATS if one.looks_like(head))


def read_records(stream: BinaryIO, file_format: FileFormat, source: Source) -> Iterator[Record | Problem]:
    """The records of a stream. A record with the id of an earlier record takes its `fallback_id`, or is a Problem."""
    return each_id_once(file_format.read(stream, source))
