"""Documents: texts as they came, from files or from Label Studio's tasks; their text never changes.

A task whose text was edited in Label Studio becomes a new document that takes over the task and the split; the old
one stays, deleted, since models may have been trained on it and its annotations' offsets count in its text.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, func, or_, select, update
from sqlalchemy.orm import Session

from ner.documents import check_text, content_hash
from ner.errors import InputError
from store.annotations import has_live_annotation
from store.database.columns import utc_now
from store.database.schema import POOL, Document, Project, SourceRecord, Split
from store.database.session import ROWS_AT_ONCE, Transaction, chunks, insert_rows, select_in
from store.errors import NotFoundError
from store.projects import lock_project
from store.splits import TRAINED_ON, Keys, PlacedDocument, place

_KEY_CHARS = 500
_ID_DIGITS = 10  # of the largest id, of 32 bits


@dataclass(frozen=True, slots=True)
class NewDocument:
    """A text to store. Without an `external_id` its text is its id, so that the same text is stored once.

    `group` ties together texts that must stand in one split (a thread, a post); the `ls_` fields and `is_labeled` are
    Label Studio's, for documents that are tasks.
    """

    text: str
    external_id: str | None = None
    group: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    ls_task_id: int | None = None
    ls_updated_at: datetime | None = None
    is_labeled: bool = False


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A document as stored, with its split."""

    document_id: int
    external_id: str
    ls_task_id: int | None
    group_key: str
    content_hash: str
    text: str
    split: str
    meta: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class AddedCounts:
    """What became of the documents given: `document_ids` in their order; `splits` counts the added ones.

    `kept_elsewhere`: external ids of known documents that stand in another split than asked, and stay there.
    `not_held_out`: external ids asked into the holdout that a model had been trained on; they went to train.
    """

    added: int
    known: int
    splits: Mapping[str, int]
    kept_elsewhere: tuple[str, ...]
    not_held_out: tuple[str, ...]
    document_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Keyed:
    external_id: str
    keys: Keys
    source: NewDocument


def add_documents(tx: Transaction, project_id: int, documents: Iterable[NewDocument], split: str = POOL) -> AddedCounts:
    """Store documents, each in its split from then on; known ones (by external id) stay exactly as they are.

    Raises InputError, before anything is written, for a text that `check_text` refuses, and for an external id that
    already names another text.
    """
    project = lock_project(tx, project_id)
    keyed = [_keyed(document) for document in documents]
    query = select(Document.external_id, Document.id, Document.content_hash, Split.split).join(Split)
    query = query.where(Document.project_id == project_id)
    known = {row[0]: row for row in select_in(tx.session, query, Document.external_id, {k.external_id for k in keyed})}
    new = _first_of_each(keyed, {external_id: row.content_hash for external_id, row in known.items()})
    placed = place(tx.session, project, [item.keys for item in new], split)
    ids = {external_id: row.id for external_id, row in known.items()} | _insert(tx, project, new, placed)
    return AddedCounts(
        added=len(new),
        known=len(keyed) - len(new),
        splits=Counter(item.split for item in placed),
        kept_elsewhere=tuple(sorted(name for name, row in known.items() if split != POOL and row.split != split)),
        not_held_out=tuple(item.external_id for item, at in zip(new, placed, strict=True) if at.reason == TRAINED_ON),
        document_ids=tuple(ids[item.external_id] for item in keyed),
    )


def texts_by_name(session: Session, project_id: int, external_ids: Iterable[str]) -> dict[str, str]:
    """Content hashes by external id, of those that name a document (deleted ones too)."""
    query = select(Document.external_id, Document.content_hash).where(Document.project_id == project_id)
    return {row[0]: row[1] for row in select_in(session, query, Document.external_id, set(external_ids))}


def names_by_text(session: Session, project_id: int, hashes: Iterable[str]) -> dict[str, list[str]]:
    """External ids by content hash, of the documents with these texts (deleted ones too), oldest first."""
    query = select(Document.content_hash, Document.external_id, Document.id).where(Document.project_id == project_id)
    names: dict[str, list[str]] = {}
    for own, name, _ in sorted(select_in(session, query, Document.content_hash, set(hashes)), key=lambda row: row[2]):
        names.setdefault(own, []).append(name)
    return names


def revive_documents(tx: Transaction, project_id: int, document_ids: Iterable[int]) -> int:
    """Bring back those that were deleted, as documents that are in no Label Studio; gives how many."""
    lock_project(tx, project_id)
    deleted = select(Document.id).where(Document.project_id == project_id, Document.deleted_at.is_not(None))
    ids = [row[0] for row in select_in(tx.session, deleted, Document.id, set(document_ids))]
    for chunk in chunks(ids):
        back = update(Document).where(Document.id.in_(chunk))
        tx.session.execute(back.values(deleted_at=None, ls_task_id=None, ls_updated_at=None, is_labeled=False))
    if ids:  # no source of weak labels was asked about them while they were deleted
        asked = update(SourceRecord).where(SourceRecord.project_id == project_id, SourceRecord.applied_to >= min(ids))
        tx.session.execute(asked.values(applied_to=min(ids) - 1))
    return len(ids)


