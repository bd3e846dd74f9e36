"""The formats that files are read from, and how the format of a file is found by its content.

A new format is a module with a `FileFormat` (or a `JsonShape`, for records of JSON) and its line here; `--format` of
the command line offers its name.
"""

from __future__ import annotations

from collections.abc import Iterable

from loop.files.formats import (
    bare_tasks,
    conll,
    json_lines,
    json_min,
    label_studio,
    label_studio_conll,
    label_studio_csv,
    other_exports,
)
from loop.files.formats.json_files import JsonShape, json_format
from loop.files.inputs import Input
from loop.files.records import FileFormat
from ner.errors import InputError

AUTO = "auto"
# In the order in which the shapes are asked for a record; the last claims any object.
SHAPES: tuple[JsonShape, ...] = (
    label_studio.SHAPE,
    json_min.SHAPE,
    bare_tasks.SHAPE,
    json_lines.SHAPE,
)
_JSON_SHAPES = (other_exports.SHAPE, *SHAPES)
JSON = json_format("json", "JSON Lines, an array or an object, of any shape below", _JSON_SHAPES, json_min.joined)
# In the order in which the content of a file is tried.
FORMATS: tuple[FileFormat, ...] = (JSON, label_studio_csv.FORMAT, label_studio_conll.FORMAT, conll.FORMAT)
_ONE_SHAPE = tuple(json_format(shape.name, shape.title, (shape,), json_min.joined) for shape in SHAPES)
NAMES = (AUTO, *(one.name for one in (*FORMATS, *_ONE_SHAPE)))


def notes_on(names: Iterable[str]) -> tuple[str, ...]:
    """What people should know of files of these shapes, a sentence or more for each."""
    return tuple(shape.note for shape in SHAPES if shape.note and shape.name in set(names))


def format_named(name: str) -> FileFormat:
    """The format of this name; raises InputError for an unknown name."""
    for one in (*FORMATS, *_ONE_SHAPE):
        if one.name == name:
            return one
    raise InputError(f"a format is one of {', '.join(NAMES)}", value=name, next_step="Name one of them.")


def find_format(file: Input) -> FileFormat:
    """The first format that recognises the content. Raises InputError, which says what was looked for and found."""
    for one in FORMATS:
        if one.recognise(file):
            return one
    looked_for = ", ".join(f"{one.name} ({one.title})" for one in FORMATS)
    raise InputError(
        f"the content of a file is of a known format: {looked_for}",
        value=_shown(file),
        next_step="Name the format with --format, or convert the file to JSON Lines.",
    )


def _shown(file: Input) -> str:
    if file.stream is None:
        return f"a folder, {file.name}"
    if not file.head.strip():
        return f"an empty file, {file.name}"
    try:
        return f"{file.name}, which begins with {file.head[:60].decode()!r}"
    except UnicodeDecodeError:
        return f"{file.name}, which begins with the bytes {file.head[:16].hex(' ')}"
