"""What store tests start from."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import update

from ner.spans import Span
from store.annotations import FILE, NewAnnotation, append_annotations, mark_annotations_deleted
from store.database.columns import utc_now
from store.database.schema import Project, Split
from store.database.session import Store, Transaction
from store.documents import NewDocument, add_documents
from store.projects import create_project
from store.registry import TrainedOn, finish_model, promote, save_training_items, start_model
from store.runs import begin_run

CONFIG = '<View><Labels name="label" toName="text"/><Text name="text" value="$text"/></View>'
SALT = "salt"

# For tests whose claim depends on the database.
on_both = pytest.mark.parametrize("backend", ["sqlite", "postgresql"])


def project(store: Store, name: str = "IT Support", *, share: float = 0.5) -> Project:
    """A committed project with the known salt."""
    with store.transaction() as tx:
        made = create_project(tx, name, label_config=CONFIG, labels=["OS", "SOFTWARE"], holdout_share=share, salt=SALT)
        tx.commit()
    return made


def documents(store: Store, project_id: int, texts: Sequence[str], split: str = "train") -> list[int]:
    """The ids of committed documents with these texts, named by them."""
    with store.transaction() as tx:
        added = add_documents(tx, project_id, [NewDocument(text, external_id=text) for text in texts], split)
        tx.commit()
    return list(added.document_ids)


def annotation(*spans: tuple[int, int, str], name: str = "1", **fields: Any) -> NewAnnotation:
    """An annotation with these spans; other fields by name."""
    result = [{"value": {"start": start, "end": end, "labels": [label]}} for start, end, label in spans]
    read = tuple(Span(*span) for span in spans)
    return NewAnnotation(**{"source": FILE, "source_id": name, "result": result, "spans": read} | fields)


def annotated(store: Store, document_id: int, *annotations: NewAnnotation) -> None:
    """Commit annotations of a document."""
    with store.transaction() as tx:
        append_annotations(tx, [(document_id, item) for item in annotations])
        tx.commit()


def candidate(store: Store, project_id: int, *, parent: str | None = None, finished: bool = True) -> str:
    """The version of a committed model: a candidate, or one still in training."""
    with store.transaction() as tx:
        version = candidate_in(tx, project_id, parent=parent, finished=finished)
        tx.commit()
    return version


def candidate_in(tx: Transaction, project_id: int, *, parent: str | None = None, finished: bool = True) -> str:
    """The same in an open transaction."""
    model = start_model(
        tx,
        project_id,
        run_id=begin_run(tx, project_id, "retrain").id,
        encoder="minilm",
        seed=13,
        settings={"rank": 16},
        libraries={"torch": "2.13.0"},
        data_fingerprint="0" * 64,
        parent=parent,
    )
    if finished:
        finish_model(tx, model.version, files={"model.onnx": "f" * 64})
    return model.version


def append_annotation(tx: Transaction, document_id: int, annotation: NewAnnotation) -> bool:
    """Whether the annotation of a document differed from its latest version, and a new one was stored."""
    return append_annotations(tx, [(document_id, annotation)]).added == 1


def mark_annotation_deleted(tx: Transaction, document_id: int, source: str, source_id: str) -> bool:
    """Whether the annotation was live, and is marked deleted now."""
    return mark_annotations_deleted(tx, [(document_id, source, source_id)]) == 1


def move(tx: Transaction, document_ids: Sequence[int], split: str, epoch: int = 1) -> None:
    """Let documents stand in another split, whatever the rules say."""
    values = {"split": split, "epoch": epoch, "reason": "a test", "assigned_at": utc_now()}
    tx.session.execute(update(Split).where(Split.document_id.in_(document_ids)).values(values))


def promoted(store: Store, project_id: int) -> str:
    """The version of a committed model in service."""
    with store.transaction() as tx:
        version = candidate_in(tx, project_id)
        promote(tx, project_id, version, reason="a test", who="a test")
        tx.commit()
    return version


def trained_on(store: Store, version: str, *items: TrainedOn) -> None:
    """Commit what a model was trained on."""
    with store.transaction() as tx:
        save_training_items(tx, version, items)
        tx.commit()


def at(minute: int) -> datetime:
    """An instant, this many minutes into a known hour."""
    return datetime(2026, 11, 20, 12, minute, tzinfo=UTC)


def task(ls_task_id: int, text: str, **fields: Any) -> NewDocument:
    """A task with this id and text in Label Studio."""
    return NewDocument(text, ls_task_id=ls_task_id, **fields)
