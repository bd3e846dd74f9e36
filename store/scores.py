"""Scores of models, for each entity type, micro and macro, by dataset."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from store.bulk import insert_rows
from store.columns import utc_now
from store.registry import model
from store.schema import Score
from store.session import Transaction


@dataclass(frozen=True, slots=True)
class TypeScore:
    """Precision, recall and F1 in 0..1; `entity_type` may be `micro` or `macro`. Counts are of entities."""

    entity_type: str
    precision: float
    recall: float
    f1: float
    support: int
    true_positives: int
    predicted: int


def save_scores(tx: Transaction, version: str, dataset: str, scored: Iterable[TypeScore], fingerprint: str) -> None:
    """Store one evaluation; `fingerprint` says on which texts and spans it was done. Earlier ones stay."""
    common = {
        "model": model(tx.session, version).version,
        "dataset": dataset,
        "fingerprint": fingerprint,
        "evaluated_at": utc_now(),
    }
    insert_rows(tx.session, Score, [asdict(item) | common for item in scored])


def scores(session: Session, version: str, dataset: str) -> list[TypeScore]:
    """The latest evaluation of a model on a dataset, in the order it was stored; empty when there is none."""
    mine = (Score.model == version, Score.dataset == dataset)
    latest = select(func.max(Score.evaluated_at)).where(*mine).scalar_subquery()
    columns = [getattr(Score, item.name) for item in fields(TypeScore)]
    rows = session.execute(select(*columns).where(*mine, Score.evaluated_at == latest).order_by(Score.id))
    return [TypeScore(*row) for row in rows]


def scored_fingerprint(session: Session, version: str, dataset: str) -> str | None:
    """What the latest evaluation of a model on a dataset was done on; None when there is none."""
    query = select(Score.fingerprint).where(Score.model == version, Score.dataset == dataset)
    return session.scalar(query.order_by(Score.evaluated_at.desc(), Score.id).limit(1))
