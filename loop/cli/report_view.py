"""A report and the history of decisions for people: short screens of at most 80 columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import RenderableType
from rich.table import Table

from loop.cli.gate_view import gate_notes, gate_table, safe, wrapped
from loop.console import styled, table
from loop.promotion.attempt import Gate
from loop.report.blocks import Page
from loop.report.history import DECISIONS, PastDecision
from loop.report.page import ROLLBACK
from loop.report.wording import NOTHING, chance, interval, moment, points, visible

_MOST_TYPES, _MOST_STEPS = 40, 5
_LONGEST_NAME = 20
_AVERAGES = ("micro", "macro")


def view(report: dict[str, Any], page: Page) -> Iterator[RenderableType]:
    """What to print of a report, from the top down; where its files are is the caller's to say."""
    if report["kind"] == ROLLBACK:
        yield styled(f"[bold]{safe(page.title)}[/]  {safe(moment(report['at']))}")
    else:  # the verdict begins with the title's words
        yield styled(f"[bold]{safe(page.over)}[/]")
    yield ""
    for sentence in page.sentences:
        yield wrapped(sentence)
    for notice in page.notices:
        yield styled(f"[yellow]![/] {safe(notice)}")
    if report.get("gates"):
        gates = [Gate(**gate) for gate in report["gates"]]
        yield ""
        yield gate_table(gates)
        yield from gate_notes(gates)
    if report.get("results", {}).get("rows"):
        yield ""
        yield _results(report["results"]["rows"])
    if report.get("next_steps"):
        yield ""
        yield styled("[bold]Next steps[/]")
        for entry in report["next_steps"][:_MOST_STEPS]:
            yield wrapped(f"- {entry['text']}")
        if len(report["next_steps"]) > _MOST_STEPS:
            yield f"and {len(report['next_steps']) - _MOST_STEPS} more in the page"


def history_view(decisions: Sequence[PastDecision], reports: Sequence[str | None]) -> Iterator[RenderableType]:
    """Every decision, oldest first: two lines each, the second one why; and its report, where there is one."""
    shown = table("", ("version", "decision", "when", "F1", "points", "p", "holdout", "look"), [])
    shown.columns[1].justify = "left"
    for one in decisions:
        cells = (
            one.version,
            one.decided,
            moment(one.at.isoformat())[:10],
            _f1(one),
            points(one.difference),
            chance(one.p_value),
            NOTHING if one.look is None else str(one.epoch or 1),
            NOTHING if one.look is None else str(one.look),
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


def _results(rows: Sequence[dict[str, Any]]) -> Table:
    types = [row for row in rows if row["name"] not in _AVERAGES][:_MOST_TYPES]
    averages = [row for row in rows if row["name"] in _AVERAGES]
    cells = [(visible(row["name"]), row["support"], *_compared(row), *_pr(row)) for row in [*types, *averages]]
    shown = table("", ("type", "support", "F1", "before", "points", "interval", "P", "R"), cells)
    shown.columns[0].min_width = min(_LONGEST_NAME, max(len(str(row[0])) for row in cells))
    return shown


def _pr(row: dict[str, Any]) -> tuple[float, float]:
    side = row["candidate"]
    return side["precision"], side["recall"]


def _compared(row: dict[str, Any]) -> tuple[object, ...]:
    before = row["incumbent"]["f1"] if row["incumbent"] else None
    return row["candidate"]["f1"], before, points(row["delta"]), interval(row["low"], row["high"])


def _f1(one: PastDecision) -> str:
    return NOTHING if one.f1 is None else f"{one.f1:.3f}"
