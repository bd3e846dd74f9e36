"""Rows of tables (CSV, Parquet, `datasets`) as objects that the shapes of JSON records read.

A column of a known name, or one that `--columns` names, becomes the key of that name. A column that looks like
annotation, by its name or by its values, is read or refused by name. Any other column is kept in the document's meta.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any

from loop.files.raw.json_values import parse_json
from loop.files.records import ANNOTATION_KEYS, Source
from ner.errors import InputError

TEXT, TOKENS, ANNOTATIONS = "text", "tokens", "--columns"
_OFFSETS = "token_offsets"
PARSED = (*ANNOTATION_KEYS, TOKENS, _OFFSETS, "weak", "meta")
_KNOWN = (TEXT, "id", "doc", *PARSED)
_INDEX = ("__index_level_0__", "unnamed: 0")  # what pandas calls an index that it wrote along


@dataclass(frozen=True)
class Columns:
    """What each column of a table is read as: the key of a record, or None for a column that says nothing.

    Keys are those of records; ANNOTATIONS for the column of spans that a person named; else the column's own name.
    """

    keys: tuple[str | None, ...]
    said: str

    def value(self, cells: Sequence[Any]) -> dict[str, Any]:
        """The object of a row: cells without a value are left out. Raises InputError for spans nobody asked for."""
        row = {key: cell for key, cell in zip(self.keys, cells, strict=True) if key is not None}
        value = {key: _plain(cell, key) for key, cell in row.items()}
        value = {key: cell for key, cell in value.items() if cell is not None or key == TEXT}
        if ANNOTATIONS in value:
            spans = value.pop(ANNOTATIONS)
            if isinstance(value.get(TEXT), list):
                value[TOKENS], value["ner_tags"] = value.pop(TEXT), spans
            else:
                value[_key_of(spans)] = spans
        _refuse_unnamed_spans(value)
        return value


def columns_of(header: Sequence[str], source: Source) -> Columns:
    """How the columns of these names are read. Raises InputError where no column holds the texts."""
    folded = [name.strip().casefold() for name in header]
    keys = [_key(name, low) for name, low in zip(header, folded, strict=True)]
    wanted = source.hints.columns
    if wanted:
        for name, key in zip(wanted, (TEXT, ANNOTATIONS), strict=False):
            _rename(keys, header, _place(name, header, folded), key)
    elif TEXT not in keys and TOKENS not in keys and source.config.data_field in header:
        keys[header.index(source.config.data_field)] = TEXT
    _check(keys, header, len(wanted))
    if source.texts_only:
        kept = (TEXT if TEXT in keys else TOKENS, "id")
        keys = [key if key in kept else None for key in keys]
    return Columns(tuple(keys), _said(header))


def looks_like_spans(value: Any) -> bool:
    """Whether a value is a list that says where entities are, in one of the forms of the tools."""
    first = value[0] if isinstance(value, list) and value else None
    if isinstance(first, dict):
        return "label" in first or "labels" in first or {"start", "end"} <= first.keys() or "start_offset" in first
    return isinstance(first, list) and len(first) == 3 and all(type(number) is int for number in first[:2])


def _key(name: str, low: str) -> str | None:
    if low in _INDEX or not low:
        return None
    return low if low in _KNOWN else name.strip()


def _place(name: str, header: Sequence[str], folded: Sequence[str]) -> int:
    for names, wanted in ((header, name), (folded, name.casefold())):
        if wanted in names:
            return list(names).index(wanted)
    step = f"The columns are: {', '.join(header)}. Name the column of the texts, and that of the spans if there is one."
    raise InputError("--columns names columns of the table", value=name, next_step=step)


def _rename(keys: list[str | None], header: Sequence[str], place: int, key: str) -> None:
    for other, taken in enumerate(keys):
        if taken == key and other != place:
            keys[other] = f"{header[other]} (column)"  # the person chose another column for this
    keys[place] = key


def _check(keys: Sequence[str | None], header: Sequence[str], wanted: int) -> None:
    named = [key for key in keys if key is not None]
    twice = next((key for key in named if named.count(key) > 1), None)
    if twice is not None:
        raise InputError("a table has each column once", value=twice, next_step="Rename or remove one of the two.")
    if wanted > 2:
        rule = "--columns names the column of the texts, and that of the spans"
        raise InputError(rule, value=f"{wanted} columns", next_step="Name one or two columns.")
    if TEXT not in named and TOKENS not in named:
        raise InputError(
            f"a table has its texts in a column `{TEXT}`",
            value=f"the columns {', '.join(header)}",
            next_step="Rename the column, or name it: --columns TEXT, or --columns TEXT,SPANS.",
        )


def _said(header: Sequence[str]) -> str:
    return f"Columns: {', '.join(name or '(no name)' for name in header)}."


def _plain(value: Any, key: str) -> Any:
    """The value in the types of JSON; None for what is missing, which pandas writes as NaN."""
    if value is None or type(value) in (str, int, bool):  # most values, and quickly
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        inner = {str(name): _plain(one, "") for name, one in value.items()}
        return _transposed(inner) if key in (*ANNOTATION_KEYS, ANNOTATIONS) else inner
    if isinstance(value, list | tuple):
        return [_plain(one, "") for one in value]
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Decimal | timedelta):
        return str(value)
    if isinstance(value, bytes):
        raise InputError(
            f"`{key}` holds text, numbers or lists", value="bytes", next_step=f"Remove the column `{key}`."
        )
    return value


def _transposed(value: dict[str, Any]) -> Any:
    """A list of objects, where `datasets` keeps it as an object of lists of one length."""
    lengths = {len(one) if isinstance(one, list) else -1 for one in value.values()}
    if len(lengths) != 1 or lengths == {-1}:
        return value
    return [dict(zip(value, row, strict=True)) for row in zip(*value.values(), strict=True)]


def _key_of(spans: Any) -> str:
    """The key under which the shapes read spans of this form."""
    first = spans[0] if isinstance(spans, list) and spans else None
    if isinstance(first, list):
        return "label"
    return "entities" if isinstance(first, dict) and "start_offset" in first else "spans"


def _refuse_unnamed_spans(value: Mapping[str, Any]) -> None:
    for key, cell in value.items():
        if key in _KNOWN or not isinstance(cell, str | list):
            continue
        if looks_like_spans(_maybe_json(cell) if isinstance(cell, str) else cell):
            step = f"Read it with --columns TEXT,{key}, or remove the column."
            raise InputError("a column that holds spans is read, or it is not there", value=key, next_step=step)


def _maybe_json(cell: str) -> Any:
    if not cell.startswith(("[{", "[[")):
        return None
    try:
        return parse_json(cell)
    except InputError:
        return None
