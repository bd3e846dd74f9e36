"""A report, or the history of decisions, on a terminal: short screens of at most 80 columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.table import Table

from loop.cli.views.parts import gate_notes, gate_table, safe, wrapped
from loop.console import styled, table
from loop.report.facts import AttemptReport, Report, ResultRow, Results
from loop.report.history import DECISIONS, PastDecision
from loop.report.page.blocks import Page
from loop.wording import NOTHING, chance, interval, moment, points, visible

_MOST_TYPES, _MOST_STEPS = 40, 5
_LONGEST_NAME = 20


def view(report: Report, page: Page) -> Iterator[RenderableType]:
    """What to print of a report, in the order of its page. The caller says where the files are."""
    if isinstance(report, AttemptReport):  # the verdict begins with the words of the title
        yield styled(f"[bold]{safe(page.over)}[/]")
    else:
        yield styled(f"[bold]{safe(page.title)}[/]  {safe(moment(report.at))}")
    yield ""
    for sentence in page.sentences:
        yield wrapped(sentence)
    for notice in page.notices:
        yield styled(f"[yellow]![/] {safe(notice)}")
    if isinstance(report, AttemptReport) and report.gates:
        yield ""
        yield gate_table(report.gates)
        yield from gate_notes(report.gates)
    if isinstance(report, AttemptReport) and report.results.rows:
        yield ""
        yield _results(report.results)
    if report.next_steps:
        yield ""
        yield styled("[bold]Next steps[/]")
        yield from (wrapped(f"- {entry.text}") for entry in report.next_steps[:_MOST_STEPS])
        if len(report.next_steps) > _MOST_STEPS:
            yield f"and {len(report.next_steps) - _MOST_STEPS} more in the page"


def history_view(decisions: Sequence[PastDecision], reports: Sequence[str | None]) -> Iterator[RenderableType]:
    """Every decision, oldest first: a table of the figures, then who decided, why, and the name of the report.

    A look is written as the holdout's number and the look's number at this holdout: `1.3`.
    """
    shown = table("", ("version", "decision", "in words", "when", "F1", "points", "p", "look"), [])
    shown.columns[1].justify = shown.columns[2].justify = "left"
    for one in decisions:
        cells = (
            one.version,
            one.decided,
            one.word or NOTHING,
            moment(one.at)[:10],
            _f1(one),
            points(one.difference),
            chance(one.p_value),
            NOTHING if one.look is None else f"{one.epoch or 1}.{one.look}",
        )
        shown.add_row(*(safe(cell) for cell in cells))
    yield shown
    yield ""
    for one, report in zip(decisions, reports, strict=True):
        what = safe(DECISIONS.get(one.action, one.action))
        how = " by force" if one.forced else ""
        why = safe(one.because or one.reason)
        where = f" (report {safe(report)})" if report else ""
        yield styled(f"{what} [bold]{safe(one.version)}[/]{how}, by {safe(one.who)}: {why}{where}")


def _results(results: Results) -> Table:
    averages = [row for row in results.rows if row not in results.types]
    cells = [_cells(row) for row in (*results.types[:_MOST_TYPES], *averages)]
    shown = table("", ("type", "support", "F1", "before", "points", "interval", "P", "R"), cells)
    shown.columns[0].min_width = min(_LONGEST_NAME, max(len(str(row[0])) for row in cells))
    return shown


def _cells(row: ResultRow) -> tuple[object, ...]:
    new, before = row.candidate, row.incumbent.f1 if row.incumbent else None
    compared = new.f1, before, points(row.delta), interval(row.low, row.high)
    return visible(row.name), row.support, *compared, new.precision, new.recall


def _f1(one: PastDecision) -> str:
    return NOTHING if one.f1 is None else f"{one.f1:.3f}"
