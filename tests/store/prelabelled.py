"""Pre-labels that were published, and annotations that were begun from them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import update

from ner.spans import Span
from store.annotations import LABEL_STUDIO
from store.database.schema import Prediction, Project, Promotion
from store.database.session import Store
from store.predictions import NewPrediction, confirm_predictions, save_predictions
from store.registry import promote
from store.tasks import upsert_tasks
from tests.store import given

LINUX, GNOME = (0, 5, "OS"), (6, 11, "SOFTWARE")
TEXT = "Linux Gnome"


def tasks(store: Store, project: Project, *texts: str, **fields: Any) -> list[int]:
    """Documents that are the tasks 1, 2, ... of Label Studio."""
    new = [given.task(key, text, **fields) for key, text in enumerate(texts, 1)]
    with store.transaction() as tx:
        ids = upsert_tasks(tx, project.id, new).document_ids
        tx.commit()
    return [ids[key] for key in sorted(ids)]


def serve(store: Store, project: Project, at: datetime) -> str:
    """A version that is in service from that moment on."""
    version = given.candidate(store, project.id)
    with store.transaction() as tx:
        promote(tx, project.id, version, reason="a test", who="a test", force=True)
        tx.session.execute(update(Promotion).where(Promotion.version == version).values(at=at))
        tx.commit()
    return version


def show(
    store: Store, version: str, documents: Sequence[int], at: datetime, *spans: tuple[int, int, str], held: bool = False
) -> None:
    """Publish these spans for each document."""
    read = tuple(Span(*span, score=0.9) for span in spans)
    with store.transaction() as tx:
        save_predictions(tx, version, [NewPrediction(document, 0.5, read, held) for document in documents])
        confirm_predictions(tx, version, documents)
        mine = (Prediction.model == version) & Prediction.document_id.in_(documents)
        tx.session.execute(update(Prediction).where(mine).values(published_at=at))
        tx.commit()


def submit(store: Store, document: int, minute: int, *spans: tuple[int, int, str], **fields: Any) -> None:
    """An annotation that was begun from a prediction."""
    told = {"name": "10", "source": LABEL_STUDIO, "parent_prediction": 100, "source_created_at": given.at(minute)}
    given.annotated(store, document, given.annotation(*spans, **(told | fields)))
