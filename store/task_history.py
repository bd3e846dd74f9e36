"""What a pull asks of the past: annotations that a task had on an earlier text, and tasks that are no documents."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from store.annotations import LABEL_STUDIO
from store.bulk import select_in
from store.schema import AnnotationVersion, Document, SetAside, Split
from store.tasks import REPLACED


@dataclass(frozen=True, slots=True)
class SeenOn:
    """A version of an annotation as it was seen on another document."""

    document_id: int
    content_hash: str
    source_updated_at: datetime | None


def successors(session: Session, document_ids: Iterable[int]) -> dict[int, str]:
    """Those of these documents that took the place of one whose text was edited, with their content hashes."""
    query = select(Document.id, Document.content_hash).join(Split, Split.document_id == Document.id)
    rows = select_in(session, query.where(Split.reason == REPLACED), Document.id, set(document_ids))
    return {row[0]: row[1] for row in rows}


def seen_elsewhere(
    session: Session, project_id: int, source_ids: Iterable[str], besides: Collection[int]
) -> dict[str, list[SeenOn]]:
    """Versions of Label Studio's annotations (by id) on the project's documents, those `besides` left out."""
    version = AnnotationVersion
    query = (
        select(version.source_id, Document.id, Document.content_hash, version.source_updated_at)
        .join(Document, Document.id == version.document_id)
        .where(Document.project_id == project_id, version.source == LABEL_STUDIO)
    )
    found: dict[str, list[SeenOn]] = {}
    for name, document, content_hash, moment in select_in(session, query, version.source_id, set(source_ids)):
        if document not in besides:
            found.setdefault(name, []).append(SeenOn(document, content_hash, moment))
    return found


def set_aside_without_document(session: Session, project_id: int, reasons: Collection[str]) -> set[str]:
    """Where things came from that stand set aside, not mended, for one of these reasons and belong to no document."""
    query = _places(project_id, reasons).where(SetAside.document_id.is_(None))
    return set(session.scalars(query.distinct()))


def places_set_aside(session: Session, project_id: int, reasons: Collection[str]) -> set[str]:
    """Where things came from that stand set aside, not mended, for one of these reasons."""
    return set(session.scalars(_places(project_id, reasons).distinct()))


def _places(project_id: int, reasons: Collection[str]) -> Select[str]:
    query = select(SetAside.source_ref).where(SetAside.project_id == project_id, SetAside.mended_at.is_(None))
    return query.where(SetAside.reason.in_(list(reasons)))
