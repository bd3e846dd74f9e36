"""Label Studio's JSON export: tasks, each with `data` and its annotations as the server keeps them.

Nothing on the server validates this JSON. Here its shape is checked; the regions are read later, by the label config of
the project. A pull reads the same annotations, with `annotation_of`. Before version 1.0, annotations were called
completions.

Label Studio imports tasks without `data`, too, as `{"body": "..."}` where the project shows the field `body`. Nobody
labelled such a text. A record with the key `text` is read as one of our own (`json_lines`); the result is the same.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from typing import Any

from loop.files.formats.json_shapes.shapes import JsonShape, Place, record_of, says_entities, text_of
from loop.files.formats.json_shapes.span_items import holds_spans, parsed
from loop.files.record_ids import Naming
from loop.files.records import ANNOTATION_KEYS, Record, as_moment, as_whole, check_name, check_storable
from ner.errors import InputError
from ner.label_studio.label_config import NotLearned
from ner.label_studio.results import MALFORMED, task_text
from ner.label_studio.task_data import MISSING, find_field, without_field
from store.annotations import FILE, NewAnnotation
from store.documents import check_key, read_key

SAYS_NOTHING = "annotation without a result"
ONLY_PREDICTIONS = "predictions that nobody checked"
ONLY_DRAFTS = "draft that nobody submitted"
NOT_IN_FILE = "annotations that the file counts and does not hold"
# Keys of a task and of an annotation that decide what is gold. A key that looks like one of them is a mistake.
_LISTS = ("annotations", "completions")
_DECIDING_TASK_KEYS = (*_LISTS, "data")
_DECIDING_KEYS = ("result", "was_cancelled", "skipped", "ground_truth", "updated_at", "created_at")
_KNOWN_KEYS = frozenset(
    {
        *("result_count", "draft_created_at", "last_created_by"),
        *("created_by", "created_username", "created_ago", "updated_by"),
        *_DECIDING_KEYS,
    }
)
_TASK_KEYS = frozenset(
    {
        *("predictions", "drafts", "total_annotations", "cancelled_annotations"),
        *("annotators", "annotations_ids", "annotations_results"),
        *_DECIDING_TASK_KEYS,
    }
)
_SIMILAR = 0.8
_TAG = re.compile(r"O|[BIESLUMW][-_].+", re.DOTALL)
_WHAT = {"id": "a document's id", "doc": "a group"}
_TRUE, _FALSE = ("true", "1", "1.0"), ("false", "0", "0.0", "")
_IDS = 2**63  # what every database holds
_LONGEST_SECONDS = 1e9
EXPORT_AS_JSON = "Export the project as JSON from Label Studio."


def task_record(value: Mapping[str, Any], place: Place) -> Record:
    """The record of a task. Raises InputError for a task that cannot be read as a whole."""
    config = place.source.config
    text = task_text(value, config)
    data = value["data"]
    meta = {**_notes(value), **without_field(data, config.data_field)}
    check_storable(meta, "data")
    name = _external_id(value, place.naming, text)
    annotations = () if place.source.texts_only else _annotations(value)
    if not annotations and not place.source.texts_only:
        _refuse_entities(without_field(data, config.data_field))
    return Record(
        where=f"{place.where} (id {value['id']})" if value.get("id") is not None else place.where,
        text=text,
        external_id=name,
        fallback_id=_fallback_id(value, name, text),
        group=_named(value, "doc"),
        meta=meta,
        annotations=annotations,
        aside=() if annotations or place.source.texts_only else tuple(_unchecked(value)),
    )


SHAPE = JsonShape(
    name="label-studio",
    title="a task of Label Studio: {data: {...}, annotations: [...]}",
    claims=lambda value: isinstance(value, dict) and _is_task(value),
    record=task_record,
)


def _bare_record(value: dict[str, Any], place: Place) -> Record:
    config = place.source.config
    if find_field(value, config.data_field) is MISSING:
        text_of(value, "text")  # which says what is missing
    return record_of(without_field(value, config.data_field), place, (), text=task_text({"data": value}, config))


BARE_TASKS = JsonShape(
    name="bare-tasks",
    title="a task of Label Studio without `data`: {<the project's data field>: ...}",
    claims=lambda value: isinstance(value, dict) and "text" not in value,
    record=_bare_record,
)


def _notes(task: Mapping[str, Any]) -> Mapping[str, Any]:
    """The `meta` of a task without the id and the group, which the record bears itself."""
    meta = task.get("meta")
    return {key: value for key, value in meta.items() if key not in ("id", "doc")} if isinstance(meta, dict) else {}


def _is_task(value: Mapping[str, Any]) -> bool:
    return isinstance(value.get("data"), dict) or ("data" in value and any(key in value for key in _LISTS))


def _annotations(task: Mapping[str, Any]) -> tuple[NewAnnotation, ...]:
    """The annotations under `annotations`, and under `completions`, their name before version 1.0."""
    _refuse_unread(task)
    found: list[NewAnnotation] = []
    for key in _LISTS:
        listed = task.get(key)
        if listed is not None and not isinstance(listed, list):
            raise InputError(f"`{key}` is a list", value=listed, next_step=EXPORT_AS_JSON)
        for item in listed or ():
            found.append(_annotation(item, len(found) + 1))
    names = [one.source_id for one in found]
    for name in names:
        if names.count(name) > 1:
            raise InputError("an annotation's id stands once in a task", value=name, next_step=EXPORT_AS_JSON)
    return tuple(found)


def _refuse_unread(task: Mapping[str, Any]) -> None:
    """Raise InputError for a key of a task that says something about entities and that nobody reads."""
    for key, value in task.items():
        if key in _TASK_KEYS or value is None:
            continue
        holds_results = isinstance(value, list) and any(isinstance(item, dict) and "result" in item for item in value)
        if key in ANNOTATION_KEYS or holds_results:
            shown = f"{key}: {json.dumps(value, ensure_ascii=False)[:80]}"
            raise InputError("the annotations of a task stand in `annotations`", value=shown, next_step=EXPORT_AS_JSON)
    _refuse_misspelt(task, _DECIDING_TASK_KEYS, _TASK_KEYS, "a task")


def _refuse_entities(data: Mapping[str, Any]) -> None:
    """Raise InputError for entities in the data of a task that nobody annotated; a plain string is metadata."""
    for key, value in data.items():
        held = parsed(value)
        if holds_spans(held) or (says_entities(key) and _may_be_tags(held)):
            raise InputError(
                "`data` of a task holds no entities: the annotations of a task stand in `annotations`",
                value=f"{key}: {json.dumps(value, ensure_ascii=False)[:80]}",
                next_step=f"Give texts with entities as {{text, spans}}; if `{key}` says something else, rename it.",
            )


def _may_be_tags(value: Any) -> bool:
    """Whether a value is a list of objects, of lists, of numbers or of tags such as B-PER; names of topics are not."""
    if isinstance(value, dict):
        return any(map(_may_be_tags, value.values()))
    if not isinstance(value, list):
        return False
    return any(not isinstance(one, str) or _TAG.fullmatch(one) for one in value)


def _refuse_misspelt(entry: Mapping[str, Any], deciding: tuple[str, ...], known: Collection[str], what: str) -> None:
    """Raise InputError for an unknown key that looks like one of `deciding`, such as `was_canceled`."""
    for key in entry:
        name = None if key in known else _looks_like(key, deciding)
        if name is not None and name not in entry:
            raise InputError(f"`{name}` of {what} has this name", value=key, next_step=f"Rename `{key}`.")


@lru_cache(maxsize=1000)
def _looks_like(key: str, names: tuple[str, ...]) -> str | None:
    """The one of these names that a key looks like, or None. Cached, since every task of a file has the same keys."""
    return next(iter(difflib.get_close_matches(key.lower(), names, 1, _SIMILAR)), None)


def _unchecked(task: Mapping[str, Any]) -> Iterator[NotLearned]:
    """What a task without annotations holds instead."""
    counted = task.get("total_annotations")
    if isinstance(counted, int) and counted > 0 and not any(task.get(key) for key in _LISTS):
        yield NotLearned(NOT_IN_FILE, {"total_annotations": counted})
    if task.get("predictions"):
        yield NotLearned(ONLY_PREDICTIONS, None)
    if task.get("drafts"):
        yield NotLearned(ONLY_DRAFTS, None)


def annotation_of(entry: Mapping[str, Any], source: str, source_id: str, creator: str | None) -> NewAnnotation:
    """An annotation of Label Studio's JSON. Its result is kept as it stands there, and is not read yet.

    A value that is malformed is left out, since nothing on the server validates these. An annotation whose result is
    null says nothing; one whose result is no list is in doubt: both come with their reason, and there is nothing to
    read in them.
    """
    result = entry.get("result")
    unreadable = NotLearned(SAYS_NOTHING, None) if result is None else NotLearned(MALFORMED, result)
    return NewAnnotation(
        source=source,
        source_id=source_id,
        result=result if isinstance(result, list) else [],
        spans=None,
        set_aside=() if isinstance(result, list) else (unreadable,),
        creator=creator,
        lead_time=_seconds(entry.get("lead_time")),
        skipped=as_flag(entry.get("was_cancelled")) is True or as_flag(entry.get("skipped")) is True,
        ground_truth=as_flag(entry.get("ground_truth")) is True,
        parent_prediction=as_id(entry.get("parent_prediction")),
        source_created_at=as_moment(entry.get("created_at")),
        source_updated_at=as_moment(entry.get("updated_at")),
    )


def as_id(value: Any) -> int | None:
    """A whole number that a database can hold as an id, else None."""
    good = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _IDS
    return value if good else None


def as_flag(value: Any) -> bool | None:
    """True or false, also as tables write them (1, "true", "False"); False for null, and None for any other value."""
    if value is None:
        return False
    word = str(value).strip().lower() if isinstance(value, bool | int | float | str) else "?"
    return True if word in _TRUE else False if word in _FALSE else None


def _seconds(value: Any) -> float | None:
    good = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _LONGEST_SECONDS
    return float(value) if good else None


def _external_id(item: Mapping[str, Any], naming: Naming, text: str) -> str:
    """The id that the task's data names, as a pull would read it, so that the two meet; else the task's own."""
    named = _named(item, "id")
    if named is not None:
        return named
    return f"task:{check_name(item['id'], 'id')}" if item.get("id") is not None else naming.next_id(text)


def _named(item: Mapping[str, Any], key: str) -> str | None:
    """What the data or the meta of a task say under `key`, by the rule of a pull; whole numbers also as 3.0."""
    places = [place for place in (item["data"], item.get("meta")) if isinstance(place, dict)]
    return read_key([{key: as_whole(place.get(key))} for place in places], key, _WHAT[key])


def _fallback_id(item: Mapping[str, Any], name: str, text: str) -> str | None:
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


def _annotation(item: Any, number: int) -> NewAnnotation:
    if not isinstance(item, dict):
        raise InputError("an annotation of an export is an object", value=item, next_step=EXPORT_AS_JSON)
    _refuse_misspelt(item, _DECIDING_KEYS, _KNOWN_KEYS, "an annotation")
    for key in ("was_cancelled", "skipped", "ground_truth"):
        if as_flag(item.get(key)) is None:
            raise InputError(f"`{key}` of an annotation is true or false", value=item[key], next_step=EXPORT_AS_JSON)
    # Files made for an import have no ids; the place in the task is the same each time the file is read.
    name = f"#{number}" if item.get("id") is None else check_name(item["id"], "id")
    return annotation_of(item, FILE, f"annotation-{name}", _creator(item.get("completed_by")))


def _creator(who: Any) -> str | None:
    """Who annotated: an object in single tasks, a number in lists. What cannot be a name is left out."""
    if isinstance(who, dict):
        who = who.get("email") or who.get("id")
    try:
        return None if who is None else check_name(who, "completed_by")
    except InputError:
        return None
