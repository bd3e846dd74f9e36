"""report.json: the only place that writes a report as JSON, and reads one back into its dataclasses."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import datetime
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from loop.report.facts import ATTEMPT, ROLLBACK, AttemptReport, Report, RollbackReport

FORMAT = 1
_KINDS: Mapping[str, type[Report]] = {ATTEMPT: AttemptReport, ROLLBACK: RollbackReport}


def to_json(report: Report) -> str:
    """The whole report as one JSON document."""
    return json.dumps(plain(report), ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def from_json(text: str) -> Report:
    """The report of a document. Unknown keys are passed over. Raises ValueError where the document is no report."""
    try:
        read = json.loads(text)
    except RecursionError as error:
        raise ValueError("the JSON is nested too deeply") from error
    if not isinstance(read, dict) or read.get("format") != FORMAT or read.get("kind") not in _KINDS:
        raise ValueError(f"a report has format {FORMAT} and is of the kind {' or '.join(_KINDS)}")
    try:
        return _reader(read["kind"]).validate_python(read)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def plain(value: Any) -> Any:
    """`value` as JSON has it: objects, lists and ISO 8601 times. What is not finite becomes null.

    Lone surrogates are replaced, since no UTF-8 file holds them.
    """
    if isinstance(value, Mapping):
        return {_storable(str(key)): plain(item) for key, item in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Sequence | set | frozenset) and not isinstance(value, str):
        return [plain(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int) else _storable(str(value))


def _storable(text: str) -> str:
    return "".join("\N{REPLACEMENT CHARACTER}" if "\ud800" <= sign <= "\udfff" else sign for sign in text)


@cache
def _reader(kind: str) -> TypeAdapter[Report]:
    return TypeAdapter(_KINDS[kind])
