"""From a rollback and the store to its report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields

from sqlalchemy.orm import Session

from loop.promotion.rollback import RolledBack
from loop.report import facts
from loop.report.gather import forced_promotions, origin
from loop.report.history import PastDecision, decisions
from loop.wording import DEFAULT_REASON, listed, number_of
from store.database.schema import HOLDOUT
from store.database.session import Store
from store.projects import project_by_name
from store.registry import PROMOTE, scores

_AFFECTED = [one.name for one in fields(facts.AffectedAnnotation)]


def report_of_rollback(project_name: str, done: RolledBack, store: Store) -> facts.RollbackReport:
    """The report of one rollback, from one snapshot of the store."""
    with store.read() as session:
        project = project_by_name(session, project_name)
        known, linked = decisions(session, project.id), project.ls_project_id is not None
        withdrawn = [_model(session, one, "withdrawn") for one in reversed(done.withdrawn)]
        models = (_model(session, done.version, "in service again"), *withdrawn)
    headline = "put back" if put_forward(done, known) else "rolled back"
    service = _service(done, known)
    return facts.RollbackReport(
        format=facts.FORMAT,
        kind=facts.ROLLBACK,
        at=done.at,
        project=project_name,
        version=done.version,
        withdrawn=done.withdrawn,
        who=done.who,
        reason=done.reason,
        verdict=facts.Verdict(headline, (_what(done, headline), _then(done, linked=linked))),
        models=models,
        affected=tuple(
            facts.AffectedAnnotation(**{name: getattr(one, name) for name in _AFFECTED}) for one in done.affected
        ),
        exact=done.exact,
        requeued=done.requeued,
        published=done.published is not None if linked else None,
        publish_problem=done.publish_problem if linked else None,
        forced=forced_promotions(known),
        service=service,
        next_steps=tuple(_next_steps(done, service, linked=linked)),
        history=tuple(known),
    )


def put_forward(done: RolledBack, known: Sequence[PastDecision]) -> bool:
    """Whether the version that serves now is newer than the withdrawn one: `--to` can go forward, too."""
    order = list(dict.fromkeys(one.version for one in known if one.action == PROMOTE))
    if not done.withdrawn or not {done.version, done.withdrawn[-1]} <= set(order):
        return False
    return order.index(done.version) > order.index(done.withdrawn[-1])


def _model(session: Session, version: str, role: str) -> facts.RolledBackModel:
    found = origin(session, version)
    rows = scores(session, version, HOLDOUT)
    measured = tuple(facts.ModelScores(row.entity_type, row.precision, row.recall, row.f1, row.support) for row in rows)
    return facts.RolledBackModel(
        version, role, found.encoder if found else None, found.trained_at if found else None, measured
    )


def _what(done: RolledBack, headline: str) -> str:
    gone, reason = listed([*reversed(done.withdrawn)]) or "none", done.reason.strip().rstrip(".")
    why = "" if reason in ("", DEFAULT_REASON) else f": {reason}"
    again = "was put back into service" if headline == "put back" else "is in service again"
    return f"{done.version} {again}, in place of {gone}{why}."


def _then(done: RolledBack, *, linked: bool) -> str:
    told = "" if done.exact else ", as far as times tell,"
    if not done.affected:
        none = "The project is in no Label Studio, so nobody saw a pre-label of the withdrawn model."
        return f"No annotation was{told} made on top of the withdrawn pre-labels." if linked else none
    number, verb = number_of(len(done.affected), "annotation"), "was" if len(done.affected) == 1 else "were"
    queued = "No task was put back into the queue."
    if done.requeued is not None:
        queued = f"In the queue again: {number_of(done.requeued, 'task')}."
    return f"{number} {verb}{told} made on top of the withdrawn pre-labels. {queued}"


def _service(done: RolledBack, known: Sequence[PastDecision]) -> facts.ServiceEntry | None:
    """The last promotion of the withdrawn model."""
    gone = done.withdrawn[-1] if done.withdrawn else None
    put = next((one for one in reversed(known) if one.version == gone and one.action == PROMOTE), None)
    if put is None:
        return None
    return facts.ServiceEntry(put.version, put.forced, put.who, put.because, put.failed, put.unjudged)


def _next_steps(done: RolledBack, service: facts.ServiceEntry | None, *, linked: bool) -> Iterator[facts.Entry]:
    if linked and (done.published is None or done.publish_problem):
        text = f"Run `loop publish`: open tasks do not have the predictions of {done.version} yet."
        yield facts.Entry("publish", text)
    if done.affected and done.requeued is None:
        unchanged = sum(one.unchanged is True for one in done.affected)
        first = f", {unchanged:,} of which were accepted unchanged" if unchanged else ""
        text = (
            f"Look at {number_of(len(done.affected), 'annotation')} on withdrawn pre-labels{first}. "
            f"`loop rollback --to {done.version} --requeue` puts their tasks back into the queue."
        )
        yield facts.Entry("annotations", text, {"affected": len(done.affected), "unchanged": unchanged})
    if service and service.failed:
        text = f"Before you promote {service.version} again, see to the gates that it failed: {listed(service.failed)}."
        yield facts.Entry("gates", text, {"failed": service.failed})
    if done.withdrawn:
        text = (
            f"The next candidate is trained from {done.version} on: `loop retrain`, then `loop promote`. "
            f'To undo the rollback itself: `loop rollback --to {done.withdrawn[-1]} --reason "..."`.'
        )
        yield facts.Entry("retrain", text)
