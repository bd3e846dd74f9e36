"""Column types: instants in UTC, JSON that holds whatever arrived, and spans."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, DateTime
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

from ner.errors import InputError
from ner.spans import Span

_ERROR_CHARS = 2000


def utc_now() -> datetime:
    """This instant, in UTC, to the microsecond."""
    return datetime.now(UTC)


class Instant(TypeDecorator[datetime]):
    """An aware datetime, always UTC in and out; a naive one is refused, since nobody can say when it was."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """To UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise InputError("an instant has a time zone", value=value.isoformat(), next_step="Pass an aware datetime.")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """SQLite forgets the zone: what it gives back is UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class SpanList(TypeDecorator[tuple[Span, ...]]):
    """Spans as a JSON list of `[start, end, label]`, with the score fourth where there is one; None is SQL NULL."""

    impl = JSON(none_as_null=True)
    cache_ok = True

    def process_bind_param(self, value: Iterable[Span] | None, dialect: Dialect) -> list[list[Any]] | None:  # noqa: ARG002
        """Spans to lists."""
        return None if value is None else spans_to_json(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> tuple[Span, ...] | None:  # noqa: ARG002
        """Lists to spans."""
        return None if value is None else tuple(Span(*item) for item in value)


def storable(error: str) -> str:
    """An error's text as every database takes it, cut at 2,000 characters: errors quote the texts that break rules."""
    return error[:_ERROR_CHARS].replace("\0", "\N{SYMBOL FOR NULL}").encode("utf-8", "replace").decode()


def spans_to_json(spans: Iterable[Span]) -> list[list[Any]]:
    """`[[start, end, label], ...]`, each with the score fourth where it has one."""
    return [[s.start, s.end, s.label] if s.score is None else [s.start, s.end, s.label, s.score] for s in spans]


def to_json(value: Any) -> str:
    """Canonical JSON, ASCII only: keys sorted; NaN and infinities, which JSON has not, as their names in strings.

    ASCII escapes let U+0000 and lone surrogates in set-aside payloads through every database's text columns.
    """
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (ValueError, TypeError):
        return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, str | int | float) else str(value)
