"""What the doctor found, for people: a check as a line or two, and the audit of the data as a table of 80 columns."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from loop.console import styled
from loop.doctor.checks import Check
from loop.doctor.data import DataAudit, Sample

_SIGNS = {"ok": "[green]ok[/]", "warn": "[yellow]warn[/]", "fail": "[red]FAIL[/]", "skip": "[dim]skip[/]"}
_ID_CHARS = 16


def finding(check: Check) -> Table:
    """A check as people read it: its sign, what was found, and what to do."""
    shown = Table.grid(padding=(0, 1, 0, 0))
    shown.add_column(width=4)
    shown.add_column(overflow="fold")
    shown.add_row(_SIGNS[check.state], styled(f"[bold]{escape(check.name)}[/]: {escape(check.finding)}"))
    if check.mend:
        shown.add_row("", Text(f"-> {check.mend}"))
    return shown


def audited(found: DataAudit) -> Iterator[RenderableType]:
    """The table of findings, and what to do about each of them."""
    doubted = found.labelled - found.gold
    yield f"{found.labelled:,} labelled texts: {found.gold:,} gold, {doubted:,} in doubt and not learned from."
    shown = Table(box=None, pad_edge=False, show_edge=False)
    shown.add_column("")
    shown.add_column("looked for", width=27, overflow="fold")
    shown.add_column("texts", justify="right")
    shown.add_column("such as", overflow="fold")
    for one in found.findings:
        examples = "\n".join(map(_example, one.examples))
        shown.add_row(styled(_SIGNS[one.state]), Text(one.name), f"{one.documents:,}", Text(examples))
    yield shown
    todo = dict.fromkeys((one.name, one.mend) for one in found.findings if one.mend)
    yield from (Text(f"-> {name}: {mend}") for name, mend in todo)


def _example(one: Sample) -> str:
    name = one.document if len(one.document) <= _ID_CHARS else one.document[: _ID_CHARS - 1] + "…"
    return f"{name}: {one.shown}" if name else one.shown
