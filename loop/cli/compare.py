"""`loop compare`: two systems' predictions against gold, without a project."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from loop import console
from loop.cli.invocation import Invocation, command
from loop.cli.views.parts import gate_notes, wrapped
from loop.wording import interval, listed, points, probability

if TYPE_CHECKING:
    from loop.evaluation.regret import Estimate
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
    policy: Annotated[
        str, typer.Option(help="The rule that decides: bounded, proven, or higher for comparison.")
    ] = "bounded",
    average_loss: Annotated[
        float, typer.Option(help="bounded: the F1 (0 to 1) that a wrong decision may cost on average.")
    ] = 0.005,
    alpha: Annotated[float, typer.Option(help="proven: the chance of promoting a candidate that is no better.")] = 0.05,
    delta: Annotated[float, typer.Option(help="proven: F1 (0 to 1) that an entity type may lose.")] = 0.03,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of the random arrangements.")] = 13,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out the records that break a rule, and say so.")
    ] = False,
) -> int:
    """Decide whether system A, the candidate, may serve in place of system B, the incumbent, as `loop promote` does.

    The files have any format of `loop import`; what `loop predict` writes needs no text. Records are matched by `id`,
    or by their text where a file has no ids. Records that share a `doc` are one document and are resampled together.
    Each record of the gold has to be in A and B. The entity types are the gold's labels; a predicted span of another
    label counts as spurious.

    With --policy bounded, A is promoted when a wrong decision costs little F1 on average and no entity type is shown to
    be worse. With --policy proven, A is promoted when its micro-F1 is higher than chance explains (p at most alpha) and
    no entity type is shown to be worse. Exits with 0 when A is promoted, and with 8 when not. No project is needed.
    """
    from loop.promotion.compare import compare_files
    from loop.promotion.policies import PROMOTE

    compared = compare_files(
        candidate,
        incumbent,
        gold,
        policy=policy,
        average_loss=average_loss,
        alpha=alpha,
        delta=delta,
        seed=seed,
        skip_bad=skip_bad,
    )
    invocation.answer(compared.as_json(), _table(compared), "", *map(wrapped, _told(compared)), *_notes(compared))
    return BETTER if compared.decision.verdict == PROMOTE else NOT_BETTER


def _by_claim(compared: Compared) -> bool:
    """Whether the policy asks for a p-value, instead of a difference."""
    return compared.decision.needed is None


def _table(compared: Compared) -> object:
    micro = compared.comparison.micro
    if _by_claim(compared):
        rows = [(*_cells(result.row), result.gate.status) for result in compared.types]
        share = f"{micro.confidence:.0%} interval"
        columns = ("", "A", "B", "A - B", share, "p", "gold", "not worse")
        return console.table("F1 in percent", columns, [*rows, (*_cells(micro), "")])
    columns = ("", "A", "B", "A - B", "error", "P(better)", "gold", "needed")
    needed = points(compared.decision.needed or 0)
    rows = [
        (*_estimated(result.row, result.estimate), "blocks" if result.row.name in compared.decision.types else "")
        for result in compared.types
    ]
    return console.table("F1 in percent", columns, [*rows, (*_estimated(micro, compared.decision.served), needed)])


def _notes(compared: Compared) -> Iterator[Text]:
    if _by_claim(compared):
        yield from gate_notes([compared.micro, *(result.gate for result in compared.types)])


def _cells(row: Difference) -> tuple[str, ...]:
    p_value = "-" if row.p_value is None else f"{row.p_value:.4f}"
    return (*_f1s(row), interval(row.low, row.high), p_value, f"{row.support:,}")


def _estimated(row: Difference, found: Estimate) -> tuple[str, ...]:
    return (*_f1s(row), f"{100 * found.error:.1f}", probability(found.better), f"{row.support:,}")


def _f1s(row: Difference) -> tuple[str, ...]:
    return (row.name, f"{100 * row.new_f1:.1f}", f"{100 * row.old_f1:.1f}", points(row.delta))


def _told(compared: Compared) -> list[str]:
    """The decision in a sentence, what would help, then the notes."""
    told = [_claim(compared)] if _by_claim(compared) else [*_bounded(compared)]
    return [*told, *(f"Note: {note}" for note in compared.notes)]


def _claim(compared: Compared) -> str:
    micro, reasons = compared.comparison.micro, compared.decision.reasons
    p_value = f"p = {micro.p_value:.4f}, alpha = {compared.alpha:g}"
    measured = f"{points(micro.delta)} F1 points on {micro.documents:,} documents, {p_value}"
    told = f"A is not promoted: {measured}. Not passed: {'; '.join(reasons)}." if reasons else ""
    told = told or f"A is better than B: {measured}."
    if compared.unjudged:
        told += f" Too little gold to tell of {listed(compared.unjudged)}: a risk, and no pass."
    return told


def _bounded(compared: Compared) -> Iterator[str]:
    from loop.promotion.policies import REJECT

    decision, micro = compared.decision, compared.comparison.micro
    needed, better = points(decision.needed or 0), probability(decision.served.better)
    measured = (
        f"{points(micro.delta)} F1 points on {micro.documents:,} documents (standard error "
        f"{100 * decision.served.error:.1f}, {needed} needed), better with a probability of {better}"
    )
    if not decision.reasons:
        yield f"A is promoted, {decision.word}: {measured}."
        return
    verdict = "rejected" if decision.verdict == REJECT else "held"
    yield f"A is {verdict}, {decision.word}: {measured}. Not passed: {'; '.join(decision.reasons)}."
    if decision.needed:
        yield f"With {compared.documents_until_any:,} documents of this kind, any difference from 0 on is enough."
