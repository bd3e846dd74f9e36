"""JSON Lines, in this project's own form and in doccano's. `loop import` reads a line back as the same text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from loop.files.writing.texts import StoredText


def write_jsonl(texts: Iterable[StoredText]) -> Iterator[str]:
    """Each text as a line with its keys in a fixed order; an unlabelled text has no `spans`."""
    for one in texts:
        line: dict[str, Any] = {"id": one.external_id, "text": one.text}
        if one.spans is not None:
            line["spans"] = [{"start": span.start, "end": span.end, "label": span.label} for span in one.spans]
        yield _line(one, line)


def write_doccano(texts: Iterable[StoredText]) -> Iterator[str]:
    """Likewise with `label`, a list of [start, end, label]; an unlabelled text has no `label`."""
    for one in texts:
        line: dict[str, Any] = {"id": one.external_id, "text": one.text}
        if one.spans is not None:
            line["label"] = [[span.start, span.end, span.label] for span in one.spans]
        yield _line(one, line)


def _line(one: StoredText, line: dict[str, Any]) -> str:
    if one.group is not None:
        line["doc"] = one.group
    if one.meta:
        line["meta"] = dict(one.meta)
    return json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n"
