"""`loop promote`: a candidate is judged, and put into service or not. `loop renew-holdout`: another holdout judges."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType
from rich.markup import escape

from loop import console
from loop.cli.invocation import Invocation, Version, command, who
from loop.cli.views.gates import gate_notes, gate_table, wrapped
from loop.wording import interval, points

if TYPE_CHECKING:
    from loop.evaluation.significance import Comparison
    from loop.service.decisions import Attempted

NOT_PROMOTED = 8


def register(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    command(app, "promote", "loop promote")(promote)
    command(app, "renew-holdout", "loop renew-holdout")(renew_holdout)


def promote(
    invocation: Invocation,
    version: Version = None,
    force: Annotated[
        bool, typer.Option("--force", help="Promote whatever the gates say; needs --because, and is never forgotten.")
    ] = False,
    because: Annotated[str | None, typer.Option(metavar="TEXT", help="Why a promotion is forced.")] = None,
) -> int | None:
    """Judge the newest candidate against the model in service; `promotion.policy` decides whether it serves.

    The candidate's files are proven first. Then the candidate, the model in service, the three models before it and the
    last proven one tag the holdout's texts as they serve, and older candidates are retired. By default a candidate
    serves where a wrong decision costs little F1 on average and no entity type is shown to be worse; where the best
    earlier model is clearly better than the one in service, the earlier one is put back. Whether the candidate is
    *proven* better is a claim of its own: each candidate spends a look at the holdout for it. Each attempt leaves a
    report. Ends with 8 when the candidate is not promoted, is held, or has to wait for more gold.
    """
    from loop.service.decisions import attempt_promotion

    if force != (because is not None):
        raise typer.BadParameter("--force and --because TEXT go together")
    settings, quiet = invocation.settings, invocation.as_json

    def told(stage: str) -> None:
        if not quiet:
            console.stderr().print(f"{stage} ...", highlight=False)

    done = attempt_promotion(
        invocation.store, settings, invocation.project, version, who=who(), force_because=because, stages=told
    )
    invocation.answer(as_json(done), *view(done))
    return 0 if done.promoted else NOT_PROMOTED


def renew_holdout(invocation: Invocation) -> int | None:
    """Retire the holdout into training, and draw another one from texts that nobody has labelled.

    A holdout makes claims for as many candidates as `promotion.looks` says. After that, candidates are still promoted,
    but none is called proven better. A new holdout makes claims again, once it is labelled: until it has
    `promotion.least_documents` labelled documents, candidates wait. The last few models and the last proven one are
    scored anew on it. Under the policy "proven" a spent holdout is renewed by itself.
    """
    from loop.promotion.holdout import renew_by_hand

    done = renew_by_hand(invocation.store, invocation.project, invocation.settings.promotion)
    told = (
        f"Holdout {done.epoch - 1} is retired: {done.retired:,} documents go into training. Holdout {done.epoch} has "
        f"{done.drawn + done.carried:,} documents, {done.carried:,} of which had joined after the last look."
    )
    next_step = "Next: `loop publish` takes the pre-labels of the new documents back, and people label them."
    invocation.answer(done, wrapped(told), wrapped(next_step))
    return 0


def as_json(done: Attempted) -> dict[str, object]:
    """The answer of --json: the decision; the report has everything."""
    attempt = done.attempt
    return {
        "version": attempt.version,
        "promoted": done.promoted,
        "outcome": attempt.outcome,
        "word": attempt.ruling.word if attempt.ruling else None,
        "ruling": attempt.ruling,
        "previous": attempt.incumbent,
        "reason": attempt.reason,
        "figures": done.result.figures,
        "gates": attempt.gates,
        "look": attempt.look,
        "rotation": attempt.rotation,
        "risks": attempt.risks,
        "gold_check": attempt.gold_check,
        "report": done.report,
        "notices": done.notices,
    }


def view(done: Attempted) -> Iterator[RenderableType]:
    """For people: the verdict, the gates, the types, and where the report lies."""
    from loop.quality.corruption import warnings_of
    from loop.report.verdict import HEADLINES

    attempt = done.attempt
    colour = "green" if done.promoted else "yellow"
    verdict = HEADLINES.get(attempt.outcome, attempt.outcome)
    word = f": {attempt.ruling.word}" if attempt.ruling else ""
    yield console.styled(f"[bold]{escape(attempt.version)}[/] [{colour}]{verdict}{word}[/]")
    yield wrapped(attempt.reason)
    if attempt.gates:
        yield ""
        yield gate_table(attempt.gates)
        yield from gate_notes(attempt.gates)
    if attempt.comparison is not None:
        yield ""
        yield differences(attempt.comparison)
    if attempt.gold_check is not None:
        signs = warnings_of(attempt.gold_check, attempt.version)
        yield from (console.styled(f"[yellow]![/] {escape(sign)}") for sign in signs)
    yield from map(wrapped, done.notices)
    if done.report:
        yield f"Report: {done.report['html']}"


def differences(comparison: Comparison) -> RenderableType:
    """F1 of both, the difference in points and its interval, a row for each type."""
    share = f"{comparison.micro.confidence:.0%} interval"
    rows = [
        (row.name, row.new_f1, row.old_f1, points(row.delta), interval(row.low, row.high), row.support)
        for row in (*comparison.per_type, comparison.micro)
    ]
    return console.table("", ("type", "candidate", "incumbent", "points", share, "support"), rows)
