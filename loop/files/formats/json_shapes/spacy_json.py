"""spaCy's training data as JSON: [text, {entities: [[start, end, label]]}], `entities` or `ents`, and spaCy 2's tree.

`Doc.to_json` writes `ents`, and groups of spans as `spans`. A group is read where it is the only annotation of the
record. `cats` say nothing of entities. A tag `-` or an empty one is a missing value: nobody said what the token is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from loop.files.formats.json_shapes.hugging_face import regions_of_tags, text_of_tokens
from loop.files.formats.json_shapes.shapes import JsonShape, Place, record_of, text_of
from loop.files.formats.json_shapes.span_items import regions_of
from loop.files.formats.tagged.tags import BILOU, detected_scheme
from loop.files.records import Record, labelling
from ner.errors import InputError
from ner.label_studio.label_config import NotLearned

INCOMPLETE = "tokens of which nobody said whether they are entities"
_KEYS = ("entities", "ents")
_MISSING = ("-", "")
_NO_META = ("tokens", "sents", "words", "spaces", "links", "settings")


def _claims(value: Any) -> bool:
    if _is_pair(value):
        return True
    if not isinstance(value, dict):
        return False
    if "text" not in value:
        return isinstance(value.get("paragraphs"), list) or _is_list_of_pairs(value.get("annotations"))
    return any(isinstance(value.get(key), list) for key in _KEYS) or isinstance(value.get("spans"), dict)


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    """The pairs of a file that spaCy's annotators write, the paragraphs of spaCy 2, or the value alone."""
    if isinstance(value, dict) and "text" not in value:
        if isinstance(value.get("paragraphs"), list):
            for number, paragraph in enumerate(value["paragraphs"], 1):
                yield f"paragraph {number}", (value.get("id"), paragraph)
            return
        for number, pair in enumerate(value["annotations"], 1):
            if pair is not None:  # a text that was passed over; the file does not hold it
                yield f"text {number}", pair
        return
    yield "", value


def _record(value: Any, place: Place) -> Record:
    if isinstance(value, tuple):
        document, paragraph = value
        return _paragraph(document, paragraph, place)
    if isinstance(value, list):
        text, said = value
        if "text" in said:
            raise InputError("a text stands before its annotations", value=said["text"], next_step="Remove `text`.")
        value = {**said, "text": text}
    text = text_of(value, "text")
    key, groups = _key(value), _groups(value)
    read = {*([key] if key else []), *(["spans"] if not any(groups.values()) else [])}
    if place.source.texts_only:
        return record_of(value, place, (), text=text)
    if key is None:
        return _of_group(value, groups, place)
    items = value[key]
    if items and isinstance(items, list) and all(isinstance(item, str) for item in items):
        return _of_tags(value, key, text, place)
    said = [labelling(regions_of(items, key, place.source.config))]
    return record_of(value, place, said, text=text, read=read, dropped=_NO_META)


SHAPE = JsonShape(
    name="spacy-json",
    title="spaCy: [text, {entities: [[start, end, label]]}], or an object with `entities` or `ents`",
    claims=_claims,
    record=_record,
    parts=_parts,
)


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], dict)


def _is_list_of_pairs(value: Any) -> bool:
    return isinstance(value, list) and any(map(_is_pair, value)) and all(one is None or _is_pair(one) for one in value)


def _key(value: Mapping[str, Any]) -> str | None:
    return next((key for key in _KEYS if value.get(key) is not None), None)


def _groups(value: Mapping[str, Any]) -> dict[str, Any]:
    """The groups of spans by name; a list is no group, and is read or refused as `spans`."""
    spans = value.get("spans")
    return spans if isinstance(spans, dict) else {"spans": spans} if spans else {}


def _of_group(value: Mapping[str, Any], groups: Mapping[str, Any], place: Place) -> Record:
    """The record of the one group of spans; without a group nobody labelled the text."""
    if len(groups) > 1:
        raise InputError(
            "`spans` hold one group, or the entities stand in `entities`",
            value=", ".join(groups),
            next_step="Keep the group with the entities.",
        )
    said = [
        labelling(regions_of(group, f"spans.{name}", place.source.config))
        for name, group in groups.items()
        if group is not None
    ]
    return record_of(value, place, said, read=("spans",), dropped=_NO_META)


def _of_tags(value: Mapping[str, Any], key: str, text: str, place: Place) -> Record:
    words = value.get("words", value.get("tokens"))
    if not isinstance(words, list):
        raise InputError(
            f"`{key}` with tags has the `words` beside it", value=value[key], next_step="Give the words, or offsets."
        )
    said, aside = _tagged(text, words, value[key], place)
    record = record_of(value, place, said, text=text, read=(key,), dropped=_NO_META)
    return replace(record, aside=aside)


def _paragraph(document: Any, paragraph: Any, place: Place) -> Record:
    """A text of spaCy 2: `raw`, or the tokens of its sentences. Raises InputError."""
    tokens = [token for sentence in _listed(paragraph, "sentences") for token in _listed(sentence, "tokens")]
    if not all(isinstance(token, dict) for token in tokens):
        raise InputError("each of `tokens` is an object", value=tokens, next_step="Write {orth, ner}.")
    raw = paragraph.get("raw")
    text = text_of(paragraph, "raw") if raw is not None else None
    words = [token.get("orth") for token in tokens]
    full, _ = text_of_tokens(words, text)
    group = None if document is None else f"{place.source.stem}:{document}"
    value = {"cats": paragraph["cats"]} if paragraph.get("cats") else {}
    if place.source.texts_only:
        return record_of(value, place, (), text=full)
    said, aside = _tagged(full, words, [token.get("ner") or "-" for token in tokens], place)
    return replace(record_of(value, place, said, text=full), aside=aside, group=group)


def _tagged(text: str, words: Any, tags: Sequence[str], place: Place) -> tuple[list[Any], tuple[NotLearned, ...]]:
    """The annotation that the tags make: none where all of them are missing values.

    Where some are missing, only a part of the text was labelled, and the tags are set aside.
    """
    _, places = text_of_tokens(words, text)
    missing = sum(tag in _MISSING for tag in tags)
    if missing == len(tags):
        return [], ()
    if missing:
        return [], (NotLearned(INCOMPLETE, list(tags)),)
    scheme = detected_scheme([tags], place.source.hints.tag_scheme or BILOU)
    return [labelling(regions_of_tags(places, tags, scheme, place.source.config))], ()


def _listed(value: Any, key: str) -> list[Any]:
    items = value.get(key) if isinstance(value, dict) else None
    if not isinstance(items, list):
        raise InputError(f"a paragraph of spaCy 2 has a list `{key}`", value=value, next_step="Correct the file.")
    return items
