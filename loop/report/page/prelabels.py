"""What annotators did with the pre-labels: the live figure of each version, by type and over time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from loop.quality.prelabels import PrelabelCounts, Prelabels
from loop.report.page import blocks
from loop.wording import NOTHING, moment, number_of, whole

_COUNTS = ("texts", "regions", "kept", "95 % interval", "moved", "retyped", "removed", "added")
_MOST = 20  # versions, and weeks
_RULES = (
    "Kept: the same place and type. Moved: the same type, in another place that overlaps. Retyped: the same place, "
    "with another type. Each annotation counts once, as it was first submitted. The intervals count whole documents, "
    "since regions of one document depend on each other. Each version was shown on other texts, and the queue begins "
    "with the texts of which the model is least sure. Held-out texts have no pre-label and never count."
)


def section(found: Prelabels) -> blocks.Section:
    """The section; one sentence where nobody began from a pre-label yet."""
    return blocks.Section("prelabels", "What annotators did with the pre-labels", tuple(_blocks(found)))


def _blocks(found: Prelabels) -> Iterator[blocks.Block]:
    if found.versions:
        latest = found.versions[-1]
        yield _table("Regions of the pre-labels of each version", "version", [one.total for one in found.versions])
        if latest.types:
            yield _table(f"The same of {latest.total.name}, per type", "type", latest.types, blocks.MOST_ROWS)
        if len(found.weeks) > 1:
            yield _table("The same of all versions, week by week", "week from", found.weeks)
        yield blocks.Words(_RULES)
    elif not found.unknown:
        yield blocks.Words("No submitted annotation began from a pre-label yet.")
    if found.unknown:
        count = number_of(found.unknown, "annotation")
        yield blocks.Words(f"Not counted above: {count} that began from pre-labels which the store does not know.")


def _table(caption: str, name: str, rows: Sequence[PrelabelCounts], most: int = _MOST) -> blocks.Table:
    """The latest rows."""
    shown = rows[-most:]
    note = f"{len(rows) - len(shown):,} earlier rows are in report.json." if len(shown) < len(rows) else ""
    cells = tuple((*_cells(row), moment(row.first)[:10], moment(row.last)[:10]) for row in shown)
    columns = (name, *_COUNTS, "first", "last")
    return blocks.Table(caption, columns, cells, words=frozenset({len(columns) - 2, len(columns) - 1}), note=note)


def _cells(row: PrelabelCounts) -> tuple[blocks.Cell, ...]:
    kept: blocks.Cell = NOTHING
    between = NOTHING
    if row.kept_share is not None and row.low is not None and row.high is not None:
        kept = blocks.Shaded(f"{row.kept_share:.0%}", row.kept_share, "bar")
        between = f"{100 * row.low:.0f} to {100 * row.high:.0f} %"
    counts = (row.moved, row.retyped, row.removed, row.added)
    return (row.name, whole(row.texts), whole(row.proposed), kept, between, *map(whole, counts))
