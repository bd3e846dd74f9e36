"""`loop rollback`: an earlier model serves again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType
from rich.markup import escape

from loop import console
from loop.cli.invocation import Invocation, command, who
from loop.cli.views.gates import wrapped
from loop.wording import DEFAULT_REASON
from ner.errors import ConfigError

if TYPE_CHECKING:
    from loop.label_studio.client import LabelStudioClient
    from loop.promotion.rollback import Affected, RolledBack

_SHOWN = 20


def register(app: typer.Typer) -> None:
    """Add this command to `app`."""
    command(app, "rollback", "loop rollback --reason 'misses versions' --requeue")(rollback)


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
    from loop.promotion.rollback import rollback as put_back
    from loop.service.decisions import report_on_rollback

    project, settings = invocation.project, invocation.settings
    client, obstacle = (None, None) if project.ls_project_id is None else _client(invocation)
    ticker = console.Ticker("texts tagged", quiet=invocation.as_json)
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
    lines = _lines(done, problem, linked=project.ls_project_id is not None)
    about_report = f"Report: {report['html']}" if report else str(unwritten)
    invocation.answer({**as_json(done, problem), "report": report}, said, *lines, about_report)
    return 0


def as_json(done: RolledBack, problem: str | None) -> dict[str, object]:
    """The answer of --json."""
    from dataclasses import asdict

    return {**asdict(done), "previous": done.previous, "publish_problem": problem}


def _client(invocation: Invocation) -> tuple[LabelStudioClient | None, str | None]:
    """The client, or why there is none: a rollback needs no server."""
    try:
        return invocation.client, None
    except ConfigError as error:
        return None, str(error)


def _lines(done: RolledBack, problem: str | None, *, linked: bool) -> list[RenderableType]:
    if not linked and not done.affected:
        return ["There is no Label Studio: nothing was pre-labelled there."]
    said: list[RenderableType] = []
    if done.published is not None:
        sent = done.published
        told = f"{sent.created:,} predictions sent for {sent.open:,} open tasks; {sent.carried:,} carry theirs already."
        said.append(wrapped(told))
    if problem and linked:
        told = (
            f"Warning: Label Studio is not up to date ({problem}); `loop run` or `loop publish` will see to its "
            f"predictions, and `loop rollback --to {done.version}` to the rest."
        )
        said.append(wrapped(told))
    said += _about_affected(done)
    if done.requeued is not None:
        said.append(wrapped(f"{done.requeued:,} tasks are in the queue again."))
    return said


def _about_affected(done: RolledBack) -> list[RenderableType]:
    names = ", ".join(done.withdrawn)
    if not done.affected:
        told = "" if done.exact else ", as far as times tell"
        return [wrapped(f"No annotation was submitted on top of pre-labels of {names}{told}.")]
    risky = sum(item.unchanged is True for item in done.affected)
    how = "" if done.exact else ", estimated from times"
    title = f"{len(done.affected):,} annotations on top of pre-labels of {names}{how}; {risky:,} accepted unchanged:"
    columns = ("document", "task", "annotation", "annotator", "when", "pre-label of", "unchanged")
    shown = sorted(done.affected, key=lambda item: item.unchanged is not True)[:_SHOWN]
    rest = len(done.affected) - len(shown)
    more = [f"And {rest:,} more; --json lists all."] if rest else []
    return [console.table(title, columns, map(_row, shown)), *more]


def _row(item: Affected) -> tuple[object, ...]:
    unchanged = {True: "yes", False: "no", None: "unknown"}[item.unchanged]
    when = item.at.strftime("%Y-%m-%d %H:%M")
    task, annotation = str(item.task_id), str(item.annotation_id)
    return item.document, task, annotation, item.annotator or "", when, item.version, unchanged
