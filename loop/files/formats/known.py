"""The formats that files are read from, and how the format of a file is found by its content.

A new format is a module with a `FileFormat` (or a `JsonShape`, for records of JSON) and its line here; `--format` of
the command line offers its name.
"""

from __future__ import annotations

from collections.abc import Iterable

from loop.files.formats import docbin, plain_text
from loop.files.formats.json_shapes import containers, doccano, hugging_face, json_lines, prodigy, spacy_json
from loop.files.formats.json_shapes.shapes import JsonShape, json_format
from loop.files.formats.label_studio import export_conll, export_csv, export_json, json_min, other_exports
from loop.files.formats.tables.csv_table import csv_format, has_columns
from loop.files.formats.tables.datasets_folder import datasets_format, listed
from loop.files.formats.tables.parquet import parquet_format
from loop.files.formats.tagged import conll
from loop.files.raw.inputs import Input
from loop.files.raw.unknown import NOT_UTF8, Kind, encoding_of, kind_of
from loop.files.records import FileFormat, FileHints
from ner.errors import InputError

AUTO = "auto"
# In the order in which the shapes are asked for a record; the last claims any object.
SHAPES: tuple[JsonShape, ...] = (
    export_json.SHAPE,
    json_min.SHAPE,
    prodigy.SHAPE,
    hugging_face.SHAPE,
    doccano.SHAPE,
    spacy_json.SHAPE,
    export_json.BARE_TASKS,
    json_lines.SHAPE,
)
_JSON_SHAPES = (other_exports.SHAPE, containers.SHAPE, *SHAPES)
JSON = json_format("json", "JSON Lines, or an array or an object of JSON", _JSON_SHAPES, json_min.joined)
CSV, PARQUET, DATASETS = csv_format(SHAPES), parquet_format(SHAPES), datasets_format(SHAPES)
# In the order in which the content of a file is tried; plain text is what looks like nothing else. A CoNLL file may
# begin with the token `{` or hold the columns of a table.
FORMATS: tuple[FileFormat, ...] = (
    PARQUET,
    DATASETS,
    docbin.FORMAT,
    export_conll.FORMAT,
    conll.FORMAT,
    JSON,
    export_csv.FORMAT,
    CSV,
    plain_text.FORMAT,
)
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


def find_format(file: Input, hints: FileHints | None = None) -> FileFormat:
    """The first format that recognises the content. Raises InputError, which says what was looked for and found.

    Columns that a person named make a file a table, where the table has them.
    """
    if (encoded := encoding_of(file.head)) is not None:
        raise InputError("a file is UTF-8", value=f"{file.name}, {encoded.what}", next_step=encoded.step)
    if hints is not None and hints.columns and has_columns(file, hints.columns):
        return CSV
    for one in FORMATS:
        if one.recognise(file):
            return one
    raise _unknown(file)


def _unknown(file: Input) -> InputError:
    if file.stream is None:
        step = "Name a file in it, or a folder that `datasets` saved."
        rule = "a folder is one that the library `datasets` saved"
        return InputError(rule, value=f"the folder {file.name}, which holds {listed(file.path)}", next_step=step)
    kind = kind_of(file) or Kind("", "Name the format with --format, or convert the file to JSON Lines.")
    what = ", ".join(part for part in (file.name, kind.what) if part)
    begins = f", which begins with {_shown(file.head)}" if file.head.strip() else ""
    if kind.what == NOT_UTF8:
        return InputError("a file is UTF-8", value=f"{what}{begins}", next_step=kind.step)
    rule = f"the file is {kind.what}, and of no format that is read" if kind.what else "the format of the file is known"
    formats = f"Formats that are read: {', '.join(one.name for one in FORMATS)}."
    return InputError(rule, value=f"{file.name}{begins}", next_step=f"{kind.step} {formats}")


def _shown(head: bytes) -> str:
    try:
        return repr(head[:60].decode())
    except UnicodeDecodeError:
        return f"the bytes {head[:16].hex(' ')}"
