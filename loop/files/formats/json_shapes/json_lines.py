"""Our own records: `text`, and by choice `spans`, `id`, `doc` (the group), `meta`, `weak` (votes of functions).

Without `spans` a text is unlabelled; with `spans: []` it is labelled as holding no entity. Any other key is kept in the
document's meta.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from loop.files.formats.json_shapes.shapes import JsonShape, Place, record_of
from loop.files.formats.json_shapes.span_items import regions_of
from loop.files.records import Record, as_whole, check_name, labelling
from ner.errors import InputError
from ner.spans import Span
from weak_labeling.source import Vote


def read_spans(value: Any, key: str = "spans") -> tuple[Span, ...]:
    """A list of `{start, end, label}` as spans, in the order given; the text is not known here."""
    return tuple(_span(item, key) for item in _listed(value, key))


def _record(value: dict[str, Any], place: Place) -> Record:
    spans = value.get("spans")
    if place.source.texts_only:
        return record_of(value, place, (), read=("spans", "weak"))
    said = () if spans is None else (labelling(regions_of(spans, "spans", place.source.config)),)
    read = record_of(value, place, said, read=("spans", "weak"))
    if value.get("weak") is None:
        return read
    votes, bad = _votes(value["weak"])
    return replace(read, votes=votes, bad_votes=bad)


SHAPE = JsonShape(
    name="jsonl",
    title="{text, spans: [{start, end, label}]}",
    claims=lambda value: isinstance(value, dict),
    record=_record,
)


def _votes(value: Any) -> tuple[tuple[Vote, ...], tuple[InputError, ...]]:
    """The votes in a list of `{start, end, label, source}`, and what is wrong with the others."""
    votes: list[Vote] = []
    bad: list[InputError] = []
    for item in _listed(value, "weak"):
        try:
            votes.append(Vote(_span(item, "weak"), check_name(item.get("source"), "source")))
        except InputError as error:
            bad.append(error)
    return tuple(votes), tuple(bad)


def _listed(value: Any, key: str) -> list[Any]:
    if not isinstance(value, list):
        raise InputError(f"`{key}` is a list", value=value, next_step=f"Leave `{key}` out when there is none.")
    return value


def _span(item: Any, key: str) -> Span:
    if not isinstance(item, dict):
        raise InputError(f"each of `{key}` is an object", value=item, next_step="Write {start, end, label}.")
    start, end = (_offset(item.get(name), name) for name in ("start", "end"))
    return Span(start, end, check_name(item.get("label"), "label"))


def _offset(value: Any, name: str) -> int:
    value = as_whole(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputError(
            f"`{name}` of a span is a whole number", value=value, next_step="Offsets count Unicode code points."
        )
    return value