def stored_documents(
    session: Session,
    project_id: int,
    splits: Collection[str] | None = None,
    *,
    document_ids: Iterable[int] | None = None,
) -> list[StoredDocument]:
    """The live documents, oldest first; of these splits or ids where given."""
    query = _stored(project_id, splits)
    if document_ids is None:
        return [StoredDocument(*row) for row in session.execute(query.order_by(Document.id))]
    rows = select_in(session, query, Document.id, set(document_ids))
    return sorted((StoredDocument(*row) for row in rows), key=lambda document: document.document_id)


def each_document(session: Session, project_id: int, splits: Collection[str]) -> Iterator[StoredDocument]:
    """The live documents of these splits, oldest first, one after another, without all of them in memory."""
    query = _stored(project_id, splits).order_by(Document.id).execution_options(yield_per=ROWS_AT_ONCE)
    for row in session.execute(query):
        yield StoredDocument(*row)


def find_document(session: Session, project_id: int, name: str) -> StoredDocument:
    """The live document with this external id, else with this id. Raises NotFoundError where there is none."""
    query = _stored(project_id, None)
    row = session.execute(query.where(Document.external_id == name)).first()
    if row is None and name.isdecimal() and len(name) < _ID_DIGITS:
        row = session.execute(query.where(Document.id == int(name))).first()
    if row is None:
        raise NotFoundError(
            "a document of this project has the id that was asked for",
            value=name,
            next_step="Give the id that it was imported with, or its number in the store.",
        )
    return StoredDocument(*row)


def texts_between(
    session: Session, project_id: int, after: int, up_to: int | None = None, *, number: int
) -> list[tuple[int, str]]:
    """(id, text) of up to `number` live documents with an id above `after` (and up to `up_to`), in order of id."""
    query = (
        select(Document.id, Document.text).where(*_live_after(project_id, after)).order_by(Document.id).limit(number)
    )
    if up_to is not None:
        query = query.where(Document.id <= up_to)
    return [(row[0], row[1]) for row in session.execute(query)]


def count_after(session: Session, project_id: int, after: int) -> int:
    """How many live documents have an id above `after`."""
    return session.scalar(select(func.count()).select_from(Document).where(*_live_after(project_id, after))) or 0


def extent(session: Session, project_id: int) -> tuple[int, int]:
    """(the largest id of a live document, or 0; how many there are)."""
    query = select(func.max(Document.id), func.count()).select_from(Document).where(*_live_after(project_id, 0))
    largest, number = session.execute(query).one()
    return largest or 0, number


def groups_after(session: Session, project_id: int, after: int, *, number: int) -> list[tuple[int, str]]:
    """(id, group key) of up to `number` live documents with an id above `after`, in order of id."""
    query = select(Document.id, Document.group_key).where(*_live_after(project_id, after)).order_by(Document.id)
    return [(row[0], row[1]) for row in session.execute(query.limit(number))]


def texts_of_groups(session: Session, project_id: int, groups: Iterable[str]) -> dict[str, list[tuple[int, str]]]:
    """(id, text) of the live documents of each of these groups, in order of id."""
    query = select(Document.group_key, Document.id, Document.text).where(*_live_after(project_id, 0))
    found: dict[str, list[tuple[int, str]]] = {}
    for group, key, text in sorted(select_in(session, query, Document.group_key, set(groups)), key=lambda row: row[1]):
        found.setdefault(group, []).append((key, text))
    return found


def _live_after(project_id: int, after: int) -> tuple[ColumnElement[bool], ...]:
    return Document.project_id == project_id, Document.deleted_at.is_(None), Document.id > after


def sample_documents(
    session: Session, project_id: int, splits: Collection[str], number: int, *, open_only: bool = False
) -> list[StoredDocument]:
    """Up to `number` live documents of these splits, by the hash of their text: no order of theirs has a part in it.

    open_only: of those that are still to be labelled.
    """
    query = _stored(project_id, splits).order_by(Document.content_hash, Document.id).limit(number)
    if open_only:
        query = query.where(is_open())
    return [StoredDocument(*row) for row in session.execute(query)]


def open_documents(
    session: Session, project_id: int, splits: Collection[str] | None = None, *, tasks_only: bool = False
) -> list[StoredDocument]:
    """Live documents still to be labelled, oldest first.

    A document that is a task is open until Label Studio calls it labelled (which knows about overlap); any other until
    it has an annotation or a skip. `tasks_only` leaves out what is in no Label Studio.
    """
    query = _stored(project_id, splits).where(is_open())
    if tasks_only:
        query = query.where(Document.ls_task_id.is_not(None))
    return [StoredDocument(*row) for row in session.execute(query.order_by(Document.id))]


