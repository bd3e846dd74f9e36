"""The spans that labelling functions vote for, by function and by the digest of the code that voted."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Row, delete, exists, func, select
from sqlalchemy.orm import Session

from ner.spans import Span
from store.database.columns import utc_now
from store.database.schema import Document, Split, WeakVote
from store.database.session import ROWS_AT_ONCE, Transaction, chunks, insert_rows, select_in
from store.errors import RefusedError
from store.projects import lock_project


@dataclass(frozen=True, slots=True)
class StoredVote:
    """`source` votes that `span` is an entity of the document."""

    document_id: int
    source: str
    span: Span
    function_digest: str


def replace_votes(tx: Transaction, project_id: int, votes: Mapping[str, Collection[StoredVote]]) -> int:
    """Let each source's votes be exactly these (none: it abstains everywhere); gives how many were stored.

    Sources that are not named keep theirs. Raises RefusedError for a vote under another source's name.
    """
    for source, vote in ((source, vote) for source, given in votes.items() for vote in given):
        if vote.source != source:
            raise RefusedError("a vote is stored under its own source", value=f"{vote.source!r} under {source!r}")
    lock_project(tx, project_id)
    documents = select(Document.id).where(Document.project_id == project_id)
    _delete(tx, WeakVote.source.in_(list(votes)), WeakVote.document_id.in_(documents))
    return _insert(tx, (vote for given in votes.values() for vote in given))


def replace_votes_between(
    tx: Transaction, project_id: int, sources: Collection[str], after: int, up_to: int, votes: Collection[StoredVote]
) -> int:
    """Let the votes of these sources on the documents with an id above `after`, up to `up_to`, be exactly these.

    Gives how many were stored. Raises RefusedError for a vote outside of that.
    """
    for vote in votes:
        if vote.source not in sources or not after < vote.document_id <= up_to:
            raise RefusedError(
                "a vote is stored under its own source and among the documents that were asked about",
                value=f"{vote.source!r} on document {vote.document_id}, of {after + 1} to {up_to}",
            )
    lock_project(tx, project_id)
    between = (Document.project_id == project_id, Document.id > after, Document.id <= up_to)
    _delete(tx, WeakVote.source.in_(list(sources)), WeakVote.document_id.in_(select(Document.id).where(*between)))
    return _insert(tx, votes)


def replace_votes_on(
    tx: Transaction, project_id: int, source: str, document_ids: Collection[int], votes: Collection[StoredVote]
) -> int:
    """Let the votes of one source on these documents be exactly these; gives how many were stored."""
    lock_project(tx, project_id)
    for chunk in chunks(document_ids):
        _delete(tx, WeakVote.source == source, WeakVote.document_id.in_(chunk))
    return _insert(tx, votes)


def _delete(tx: Transaction, *conditions: ColumnElement[bool]) -> None:
    tx.session.execute(delete(WeakVote).where(*conditions).execution_options(synchronize_session=False))


def _insert(tx: Transaction, votes: Iterable[StoredVote]) -> int:
    now = utc_now()
    rows = {
        (vote.document_id, vote.source, vote.span.start, vote.span.end, vote.span.label): vote.function_digest
        for vote in votes
    }
    names = ("document_id", "source", "start", "end", "label", "function_digest", "created_at")
    insert_rows(
        tx.session, WeakVote, [dict(zip(names, (*key, digest, now), strict=True)) for key, digest in rows.items()]
    )
    return len(rows)


def votes(session: Session, project_id: int, source: str | None = None) -> list[StoredVote]:
    """All votes on live documents, by document, position and source; of one source where given."""
    vote = WeakVote
    query = (
        select(vote.document_id, vote.source, vote.start, vote.end, vote.label, vote.function_digest)
        .join(Document, Document.id == vote.document_id)
        .where(Document.project_id == project_id, Document.deleted_at.is_(None))
        .order_by(vote.document_id, vote.start, vote.end, vote.source, vote.label)
    )
    if source is not None:
        query = query.where(vote.source == source)
    return [
        StoredVote(document, name, Span(start, end, label), digest)
        for document, name, start, end, label, digest in session.execute(query)
    ]


def votes_on(session: Session, document_ids: Iterable[int]) -> list[StoredVote]:
    """All votes on these documents, in the order of `votes`."""
    vote = WeakVote
    query = select(vote.document_id, vote.source, vote.start, vote.end, vote.label, vote.function_digest)
    rows = select_in(session, query, vote.document_id, set(document_ids))
    return [
        StoredVote(document, name, Span(start, end, label), digest)
        for document, name, start, end, label, digest in sorted(
            rows, key=lambda row: (row[0], row[2], row[3], row[1], row[4])
        )
    ]


def voted_first(
    session: Session, project_id: int, splits: Collection[str], labels: Collection[str], muted: Collection[str]
) -> Iterator[Row[int, str, str]]:
    """(id, group_key, content_hash) of the live documents of these splits, without all of them in memory.

    Those with a vote for one of the labels by a source that is not muted come first, then the others; both by the hash
    of their text, so that no order of theirs has a part in it.
    """
    vote = WeakVote
    counts = exists().where(vote.document_id == Document.id, vote.label.in_(labels), vote.source.not_in(muted))
    query = (
        select(Document.id, Document.group_key, Document.content_hash)
        .join(Split, Split.document_id == Document.id)
        .where(Document.project_id == project_id, Document.deleted_at.is_(None), Split.split.in_(splits))
        .order_by(~counts, Document.content_hash, Document.id)
    )
    return iter(session.execute(query.execution_options(yield_per=ROWS_AT_ONCE)))


def digests_of_votes(session: Session, project_id: int) -> dict[str, dict[str, int]]:
    """The number of votes on live documents, by source and by the digest of the code that voted."""
    query = (
        select(WeakVote.source, WeakVote.function_digest, func.count())
        .join(Document, Document.id == WeakVote.document_id)
        .where(Document.project_id == project_id, Document.deleted_at.is_(None))
        .group_by(WeakVote.source, WeakVote.function_digest)
    )
    found: dict[str, dict[str, int]] = {}
    for source, digest, number in session.execute(query):
        found.setdefault(source, {})[digest] = number
    return found


def count_voted(session: Session, project_id: int) -> int:
    """How many live documents have a vote."""
    query = select(func.count(WeakVote.document_id.distinct())).join(Document, Document.id == WeakVote.document_id)
    return session.scalar(query.where(Document.project_id == project_id, Document.deleted_at.is_(None))) or 0


def count_votes(session: Session, project_id: int) -> dict[tuple[str, str], int]:
    """The number of votes on live documents, by source and label."""
    query = (
        select(WeakVote.source, WeakVote.label, func.count())
        .join(Document, Document.id == WeakVote.document_id)
        .where(Document.project_id == project_id, Document.deleted_at.is_(None))
        .group_by(WeakVote.source, WeakVote.label)
    )
    return {(source, label): number for source, label, number in session.execute(query)}
