"""What is new: the reasons to train and to publish again."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import distinct, func, select
from sqlalchemy.orm import Session

from store.annotations import is_latest
from store.documents import is_open
from store.gold import LEARNED_FROM
from store.schema import AnnotationVersion, Document, Prediction, Split


def count_fresh_gold(session: Session, project_id: int, since: datetime | None) -> int:
    """How many documents outside the holdout got an annotation to learn from after `since` (None: ever)."""
    version = AnnotationVersion
    query = (
        select(func.count(distinct(version.document_id)))
        .join(Document, Document.id == version.document_id)
        .join(Split, Split.document_id == Document.id)
        .where(Document.project_id == project_id, Document.deleted_at.is_(None), Split.split.in_(LEARNED_FROM))
        .where(~version.deleted, ~version.skipped, version.spans.is_not(None), is_latest(version))
    )
    return session.scalar(query if since is None else query.where(version.seen_at > since)) or 0


def count_unpublished(session: Session, project_id: int, version: str) -> int:
    """How many open tasks have no prediction of that model version in the store."""
    published = select(Prediction.document_id).where(Prediction.model == version)
    query = select(func.count()).select_from(Document).where(Document.project_id == project_id, is_open())
    query = query.where(Document.ls_task_id.is_not(None), Document.deleted_at.is_(None))
    return session.scalar(query.where(Document.id.not_in(published))) or 0