def count_open(session: Session, project_id: int) -> int:
    """How many live documents are still to be labelled."""
    query = select(func.count()).select_from(Document)
    query = query.where(Document.project_id == project_id, Document.deleted_at.is_(None), is_open())
    return session.scalar(query) or 0


def is_open() -> Any:
    """The SQL condition of a document that is still to be labelled."""
    labelled_offline = Document.ls_task_id.is_(None) & has_live_annotation(Document.id)
    return ~or_(Document.is_labeled, labelled_offline)


def check_key(key: object, what: str) -> str:
    """The id or group itself; raises InputError unless it is 1 to 500 characters that every database keeps."""
    if not isinstance(key, str) or not 0 < len(key) <= _KEY_CHARS or "\0" in key or not _is_utf8(key):
        raise InputError(
            f"{what} is a string of 1 to {_KEY_CHARS} characters without U+0000 or lone surrogates",
            value=key,
            next_step="Shorten or mend it.",
        )
    return key


def read_key(places: Iterable[Mapping[str, Any]], name: str, what: str) -> str | None:
    """The key that a task gives under `name`, in the first place that has it as text or number; None where none has.

    One that `check_key` refuses is replaced by its SHA-256. A task that is pulled and one that is only asked about are
    read by this one rule, so that both fall into the same split.
    """
    for fields in places:
        value = fields.get(name)
        if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip():
            continue
        try:
            return check_key(str(value), what)
        except InputError:
            return hashlib.sha256(str(value).encode("utf-8", "surrogatepass")).hexdigest()
    return None


def _stored(project_id: int, splits: Collection[str] | None) -> Select[*tuple[Any, ...]]:
    query = (
        select(
            Document.id,
            Document.external_id,
            Document.ls_task_id,
            Document.group_key,
            Document.content_hash,
            Document.text,
            Split.split,
            Document.meta,
        )
        .join(Split, Split.document_id == Document.id)
        .where(Document.project_id == project_id, Document.deleted_at.is_(None))
    )
    return query if splits is None else query.where(Split.split.in_(splits))


def insert_documents(
    tx: Transaction, project_id: int, items: Sequence[tuple[NewDocument, str, Keys, PlacedDocument]]
) -> list[int]:
    """Rows for documents whose external ids (all different) and places are settled; gives their ids in order."""
    now = utc_now()
    rows = [
        {
            "project_id": project_id,
            "external_id": external_id,
            "ls_task_id": source.ls_task_id,
            "group_key": keys.group_key,
            "content_hash": keys.content_hash,
            "text": source.text,
            "meta": dict(source.meta),
            "created_at": now,
            "ls_updated_at": source.ls_updated_at,
            "is_labeled": source.is_labeled,
            "deleted_at": None,
        }
        for source, external_id, keys, _ in items
    ]
    insert_rows(tx.session, Document, rows)
    query = select(Document.external_id, Document.id).where(Document.project_id == project_id)
    names = [external_id for _, external_id, _, _ in items]
    by_name = {row[0]: row[1] for row in select_in(tx.session, query, Document.external_id, names)}
    ids = [by_name[name] for name in names]
    splits = [
        {"document_id": key, "split": at.split, "epoch": at.epoch, "reason": at.reason, "assigned_at": now}
        for key, (_, _, _, at) in zip(ids, items, strict=True)
    ]
    insert_rows(tx.session, Split, splits)
    return ids


def keys_of(document: NewDocument) -> Keys:
    """The group key (the content hash where no group is given) and content hash; refuses bad texts and groups."""
    digest = content_hash(check_text(document.text))
    return Keys(check_key(document.group, "a group") if document.group else digest, digest)


def _keyed(document: NewDocument) -> _Keyed:
    keys = keys_of(document)
    if document.external_id is None:
        return _Keyed(f"text:{keys.content_hash}", keys, document)
    return _Keyed(check_key(document.external_id, "a document's id"), keys, document)


def _first_of_each(keyed: Iterable[_Keyed], known: Mapping[str, str]) -> list[_Keyed]:
    """Those not yet known, each id once; refuses an id that names two texts (`known`: content hash by id)."""
    hashes, new, clashing = dict(known), [], []
    for item in keyed:
        if item.external_id not in hashes:
            hashes[item.external_id] = item.keys.content_hash
            new.append(item)
        elif hashes[item.external_id] != item.keys.content_hash:
            clashing.append(item.external_id)
    if clashing:
        raise InputError(
            "a document's id names one text, for good",
            value=f"{len(clashing)} ids with another text, such as {', '.join(clashing[:3])}",
            next_step="Give changed texts ids of their own.",
        )
    return new


def _insert(
    tx: Transaction, project: Project, new: Sequence[_Keyed], placed: Sequence[PlacedDocument]
) -> dict[str, int]:
    items = [(item.source, item.external_id, item.keys, at) for item, at in zip(new, placed, strict=True)]
    ids = insert_documents(tx, project.id, items)
    return {item.external_id: key for item, key in zip(new, ids, strict=True)}


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
