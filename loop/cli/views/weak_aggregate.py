"""What became of a file of votes that were aggregated, for people."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.console import RenderableType

from loop.cli.views.gates import wrapped
from loop.console import styled, table
from loop.files.aggregating_votes import AggregatedFile
from loop.wording import number_of, visible


def view(done: AggregatedFile, out: Path) -> Iterator[RenderableType]:
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
        scores = [*((name, row) for name, row in done.f1.per_type.items() if row.support), ("micro", done.f1.micro)]
        rows_of_types = [(name, row.precision, row.recall, row.f1, row.support) for name, row in scores]
        yield table(f"{done.method}, by type", ("type", "precision", "recall", "F1", "support"), rows_of_types)
    if done.bad:
        yield ""
        yield styled(f"[yellow]![/] {number_of(done.bad, 'vote or record', 'votes and records')} left out; the first:")
        yield from (wrapped(f"  {problem.where}: {problem.error}") for problem in done.problems)
