"""What is asked when a model is withdrawn: which versions served, and which annotations began from a pre-label."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from ner.spans import Span
from store.annotations import LABEL_STUDIO, is_latest
from store.bulk import select_in
from store.registry import PROMOTE, ROLLBACK
from store.schema import AnnotationVersion, Document, Prediction, Promotion, Split


@dataclass(frozen=True, slots=True)
class BegunFromPrelabel:
    """A live annotation that names a prediction as its parent; `parent_prediction` is Label Studio's id of it.

    made_at: when it was submitted, by Label Studio's clock where that is known. spans None: nothing can be learned
    from it. split: where its document stands now.
    """

    document_id: int
    external_id: str
    ls_task_id: int
    annotation_version_id: int
    annotation_id: int
    annotator: str | None
    made_at: datetime
    parent_prediction: int
    spans: tuple[Span, ...] | None
    split: str


@dataclass(frozen=True, slots=True)
class Published:
    """What a version said of a document when it was published there; a `holdout` one was published empty."""

    version: str
    spans: tuple[Span, ...]
    holdout: bool
    published_at: datetime


def moves(decisions: Iterable[Promotion]) -> list[Promotion]:
    """Those decisions that put a model into service, in their order."""
    return [decision for decision in decisions if decision.action in (PROMOTE, ROLLBACK)]


def withdrawn_since(moved: Sequence[Promotion], target: str) -> tuple[str, ...]:
    """The versions that served after `target` last did, the one that served last at the end; all, if it never did.

    `moved` ends with the decision that put into service what a rollback to `target` withdraws.
    """
    served = [decision.version for decision in moved]
    after = served[len(served) - served[::-1].index(target) :] if target in served else served
    return tuple(reversed(dict.fromkeys(reversed(after))))


def begun_from_prelabels(session: Session, project_id: int) -> list[BegunFromPrelabel]:
    """Label Studio's live annotations (no skips) that were begun from a prediction, on live documents, oldest first.

    Label Studio forgets where an annotation began once that prediction is deleted; the versions seen before do not.
    """
    version, earlier = AnnotationVersion, aliased(AnnotationVersion)
    parent = (
        select(earlier.parent_prediction)
        .where(earlier.document_id == version.document_id, earlier.source == version.source)
        .where(earlier.source_id == version.source_id, earlier.parent_prediction.is_not(None))
        .order_by(earlier.sequence.desc())
        .limit(1)
        .scalar_subquery()
    )
    query = (
        select(version, Document.external_id, Document.ls_task_id, Split.split, parent)
        .join(Document, Document.id == version.document_id)
        .join(Split, Split.document_id == Document.id)
        .where(Document.project_id == project_id, Document.deleted_at.is_(None), Document.ls_task_id.is_not(None))
        .where(version.source == LABEL_STUDIO, ~version.deleted, ~version.skipped)
        .where(is_latest(version), parent.is_not(None))
        .order_by(version.id)
    )
    return [_begun(*row) for row in session.execute(query)]


def published_on(session: Session, document_ids: Collection[int]) -> dict[int, list[Published]]:
    """What was published for these documents, by document id, oldest first."""
    row = Prediction
    query = select(row.document_id, row.model, row.spans, row.holdout, row.published_at)
    found: dict[int, list[Published]] = {}
    for document, *fields in select_in(session, query, row.document_id, set(document_ids)):
        found.setdefault(document, []).append(Published(*fields))
    return {document: sorted(items, key=lambda one: one.published_at) for document, items in found.items()}


def _begun(found: AnnotationVersion, external_id: str, task_id: int, split: str, parent: int) -> BegunFromPrelabel:
    return BegunFromPrelabel(
        document_id=found.document_id,
        external_id=external_id,
        ls_task_id=task_id,
        annotation_version_id=found.id,
        annotation_id=int(found.source_id),
        annotator=found.creator,
        made_at=found.source_created_at or found.seen_at,
        parent_prediction=parent,
        spans=found.spans,
        split=split,
    )
