"""What became of a file of votes, for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType

from loop.cli.views.gates import wrapped
from loop.console import styled, table
from loop.files.importing import Imported
from loop.wording import number_of, visible


def view(files: Sequence[Imported]) -> Iterator[RenderableType]:
    """A table of the files, the votes of each source, and what was left out."""
    if any(one.dry_run for one in files):
        yield styled("[bold]Dry run: nothing was stored.[/]")
    rows = [(one.file, one.records, one.added, one.known, one.votes, one.bad) for one in files]
    yield table("", ("file", "records", "new texts", "known", "votes", "left out"), rows)
    for one in files:
        if one.sources:
            yield ""
            yield table("", (f"source in {one.file}", "votes"), [(visible(name), n) for name, n in one.sources.items()])
        yield from _left_out(one)
        if one.labelled:
            yield f"{number_of(one.labelled, 'text')} got gold."


def _left_out(one: Imported) -> Iterator[RenderableType]:
    if not one.bad:
        return
    yield ""
    yield styled(f"[yellow]![/] {number_of(one.bad, 'vote or record', 'votes and records')} left out; the first:")
    yield from (wrapped(f"  {one.file}, {problem}") for problem in one.problems)
    for rule, number in sorted(one.set_aside.items()):
        yield wrapped(f"  {number:,} x {rule}")
