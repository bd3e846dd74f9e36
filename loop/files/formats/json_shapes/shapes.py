"""The shapes of records, which are objects of JSON or rows of tables, and files of such records.

A shape is a module with a `JsonShape`; `loop.files.formats.known` lists them. Each record is read by the first shape
that claims it, so that a file may begin with records that nobody labelled.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Protocol

from loop.files.formats.json_shapes.same_text import joined
from loop.files.formats.json_shapes.span_items import JSON_TEXT, holds_spans, parsed
from loop.files.raw.inputs import Input
from loop.files.raw.json_values import PlacedValue, json_values, looks_like_json
from loop.files.record_ids import Naming
from loop.files.records import (
    ANNOTATION_KEYS,
    FileFormat,
    Opened,
    Problem,
    Record,
    Source,
    check_name,
    check_storable,
)
from ner.errors import InputError
from ner.label_studio.task_data import shown_text
from store.annotations import NewAnnotation

# Keys of our own records; those of ANNOTATION_KEYS that a shape reads are no metadata, either.
_COMMON = {"id", "text", "doc", "meta"}
_MORE_KEYS = ("ner", "ner_labels", "named_entities", "bio_tags", "iob_tags", "biluo")


class ShapeSurvey(Protocol):
    """What a shape gathers from all records of a file before the first of them is read."""

    def see(self, value: Any) -> None:
        """Look at a record that the shape claims, whatever it holds."""

    def said(self) -> Sequence[str]:
        """What was recognised, a sentence each. Raises InputError where the file cannot be read by this shape."""


@dataclass(frozen=True)
class Place:
    """Where a record stands, and what made its ids: all that a shape needs besides the record.

    survey: what the shape's own survey found in the whole file.
    """

    where: str
    naming: Naming
    source: Source
    survey: Any = None


@dataclass(frozen=True)
class JsonShape:
    """A shape of records: `claims` a value of a file, and makes a `record` of it, or raises InputError.

    note: what people should know of files of this shape, a sentence or more. parts: for a value that holds several
    records, each with its place in the value; without it, the value is one record. survey: begins a survey of the whole
    file. joins: whether records with one id and one text are one document.
    """

    name: str
    title: str
    claims: Callable[[Any], bool]
    record: Callable[[Any, Place], Record]
    note: str = ""
    parts: Callable[[Any], Iterable[tuple[str, Any]]] | None = None
    survey: Callable[[Source], ShapeSurvey] | None = None
    joins: bool = False


Finish = Callable[[Iterable[Record | Problem]], Iterator[Record | Problem]]


def json_format(name: str, title: str, shapes: Sequence[JsonShape], finish: Finish = iter) -> FileFormat:
    """A format of JSON files whose records have one of these shapes; the first that claims a record reads it.

    finish: puts records together that stand apart in the file.
    """

    def opened(file: Input, source: Source) -> Opened:
        opened = open_values(lambda: json_values(file.rewound()), source, shapes)
        return replace(opened, records=lambda: finish(opened.records()))

    return FileFormat(name, title, looks_like_json, opened)


def record_of(
    value: Mapping[str, Any],
    place: Place,
    annotations: Sequence[NewAnnotation],
    *,
    text: str | None = None,
    read: Collection[str] = (),
    dropped: Collection[str] = (),
    made_id: str | None = None,
) -> Record:
    """The record of a JSON object with `text`, and by choice `id`, `doc` and `meta`.

    read: the further keys that the shape has read. dropped: keys that say nothing about the text. Any other key is kept
    in the document's meta, except that ANNOTATION_KEYS and lists of labelled spans are refused by name: they say
    something about entities. made_id: the id of a record without one, in the place of an id that no other record of the
    file has.
    """
    text = text_of(value, "text") if text is None else text
    given = value.get("id")
    made = None if given is not None or place.source.texts_only else made_id or place.naming.next_id(text)
    if not place.source.texts_only:
        _refuse_unread(value, {*read, *dropped})
    return Record(
        where=place.where,
        text=text,
        external_id=made if given is None else check_name(given, "id"),
        annotations=tuple(annotations),
        group=None if value.get("doc") is None else check_name(value["doc"], "doc"),
        meta=_meta(value, {*_COMMON, *read, *dropped}),
    )


def text_of(value: Mapping[str, Any], key: str) -> str:
    """The text under `key`; a number or a list as Label Studio shows it. Raises InputError, which names a null."""
    if key not in value:
        found = ", ".join(value) or "no keys"
        raise InputError(f"a record has its text under `{key}`", value=found, next_step="Give every record its text.")
    try:
        return shown_text(value[key])
    except InputError as error:
        found = "null" if value[key] is None else value[key]
        raise InputError(f"`{key}` is a string", value=found, next_step="Give every record its text.") from error


def open_values(
    values: Callable[[], Iterator[PlacedValue]], source: Source, shapes: Sequence[JsonShape], said: Sequence[str] = ()
) -> Opened:
    """Values of any file as records, each by the first shape that claims it; `values` begins anew with each call.

    JSON files are read this way, and so are tables, whose rows are given as objects. said: of the file, for people.
    Where a shape has to, the whole file is looked through first.
    """
    surveys = {} if source.texts_only else {shape.name: shape.survey(source) for shape in shapes if shape.survey}
    joining = frozenset(shape.name for shape in shapes if shape.joins and not source.texts_only)

    def records() -> Iterator[Record | Problem]:
        return _records(values(), source, shapes, surveys)

    if not surveys and not joining:
        return Opened(records, tuple(said))
    found = _looked_through(values(), shapes, surveys)
    told = (*said, *(sentence for name in found if name in surveys for sentence in surveys[name].said()))
    if joining.isdisjoint(found):
        return Opened(records, told)
    return Opened(joined(records, lambda record: record.format in joining), told)


def _looked_through(
    values: Iterator[PlacedValue], shapes: Sequence[JsonShape], surveys: Mapping[str, ShapeSurvey]
) -> Mapping[str, None]:
    """The names of the shapes that claim records of the file; each survey sees the records of its shape."""
    found: dict[str, None] = {}
    for _, value, _ in values:
        shape = next((shape for shape in shapes if shape.claims(value)), None)
        if shape is None:
            continue
        found[shape.name] = None
        if shape.name in surveys:
            surveys[shape.name].see(value)
    return found


def _records(
    values: Iterator[PlacedValue], source: Source, shapes: Sequence[JsonShape], surveys: Mapping[str, ShapeSurvey]
) -> Iterator[Record | Problem]:
    naming = Naming(source.stem)
    for where, value, raw in values:
        try:
            if isinstance(value, InputError):
                raise value
            shape = _shape_of(value, shapes)
            for inner, part in shape.parts(value) if shape.parts else (("", value),):
                place = Place(f"{where}, {inner}" if inner else where, naming, source, surveys.get(shape.name))
                yield _record(part, place, shape, raw)
        except InputError as error:
            yield Problem(where, error, raw)


def _record(value: Any, place: Place, shape: JsonShape, raw: str) -> Record | Problem:
    try:
        return replace(shape.record(value, place), format=shape.name)
    except InputError as error:
        return Problem(place.where, error, raw)


def _shape_of(value: Any, shapes: Sequence[JsonShape]) -> JsonShape:
    for shape in shapes:
        if shape.claims(value):
            return shape
    keys = ", ".join(value) if isinstance(value, dict) else json.dumps(value, ensure_ascii=False)[:80]
    known = ", ".join(shape.name for shape in shapes)
    raise InputError(
        "a JSON object or pair has a known shape",
        value=keys or "no keys",
        next_step=f"Give records {{text, spans}}. Shapes that are read: {known}.",
    )


@lru_cache
def says_entities(key: str) -> bool:
    """Whether a key is one of ANNOTATION_KEYS, in any case, in the singular or the plural: `Labels`, `NER-tag`."""
    return _singular(key.strip().lower().replace("-", "_").replace(" ", "_")) in _SINGULAR


def _singular(key: str) -> str:
    return key.removesuffix("ies") + "y" if key.endswith("ies") else key.removesuffix("s")


_SINGULAR = frozenset(map(_singular, (*ANNOTATION_KEYS, *_MORE_KEYS)))


def _refuse_unread(value: Mapping[str, Any], read: Collection[str]) -> None:
    answered = any(key in read and says_entities(key) for key in value)
    for key in value:
        # An object beside the entities of the record says what each person said, or each model: no second answer.
        beside_answer = answered and isinstance(value[key], dict)
        is_spans = key not in _COMMON and not beside_answer and holds_spans(parsed(value[key]))
        if (says_entities(key) or is_spans) and key not in read and value[key] is not None:
            shown = json.dumps(value[key], ensure_ascii=False)[:80]
            shown = f"{JSON_TEXT}: {shown}" if parsed(value[key]) is not value[key] else shown
            beside = ", ".join(f"`{other}`" for other in value if other in read and says_entities(other))
            raise InputError(
                f"`{key}` of a record is read as entities, or it is not there",
                value=f"{shown} beside {beside}" if beside else shown,
                next_step=f"Give entities as `spans`; if `{key}` says something else, rename it or put it into `meta`.",
            )


def _meta(value: Mapping[str, Any], read: Collection[str]) -> dict[str, Any]:
    meta = {} if value.get("meta") is None else value["meta"]
    if not isinstance(meta, dict):
        raise InputError("`meta` is an object", value=meta, next_step="Correct `meta`.")
    kept = {**meta, **{key: other for key, other in value.items() if key not in read and not says_entities(key)}}
    check_storable(kept, "meta")
    return kept
