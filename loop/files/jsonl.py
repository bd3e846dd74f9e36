"""JSON Lines: `text`, and by choice `spans`, `id`, `doc` (the group), `meta`, `weak` (labelling functions' votes).

Without `spans` a text is unlabelled; with `spans: []` it is labelled as holding no entity. Keys that are none of these
are kept in the document's meta.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, BinaryIO

from loop.files.records import Naming, Problem, Record, RecordedVote, check_name, check_storable, numbered_lines
from loop.files.strict_json import parse_json
from ner.errors import InputError
from ner.spans import Span

_KNOWN = {"id", "text", "spans", "doc", "meta", "weak"}
_PAYLOAD = 500


def read_jsonl(stream: BinaryIO, stem: str | None, *, texts_only: bool = False) -> Iterator[Record | Problem]:
    """The records of a stream in order; blank lines are passed over, a bad line becomes a Problem.

    Records without an id get one from their text and `stem`; none where `stem` is None. `texts_only` leaves all but
    id and text unread.
    """
    naming = None if stem is None else Naming(stem)
    for number, line in numbered_lines(stream):
        if isinstance(line, str) and not line.strip():
            continue
        where = f"line {number}"
        try:
            value = _object(line)
            yield _record(_id_and_text(value) if texts_only else value, where, naming)
        except InputError as error:
            yield Problem(where, error, line[:_PAYLOAD] if isinstance(line, str) else "")


def jsonl_line(
    external_id: str, text: str, spans: tuple[Span, ...] | None, group: str | None, meta: dict[str, Any]
) -> str:
    """One record as a line, its keys in a fixed order; what read_jsonl reads back as the same record."""
    record: dict[str, Any] = {"id": external_id, "text": text}
    if spans is not None:
        record["spans"] = [{"start": s.start, "end": s.end, "label": s.label} for s in spans]
    if group is not None:
        record["doc"] = group
    if meta:
        record["meta"] = meta
    return json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n"


def read_spans(value: Any, key: str = "spans") -> tuple[Span, ...]:
    """A list of `{start, end, label}` as spans, in the order given; the text is not known here."""
    if not isinstance(value, list):
        raise InputError(f"`{key}` is a list", value=value, next_step=f"Leave `{key}` out when there is none.")
    return tuple(_span(item, key) for item in value)


def _object(line: str | InputError) -> dict[str, Any]:
    if isinstance(line, InputError):
        raise line
    value = parse_json(line)
    if not isinstance(value, dict):
        raise InputError("a line holds a JSON object", value=value, next_step='Write {"text": ..., "spans": [...]}.')
    return value


def _id_and_text(value: dict[str, Any]) -> dict[str, Any]:
    return {key: value[key] for key in ("id", "text") if key in value}


def _record(value: dict[str, Any], where: str, naming: Naming | None) -> Record:
    text = value.get("text")
    if not isinstance(text, str):
        raise InputError("`text` is a string", value=text, next_step="Give every record its text.")
    return Record(
        where=where,
        text=text,
        external_id=_external_id(value.get("id"), text, naming),
        spans=read_spans(value["spans"]) if "spans" in value else None,
        group=None if value.get("doc") is None else check_name(value["doc"], "doc"),
        meta=_meta(value),
        votes=_votes(value.get("weak", [])),
    )


def _external_id(given: Any, text: str, naming: Naming | None) -> str | None:
    if given is not None:
        return check_name(given, "id")
    return None if naming is None else naming.next_id(text)


def _meta(value: dict[str, Any]) -> dict[str, Any]:
    meta = value.get("meta", {})
    if not isinstance(meta, dict):
        raise InputError("`meta` is an object", value=meta, next_step="Correct `meta`.")
    kept = {**meta, **{key: other for key, other in value.items() if key not in _KNOWN}}
    if kept:
        check_storable(json.dumps(kept, ensure_ascii=False).replace("\\u0000", "\0"), "meta")
    return kept


def _votes(value: Any) -> tuple[RecordedVote, ...]:
    spans = read_spans(value, "weak")
    return tuple(
        RecordedVote(span, check_name(item.get("source"), "source")) for span, item in zip(spans, value, strict=True)
    )


def _span(item: Any, key: str) -> Span:
    if not isinstance(item, dict):
        raise InputError(f"each of `{key}` is an object", value=item, next_step="Write {start, end, label}.")
    start, end = (_offset(item.get(name), name) for name in ("start", "end"))
    return Span(start, end, check_name(item.get("label"), "label"))


def _offset(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputError(
            f"`{name}` of a span is a whole number", value=value, next_step="Offsets count Unicode code points."
        )
    return value
