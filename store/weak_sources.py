"""The sources of weak labels by name: how far each was asked, what it cost, and whether its votes count.

A source is known under one digest. Under another digest it begins anew: it is asked about every text again, and what
was decided about it is forgotten, unless a person muted it. Its old votes stay until the new ones take their places.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from store.columns import storable, utc_now
from store.errors import NotFoundError
from store.projects import lock_project
from store.schema import SourceRecord
from store.session import Transaction
from store.votes import StoredVote, replace_votes, replace_votes_between

BY_THE_LOOP = "loop"


def weak_sources(session: Session, project_id: int) -> list[SourceRecord]:
    """Every source that is known, by name."""
    query = select(SourceRecord).where(SourceRecord.project_id == project_id).order_by(SourceRecord.name)
    return list(session.scalars(query))


def muted_sources(session: Session, project_id: int) -> frozenset[str]:
    """The names of the sources whose votes do not count."""
    return frozenset(one.name for one in weak_sources(session, project_id) if one.muted_at is not None)


def enter_source(tx: Transaction, project_id: int, name: str, kind: str, digest: str) -> SourceRecord:
    """The source under this digest: as it is known, or new, or begun anew where its digest is another."""
    lock_project(tx, project_id)
    known = tx.session.get(SourceRecord, (project_id, name))
    if known is not None and (known.kind, known.digest) == (kind, digest):
        return known
    if known is None:
        known = SourceRecord(project_id=project_id, name=name, evidence={})
        tx.session.add(known)
    known.kind, known.digest, known.changed_at = kind, digest, utc_now()
    known.applied_to, known.documents, known.seconds, known.faults, known.applied_at = 0, 0, 0.0, {}, None
    if known.muted_at is None or known.muted_by == BY_THE_LOOP:
        known.muted_at, known.muted_by, known.evidence = None, None, {}
    tx.session.flush()
    return known


def add_votes(
    tx: Transaction,
    source: SourceRecord,
    votes: Collection[StoredVote],
    *,
    up_to: int,
    documents: int,
    seconds: float,
    faults: Iterable[str] = (),
) -> None:
    """Store what the source says of the documents after `applied_to` up to the id `up_to`, and that it was asked.

    The votes take the place of those that it had on these documents. faults: the reasons of those texts on which it
    failed. The record is read again in this transaction. Raises NotFoundError where it is gone or has another digest.
    """
    lock_project(tx, source.project_id)
    query = select(SourceRecord).where(SourceRecord.project_id == source.project_id, SourceRecord.name == source.name)
    known = tx.session.scalar(query.execution_options(populate_existing=True))
    if known is None or known.digest != source.digest:
        raise NotFoundError(
            "a source is asked under the digest it is known by",
            value=source.name,
            next_step="Another run took in a changed source meanwhile. Run the command again.",
        )
    replace_votes_between(tx, source.project_id, source.name, known.applied_to, up_to, votes)
    reasons = [*faults]
    if reasons:
        count, first = known.faults.get("count", 0), known.faults.get("first", storable(reasons[0]))
        known.faults = {"count": count + len(reasons), "first": first}
    known.applied_to, known.applied_at = max(up_to, known.applied_to), utc_now()
    known.documents += documents
    known.seconds += seconds


def forget_sources(tx: Transaction, project_id: int, names: Collection[str]) -> None:
    """Delete sources that are gone, and their votes."""
    replace_votes(tx, project_id, dict.fromkeys(names, ()))
    gone = delete(SourceRecord).where(SourceRecord.project_id == project_id, SourceRecord.name.in_(list(names)))
    tx.session.execute(gone.execution_options(synchronize_session=False))


def set_muted(
    tx: Transaction, project_id: int, name: str, muted: bool, who: str, evidence: Mapping[str, Any] | None = None
) -> SourceRecord:
    """Let the votes of a source count no more, or again. Raises NotFoundError for a name that no source has."""
    lock_project(tx, project_id)
    known = tx.session.get(SourceRecord, (project_id, name))
    if known is None:
        names = ", ".join(one.name for one in weak_sources(tx.session, project_id)) or "none"
        raise NotFoundError(
            "a source of weak labels has the name that was asked for",
            value=name,
            next_step=f"Known sources: {names}. `loop weak apply` takes in new ones.",
        )
    known.muted_at, known.muted_by, known.evidence = utc_now() if muted else None, who, dict(evidence or {})
    tx.session.flush()
    return known
