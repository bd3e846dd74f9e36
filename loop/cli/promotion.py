"""`loop promote`, `loop rollback`: which model serves. `loop renew-holdout`: another holdout judges."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from loop import console
from loop.cli.invocation import Invocation, Version, command, who
from loop.cli.views.parts import wrapped
from loop.cli.views.promotion import attempt_view, rollback_view
from loop.wording import DEFAULT_REASON
from ner.errors import ConfigError

if TYPE_CHECKING:
    from loop.label_studio.client import LabelStudioClient
    from loop.service.decisions import Attempted

NOT_PROMOTED = 8


def register(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    command(app, "promote", "loop promote")(promote)
    command(app, "renew-holdout", "loop renew-holdout")(renew_holdout)
    command(app, "rollback", "loop rollback --reason 'misses versions' --requeue")(rollback)


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
    done = attempt_promotion(
        invocation.store,
        invocation.settings,
        invocation.project,
        version,
        who=who(),
        force_because=because,
        stages=invocation.stage,
    )
    invocation.answer(_as_json(done), *attempt_view(done))
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


def rollback(
    invocation: Invocation,
    to: Annotated[str | None, typer.Option(metavar="VERSION", help="Back to this one, not to the one before.")] = None,
    reason: Annotated[str, typer.Option(help="Why; it is kept with the decision.")] = DEFAULT_REASON,
    requeue: Annotated[
        bool, typer.Option("--requeue", help="Put the tasks annotated from withdrawn pre-labels back into the queue.")
    ] = False,
) -> int | None:
    """Put the model that was in service before back. Its bundle is verified first.

    The backend takes the model up by itself. When Label Studio answers, open tasks get the predictions of the restored
    model back, and the annotations that were submitted on top of the withdrawn model's pre-labels are listed. `loop
    run` or `loop publish` sends what could not be sent now.

    --requeue deletes and changes no annotation: each of these tasks asks for one annotator more. Label Studio offers
    the task to everybody who has not annotated it. Its own annotator gets it last, as a draft, and only where that is
    the user whose key is configured; any other annotator finds it in the data manager, as a task that is not completed.
    Until somebody annotates the task again, its annotation stays gold.

    After a rollback that was interrupted, --to with the version that is in service now does what was left: the command
    publishes, lists and requeues again, and takes those tasks out of the queue that somebody has looked at since.
    """
    from dataclasses import asdict

    from loop.promotion.rollback import rollback as put_back
    from loop.service.decisions import report_on_rollback

    project, settings = invocation.project, invocation.settings
    client, obstacle = (None, None) if project.ls_project_id is None else _client(invocation)
    ticker = invocation.ticker("texts tagged")
    done = put_back(
        invocation.store,
        settings,
        project,
        who=who(),
        reason=reason,
        to=to,
        client=client,
        requeue=requeue,
        threads=settings.backend.threads,
        progress=lambda tagged, _: ticker(tagged),
    )
    report, unwritten = report_on_rollback(invocation.store, settings, project, done)
    problem = done.publish_problem or obstacle
    said = console.styled(f"[bold]{escape(done.version)}[/] is in service again, in place of {escape(done.previous)}.")
    lines = rollback_view(done, problem, linked=project.ls_project_id is not None)
    about_report = f"Report: {report['html']}" if report else str(unwritten)
    answer = {**asdict(done), "previous": done.previous, "publish_problem": problem, "report": report}
    invocation.answer(answer, said, *lines, about_report)
    return 0


def _as_json(done: Attempted) -> dict[str, object]:
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


def _client(invocation: Invocation) -> tuple[LabelStudioClient | None, str | None]:
    """The client, or why there is none: a rollback needs no server."""
    try:
        return invocation.client, None
    except ConfigError as error:
        return None, str(error)
