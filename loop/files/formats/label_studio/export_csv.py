"""Label Studio's CSV and TSV: a row for each annotation, with the answers of each control as JSON in a cell.

A row holds what a record of JSON-MIN holds; see `json_min`.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, BinaryIO

from loop.files.formats.json_shapes.shapes import Place
from loop.files.formats.label_studio.export_json import EXPORT_AS_JSON
from loop.files.formats.label_studio.json_min import NOTE, RENAMED, TABLE, joined, record
from loop.files.raw.inputs import Input
from loop.files.raw.json_values import parse_json
from loop.files.raw.lines import BYTE_ORDER_MARK, MAX_LINE_BYTES, UNREADABLE_REST
from loop.files.record_ids import Naming
from loop.files.records import FileFormat, Opened, Problem, Record, Source
from ner.errors import InputError
from ner.label_studio.label_config import LabelConfig

_COLUMNS = {"annotation_id"}
_DELIMITERS = ",\t;"
_WHOLE = re.compile(r"(\d+)\.0+")
_EXPORT = f"{EXPORT_AS_JSON} A program that saved the table may have changed its cells."


def read_rows(stream: BinaryIO) -> Iterator[tuple[int, dict[str, str] | InputError]]:
    """(number of the row from 1, its cells by column) of a table; the number of a row counts rows and not lines."""
    csv.field_size_limit(MAX_LINE_BYTES)
    words = io.TextIOWrapper(stream, "utf-8-sig", newline="")
    number = 0
    try:
        delimiter = _delimiter(words.readline())
        words.seek(0)
        rows = csv.reader(words, delimiter=delimiter, strict=True)
        columns = next(rows, [])
        for number, cells in enumerate(rows, 1):
            if cells:
                yield number, _row(columns, cells)
    except (csv.Error, UnicodeDecodeError) as error:
        value = f"{error}, behind row {number}" if number else str(error)
        yield 0, InputError("a table is UTF-8, and its quotes are closed", value=value, next_step=_EXPORT)
    finally:
        words.detach()


def _values_of(cells: dict[str, str], config: LabelConfig) -> dict[str, Any]:
    """The row as a record of JSON-MIN. Raises InputError for a cell that begins as JSON and is not JSON."""
    text = _text_column(cells, config)
    return {column: cell if column == text else _value(column, cell, config) for column, cell in cells.items()}


def words_of(cells: dict[str, str], config: LabelConfig) -> dict[str, Any]:
    """The row as a record of JSON-MIN where its answers are not wanted: a cell that is no JSON stays as it is."""
    text = _text_column(cells, config)
    return {column: cell if column == text else _json_or_word(cell) for column, cell in cells.items()}


def _text_column(cells: dict[str, str], config: LabelConfig) -> str:
    renamed = f"{RENAMED}{config.data_field}"
    return renamed if renamed in cells else config.data_field


def _recognise(file: Input) -> bool:
    line = file.head.removeprefix(BYTE_ORDER_MARK).split(b"\n", 1)[0].decode("utf-8", "replace")
    delimiter = _delimiter(line)
    try:
        return set(next(csv.reader([line.rstrip("\r")], delimiter=delimiter), ())) >= _COLUMNS
    except csv.Error:
        return False


def _delimiter(header: str) -> str:
    return max(_DELIMITERS, key=header.count)


def _row(columns: list[str], cells: list[str]) -> dict[str, str] | InputError:
    if len(cells) == len(columns):
        return dict(zip(columns, cells, strict=True))
    value = f"{len(cells)} cells under {len(columns)} columns"
    return InputError("a row has a cell for each column", value=value, next_step=_EXPORT)


def _records(stream: BinaryIO, source: Source) -> Iterator[Record | Problem]:
    naming = Naming(source.stem)
    for number, cells in read_rows(stream):
        where = f"row {number}" if number else UNREADABLE_REST
        try:
            if isinstance(cells, InputError):
                raise cells
            values = words_of(cells, source.config) if source.texts_only else _values_of(cells, source.config)
            read = record(values, Place(where, naming, source))
            yield replace(read, format=TABLE)
        except InputError as error:
            yield Problem(where, error, str(cells))


FORMAT = FileFormat(
    name=TABLE,
    title="Label Studio's CSV or TSV, with the column annotation_id",
    recognise=_recognise,
    open=lambda file, source: Opened(lambda: joined(_records(file.rewound(), source)), (NOTE,)),
)


def _value(column: str, cell: str, config: LabelConfig) -> Any:
    """What a cell says: JSON as JSON, a whole number without `.0`, nothing as null."""
    if not cell.strip():
        return None
    if cell.lstrip().startswith(("[", "{")):
        return _json(column, cell, config)
    if any(control.name == column for control in config.controls):
        raise _no_json(column, cell)
    whole = _WHOLE.fullmatch(cell)
    return whole[1] if whole else cell


def _json(column: str, cell: str, config: LabelConfig) -> Any:
    try:
        return parse_json(cell)
    except InputError as error:
        known = any(control.name == column for control in config.controls)
        if known or cell.lstrip().startswith(("[{", '{"')):
            raise _no_json(column, cell) from error
        return cell


def _json_or_word(cell: str) -> Any:
    try:
        return json.loads(cell) if cell.lstrip().startswith(("[", "{")) else cell or None
    except (ValueError, RecursionError):
        return cell


def _no_json(column: str, cell: str) -> InputError:
    return InputError(f"the column `{column}` holds regions as JSON", value=cell[:80], next_step=_EXPORT)
