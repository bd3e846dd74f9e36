"""The sources of weak labels by name: how far each was asked, what it cost, and whether its votes count.

A source is known under one digest. Under another digest it begins anew: it is asked about every text again, and what
was decided about it is forgotten, unless a person muted it. Its old votes stay until the new ones take their places.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from store.database.columns import storable, utc_now
from store.database.schema import SourceRecord
from store.database.session import Transaction, select_in
from store.errors import NotFoundError
from store.projects import lock_project
from store.weak.votes import StoredVote, replace_votes, replace_votes_between, replace_votes_on

BY_THE_LOOP = "loop"
SET_ASIDE = "set_aside"  # among the faults of a source: why it was not asked any further


@dataclass(frozen=True)
class SourceVotes:
    """What a source says of some documents. faults: the reasons of the texts on which it failed."""

    name: str
    digest: str
    votes: Sequence[StoredVote]
    seconds: float = 0.0
    faults: Sequence[str] = ()


def weak_sources(session: Session, project_id: int) -> list[SourceRecord]:
    """Every source that is known, by name."""
    query = select(SourceRecord).where(SourceRecord.project_id == project_id).order_by(SourceRecord.name)
    return list(session.scalars(query))


def muted_sources(session: Session, project_id: int) -> frozenset[str]:
    """The names of the sources whose votes do not count."""
    return frozenset(one.name for one in weak_sources(session, project_id) if one.muted_at is not None)


def muting(source: SourceRecord) -> dict[str, Any]:
    """A source that is muted, as JSON: `source`, `by`, `since` (ISO 8601), and `evidence`, empty by a person."""
    since = source.muted_at.isoformat() if source.muted_at else None
    return {"source": source.name, "by": source.muted_by, "since": since, "evidence": dict(source.evidence)}


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


def add_votes(tx: Transaction, project_id: int, documents: Sequence[int], said: Sequence[SourceVotes]) -> None:
    """Store what sources say of these documents, in place of what each said of them before, and that they were asked.

    documents: ids in order, all live documents between the first and the last. Raises NotFoundError, before anything is
    written, for a source that another process has begun anew under another digest.
    """
    known = _unchanged(tx, project_id, said)
    cast = [vote for one in said for vote in one.votes]
    replace_votes_between(tx, project_id, list(known), documents[0] - 1, documents[-1], cast)
    for one in said:
        _note(known[one.name], one, documents[-1], len(documents))


def add_group_votes(
    tx: Transaction, project_id: int, about: Collection[int], said: SourceVotes, *, up_to: int, documents: int
) -> None:
    """Store what a source says of the documents `about`, in place of what it said of them before.

    It has then been asked about everything up to the id `up_to`: `documents` more. Raises NotFoundError as `add_votes`.
    """
    known = _unchanged(tx, project_id, [said])
    replace_votes_on(tx, project_id, said.name, about, said.votes)
    _note(known[said.name], said, up_to, documents)


def _unchanged(tx: Transaction, project_id: int, said: Sequence[SourceVotes]) -> dict[str, SourceRecord]:
    lock_project(tx, project_id)
    query = select(SourceRecord).where(SourceRecord.project_id == project_id)
    names = [one.name for one in said]
    found = select_in(tx.session, query.execution_options(populate_existing=True), SourceRecord.name, names)
    known = {row[0].name: row[0] for row in found}
    changed = [one.name for one in said if one.name not in known or known[one.name].digest != one.digest]
    if changed:
        raise NotFoundError(
            "a source is asked under the digest it is known by",
            value=", ".join(changed),
            next_step="Another process took in a changed source meanwhile. Run the command again.",
        )
    return known


def _note(known: SourceRecord, said: SourceVotes, up_to: int, documents: int) -> None:
    faults = {key: value for key, value in known.faults.items() if key != SET_ASIDE}
    if said.faults:
        faults = {"first": storable(said.faults[0]), **faults, "count": faults.get("count", 0) + len(said.faults)}
    known.faults = faults
    known.applied_to, known.applied_at = max(up_to, known.applied_to), utc_now()
    known.documents += documents
    known.seconds += said.seconds


def set_aside_source(tx: Transaction, project_id: int, name: str, reason: str) -> None:
    """Note that a source was not asked any further, and why; the note stands until the source answers again."""
    known = tx.session.get(SourceRecord, (project_id, name), populate_existing=True)
    if known is not None:
        known.faults, known.applied_at = {**known.faults, SET_ASIDE: storable(reason)}, utc_now()


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
        raise unknown_source(name, [one.name for one in weak_sources(tx.session, project_id)])
    known.muted_at, known.muted_by, known.evidence = utc_now() if muted else None, who, dict(evidence or {})
    tx.session.flush()
    return known


def unknown_source(name: str, known: Sequence[str]) -> NotFoundError:
    """The error for a name that no source has; it names the source that is perhaps meant."""
    close = difflib.get_close_matches(name, known, n=1)
    meant = f"Did you mean {close[0]}?" if close else f"Known sources: {', '.join(known) or 'none'}."
    return NotFoundError(
        "a source of weak labels has the name that was asked for",
        value=name,
        next_step=f"{meant} `loop weak apply` takes in new ones.",
    )
