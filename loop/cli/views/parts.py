"""Parts that several views show: gates and what would help, scores, and words that come from data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from loop.console import styled, table
from loop.promotion.attempt import PASS, Gate
from loop.wording import visible

if TYPE_CHECKING:
    from loop.evaluation.scores import PRF

_SIGNS = {
    "pass": "[green]✓ pass[/]",
    "fail": "[red]✕ fail[/]",
    "insufficient": "[yellow]◇ insufficient[/]",
    "not measured": "[dim]– not measured[/]",
}


def gate_table(gates: Sequence[Gate]) -> Table:
    """A row for each gate, all of it words, and so set to the left."""
    shown = Table(box=None, pad_edge=False, show_edge=False)
    for name, width in (("gate", 24), ("value", None), ("target", None), ("status", 14)):
        shown.add_column(name, overflow="fold", width=width)
    for gate in gates:
        sign = _SIGNS.get(gate.status, safe(gate.status))
        shown.add_row(safe(gate.name), safe(gate.value), safe(gate.target), sign)
    return shown


def gate_notes(gates: Sequence[Gate]) -> Iterator[Text]:
    """Why each gate did not pass; the text is wrapped where it is printed."""
    for gate in gates:
        if gate.status != PASS:
            sign = _SIGNS.get(gate.status, safe(gate.status))
            yield styled(f"{sign}  {safe(gate.name)}: {safe(gate.note or gate.value)}")


def scores_table(rows: Iterable[tuple[str, PRF]], title: str = "") -> Table:
    """Precision, recall, F1 and support, a row for each type or average."""
    columns = ("type", "precision", "recall", "F1", "support")
    return table(title, columns, ((name, r.precision, r.recall, r.f1, r.support) for name, r in rows))


def safe(text: str) -> str:
    """The text without rich's markup and without control sequences."""
    return escape(visible(text))


def wrapped(text: str) -> Text:
    """A sentence that is cut into lines where it is printed. Data in the sentence is never markup."""
    return Text(visible(text))
