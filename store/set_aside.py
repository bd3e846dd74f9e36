"""What arrived and cannot be learned from: kept whole, with the rule that set it aside."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from store.bulk import insert_rows, select_in
from store.columns import to_json, utc_now
from store.projects import lock_project
from store.schema import SetAside
from store.session import Transaction


@dataclass(frozen=True, slots=True)
class NewSetAside:
    """`source_ref` says where it came from (`label_studio:17`, `train.jsonl:12`), `payload` is JSON as it came."""

    source_ref: str
    reason: str
    payload: Any
    document_id: int | None = None
    annotation_version_id: int | None = None


def save_set_aside(tx: Transaction, project_id: int, items: Iterable[NewSetAside]) -> int:
    """Store what is not stored yet (same place, reason, payload and version); gives how many were new."""
    lock_project(tx, project_id)
    given = {_digest(item): item for item in items}
    query = select(SetAside.digest).where(SetAside.project_id == project_id)
    known = {row[0] for row in select_in(tx.session, query, SetAside.digest, given)}
    rows = [_row(project_id, digest, item) for digest, item in given.items() if digest not in known]
    insert_rows(tx.session, SetAside, rows)
    return len(rows)


def list_set_aside(session: Session, project_id: int, reason: str | None = None) -> list[SetAside]:
    """All that was ever set aside, oldest first; for one reason where given."""
    query = select(SetAside).where(SetAside.project_id == project_id).order_by(SetAside.id)
    return list(session.scalars(query if reason is None else query.where(SetAside.reason == reason)))


def _digest(item: NewSetAside) -> str:
    content = [item.source_ref, item.reason, item.payload, item.document_id, item.annotation_version_id]
    return hashlib.sha256(to_json(content).encode()).hexdigest()


def _row(project_id: int, digest: str, item: NewSetAside) -> dict[str, Any]:
    return {
        "project_id": project_id,
        "document_id": item.document_id,
        "annotation_version_id": item.annotation_version_id,
        "source_ref": item.source_ref,
        "reason": item.reason,
        "payload": item.payload,
        "digest": digest,
        "seen_at": utc_now(),
    }
