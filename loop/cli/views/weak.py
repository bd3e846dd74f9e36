"""How sources of weak labels, their votes and their worth are shown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.table import Table

from loop import console

if TYPE_CHECKING:
    from loop.weak.applying import WeaklyLabelled


def applied_view(done: WeaklyLabelled) -> Iterator[Table | str]:
    """What one run asked, and what did not work."""
    rows = [(one.name, one.kind, one.documents, one.votes, one.faults, f"{one.seconds:.1f}") for one in done.sources]
    yield console.table("", ("source", "kind", "texts asked", "new votes", "failed on", "seconds"), rows)
    yield f"{done.voted:,} of {done.documents:,} texts have a vote."
    if done.gone:
        yield f"Gone from the files, and their votes deleted: {', '.join(done.gone)}."
    yield from done.complaints()
