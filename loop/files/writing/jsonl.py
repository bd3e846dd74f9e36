"""JSON Lines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from loop.files.records import Record


def write_jsonl(records: Iterable[Record]) -> Iterator[str]:
    """Each record as a line, its keys in a fixed order; `read_jsonl` reads the line back as the same record."""
    for record in records:
        line: dict[str, Any] = {"id": record.external_id, "text": record.text}
        if record.spans is not None:
            line["spans"] = [{"start": s.start, "end": s.end, "label": s.label} for s in record.spans]
        if record.group is not None:
            line["doc"] = record.group
        if record.meta:
            line["meta"] = dict(record.meta)
        yield json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n"
