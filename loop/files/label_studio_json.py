"""Label Studio's JSON export: an array of tasks, each with `data` and its annotations as the server keeps them.

Nothing on the server validates this JSON. Here its shape is checked; the regions are read later, by the label config of
the project. A pull reads the same annotations, with `annotation_of`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, BinaryIO

from loop.files.record_ids import Naming
from loop.files.records import FileFormat, Problem, Record, Source, check_name, check_storable
from loop.files.strict_json import parse_json_at
from ner.errors import InputError
from store.annotations import FILE, NewAnnotation
from store.documents import check_key

_IDS = 2**63  # what every database holds
_LONGEST_SECONDS = 1e9
_SPACE = re.compile(r"[ \t\n\r]*")
_EXPORT = "Export as JSON (not JSON-MIN, CSV or CoNLL) from Label Studio."


def read_label_studio_json(stream: BinaryIO, source: Source) -> Iterator[Record | Problem]:
    """The tasks of an export in order. One task at a time is parsed; a file that is cut off ends with one Problem."""
    naming = Naming(source.stem)
    for number, item in enumerate(_items(_whole(stream)), start=1):
        where = f"task {number}"
        try:
            if isinstance(item, InputError):
                raise item
            yield _record(item, where, naming, source.data_field)
        except InputError as error:
            yield Problem(where, error, "" if isinstance(item, InputError) else json.dumps(item))


FORMAT = FileFormat(
    name="label-studio",
    suffixes=(),
    looks_like=lambda head: head.startswith(b"["),
    read=read_label_studio_json,
)


def annotation_of(entry: Mapping[str, Any], source: str, source_id: str, creator: str | None) -> NewAnnotation:
    """An annotation of Label Studio's JSON with its result as it stands there; what it holds is not read yet.

    A value that is malformed is left out, since nothing on the server validates these.
    """
    result = entry.get("result")
    return NewAnnotation(
        source=source,
        source_id=source_id,
        result=result if isinstance(result, list) else [],
        spans=None,
        creator=creator,
        lead_time=_seconds(entry.get("lead_time")),
        skipped=entry.get("was_cancelled") is True,
        ground_truth=entry.get("ground_truth") is True,
        parent_prediction=as_id(entry.get("parent_prediction")),
        source_created_at=as_moment(entry.get("created_at")),
        source_updated_at=as_moment(entry.get("updated_at")),
    )


def as_id(value: Any) -> int | None:
    """A whole number that a database can hold as an id, else None."""
    good = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _IDS
    return value if good else None


def as_moment(value: Any) -> datetime | None:
    """An ISO 8601 time as an aware UTC datetime, else None; a time without a zone is UTC."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
        if moment is None:
            return None
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):  # no time, or a time in a year that no calendar has
        return None


def _seconds(value: Any) -> float | None:
    good = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _LONGEST_SECONDS
    return float(value) if good else None


def _whole(stream: BinaryIO) -> str:
    try:
        return stream.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError("a file is UTF-8", value=str(error), next_step=_EXPORT) from error


def _items(text: str) -> Iterator[Any]:
    """The items of a JSON array; an error ends it, since the items behind the error cannot be found."""
    position = _behind_space(text, 0)
    if text[position : position + 1] != "[":
        yield InputError("an export is a JSON array of tasks", value=text[:40], next_step=_EXPORT)
        return
    position = _behind_space(text, position + 1)
    while text[position : position + 1] != "]":
        try:
            item, end = parse_json_at(text, position)
            position = _behind_comma(text, _behind_space(text, end))
        except InputError as error:
            yield error
            return
        yield item


def _behind_comma(text: str, position: int) -> int:
    following = text[position : position + 1]
    if following == "]":
        return position
    if following != ",":
        raise InputError("tasks of an export are parted by commas", value=text[position : position + 40] or "the end")
    return _behind_space(text, position + 1)


def _behind_space(text: str, position: int) -> int:
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
    annotations = item.get("annotations") or []
    if not isinstance(annotations, list):
        raise InputError("`annotations` is a list", value=annotations, next_step=_EXPORT)
    meta = {key: value for key, value in data.items() if key != data_field}
    check_storable(meta, "data")
    name = _external_id(item, naming, text)
    return Record(
        where=f"{where} (id {item['id']})" if "id" in item else where,
        text=text,
        external_id=name,
        fallback_id=_fallback_id(item, name, text),
        group=_named(item, "doc"),
        meta=meta,
        annotations=tuple(_annotation(annotation) for annotation in annotations),
    )


def _external_id(item: dict[str, Any], naming: Naming, text: str) -> str:
    """The id that the task's data names, as a pull would read it, so that the two meet; else the task's own."""
    named = _named(item, "id")
    if named is not None:
        return named
    return f"task:{check_name(item['id'], 'id')}" if item.get("id") is not None else naming.next_id(text)


def _named(item: dict[str, Any], key: str) -> str | None:
    """What the data or the meta of a task say under `key`, as a pull reads it."""
    for place in (item["data"], item.get("meta")):
        if isinstance(place, dict) and place.get(key) not in (None, ""):
            return check_name(place[key], key)
    return None


def _fallback_id(item: dict[str, Any], name: str, text: str) -> str | None:
    """An id that no other text bears: every server counts its task ids anew, and `id` in the data may be any value.

    The id is the same in every export, whatever the file is called and whatever else the file holds.
    """
    if item.get("id") is None:
        return None
    mark = hashlib.sha256(f"{item['id']}\0{text}".encode("utf-8", "surrogatepass")).hexdigest()[:12]
    try:
        return check_key(f"{name}#{mark}", "a document's id")
    except InputError:  # too long
        return None


def _annotation(item: Any) -> NewAnnotation:
    if not isinstance(item, dict) or item.get("id") is None:
        raise InputError("an annotation of an export is an object with an id", value=item, next_step=_EXPORT)
    if not isinstance(item.get("result"), list):
        raise InputError("the `result` of an annotation is a list", value=item.get("result"), next_step=_EXPORT)
    who = item.get("completed_by")
    if isinstance(who, dict):  # in single tasks; in lists `completed_by` is a number
        who = who.get("email") or who.get("id")
    creator = None if who is None else check_name(who, "completed_by")
    return annotation_of(item, FILE, f"annotation-{check_name(item['id'], 'id')}", creator)
