"""Documents that are Label Studio tasks: what a pull brings, what it finds gone, and what it asks of the past."""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, func, select, update
from sqlalchemy.orm import Session

from ner.errors import InputError
from store.annotations import LABEL_STUDIO
from store.database.columns import utc_now
from store.database.schema import AnnotationVersion, Document, Project, SetAside, Split
from store.database.session import Transaction, chunks, select_in
from store.documents import NewDocument, check_key, insert_documents, keys_of
from store.projects import lock_project
from store.splits import Keys, PlacedDocument, place

_SUFFIX = re.compile("#[0-9a-f]{12}$")  # what `_free_names` gives to a name that is taken
REPLACED = "takes the place of a document whose text was edited"


@dataclass(frozen=True, slots=True)
class UpsertCounts:
    """What became of the tasks given; `changed` had another text before. `document_ids` is by task id."""

    added: int
    changed: int
    known: int
    document_ids: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class _Match:
    task: NewDocument
    keys: Keys
    row: Document | None


def upsert_tasks(tx: Transaction, project_id: int, tasks: Iterable[NewDocument]) -> UpsertCounts:
    """Store tasks as they are in Label Studio now; each has an `ls_task_id`, the last of several with one id counts.

    A task belongs to the document with its id. Where there is none, the task belongs to a document with its text and
    its name that is in no Label Studio yet. The name is the task's `external_id`, or `task:<id>`, which an import of an
    export or an earlier link gave. Any other task is a new document, and its split is drawn. A deleted task that is
    back is live again. Raises InputError, before anything is written, for a text that `check_text` refuses.
    """
    project = lock_project(tx, project_id)
    given = {_task_id(task): task for task in tasks}
    matches = _match(tx.session, project_id, given)
    same = [m for m in matches if m.row is not None and m.row.content_hash == m.keys.content_hash]
    edited = [m for m in matches if m.row is not None and m.row.content_hash != m.keys.content_hash]
    new = [m for m in matches if m.row is None]
    _refresh(tx.session, same)
    replacements = _replace(tx, edited)
    added = _add(tx, project, new)
    ids = {_task_id(m.task): m.row.id for m in same if m.row is not None} | replacements | added
    return UpsertCounts(added=len(new), changed=len(edited), known=len(same), document_ids=ids)


def edited_documents(session: Session, project_id: int) -> set[int]:
    """The ids of the documents that took the place of one whose text was edited in Label Studio."""
    query = select(Split.document_id).join(Document, Document.id == Split.document_id)
    return set(session.scalars(query.where(Document.project_id == project_id, Split.reason == REPLACED)))


def mark_deleted(tx: Transaction, project_id: int, ls_task_ids: Iterable[int]) -> int:
    """Note that these tasks are gone from Label Studio; gives how many were live. Their rows and history stay."""
    lock_project(tx, project_id)
    live = [Document.project_id == project_id, Document.deleted_at.is_(None)]
    ids = [row[0] for row in select_in(tx.session, select(Document.id).where(*live), Document.ls_task_id, ls_task_ids)]
    for chunk in chunks(ids):
        tx.session.execute(update(Document).where(Document.id.in_(chunk)).values(deleted_at=utc_now()))
    return len(ids)


def live_task_ids(session: Session, project_id: int) -> set[int]:
    """The ids of all tasks that were not seen to be gone."""
    query = select(Document.ls_task_id).where(Document.project_id == project_id, Document.deleted_at.is_(None))
    return {task for task in session.scalars(query) if task is not None}


def latest_tasks(session: Session, project_id: int, number: int) -> dict[int, str]:
    """Content hashes by task id of the `number` live tasks with the highest ids."""
    query = select(Document.ls_task_id, Document.content_hash)
    query = query.where(Document.project_id == project_id, Document.deleted_at.is_(None))
    query = query.where(Document.ls_task_id.is_not(None)).order_by(Document.ls_task_id.desc()).limit(number)
    return {task: digest for task, digest in session.execute(query) if task is not None}


def count_live_tasks(session: Session, project_id: int) -> int:
    """How many tasks were not seen to be gone."""
    query = select(func.count(Document.ls_task_id))
    return session.scalar(query.where(Document.project_id == project_id, Document.deleted_at.is_(None))) or 0


def _task_id(task: NewDocument) -> int:
    if task.ls_task_id is None:
        raise InputError("a task has Label Studio's id", value=task.external_id, next_step="Use `add_documents`.")
    return task.ls_task_id


def _match(session: Session, project_id: int, tasks: Mapping[int, NewDocument]) -> list[_Match]:
    query = select(Document).where(Document.project_id == project_id)
    by_task = {row.ls_task_id: row for (row,) in select_in(session, query, Document.ls_task_id, tasks)}
    keys = {key: keys_of(task) for key, task in tasks.items()}
    here_only = query.where(Document.ls_task_id.is_(None))
    texts = {keys[key].content_hash for key in tasks if key not in by_task}
    by_text: dict[str, list[Document]] = {}
    for (row,) in select_in(session, here_only.order_by(Document.id), Document.content_hash, texts):
        by_text.setdefault(row.content_hash, []).append(row)
    return [
        _Match(task, keys[key], by_task.get(key) or _take_named(by_text.get(keys[key].content_hash, []), task))
        for key, task in tasks.items()
    ]


