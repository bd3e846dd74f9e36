"""Which format a file is in, and its records in that format."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO

from loop.files.conll import read_conll
from loop.files.jsonl import read_jsonl
from loop.files.label_studio_json import read_label_studio_json
from loop.files.records import Problem, Record
from ner.errors import InputError

AUTO, JSONL, LABEL_STUDIO, CONLL = "auto", "jsonl", "label-studio", "conll"
FORMATS = (AUTO, JSONL, LABEL_STUDIO, CONLL)
_BY_SUFFIX = {".jsonl": JSONL, ".ndjson": JSONL, ".conll": CONLL, ".iob": CONLL, ".iob2": CONLL, ".bio": CONLL}


@contextmanager
def open_input(path: Path) -> Iterator[BinaryIO]:
    """The file, open for reading bytes, however often; InputError when it cannot be."""
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


def detect_format(path: Path) -> str:
    """The format of a file by its suffix, else by how it begins: `[` an export, `{` JSON Lines, else CoNLL."""
    known = _BY_SUFFIX.get(path.suffix.lower())
    if known is not None:
        return known
    with open_input(path) as stream:
        start = stream.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    return {b"[": LABEL_STUDIO, b"{": JSONL}.get(start, CONLL)


def read_records(stream: BinaryIO, stem: str, file_format: str, data_field: str) -> Iterator[Record | Problem]:
    """The records of a stream in one of FORMATS but "auto".

    Where an id stands twice, the later record is known by its `fallback_id`; without one it becomes a Problem. `stem`
    begins the ids of records without one; `data_field` is where a Label Studio task holds its text.
    """
    readers: dict[str, Callable[[], Iterator[Record | Problem]]] = {
        JSONL: lambda: read_jsonl(stream, stem),
        CONLL: lambda: read_conll(stream, stem),
        LABEL_STUDIO: lambda: read_label_studio_json(stream, stem, data_field),
    }
    if file_format not in readers:
        raise InputError(f"a format is one of {', '.join(FORMATS)}", value=file_format, next_step="Name one of them.")
    return _each_id_once(readers[file_format]())


def _each_id_once(records: Iterator[Record | Problem]) -> Iterator[Record | Problem]:
    places: dict[str, str] = {}
    marks: dict[str, str | None] = {}
    for record in records:
        if isinstance(record, Record) and record.external_id is not None:
            name, mark = record.external_id, record.fallback_id
            if name in places and mark is not None and mark != marks[name]:
                # Two tasks that bear one name. The store may know this one by it, from a file without the other.
                record = replace(record, external_id=mark, fallback_id=name)
                name = mark
            first = places.setdefault(name, record.where)
            marks.setdefault(name, mark)
            if first != record.where:
                error = InputError(
                    "an id stands once in a file",
                    value=f"{name}, first on {first}",
                    next_step="Give each record its own id, or leave ids out.",
                )
                yield Problem(record.where, error, record.text[:500])
                continue
        yield record
