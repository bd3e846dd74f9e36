"""Single values of Label Studio's JSON, which nothing on the server validates: each as it is kept, else None.

Label Studio's JSON export: an array of tasks, each with `data` and its annotations as the server keeps them.

The regions are read later, by the label config of the project; here only the shape is checked.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, BinaryIO

from loop.files.records import Annotation, Naming, Problem, Record, check_name, check_storable
from loop.files.strict_json import parse_json_at
from ner.errors import InputError
from store.documents import check_key

_IDS = 2**63  # what every database holds
_LONGEST_SECONDS = 1e9


def as_id(value: Any) -> int | None:
    """A whole number that a database can hold as an id."""
    good = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _IDS
    return value if good else None


def as_seconds(value: Any) -> float | None:
    """A span of time in seconds."""
    good = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _LONGEST_SECONDS
    return float(value) if good else None


def as_moment(value: Any) -> datetime | None:
    """An ISO 8601 time as an aware UTC datetime; one without a zone is UTC."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
        if moment is None:
            return None
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):  # no time, or one that lies in no year that is counted
        return None


_SPACE = re.compile(r"[ \t\n\r]*")
_EXPORT = "Export as JSON (not JSON-MIN, CSV or CoNLL) from Label Studio."


def read_label_studio_json(stream: BinaryIO, stem: str, data_field: str) -> Iterator[Record | Problem]:
    """The tasks of an export in order; `data_field` is the key of `data` that holds the text.

    One task at a time is parsed. A file that stops being JSON in the middle is one last Problem.
    """
    naming = Naming(stem)
    for number, item in _items(_whole(stream)):
        where = f"task {number}"
        try:
            if isinstance(item, InputError):
                raise item
            yield _record(item, where, naming, data_field)
        except InputError as error:
            yield Problem(where, error, "" if isinstance(item, InputError) else json.dumps(item)[:500])


def _whole(stream: BinaryIO) -> str:
    try:
        return stream.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError("a file is UTF-8", value=str(error), next_step=_EXPORT) from error


def _items(text: str) -> Iterator[tuple[int, Any]]:
    """(number from 1, item) of a JSON array; an error ends it, as the items behind it cannot be found."""
    position = _skip(text, 0)
    if text[position : position + 1] != "[":
        yield 1, InputError("an export is a JSON array of tasks", value=text[:40], next_step=_EXPORT)
        return
    position = _skip(text, position + 1)
    number = 0
    while text[position : position + 1] != "]":
        number += 1
        try:
            item, position = parse_json_at(text, position)
            position = _behind_comma(text, _skip(text, position))
        except InputError as error:
            yield number, error
            return
        yield number, item


def _behind_comma(text: str, position: int) -> int:
    following = text[position : position + 1]
    if following == "]":
        return position
    if following != ",":
        raise InputError("tasks of an export are parted by commas", value=text[position : position + 40] or "the end")
    return _skip(text, position + 1)


def _skip(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match else position


def _record(item: Any, where: str, naming: Naming, data_field: str) -> Record:
    data = item.get("data") if isinstance(item, dict) else None
    if not isinstance(data, dict):
        raise InputError("a task of an export is an object with `data`", value=item, next_step=_EXPORT)
    text = data.get(data_field)
    if not isinstance(text, str):
        raise InputError(
            f"a task holds its text under data.{data_field}",
            value=", ".join(map(str, data)) or "no keys",
            next_step="The label config of the project names the field; import into a project with the same config.",
        )
    name = _external_id(item, naming, text)
    return Record(
        where=f"{where} (id {item['id']})" if "id" in item else where,
        text=text,
        external_id=name,
        fallback_id=_fallback_id(item, name, text),
        group=_group(item),
        meta=_meta(data, data_field),
        annotations=tuple(_annotation(annotation) for annotation in _list(item, "annotations")),
    )


def _external_id(item: dict[str, Any], naming: Naming, text: str) -> str:
    """The id that the task's data names, as a pull would read it, so that the two meet; else the task's own."""
    for place in (item["data"], item.get("meta")):
        if isinstance(place, dict) and place.get("id") not in (None, ""):
            return check_name(place["id"], "id")
    return f"task:{check_name(item['id'], 'id')}" if item.get("id") is not None else naming.next_id(text)


def _fallback_id(item: dict[str, Any], name: str, text: str) -> str | None:
    """Task ids are counted for each server, and `id` in the data is anybody's: either may be borne by two texts.

    What tells them apart is the same in every export, whatever the file is called and whatever else it holds.
    """
    if item.get("id") is None:
        return None
    mark = hashlib.sha256(f"{item['id']}\0{text}".encode("utf-8", "surrogatepass")).hexdigest()[:12]
    try:
        return check_key(f"{name}#{mark}", "a document's id")
    except InputError:  # too long
        return None


def _group(item: dict[str, Any]) -> str | None:
    """The group that `doc` names, in the data or the meta of the task, as a pull reads it."""
    for place in (item["data"], item.get("meta")):
        if isinstance(place, dict) and place.get("doc") not in (None, ""):
            return check_name(place["doc"], "doc")
    return None


def _meta(data: dict[str, Any], data_field: str) -> dict[str, Any]:
    kept = {key: value for key, value in data.items() if key != data_field}
    if kept:
        check_storable(json.dumps(kept, ensure_ascii=False).replace("\\u0000", "\0"), "data")
    return kept


def _list(item: dict[str, Any], key: str) -> list[Any]:
    value = item.get(key) or []
    if not isinstance(value, list):
        raise InputError(f"`{key}` is a list", value=value, next_step=_EXPORT)
    return value


def _annotation(item: Any) -> Annotation:
    if not isinstance(item, dict) or item.get("id") is None:
        raise InputError("an annotation of an export is an object with an id", value=item, next_step=_EXPORT)
    result = item.get("result")
    if not isinstance(result, list):
        raise InputError("the `result` of an annotation is a list", value=result, next_step=_EXPORT)
    return Annotation(
        source_id=check_name(item["id"], "id"),
        result=result,
        creator=_creator(item.get("completed_by")),
        lead_time=as_seconds(item.get("lead_time")),
        skipped=item.get("was_cancelled") is True,
        ground_truth=item.get("ground_truth") is True,
        created_at=as_moment(item.get("created_at")),
        updated_at=as_moment(item.get("updated_at")),
        parent_prediction=as_id(item.get("parent_prediction")),
    )


def _creator(value: Any) -> str | None:
    """`completed_by` is a number in lists and an object in single tasks."""
    if isinstance(value, dict):
        value = value.get("email") or value.get("id")
    return None if value is None else check_name(value, "completed_by")
