"""What was published: a model's predictions for documents, and the order in which they are to be labelled."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import and_, delete, or_, select
from sqlalchemy.orm import Session

from ner.spans import Span
from store.bulk import chunks, insert_rows
from store.columns import utc_now
from store.registry import model
from store.schema import HOLDOUT, Document, Prediction, QueueRank, Split
from store.session import Transaction


@dataclass(frozen=True, slots=True)
class NewPrediction:
    """Spans and task score (0..1, low first in the queue) of a document; a `holdout` one is published empty."""

    document_id: int
    score: float
    spans: tuple[Span, ...]
    holdout: bool = False


def save_predictions(tx: Transaction, version: str, items: Iterable[NewPrediction]) -> int:
    """Store a model's predictions, in place of its earlier ones for the same documents; gives the number."""
    name = model(tx.session, version).version
    rows = {
        item.document_id: {
            "document_id": item.document_id,
            "model": name,
            "score": item.score,
            "spans": item.spans,
            "holdout": item.holdout,
            "published_at": utc_now(),
        }
        for item in items
    }
    for chunk in chunks(rows):
        mine = delete(Prediction).where(Prediction.model == name, Prediction.document_id.in_(chunk))
        tx.session.execute(mine.execution_options(synchronize_session=False))
    insert_rows(tx.session, Prediction, list(rows.values()))
    return len(rows)


def predictions(session: Session, version: str) -> dict[int, Prediction]:
    """A model's predictions by document id."""
    query = select(Prediction).where(Prediction.model == version).order_by(Prediction.document_id)
    return {row.document_id: row for row in session.scalars(query)}


def misplaced_predictions(session: Session, version: str) -> set[int]:
    """The ids of live documents whose prediction by a model shows what it must not, or hides what it need not.

    One that was drawn into the holdout since carries a pre-label still; one that left it carries an empty one.
    """
    query = select(Prediction.document_id).join(Document, Document.id == Prediction.document_id)
    query = query.join(Split, Split.document_id == Document.id).where(Document.deleted_at.is_(None))
    held = Split.split == HOLDOUT
    wrong = or_(and_(held, ~Prediction.holdout), and_(~held, Prediction.holdout))
    return set(session.scalars(query.where(Prediction.model == version, wrong)))


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
