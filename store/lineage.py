"""Where a model comes from: its parents, and exactly which annotation versions it was trained on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from store.bulk import insert_rows, select_in
from store.errors import RefusedError
from store.gold import held_out
from store.registry import model
from store.schema import Document, Model, TrainingItem
from store.session import Transaction
from store.splits import Keys

TRAIN_ROLE, DEV_ROLE = "train", "dev"
GOLD, WEAK = "gold", "weak"


@dataclass(frozen=True, slots=True)
class TrainedOn:
    """A document a model saw, for its weights (`train`) or to stop early (`dev`), with gold or weak labels.

    `annotation_version_id` is None exactly when the labels were weak.
    """

    document_id: int
    annotation_version_id: int | None
    role: str
    kind: str


def save_training_items(tx: Transaction, version: str, items: Iterable[TrainedOn]) -> int:
    """Store what a model is trained on; gives the number. Refuses any text or group that stands in the holdout."""
    found = model(tx.session, version)
    given = list(items)
    for item in given:
        _check(item)
    _check_not_held_out(tx.session, found, {item.document_id for item in given})
    rows = [
        {
            "model": version,
            "document_id": item.document_id,
            "annotation_version_id": item.annotation_version_id,
            "role": item.role,
            "kind": item.kind,
        }
        for item in given
    ]
    insert_rows(tx.session, TrainingItem, rows)
    return len(rows)


def trained_on(session: Session, version: str) -> list[TrainedOn]:
    """Everything the model was trained on, by document; without what its parents were trained on."""
    item = TrainingItem
    query = select(item.document_id, item.annotation_version_id, item.role, item.kind)
    query = query.where(item.model == model(session, version).version).order_by(item.document_id, item.kind)
    return [TrainedOn(*row) for row in session.execute(query)]


def lineage(session: Session, version: str) -> list[Model]:
    """The model, its parent, its parent's parent, up to one that was trained from the encoder."""
    chain = [model(session, version)]
    while (parent := chain[-1].parent) is not None:
        chain.append(model(session, parent))
    return chain


def _check(item: TrainedOn) -> None:
    weak = item.kind == WEAK
    if item.role not in (TRAIN_ROLE, DEV_ROLE) or item.kind not in (GOLD, WEAK):
        raise RefusedError("a training item is train or dev, gold or weak", value=item)
    if weak != (item.annotation_version_id is None):
        raise RefusedError("gold has an annotation version, weak labels have none", value=item)


def _check_not_held_out(session: Session, found: Model, document_ids: set[int]) -> None:
    held = held_out(session, found.project_id)
    query = select(Document.id, Document.group_key, Document.content_hash)
    query = query.where(Document.project_id == found.project_id)
    keys = {row[0]: Keys(row[1], row[2]) for row in select_in(session, query, Document.id, document_ids)}
    if document_ids - keys.keys():
        raise RefusedError(
            "a model is trained on documents of its project", value=sorted(document_ids - keys.keys())[:10]
        )
    refused = sorted(document for document, key in keys.items() if key in held)
    if refused:
        raise RefusedError(
            "nothing that stands in the holdout is trained on",
            value=f"documents {refused[:10]}",
            next_step="Train on what `training_gold` gives.",
        )
