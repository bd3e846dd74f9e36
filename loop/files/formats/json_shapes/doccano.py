"""doccano's JSON and JSON Lines: `label` or `labels` with [start, end, label], or `entities` and `relations`.

Old versions wrote `annotations` with the numbers of labels, and wrote the text as `data`. Offsets count code points.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from loop.files.formats.json_shapes.same_text import agreed
from loop.files.formats.json_shapes.shapes import JsonShape, Place, record_of, text_of
from loop.files.formats.json_shapes.span_items import regions_of
from loop.files.records import Record, Source, labelling
from ner.errors import InputError
from ner.label_studio.label_config import LabelConfig, NotLearned
from store.annotations import NewAnnotation

RELATION = "relation between entities"
NOTE = (
    "doccano writes an empty list for a text that nobody opened, too: such a text is read as a text without entities. "
    "An export of confirmed texts alone leaves these texts out."
)
_OLD = "annotations"  # of old versions
_TRIPLES, _OBJECTS = ("label", "labels"), ("entities", _OLD)
_NO_META = ("Comments", "comments")


@dataclass
class _Survey:
    """What only the whole file shows.

    category: a label of a whole text. In a file with such labels, `[]` says nothing of entities. annotated: whether a
    text has an entity under `annotations`. In such a file, `annotations: []` says that a text holds no entities.
    """

    category: str | None = None
    annotated: bool = False

    def see(self, value: Any) -> None:
        """Look for a label that has no offsets, and for `annotations` that have some."""
        self.annotated = self.annotated or (_key(value) == _OLD and bool(value[_OLD]))
        found = (item for key in _TRIPLES if isinstance(value.get(key), list) for item in value[key])
        self.category = self.category or next((item for item in found if isinstance(item, str)), None)

    def said(self) -> Sequence[str]:
        """Nothing: each text with a label of a whole text is refused."""
        return ()


def _begin_survey(_: Source) -> _Survey:
    return _Survey()


def _claims(value: Any) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("text", value.get("data")), str):
        return False
    return _key(value) is not None


def _key(value: Mapping[str, Any]) -> str | None:
    """The key that holds the labels; objects in `label` are those of other programs."""
    for key in _TRIPLES:
        if isinstance(value.get(key), list) and not any(isinstance(item, dict) for item in value[key]):
            return key
    for key in _OBJECTS:
        items = value.get(key)
        has_offsets = isinstance(items, list) and any(
            isinstance(item, dict) and "start_offset" in item for item in items
        )
        if has_offsets or (isinstance(items, list) and isinstance(value.get("relations"), list)):
            return key
    return _OLD if value.get(_OLD) == [] else None


def _record(value: dict[str, Any], place: Place) -> Record:
    text = text_of(value, "text" if "text" in value else "data")
    key = _key(value) or "label"
    survey = place.survey
    if isinstance(survey, _Survey) and survey.category is not None and not value[key]:
        raise InputError(
            f"`{key}` of a file lists entities, [start, end, label], or labels of whole texts",
            value=f"{survey.category!r} on another text",
            next_step="Export a project for sequence labelling, or rename the key to keep the labels as metadata.",
        )
    said, several = ([], []) if place.source.texts_only else _annotations(value[key], key, place.source.config)
    if isinstance(survey, _Survey) and not survey.annotated and key == _OLD and "relations" not in value:
        raise InputError(
            f"`{key}` of a file of doccano lists entities with offsets on some text",
            value="[] on every text",
            next_step="Give texts without entities as `spans: []`, or remove the key.",
        )
    relations = value.get("relations") or []
    dropped = [name for name in _NO_META if not value.get(name)]
    text_key = () if "text" in value else ("data",)
    record = record_of(value, place, said, text=text, read=(key, *text_key), dropped=(*dropped, "relations"))
    if place.source.texts_only:
        return record
    related = relations if isinstance(relations, list) else [relations]
    aside = (*several, *(NotLearned(RELATION, one) for one in related))
    # Two servers both count from 1: an id that is taken by another text is made anew.
    return replace(record, aside=aside, fallback_id=None if value.get("id") is None else place.naming.next_id(text))


def _annotations(items: Any, key: str, config: LabelConfig) -> tuple[list[NewAnnotation], list[NotLearned]]:
    """One labelling; where the items name several users whose entities differ, none, and what is set aside."""
    regions = regions_of(items, key, config)
    users = [item.get("user") if isinstance(item, dict) else None for item in items]
    names = list(dict.fromkeys(map(str, users)))
    if len(names) < 2:
        return [labelling(regions)], []
    of_user = {name: [one for one, user in zip(regions, users, strict=True) if str(user) == name] for name in names}
    return agreed([replace(labelling(said), creator=name) for name, said in of_user.items()])


SHAPE = JsonShape(
    name="doccano",
    title="doccano: {text, label: [[start, end, label]]}, or `entities` with start_offset",
    claims=_claims,
    record=_record,
    note=NOTE,
    survey=_begin_survey,
)
