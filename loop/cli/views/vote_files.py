"""What became of files of votes, for people: of those that were stored, and of those that were aggregated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from rich.console import RenderableType

from loop.cli.views.parts import scores_table, wrapped
from loop.console import styled, table
from loop.files.aggregating_votes import AggregatedFile
from loop.files.importing import Imported
from loop.wording import number_of, visible


def imported_view(files: Sequence[Imported]) -> Iterator[RenderableType]:
    """A table of the files, the votes of each source, and what was left out."""
    if any(one.dry_run for one in files):
        yield styled("[bold]Dry run: nothing was stored.[/]")
    rows = [(one.file, one.records, one.added, one.known, one.votes, one.bad) for one in files]
    yield table("", ("file", "records", "new texts", "known", "votes", "left out"), rows)
    for one in files:
        if one.sources:
            yield ""
            yield table("", (f"source in {one.file}", "votes"), [(visible(name), n) for name, n in one.sources.items()])
        yield from _left_out(one.bad, (f"{one.file}, {problem}" for problem in one.problems))
        if one.bad:
            yield from (wrapped(f"  {number:,} x {rule}") for rule, number in sorted(one.set_aside.items()))
        if one.labelled:
            yield f"{number_of(one.labelled, 'text')} got gold."


def aggregated_view(done: AggregatedFile, out: Path) -> Iterator[RenderableType]:
    """The method and why, the scores on the gold, and what was left out."""
    texts, spans = number_of(done.texts, "text"), number_of(done.spans, "span")
    yield wrapped(f"{spans} on {texts} by {done.method}: {visible(str(out))}")
    yield wrapped(done.reason)
    if done.scores:
        yield ""
        rows = [(one.method, one.precision, one.recall, one.f1, one.error) for one in done.scores]
        yield table(f"on {done.labelled:,} labelled texts", ("method", "precision", "recall", "F1", "error"), rows)
    if done.f1 is not None:
        yield ""
        types = [(name, row) for name, row in done.f1.per_type.items() if row.support]
        yield scores_table([*types, ("micro", done.f1.micro)], f"{done.method}, by type")
    yield from _left_out(done.bad, (f"{problem.where}: {problem.error}" for problem in done.problems))


def _left_out(bad: int, problems: Iterable[str]) -> Iterator[RenderableType]:
    if bad:
        yield ""
        yield styled(f"[yellow]![/] {number_of(bad, 'vote or record', 'votes and records')} left out; the first:")
        yield from (wrapped(f"  {problem}") for problem in problems)
