"""What was published: a model's predictions for documents, and the order in which the documents are to be labelled.

When a model is withdrawn, this module also tells which versions served, and which annotations began from a pre-label.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session, aliased

from ner.spans import Span
from store.annotations import LABEL_STUDIO, is_latest
from store.columns import utc_now
from store.registry import MOVES, model
from store.schema import AnnotationVersion, Document, Prediction, Promotion, QueueRank, Split
from store.session import Transaction, chunks, insert_rows, select_in


@dataclass(frozen=True, slots=True)
class NewPrediction:
    """Spans and task score (0..1, low first in the queue) of a document; a `holdout` one is published empty."""

    document_id: int
    score: float
    spans: tuple[Span, ...]
    holdout: bool = False


def save_predictions(tx: Transaction, version: str, items: Iterable[NewPrediction]) -> int:
    """Note what is about to be sent, in place of the model's earlier predictions for these documents; gives the number.

    A prediction counts as one that annotators may have seen, and not as an empty one, until it is confirmed.
    """
    name = model(tx.session, version).version
    rows = {
        item.document_id: {
            "document_id": item.document_id,
            "model": name,
            "score": item.score,
            "spans": item.spans,
            "holdout": item.holdout,
            "published_at": utc_now(),
            "confirmed_at": None,
        }
        for item in items
    }
    for chunk in chunks(rows):
        mine = delete(Prediction).where(Prediction.model == name, Prediction.document_id.in_(chunk))
        tx.session.execute(mine.execution_options(synchronize_session=False))
    insert_rows(tx.session, Prediction, list(rows.values()))
    return len(rows)


def confirm_predictions(tx: Transaction, version: str, document_ids: Iterable[int]) -> int:
    """Note that Label Studio has the model's predictions for these documents, and shows them.

    Gives how many were not confirmed before.
    """
    waiting = select(Prediction.document_id).where(Prediction.model == version, Prediction.confirmed_at.is_(None))
    ids = [row[0] for row in select_in(tx.session, waiting, Prediction.document_id, set(document_ids))]
    for chunk in chunks(ids):
        mine = update(Prediction).where(Prediction.model == version, Prediction.document_id.in_(chunk))
        tx.session.execute(mine.values(confirmed_at=utc_now()).execution_options(synchronize_session=False))
    return len(ids)


def predictions(session: Session, version: str) -> dict[int, Prediction]:
    """A model's predictions by document id."""
    query = select(Prediction).where(Prediction.model == version).order_by(Prediction.document_id)
    return {row.document_id: row for row in session.scalars(query)}


def save_ranks(tx: Transaction, version: str, ordered: Sequence[tuple[int, float]]) -> int:
    """Store a model's queue, (document id, confidence) with the first to label first, in place of its earlier one."""
    name = model(tx.session, version).version
    mine = delete(QueueRank).where(QueueRank.model == name)
    tx.session.execute(mine.execution_options(synchronize_session=False))
    rows = [
        {"document_id": document, "model": name, "confidence": confidence, "rank": rank}
        for rank, (document, confidence) in enumerate(ordered)
    ]
    insert_rows(tx.session, QueueRank, rows)
    return len(rows)


def ranks(session: Session, version: str) -> list[QueueRank]:
    """A model's queue, the first to label first."""
    return list(session.scalars(select(QueueRank).where(QueueRank.model == version).order_by(QueueRank.rank)))


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
    """What a version said of a document from `published_at` on; a `holdout` one is known to be empty there."""

    version: str
    spans: tuple[Span, ...]
    holdout: bool
    published_at: datetime


def moves(decisions: Iterable[Promotion]) -> list[Promotion]:
    """Those decisions that put a model into service, in their order."""
    return [decision for decision in decisions if decision.action in MOVES]


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


def published_on(
    session: Session, document_ids: Collection[int], versions: Collection[str] | None = None
) -> dict[int, list[Published]]:
    """What was published for these documents, or may have been, by document id, oldest first; of these versions."""
    found: dict[int, list[Published]] = {}
    row = Prediction
    query = select(row.document_id, row.model, row.spans, row.holdout, row.confirmed_at, row.published_at)
    if versions is not None:
        query = query.where(row.model.in_(sorted(versions)))
    for document, version, spans, holdout, confirmed, at in select_in(
        session, query, row.document_id, set(document_ids)
    ):
        found.setdefault(document, []).append(Published(version, spans, holdout and confirmed is not None, at))
    return {document: sorted(items, key=lambda one: one.published_at) for document, items in found.items()}


def served_at(moved: Sequence[Promotion], moment: datetime) -> str | None:
    """The version that was in service at that moment."""
    return next((decision.version for decision in reversed(moved) if decision.at <= moment), None)


def version_shown(made_at: datetime, shown: Sequence[Published], moved: Sequence[Promotion]) -> str | None:
    """The version whose pre-label an annotation was begun from, told by times; None where no version served by then.

    It is the version in service at that time if it was published by then, else the version published last by then:
    between a promotion and its publishing, annotators still see the version before. `shown`: oldest first.
    """
    serving = served_at(moved, made_at)
    by_then = [one.version for one in shown if one.published_at <= made_at]
    return serving if serving in by_then or not by_then else by_then[-1]


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