def _take_named(candidates: list[Document], task: NewDocument) -> Document | None:
    """The first of these documents, all with the task's text, that bears its name; no other task gets it too."""
    named = next((row for row in candidates if _bears_name(row.external_id, task)), None)
    if named is not None:
        candidates.remove(named)
    return named


def _bears_name(name: str, task: NewDocument) -> bool:
    """Whether a document of this name can be the task: see `_free_names`, and `fallback_id` of imported records."""
    by_id = f"task:{task.ls_task_id}"
    wanted = {task.external_id or by_id, by_id}
    return without_suffix(name) in wanted or name in wanted


def without_suffix(name: str) -> str:
    """The name that a document would bear if no other text had borne it first."""
    return _SUFFIX.sub("", name)


def _refresh(session: Session, same: Iterable[_Match]) -> None:
    changed: list[dict[str, Any]] = []
    for match in same:
        row, task = match.row, match.task
        if row is None:
            continue
        now = (task.ls_task_id, task.ls_updated_at, task.is_labeled, dict(task.meta), None)
        if (row.ls_task_id, row.ls_updated_at, row.is_labeled, row.meta, row.deleted_at) != now:
            fields = ("ls_task_id", "ls_updated_at", "is_labeled", "meta", "deleted_at")
            changed.append({"id": row.id} | dict(zip(fields, now, strict=True)))
    if changed:
        session.execute(update(Document), changed)


def _replace(tx: Transaction, edited: Sequence[_Match]) -> dict[int, int]:
    rows = [match.row for match in edited if match.row is not None]
    if not rows:
        return {}
    splits = select(Split.document_id, Split.split, Split.epoch)
    places = {
        document: PlacedDocument(split, REPLACED, epoch)
        for document, split, epoch in select_in(tx.session, splits, Split.document_id, [row.id for row in rows])
    }
    names = [row.external_id for row in rows]
    retired = [
        {"id": row.id, "ls_task_id": None, "deleted_at": utc_now(), "external_id": f"{row.external_id}@{row.id}"}
        for row in rows
    ]
    tx.session.execute(update(Document), retired)
    items = [(m.task, n, m.keys, places[r.id]) for m, n, r in zip(edited, names, rows, strict=True)]
    ids = insert_documents(tx, rows[0].project_id, items)
    return {_task_id(match.task): key for match, key in zip(edited, ids, strict=True)}


def _add(tx: Transaction, project: Project, new: Sequence[_Match]) -> dict[int, int]:
    names = _free_names(tx.session, project.id, [match.task for match in new])
    placed = place(tx.session, project, [match.keys for match in new])
    items = [(m.task, name, m.keys, at) for m, name, at in zip(new, names, placed, strict=True)]
    ids = insert_documents(tx, project.id, items)
    return {_task_id(match.task): key for match, key in zip(new, ids, strict=True)}


def _free_names(session: Session, project_id: int, tasks: Sequence[NewDocument]) -> list[str]:
    """Each task's external id, or `task:<id>`; with a suffix where another document has it already."""
    wanted = [check_key(task.external_id or f"task:{task.ls_task_id}", "a document's id") for task in tasks]
    query = select(Document.external_id).where(Document.project_id == project_id)
    taken = {row[0] for row in select_in(session, query, Document.external_id, set(wanted))}
    names = []
    for name in wanted:
        free = name if name not in taken else f"{name}#{secrets.token_hex(6)}"
        taken.add(free)
        names.append(free)
    return names


@dataclass(frozen=True, slots=True)
class SeenOn:
    """A version of an annotation as it was seen on another document."""

    document_id: int
    content_hash: str
    source_updated_at: datetime | None


def successors(session: Session, document_ids: Iterable[int]) -> dict[int, str]:
    """Those of these documents that took the place of one whose text was edited, with their content hashes."""
    query = select(Document.id, Document.content_hash).join(Split, Split.document_id == Document.id)
    rows = select_in(session, query.where(Split.reason == REPLACED), Document.id, set(document_ids))
    return {row[0]: row[1] for row in rows}


def seen_elsewhere(
    session: Session, project_id: int, source_ids: Iterable[str], besides: Collection[int]
) -> dict[str, list[SeenOn]]:
    """Versions of Label Studio's annotations (by id) on the project's documents, those `besides` left out."""
    version = AnnotationVersion
    query = (
        select(version.source_id, Document.id, Document.content_hash, version.source_updated_at)
        .join(Document, Document.id == version.document_id)
        .where(Document.project_id == project_id, version.source == LABEL_STUDIO)
    )
    found: dict[str, list[SeenOn]] = {}
    for name, document, content_hash, moment in select_in(session, query, version.source_id, set(source_ids)):
        if document not in besides:
            found.setdefault(name, []).append(SeenOn(document, content_hash, moment))
    return found


def set_aside_without_document(session: Session, project_id: int, reasons: Collection[str]) -> set[str]:
    """Where things came from that stand set aside, not mended, for one of these reasons and belong to no document."""
    query = _places(project_id, reasons).where(SetAside.document_id.is_(None))
    return set(session.scalars(query.distinct()))


def places_set_aside(session: Session, project_id: int, reasons: Collection[str]) -> set[str]:
    """Where things came from that stand set aside, not mended, for one of these reasons."""
    return set(session.scalars(_places(project_id, reasons).distinct()))


def _places(project_id: int, reasons: Collection[str]) -> Select[str]:
    query = select(SetAside.source_ref).where(SetAside.project_id == project_id, SetAside.mended_at.is_(None))
    return query.where(SetAside.reason.in_(list(reasons)))
