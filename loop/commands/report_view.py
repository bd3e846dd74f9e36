"""A report and the history of decisions for people: short screens of at most 80 columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from loop.console import styled, table
from loop.report.blocks import Page
from loop.report.history import PastDecision
from loop.report.wording import NOTHING, chance, interval, moment, points, visible

_SIGNS = {
    "pass": "[green]✓ pass[/]",
    "fail": "[red]✕ fail[/]",
    "insufficient": "[yellow]◇ insufficient[/]",
    "not measured": "[dim]– not measured[/]",
}
_MOST_TYPES = 40
_AVERAGES = ("micro", "macro")


def view(report: dict[str, Any], page: Page) -> Iterator[RenderableType]:
    """What to print of a report, from the top down; where its files are is the caller's to say."""
    yield styled(f"[bold]{_safe(page.title)}[/]  {_safe(moment(report['at']))}")
    yield ""
    for sentence in page.sentences:
        yield Text(visible(sentence))
    for notice in page.notices:
        yield styled(f"[yellow]![/] {_safe(notice)}")
    if report.get("gates"):
        yield ""
        yield _gates(report["gates"])
    if report.get("results", {}).get("rows"):
        yield ""
        yield _results(report["results"]["rows"])
    if report.get("next_steps"):
        yield ""
        yield styled("[bold]Next steps[/]")
        for entry in report["next_steps"][:5]:
            yield Text(f"- {visible(entry['text'])}")


def history_view(decisions: Sequence[PastDecision]) -> Iterator[RenderableType]:
    """Every decision, oldest first: two lines each, the second one why."""
    columns = ("version", "decision", "when", "micro-F1", "points", "p", "look")
    shown = table("", columns, [])
    for one in decisions:
        action = f"{one.action}, forced" if one.forced else one.action
        look = NOTHING if one.look is None else f"{one.epoch or 1}/{one.look}"
        cells = (
            one.version,
            action,
            moment(one.at.isoformat())[:10],
            _f1(one),
            points(one.difference),
            chance(one.p_value),
            look,
        )
        shown.add_row(*(_safe(cell) for cell in cells))
    yield shown
    yield ""
    for one in decisions:
        yield styled(f"[bold]{_safe(one.version)}[/] {_safe(one.action)} by {_safe(one.who)}: {_safe(one.reason)}")


def _gates(gates: Sequence[dict[str, Any]]) -> Table:
    shown = Table(box=None, pad_edge=False, show_edge=False)
    for name, width in (("gate", 24), ("value", None), ("target", None), ("status", 14)):
        shown.add_column(name, overflow="fold", width=width)
    for gate in gates:
        sign = _SIGNS.get(gate["status"], _safe(gate["status"]))
        shown.add_row(_safe(gate["name"]), _safe(gate["value"]), _safe(gate["target"]), sign)
    return shown


def _results(rows: Sequence[dict[str, Any]]) -> Table:
    types = [row for row in rows if row["name"] not in _AVERAGES][:_MOST_TYPES]
    averages = [row for row in rows if row["name"] in _AVERAGES]
    cells = [(visible(row["name"]), row["support"], *_prf(row), *_compared(row)) for row in [*types, *averages]]
    return table("", ("type", "support", "P", "R", "F1", "before", "points", "interval"), cells)


def _prf(row: dict[str, Any]) -> tuple[float, float, float]:
    side = row["candidate"]
    return side["precision"], side["recall"], side["f1"]


def _compared(row: dict[str, Any]) -> tuple[object, str, str]:
    before = row["incumbent"]["f1"] if row["incumbent"] else None
    return before, points(row["delta"]), interval(row["low"], row["high"])


def _f1(one: PastDecision) -> str:
    return NOTHING if one.f1 is None else f"{one.f1:.3f}"


def _safe(text: str) -> str:
    """No markup of rich's in it, and no control sequence of the terminal's."""
    return escape(visible(text))
