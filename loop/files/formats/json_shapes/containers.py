"""JSON files that hold their records inside another object, or a column at a time: recognised, and refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loop.files.formats.json_shapes.shapes import JsonShape, Place
from loop.files.records import Record
from ner.errors import InputError

_TEXTS = ("text", "tokens", "words", "data", "row", "body", "sentence", "content", "document")
_LISTS = (
    *("data", "rows", "tasks", "records", "examples", "results", "items"),
    *("train", "validation", "valid", "dev", "test"),
)
_SPAN = ("start", "start_offset", "start_char")
_ONE_TEXT = ("text", "tokens", "words", "annotations", "completions", "annotation_id", "paragraphs", "answer")
_PANDAS = "a table as pandas writes it with another orient"
_AS_RECORDS = "Write it with orient='records'."


def _refusal(value: Any) -> tuple[str, str] | None:
    """What a value is, and how its records are written alone; None for a record."""
    if not isinstance(value, dict) or not value:
        return None
    if _is_pandas(value):
        return _PANDAS, _AS_RECORDS
    if _is_by_columns(value):
        return "an object of lists, one for each column", f"Write an object for each text. In pandas: {_AS_RECORDS}"
    key = _key_of_records(value)
    if key is None:
        return None
    inner = ".row" if all("row" in one for one in value[key] if isinstance(one, dict)) else ""
    step = f"Write the records alone, or take them out: jq -c '.{key}[]{inner}' FILE."
    return f"an object whose records stand under `{key}`", step


def _is_pandas(value: Mapping[str, Any]) -> bool:
    if {"columns", "data"} <= set(value) or {"schema", "data"} <= set(value):
        return isinstance(value["data"], list)
    inner = list(value.values())
    if not all(isinstance(one, dict) and one for one in inner):
        return False
    rows = {tuple(one) for one in inner}
    by_columns = len(rows) == 1 and all(name.isdigit() for name in inner[0])
    by_index = all(name.isdigit() for name in value) and any(key in inner[0] for key in _TEXTS)
    return by_columns or by_index


def _is_by_columns(value: Mapping[str, Any]) -> bool:
    lists = list(value.values())
    if len(lists) < 2 or not all(isinstance(one, list) for one in lists) or len(set(map(len, lists))) != 1:
        return False
    texts = value.get("text")
    tokens = value.get("tokens", value.get("words"))
    return any(
        isinstance(column, list) and column and all(isinstance(one, kind) for one in column)
        for column, kind in ((texts, str), (tokens, list))
    )


def _key_of_records(value: Mapping[str, Any]) -> str | None:
    """The first key of these names whose list holds objects with texts, and not the spans of one text."""
    if any(key in value for key in _ONE_TEXT):
        return None
    return next((key for key in _LISTS if _are_records(value.get(key))), None)


def _are_records(held: Any) -> bool:
    first = held[0] if isinstance(held, list) and held else None
    return isinstance(first, dict) and any(key in first for key in _TEXTS) and not any(key in first for key in _SPAN)


def _refuse(value: Any, place: Place) -> Record:
    what, step = _refusal(value) or ("", "")
    raise InputError(
        "each text of a JSON file is a record of its own", value=f"{place.where} is {what}", next_step=step
    )


SHAPE = JsonShape(
    name="container",
    title="(an object that holds all records is refused)",
    claims=lambda value: _refusal(value) is not None,
    record=_refuse,
)
