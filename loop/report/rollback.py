"""The content of a rollback's report. Layout, format 1, as `loop.report.content`'s:

format, kind ("rollback"), at, project, version, withdrawn (the one that served last at the end), who, reason
verdict     headline; sentences (two)
models      version, role, scores (name, precision, recall, f1, support), trained_at, encoder; each as last measured
affected    document, task_id, annotation_id, annotator, at, version, unchanged, gold
exact, requeued, published (null where the project is in no Label Studio), publish_problem
forced      every promotion by force so far
history     every decision so far
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy.orm import Session

from loop.report.content import FORMAT, ROLLBACK, Report, plain
from loop.report.history import decisions
from loop.report.ledger import forced
from loop.report.metadata import described
from loop.report.wording import listed, number_of
from store.projects import project_by_name
from store.schema import HOLDOUT
from store.scores import scores
from store.session import Store

_AFFECTED = ("document", "task_id", "annotation_id", "annotator", "at", "version", "unchanged", "gold")


class Affected(Protocol):
    """An annotation begun from a withdrawn pre-label: `loop.withdrawn.Affected`, as far as it is needed here."""

    @property
    def document(self) -> str: ...

    @property
    def unchanged(self) -> bool | None: ...


class RolledBack(Protocol):
    """`loop.rollback.RolledBack`, as far as it is needed here."""

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
            "verdict": {"headline": "rolled back", "sentences": [_what(done), _then(done)]},
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
            "history": known,
        }
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


def _what(done: RolledBack) -> str:
    gone = listed([*reversed(done.withdrawn)]) or "none"
    return f"{done.version} is in service again, in place of {gone}: {done.reason.strip().rstrip('.')}."


def _then(done: RolledBack) -> str:
    told = "" if done.exact else ", as far as times tell,"
    if not done.affected:
        return f"No annotation was{told} made on top of the withdrawn pre-labels."
    number = number_of(len(done.affected), "annotation")
    verb = "was" if len(done.affected) == 1 else "were"
    queued = "none of their tasks was put back into the queue"
    if done.requeued is not None:
        queued = f"in the queue again: {number_of(done.requeued, 'task')}"
    return f"{number} {verb}{told} made on top of the withdrawn pre-labels; {queued}."
