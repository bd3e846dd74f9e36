"""Webhooks' word that something changed in Label Studio: a reason to pull sooner. A lost one costs nothing."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from store.bulk import chunks
from store.columns import utc_now
from store.schema import Hint, Project
from store.session import Transaction


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
    """Note that a pull which began after these hints came has ended."""
    for chunk in chunks(hint_ids):
        unhandled = update(Hint).where(Hint.id.in_(chunk), Hint.handled_at.is_(None)).values(handled_at=utc_now())
        tx.session.execute(unhandled)
