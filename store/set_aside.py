"""What arrived and cannot be learned from: kept whole, with the rule that set it aside."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from store.bulk import chunks, insert_rows, select_in
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
    """Store what is not stored yet (same place, reason, payload and version); gives how many were new.

    What was mended and comes again just as it was is not mended any more.
    """
    lock_project(tx, project_id)
    given = {_digest(item): item for item in items}
    query = select(SetAside.digest, SetAside.id, SetAside.mended_at).where(SetAside.project_id == project_id)
    known = {row.digest: row for row in select_in(tx.session, query, SetAside.digest, given)}
    rows = [_row(project_id, digest, item) for digest, item in given.items() if digest not in known]
    insert_rows(tx.session, SetAside, rows)
    _set_mended(tx, [row.id for row in known.values() if row.mended_at is not None], None)
    return len(rows)


def mend_set_aside(tx: Transaction, project_id: int, source_refs: Collection[str], reasons: Collection[str]) -> int:
    """Note that what these places were set aside for is in order now; gives how many were."""
    lock_project(tx, project_id)
    query = select(SetAside.id).where(SetAside.project_id == project_id, SetAside.mended_at.is_(None))
    query = query.where(SetAside.reason.in_(list(reasons)))
    ids = [row[0] for row in select_in(tx.session, query, SetAside.source_ref, set(source_refs))]
    _set_mended(tx, ids, utc_now())
    return len(ids)


def list_set_aside(session: Session, project_id: int, reason: str | None = None) -> list[SetAside]:
    """All that was ever set aside, oldest first; for one reason where given."""
    query = select(SetAside).where(SetAside.project_id == project_id).order_by(SetAside.id)
    return list(session.scalars(query if reason is None else query.where(SetAside.reason == reason)))


def _set_mended(tx: Transaction, ids: Iterable[int], moment: datetime | None) -> None:
    for chunk in chunks(ids):
        tx.session.execute(update(SetAside).where(SetAside.id.in_(chunk)).values(mended_at=moment))


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
        "mended_at": None,
    }
