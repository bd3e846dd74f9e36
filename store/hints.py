"""Webhooks' word that something changed in Label Studio: a reason to pull sooner. A lost one costs nothing."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from store.bulk import chunks
from store.columns import utc_now
from store.schema import Hint, Project
from store.session import Transaction

KEPT = timedelta(days=1)


def add_hint(tx: Transaction, ls_project_id: int, action: str) -> int:
    """Store a hint, whether or not one project here is linked to that id; gives the hint's id."""
    linked = list(tx.session.scalars(select(Project.id).where(Project.ls_project_id == ls_project_id)))
    hint = Hint(
        project_id=linked[0] if len(linked) == 1 else None,
        ls_project_id=ls_project_id,
        action=action,
        received_at=utc_now(),
    )
    tx.session.add(hint)
    tx.session.flush()
    return hint.id


def pending_hints(session: Session, ls_project_id: int) -> list[Hint]:
    """Hints about a project in Label Studio that nobody acted on yet, oldest first."""
    query = select(Hint).where(Hint.ls_project_id == ls_project_id, Hint.handled_at.is_(None))
    return list(session.scalars(query.order_by(Hint.id)))


def handle_hints(tx: Transaction, hint_ids: Iterable[int]) -> None:
    """Note that a pull which began after these hints came has ended, and forget all others that are a day old.

    A hint of yesterday that nobody acted on is worth nothing: whoever begins to pull pulls everything first.
    """
    now, given = utc_now(), list(hint_ids)
    for chunk in chunks(given):
        unhandled = update(Hint).where(Hint.id.in_(chunk), Hint.handled_at.is_(None)).values(handled_at=now)
        tx.session.execute(unhandled)
    # The last one stays, so that no id is given twice: who waits for hints remembers the last id that it saw.
    newest = max(given, default=0)
    old = delete(Hint).where(Hint.received_at < now - KEPT, Hint.id < newest)
    tx.session.execute(old.execution_options(synchronize_session=False))
