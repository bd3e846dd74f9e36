"""JSON Lines: `text`, and by choice `spans`, `id`, `doc` (the group), `meta`, `weak` (votes of labelling functions).

Without `spans` a text is unlabelled; with `spans: []` it is labelled as holding no entity. Any other key is kept in the
document's meta.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

from loop.files.record_ids import Naming
from loop.files.records import FileFormat, Problem, Record, check_name, check_storable, numbered_lines
from loop.files.strict_json import parse_json
from ner.errors import InputError
from ner.spans import Span
from weak_labeling.functions import Vote

_KNOWN = {"id", "text", "spans", "doc", "meta", "weak"}


def read_jsonl(stream: BinaryIO, stem: str | None, *, texts_only: bool = False) -> Iterator[Record | Problem]:
    """The records of a stream in order. A blank line is skipped, a bad line becomes a Problem.

    A record without an id gets one from its text and `stem`, and none where `stem` is None. `texts_only`: only the id
    and the text of a record are read.
    """
    naming = None if stem is None else Naming(stem)
    for number, line in numbered_lines(stream):
        if isinstance(line, str) and not line.strip():
            continue
        where = f"line {number}"
        try:
            value = _object(line)
            if texts_only:
                value = {key: value[key] for key in ("id", "text") if key in value}
            yield _record(value, where, naming)
        except InputError as error:
            yield Problem(where, error, line if isinstance(line, str) else "")


FORMAT = FileFormat(
    name="jsonl",
    suffixes=(".jsonl", ".ndjson"),
    looks_like=lambda head: head.startswith(b"{"),
    read=lambda stream, source: read_jsonl(stream, source.stem),
)


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


def _record(value: dict[str, Any], where: str, naming: Naming | None) -> Record:
    text, given = value.get("text"), value.get("id")
    if not isinstance(text, str):
        raise InputError("`text` is a string", value=text, next_step="Give every record its text.")
    made = None if naming is None or given is not None else naming.next_id(text)
    return Record(
        where=where,
        text=text,
        external_id=made if given is None else check_name(given, "id"),
        spans=read_spans(value["spans"]) if "spans" in value else None,
        group=None if value.get("doc") is None else check_name(value["doc"], "doc"),
        meta=_meta(value),
        votes=_votes(value.get("weak", [])),
    )


def _meta(value: dict[str, Any]) -> dict[str, Any]:
    meta = value.get("meta", {})
    if not isinstance(meta, dict):
        raise InputError("`meta` is an object", value=meta, next_step="Correct `meta`.")
    kept = {**meta, **{key: other for key, other in value.items() if key not in _KNOWN}}
    check_storable(kept, "meta")
    return kept


def _votes(value: Any) -> tuple[Vote, ...]:
    spans = read_spans(value, "weak")
    return tuple(Vote(span, check_name(item.get("source"), "source")) for span, item in zip(spans, value, strict=True))


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
