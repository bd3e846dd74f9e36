"""The content of a rollback's report. Layout, format 1, as `loop.report.content`'s:

format, kind ("rollback"), at, project, version, withdrawn (the one that served last at the end), who, reason
verdict     headline; sentences (two)
models      version, role, scores (name, precision, recall, f1, support), trained_at, encoder; each as last measured
affected    document, task_id, annotation_id, annotator, at, version, unchanged, gold
exact, requeued, published (null where the project is in no Label Studio), publish_problem
service     version, forced, who, because, failed, unjudged: how the withdrawn model had got into service, if known
forced      every promotion by force so far
next_steps  topic, text, figures
history     every decision so far
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy.orm import Session

from loop.report.content import FORMAT, ROLLBACK, Report, plain
from loop.report.history import PastDecision, decisions
from loop.report.ledger import forced
from loop.report.limits import Entry, entry
from loop.report.metadata import described
from loop.report.wording import listed, number_of
from store.projects import project_by_name
from store.registry import PROMOTE, scores
from store.schema import HOLDOUT
from store.session import Store

DEFAULT_REASON = "asked for on the command line"
_AFFECTED = ("document", "task_id", "annotation_id", "annotator", "at", "version", "unchanged", "gold")


class Affected(Protocol):
    """An annotation that began from a withdrawn pre-label, as far as a report needs it."""

    @property
    def document(self) -> str: ...

    @property
    def unchanged(self) -> bool | None: ...


class RolledBack(Protocol):
    """`loop.promotion.rollback.RolledBack`, as far as it is needed here."""

    @property
    def version(self) -> str: ...

    @property
    def withdrawn(self) -> tuple[str, ...]: ...

    @property
    def reason(self) -> str: ...

    @property
    def who(self) -> str: ...

    @property
    def at(self) -> datetime: ...

    @property
    def affected(self) -> Sequence[Affected]: ...

    @property
    def exact(self) -> bool: ...

    @property
    def requeued(self) -> int | None: ...

    @property
    def published(self) -> object | None: ...

    @property
    def publish_problem(self) -> str | None: ...


def report_of_rollback(project_name: str, done: RolledBack, store: Store) -> Report:
    """The report of one rollback, from one snapshot of the store."""
    with store.read() as session:
        project = project_by_name(session, project_name)
        known = decisions(session, project.id)
        linked = project.ls_project_id is not None
        report = {
            "format": FORMAT,
            "kind": ROLLBACK,
            "at": done.at,
            "project": project_name,
            "version": done.version,
            "withdrawn": done.withdrawn,
            "who": done.who,
            "reason": done.reason,
            "verdict": {"headline": _headline(done, known), "sentences": [_what(done, known), _then(done, linked)]},
            "models": [
                _model(session, done.version, "in service again"),
                *(_model(session, one, "withdrawn") for one in reversed(done.withdrawn)),
            ],
            "affected": [{name: getattr(one, name, None) for name in _AFFECTED} for one in done.affected],
            "exact": done.exact,
            "requeued": done.requeued,
            "published": done.published is not None if linked else None,
            "publish_problem": done.publish_problem if linked else None,
            "forced": forced(known),
            "service": _service(done, known),
            "history": known,
        }
    report["next_steps"] = _next_steps(done, report)
    made: Report = plain(report)
    return made


def _model(session: Session, version: str, role: str) -> dict[str, Any]:
    origin = described(session, version) or {}
    rows = scores(session, version, HOLDOUT)
    return {
        "version": version,
        "role": role,
        "encoder": origin.get("encoder"),
        "trained_at": origin.get("trained_at"),
        "scores": [
            {"name": r.entity_type, "precision": r.precision, "recall": r.recall, "f1": r.f1, "support": r.support}
            for r in rows
        ],
    }


def put_forward(done: RolledBack, known: Sequence[PastDecision]) -> bool:
    """Whether the version that serves now is newer than the one that is withdrawn: `--to` goes forward, too."""
    order = list(dict.fromkeys(one.version for one in known if one.action == PROMOTE))
    if not done.withdrawn or not {done.version, done.withdrawn[-1]} <= set(order):
        return False
    return order.index(done.version) > order.index(done.withdrawn[-1])


def _headline(done: RolledBack, known: Sequence[PastDecision]) -> str:
    return "put back" if put_forward(done, known) else "rolled back"


def _what(done: RolledBack, known: Sequence[PastDecision]) -> str:
    gone = listed([*reversed(done.withdrawn)]) or "none"
    reason = done.reason.strip().rstrip(".")
    why = "" if reason in ("", DEFAULT_REASON) else f": {reason}"
    again = "was put back into service" if put_forward(done, known) else "is in service again"
    return f"{done.version} {again}, in place of {gone}{why}."


def _service(done: RolledBack, known: Sequence[PastDecision]) -> dict[str, Any] | None:
    """How the withdrawn model had got into service, by its last promotion."""
    gone = done.withdrawn[-1] if done.withdrawn else None
    put = next((one for one in reversed(known) if one.version == gone and one.action == PROMOTE), None)
    if put is None:
        return None
    return {
        "version": put.version,
        "forced": put.forced,
        "who": put.who,
        "because": put.because,
        "failed": put.failed,
        "unjudged": put.unjudged,
    }


def _next_steps(done: RolledBack, report: dict[str, Any]) -> list[Entry]:
    steps = []
    if report["published"] is False or report["publish_problem"]:
        text = f"Run `loop publish`: open tasks do not have the predictions of {done.version} yet."
        steps.append(entry("publish", text))
    unchanged = sum(one.unchanged is True for one in done.affected)
    if done.affected and done.requeued is None:
        first = f", {unchanged:,} of them accepted unchanged," if unchanged else ""
        number = number_of(len(done.affected), "annotation")
        text = f"Look at {number} on withdrawn pre-labels{first} or run `loop rollback --to {done.version} --requeue`."
        steps.append(entry("annotations", text, affected=len(done.affected), unchanged=unchanged))
    service = report["service"]
    if service and service["failed"]:
        text = f"Before {service['version']} is offered again, see to what it had failed: {listed(service['failed'])}."
        steps.append(entry("gates", text, failed=service["failed"]))
    if done.withdrawn:
        text = (
            f"The next candidate goes on from {done.version}: `loop retrain`, and `loop promote` against it. "
            f'To take the rollback itself back: `loop rollback --to {done.withdrawn[-1]} --reason "..."`.'
        )
        steps.append(entry("retrain", text))
    return steps


def _then(done: RolledBack, linked: bool) -> str:
    told = "" if done.exact else ", as far as times tell,"
    if not done.affected and not linked:
        return "There is no Label Studio: nothing was pre-labelled there."
    if not done.affected:
        return f"No annotation was{told} made on top of the withdrawn pre-labels."
    number = number_of(len(done.affected), "annotation")
    verb = "was" if len(done.affected) == 1 else "were"
    queued = "none of their tasks was put back into the queue"
    if done.requeued is not None:
        queued = f"in the queue again: {number_of(done.requeued, 'task')}"
    return f"{number} {verb}{told} made on top of the withdrawn pre-labels; {queued}."
