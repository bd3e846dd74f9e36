"""Single values of Label Studio's JSON, which nothing on the server validates: each as it is kept, else None."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

_IDS = 2**63  # what every database holds
_LONGEST_SECONDS = 1e9


def as_id(value: Any) -> int | None:
    """A whole number that a database can hold as an id."""
    good = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _IDS
    return value if good else None


def as_seconds(value: Any) -> float | None:
    """A span of time in seconds."""
    good = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _LONGEST_SECONDS
    return float(value) if good else None


def as_moment(value: Any) -> datetime | None:
    """An ISO 8601 time as an aware UTC datetime; one without a zone is UTC."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
        if moment is None:
            return None
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):  # no time, or one that lies in no year that is counted
        return None
