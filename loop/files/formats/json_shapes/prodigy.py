"""Prodigy's answers (`prodigy db-out`): `text`, `spans`, and whether a person accepted, rejected or ignored them.

Only an accepted answer of an interface in which all entities of a text are marked is gold. In a binary answer
(`ner.teach`) a person says yes or no to one span. An answer of another interface, such as a choice, says nothing of
entities. These answers are counted and shown. All rows with one text are one document: with one annotation for each
person where several people marked it. https://prodi.gy/docs/api-interfaces
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from loop.files.formats.json_shapes.same_text import REJECTED
from loop.files.formats.json_shapes.shapes import JsonShape, Place, record_of, text_of
from loop.files.formats.json_shapes.span_items import first_of, regions_of
from loop.files.records import GOLD, Record, as_moment, labelling
from ner.errors import InputError
from ner.label_config import NotLearned
from store.annotations import NewAnnotation

IGNORED, UNANSWERED = "ignored answer", "spans without an answer"
BINARY, OTHER_INTERFACE = "yes or no to single spans", "answer of an interface that does not mark entities"
NO_SPANS = "accepted answer without `spans`"
_ANSWERS = {"accept": None, "reject": REJECTED, "ignore": IGNORED}
_OWN_KEYS = ("_input_hash", "_task_hash", "_view_id", "_is_binary", "_session_id", "_annotator_id", "_timestamp")
_NO_META = (*_OWN_KEYS, "tokens", "options", "accept", "config", "versions", "view_id", "relations", "html", "label")
_MARKING = frozenset({"ner_manual", "spans_manual"})
_MIXED = frozenset({"blocks", "review"})
# What `ner.teach` writes beside a span; where tokens are given, the span was marked by hand or could have been.
_SUGGESTED = ("score", "rank", "priority", "pattern")


def _claims(value: Any) -> bool:
    if not isinstance(value, dict) or isinstance(value.get("data"), dict):
        return False
    return any(key in value for key in _OWN_KEYS) or value.get("answer") in tuple(_ANSWERS)


def _record(value: dict[str, Any], place: Place) -> Record:
    text = text_of(value, "text")
    read, dropped = ("spans", "answer"), _NO_META
    if place.source.texts_only:
        return record_of(value, place, (), text=text, read=read, dropped=dropped)
    reason = _reason(value)
    said = [_annotation(value, place)] if reason is None and _has_answer(value) else []
    payload = {"spans": value.get("spans"), "answer": value.get("answer"), "by": _person(value)[0]}
    aside = () if reason is None else (NotLearned(reason, payload),)
    record = record_of(value, place, said, text=text, read=read, dropped=dropped, made_id=place.naming.id_of(text))
    return replace(record, aside=aside)


SHAPE = JsonShape(
    name="prodigy",
    title="Prodigy: {text, spans, answer}",
    claims=_claims,
    record=_record,
    joins=True,
)


def _has_answer(value: Mapping[str, Any]) -> bool:
    return value.get("answer") is not None


def _reason(value: Mapping[str, Any]) -> str | None:
    """Why a row is not learned from.

    None for a row in which all entities of the text were marked, and for an input that nobody answered.
    """
    if not _has_answer(value):
        return UNANSWERED if value.get("spans") else None
    answer = value["answer"]
    if not isinstance(answer, str) or answer not in _ANSWERS:
        raise InputError("`answer` is accept, reject or ignore", value=answer, next_step="Correct `answer`.")
    spans = value.get("spans") or []
    spans = spans if isinstance(spans, list) else []
    if _is_binary(value, spans):
        return BINARY if answer != "ignore" else IGNORED
    if _ANSWERS[answer] is not None or not _marks_entities(value):
        return _ANSWERS[answer] or OTHER_INTERFACE
    return None if value.get("spans") is not None else NO_SPANS


def _is_binary(value: Mapping[str, Any], spans: Sequence[Any]) -> bool:
    """Whether the answer is about single spans, and not about all entities of the text."""
    view = _view(value)
    answers = [item["answer"] for item in spans if isinstance(item, dict) and item.get("answer") is not None]
    if view in _MARKING:
        return value.get("_is_binary") is True or any(answer != "accept" for answer in answers)
    if value.get("_is_binary") is True or view == "ner" or answers:
        return True
    meta = value.get("meta")
    if view is None and isinstance(meta, dict) and "score" in meta:
        return True
    suggested = (item for item in spans if isinstance(item, dict) and "token_start" not in item)
    return any(key in item for item in suggested for key in _SUGGESTED)


def _view(value: Mapping[str, Any], key: str = "_view_id") -> str | None:
    """The name of the interface; None where an old version left it out."""
    view = value.get(key)
    return view if view is None or isinstance(view, str) else "unknown"


def _marks_entities(value: Mapping[str, Any]) -> bool:
    """Whether the interface marks all entities. Where a row does not name the interface, its spans show it."""
    view = _view(value)
    if view == "review":
        view = _view(value, "view_id")
    if view in _MARKING:
        return True
    if view is not None and view not in _MIXED:
        return False
    has_spans = isinstance(value.get("spans"), list)
    if view in _MIXED:
        return has_spans and isinstance(value.get("tokens"), list)
    return has_spans and not any(key in value for key in ("options", "label"))


def _annotation(value: Mapping[str, Any], place: Place) -> NewAnnotation:
    spans = _with_words(value["spans"], value.get("tokens"))
    regions = regions_of(spans, "spans", place.source.config)
    source_id, who = _person(value)
    when = as_moment(value.get("_timestamp"))
    return replace(labelling(regions), source_updated_at=when, source_id=source_id, creator=who)


def _person(value: Mapping[str, Any]) -> tuple[str, str | None]:
    """The id of the annotation of whoever answered, and who that is, where the row names the person."""
    who = first_of(value, ("_annotator_id", "_session_id"))
    return (f"{GOLD}:{who}", who) if isinstance(who, str) and who.strip() and "\0" not in who else (GOLD, None)


def _with_words(spans: Any, tokens: Any) -> Any:
    """The spans with the words that the tokens repeat at their offsets, which proves the offsets of the file.

    The tokens' own offsets find them, and not `token_start`: programs that make such files often leave it wrong. A span
    that begins or ends inside a token gets the whole tokens that it touches: these words differ from those at its
    offsets, so that the span is in doubt. Such offsets often have an inclusive end.
    """
    if not isinstance(spans, list) or not isinstance(tokens, list):
        return spans
    good = [token for token in tokens if _is_token(token)]
    if len(good) != len(tokens):
        return spans
    by_start = {token["start"]: at for at, token in enumerate(good)}
    by_end = {token["end"]: at for at, token in enumerate(good)}
    return [_proven(item, good, by_start, by_end) if isinstance(item, dict) else item for item in spans]


def _proven(
    item: Mapping[str, Any], tokens: Sequence[Mapping[str, Any]], by_start: Mapping[int, int], by_end: Mapping[int, int]
) -> Mapping[str, Any]:
    start, end = item.get("start"), item.get("end")
    if type(start) is not int or type(end) is not int or isinstance(item.get("text"), str):
        return item
    first, last = by_start.get(start), by_end.get(end)
    if first is not None and last is not None and first <= last:
        words = tokens[first : last + 1]
    else:
        words = [token for token in tokens if token["start"] < end and start < token["end"]]
    return {**item, "text": " ".join(token["text"] for token in words)} if words else item


def _is_token(token: Any) -> bool:
    return (
        isinstance(token, dict)
        and isinstance(token.get("text"), str)
        and type(token.get("start")) is int
        and type(token.get("end")) is int
    )
