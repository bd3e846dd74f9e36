"""Where an incremental pull begins.

The watermark is the latest `updated_at` seen: the server's own stamps, so that no clock but its own counts. A pull
begins some time before it, since a transaction that was open during the last pull may have committed older stamps.
Once a pull has looked back when nothing was open any more, the look back is spared: after a bulk import it would bring
all its tasks again with every poll.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

OVERLAP = timedelta(seconds=60)
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Start:
    """Read what was updated at `since` or later (`strictly`: later)."""

    since: datetime
    strictly: bool = False


@dataclass(frozen=True)
class Watermark:
    """How far was pulled, when that was reached by our clock, and whether a later pull looked back far enough."""

    moment: datetime
    reached_at: datetime
    settled: bool

    @classmethod
    def remembered(cls, moment: datetime | None, counts: Mapping[str, Any]) -> Watermark | None:
        """The store's watermark with what the last pull's counts say of it; None when nothing was pulled."""
        if moment is None:
            return None
        known = counts.get("watermark") == moment.isoformat()
        reached = datetime.fromisoformat(counts["reached_at"]) if known else datetime.now(UTC)
        return cls(moment, reached, bool(known and counts["settled"]))

    def as_counts(self) -> dict[str, Any]:
        """What the next pull's `remembered` reads."""
        return {
            "watermark": self.moment.isoformat(),
            "reached_at": self.reached_at.isoformat(),
            "settled": self.settled,
        }


def start_from(watermark: Watermark | None) -> Start:
    """Where to begin."""
    if watermark is None:
        return Start(_BEGINNING)
    if watermark.settled:
        return Start(watermark.moment, strictly=True)
    return Start(watermark.moment - OVERLAP)


def advanced(before: Watermark | None, moment: datetime, *, began_at: datetime, ended_at: datetime) -> Watermark:
    """The watermark after a complete pull that began and ended at these moments of our clock."""
    if before is None or moment > before.moment:
        return Watermark(moment, ended_at, settled=False)
    return Watermark(before.moment, before.reached_at, before.settled or began_at - before.reached_at >= OVERLAP)
