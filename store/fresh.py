"""What is new: the reasons to train and to publish again."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import distinct, func, select
from sqlalchemy.orm import Session

from ner.spans import Span
from store.annotations import is_latest
from store.bulk import select_in
from store.documents import is_open
from store.gold import LEARNED_FROM, is_held_out
from store.schema import HOLDOUT, AnnotationVersion, Document, Prediction, Split

_Key = tuple[int, str, str]
_Spans = frozenset[tuple[int, int, str]]


def count_fresh_gold(session: Session, project_id: int, since: datetime | None) -> int:
    """How many documents that may be trained on got something new to learn after `since` (None: ever).

    A later version of an annotation that says the same spans is nothing new: Label Studio forgets the parents of
    annotations when predictions are deleted. What was in a holdout that was retired since is new.
    """
    version = AnnotationVersion
    learned = (
        select(version.document_id, version.source, version.source_id, version.spans)
        .join(Document, Document.id == version.document_id)
        .join(Split, Split.document_id == Document.id)
        .where(Document.project_id == project_id, Document.deleted_at.is_(None), Split.split.in_(LEARNED_FROM))
        .where(~version.deleted, ~version.skipped, version.spans.is_not(None), is_latest(version))
        .where(~is_held_out(Document))
    )
    if since is None:
        return session.scalar(learned.with_only_columns(func.count(distinct(version.document_id)))) or 0
    seen = session.execute(learned.where(version.seen_at > since)).all()
    before = _learned_before(session, {row.document_id for row in seen}, since)
    fresh = [row for row in seen if before.get((row.document_id, row.source, row.source_id)) != _as_set(row.spans)]
    retired = session.scalars(
        learned.where(Split.assigned_at > since, Split.epoch > 0).with_only_columns(version.document_id)
    )
    return len({row.document_id for row in fresh} | set(retired))


def count_unpublished(session: Session, project_id: int, version: str) -> int:
    """How many open tasks have no prediction of that model version in the store, or one for another split."""
    fitting = Prediction.holdout == (Split.split == HOLDOUT)
    published = select(Prediction.document_id).join(Split, Split.document_id == Prediction.document_id)
    published = published.where(Prediction.model == version, fitting)
    query = select(func.count()).select_from(Document).where(Document.project_id == project_id, is_open())
    query = query.where(Document.ls_task_id.is_not(None), Document.deleted_at.is_(None))
    return session.scalar(query.where(Document.id.not_in(published))) or 0


def _learned_before(session: Session, documents: set[int], since: datetime) -> dict[_Key, _Spans | None]:
    """What each annotation of these documents said at `since`; None where nothing could be learned from it."""
    version = AnnotationVersion
    query = select(
        version.sequence,
        version.document_id,
        version.source,
        version.source_id,
        version.spans,
        version.skipped,
        version.deleted,
    ).where(version.seen_at <= since)
    said: dict[_Key, _Spans | None] = {}
    for row in sorted(select_in(session, query, version.document_id, documents), key=lambda row: row.sequence):
        usable = row.spans is not None and not row.skipped and not row.deleted
        said[row.document_id, row.source, row.source_id] = _as_set(row.spans) if usable else None
    return said


def _as_set(spans: Iterable[Span]) -> _Spans:
    return frozenset((span.start, span.end, span.label) for span in spans)
