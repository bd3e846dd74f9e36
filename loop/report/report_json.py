"""report.json: the only place that writes a report as JSON, and reads one back into its dataclasses."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache

from pydantic import TypeAdapter, ValidationError

from loop.console import plain
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


@cache
def _reader(kind: str) -> TypeAdapter[Report]:
    return TypeAdapter(_KINDS[kind])
