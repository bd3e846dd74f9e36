"""`loop compare`: two systems' predictions against gold, without a project."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from loop import console
from loop.cli.gate_view import gate_notes, wrapped
from loop.cli.invocation import Invocation, command
from loop.report.wording import listed

if TYPE_CHECKING:
    from loop.evaluation.significance import Difference
    from loop.promotion.compare import Compared

BETTER, NOT_BETTER = 0, 8


def register(app: typer.Typer) -> None:
    """Add this command to `app`."""
    command(app, "compare", "loop compare new.jsonl old.jsonl --gold gold.jsonl")(compare)


def compare(
    invocation: Invocation,
    candidate: Annotated[Path, typer.Argument(metavar="A", help="What the candidate says: `id`, `spans`.")],
    incumbent: Annotated[Path, typer.Argument(metavar="B", help="What the incumbent says.")],
    gold: Annotated[Path, typer.Option(metavar="FILE", help="What people say; `text` is optional.")],
    alpha: Annotated[float, typer.Option(help="The chance of promoting a candidate that is no better.")] = 0.05,
    delta: Annotated[float, typer.Option(help="F1 (0 to 1) that an entity type may lose.")] = 0.03,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of the random arrangements.")] = 13,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out the records that break a rule, and say so.")
    ] = False,
) -> int:
    """Decide whether system A, the candidate, is better than system B, the incumbent, by the test of `loop promote`.

    The files have any format of `loop import`; what `loop predict` writes needs no text. Records are matched by `id`,
    or by their text where a file has no ids. Records that share a `doc` are one document and are resampled together.
    Each record of the gold has to be in A and B. The entity types are the gold's labels; a predicted span of another
    label counts as spurious.

    A is promoted when its micro-F1 is higher than chance explains (p at most alpha) and no entity type is shown to be
    worse. Exits with 0 when A is promoted, and with 8 when not. No project is needed.
    """
    from loop.promotion.compare import PROMOTE, compare_files

    compared = compare_files(candidate, incumbent, gold, alpha=alpha, delta=delta, seed=seed, skip_bad=skip_bad)
    invocation.answer(compared.as_json(), _table(compared), "", *map(wrapped, _told(compared)), *_notes(compared))
    return BETTER if compared.decision == PROMOTE else NOT_BETTER


def _table(compared: Compared) -> object:
    micro = _cells(compared.comparison.micro)
    rows = [(*_cells(result.row), result.gate.status) for result in compared.types]
    share = f"{compared.comparison.micro.confidence:.0%} interval"
    columns = ("", "A", "B", "A - B", share, "p", "gold", "not worse")
    return console.table("F1 in percent", columns, [*rows, (*micro, "")])


def _notes(compared: Compared) -> Iterator[Text]:
    yield from gate_notes([compared.micro, *(result.gate for result in compared.types)])


def _cells(row: Difference) -> tuple[str, ...]:
    interval = f"{100 * row.low:+.1f} to {100 * row.high:+.1f}"
    p_value = "-" if row.p_value is None else f"{row.p_value:.4f}"
    f1s = (f"{100 * row.new_f1:.1f}", f"{100 * row.old_f1:.1f}", f"{100 * row.delta:+.1f}")
    return (row.name, *f1s, interval, p_value, f"{row.support:,}")


def _told(compared: Compared) -> list[str]:
    """The decision in a sentence, the types that are too small to tell, then the notes."""
    micro, blocking = compared.comparison.micro, compared.blocking
    p_value = f"p = {micro.p_value:.4f}, alpha = {compared.alpha:g}"
    measured = f"{100 * micro.delta:+.1f} F1 points on {micro.documents:,} documents, {p_value}"
    if not blocking:
        told = f"A is better than B: {measured}."
    else:
        reasons = "; ".join(f"{gate.name} ({gate.note or gate.value})" for gate in blocking)
        told = f"A is not promoted: {measured}. Not passed: {reasons}."
    if compared.unjudged:
        told += f" Too little gold to tell of {listed(compared.unjudged)}: a risk, and no pass."
    return [told, *(f"Note: {note}" for note in compared.notes)]
