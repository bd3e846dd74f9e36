"""A promotion and a rollback, for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.markup import escape

from loop.cli.views.parts import gate_notes, gate_table, wrapped
from loop.console import styled, table
from loop.wording import interval, points

if TYPE_CHECKING:
    from loop.evaluation.significance import Comparison
    from loop.promotion.rollback import Affected, RolledBack
    from loop.service.decisions import Attempted

_SHOWN = 20


def attempt_view(done: Attempted) -> Iterator[RenderableType]:
    """The verdict, the gates, the types, and where the report lies."""
    from loop.quality.corruption import warnings_of
    from loop.report.verdict import HEADLINES

    attempt = done.attempt
    colour = "green" if done.promoted else "yellow"
    verdict = HEADLINES.get(attempt.outcome, attempt.outcome)
    word = f": {attempt.ruling.word}" if attempt.ruling else ""
    yield styled(f"[bold]{escape(attempt.version)}[/] [{colour}]{verdict}{word}[/]")
    yield wrapped(attempt.reason)
    if attempt.gates:
        yield ""
        yield gate_table(attempt.gates)
        yield from gate_notes(attempt.gates)
    if attempt.comparison is not None:
        yield ""
        yield _differences(attempt.comparison)
    if attempt.gold_check is not None:
        signs = warnings_of(attempt.gold_check, attempt.version)
        yield from (styled(f"[yellow]![/] {escape(sign)}") for sign in signs)
    yield from map(wrapped, done.notices)
    if done.report:
        yield f"Report: {done.report['html']}"


def _differences(comparison: Comparison) -> RenderableType:
    """F1 of both, the difference in points and its interval, a row for each type."""
    share = f"{comparison.micro.confidence:.0%} interval"
    rows = [
        (row.name, row.new_f1, row.old_f1, points(row.delta), interval(row.low, row.high), row.support)
        for row in (*comparison.per_type, comparison.micro)
    ]
    return table("", ("type", "candidate", "incumbent", "points", share, "support"), rows)


def rollback_view(done: RolledBack, problem: str | None, *, linked: bool) -> Iterator[RenderableType]:
    """What became of the predictions and the annotations in Label Studio. problem: why the server is not up to date."""
    if not linked and not done.affected:
        yield "There is no Label Studio: nothing was pre-labelled there."
        return
    if done.published is not None:
        sent = done.published
        told = f"{sent.created:,} predictions sent for {sent.open:,} open tasks; {sent.carried:,} carry theirs already."
        yield wrapped(told)
    if problem and linked:
        told = (
            f"Warning: Label Studio is not up to date ({problem}); `loop run` or `loop publish` will see to its "
            f"predictions, and `loop rollback --to {done.version}` to the rest."
        )
        yield wrapped(told)
    yield from _about_affected(done)
    if done.requeued is not None:
        yield wrapped(f"{done.requeued:,} tasks are in the queue again.")


def _about_affected(done: RolledBack) -> Iterator[RenderableType]:
    names = ", ".join(done.withdrawn)
    if not done.affected:
        told = "" if done.exact else ", as far as times tell"
        yield wrapped(f"No annotation was submitted on top of pre-labels of {names}{told}.")
        return
    risky = sum(item.unchanged is True for item in done.affected)
    how = "" if done.exact else ", estimated from times"
    title = f"{len(done.affected):,} annotations on top of pre-labels of {names}{how}; {risky:,} accepted unchanged:"
    columns = ("document", "task", "annotation", "annotator", "when", "pre-label of", "unchanged")
    shown = sorted(done.affected, key=lambda item: item.unchanged is not True)[:_SHOWN]
    yield table(title, columns, map(_row, shown))
    if len(done.affected) > _SHOWN:
        yield f"And {len(done.affected) - _SHOWN:,} more; --json lists all."


def _row(item: Affected) -> tuple[object, ...]:
    unchanged = {True: "yes", False: "no", None: "unknown"}[item.unchanged]
    when = item.at.strftime("%Y-%m-%d %H:%M")
    task, annotation = str(item.task_id), str(item.annotation_id)
    return item.document, task, annotation, item.annotator or "", when, item.version, unchanged
