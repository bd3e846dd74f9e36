"""Annotations: every version of every annotation ever seen, in the order it was seen. No version is changed or removed.

An annotation is named by (document, source, source_id): Label Studio's id, or a line of an imported file. A new
version is stored when what people did changed (result, creator, lead time, skipped, ground truth, parent prediction,
deleted), or when the same result is read as other spans because the label config changed. A -> B -> A is three
versions. An annotation that was deleted gets a last version that says so and keeps what the annotation held.

What arrives and cannot be learned from is set aside: kept whole, with the rule that set it aside. Some of these reasons
say that something about the text was not understood (`DOUBTS` in `ner.label_studio.results`). An annotation with such a
reason is in doubt, and its text is not gold.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, exists, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from ner.label_studio.label_config import NotLearned
from ner.label_studio.results import DOUBTS
from ner.spans import Span
from store.database.columns import spans_to_json, to_json, utc_now
from store.database.schema import AnnotationVersion, Document, SetAside
from store.database.session import Transaction, chunks, insert_rows, select_in
from store.errors import NotFoundError
from store.projects import lock_project

LABEL_STUDIO, FILE = "label_studio", "file"


@dataclass(frozen=True, slots=True)
class NewAnnotation:
    """An annotation as it is now. `spans` None: nothing can be learned from it; (): a text without entities.

    `lead_time` in seconds; `set_aside` is stored with the version, when there is a new one. An annotation that is in
    doubt has no spans: a part of what was said about a text is not taught as the whole.
    """

    source: str
    source_id: str
    result: Sequence[Mapping[str, Any]]
    spans: tuple[Span, ...] | None
    creator: str | None = None
    lead_time: float | None = None
    skipped: bool = False
    ground_truth: bool = False
    parent_prediction: int | None = None
    source_created_at: datetime | None = None
    source_updated_at: datetime | None = None
    set_aside: Sequence[NotLearned] = ()

    @property
    def doubts(self) -> tuple[NotLearned, ...]:
        """What was said about the text and was not understood."""
        return tuple(item for item in self.set_aside if item.reason in DOUBTS)


@dataclass(frozen=True, slots=True)
class AppendCounts:
    """How many annotations got a new version, how many had not changed, how many were found gone.

    replaced: of those with a new version, how many had said something else before.
    """

    added: int
    unchanged: int
    deleted: int = 0
    replaced: int = 0


@dataclass(frozen=True, slots=True)
class _Stored:
    document_id: int
    annotation: NewAnnotation
    sequence: int


@dataclass(frozen=True, slots=True)
class _Latest:
    """What the next version of an annotation is compared with."""

    sequence: int
    digest: str
    in_doubt: bool


_Key = tuple[int, str, str]
_NEVER_SEEN = _Latest(0, "", False)


def append_annotations(tx: Transaction, items: Iterable[tuple[int, NewAnnotation]]) -> AppendCounts:
    """Append a version for each (document id, annotation) that differs from its latest one; in the order given."""
    given = list(items)
    projects = _lock_projects(tx, {document for document, _ in given})
    latest = _latest(tx.session, {document for document, _ in given})
    rows, aside = [], []
    for document, annotation in given:
        row = _row(document, annotation)
        if _append(row, latest, bool(annotation.doubts)):
            rows.append(row)
            aside.append(_Stored(document, annotation, row["sequence"]))
    insert_rows(tx.session, AnnotationVersion, rows)
    _save_aside(tx, projects, [item for item in aside if item.annotation.set_aside])
    replaced = sum(row["sequence"] > 1 for row in rows)
    return AppendCounts(added=len(rows), unchanged=len(given) - len(rows), replaced=replaced)


def sync_annotations(tx: Transaction, source: str, seen: Mapping[int, Sequence[NewAnnotation]]) -> AppendCounts:
    """Bring documents (by id) to exactly these annotations of one source: append what changed, note what is gone."""
    counts = append_annotations(tx, [(document, item) for document, items in seen.items() for item in items])
    kept = {(document, item.source_id) for document, items in seen.items() for item in items}
    gone = [
        (row.document_id, row.source, row.source_id)
        for row in latest_versions(tx.session, seen)
        if row.source == source and not row.deleted and (row.document_id, row.source_id) not in kept
    ]
    return replace(counts, deleted=mark_annotations_deleted(tx, gone))


def mark_annotations_deleted(tx: Transaction, keys: Iterable[tuple[int, str, str]]) -> int:
    """Append a version with `deleted` to each live (document id, source, source_id); gives how many were live."""
    wanted = set(keys)
    _lock_projects(tx, {document for document, _, _ in wanted})
    rows = []
    for version in latest_versions(tx.session, {document for document, _, _ in wanted}):
        if (version.document_id, version.source, version.source_id) in wanted and not version.deleted:
            row = {name: getattr(version, name) for name in _CARRIED}
            row |= {"deleted": True, "sequence": version.sequence + 1, "seen_at": utc_now()}
            rows.append(row | {"digest": _digest(row)})
    insert_rows(tx.session, AnnotationVersion, rows)
    return len(rows)


def latest_versions(session: Session, document_ids: Iterable[int]) -> list[AnnotationVersion]:
    """The latest version of every annotation of these documents, deleted ones too, in the order they were seen."""
    query = select(AnnotationVersion).where(is_latest(AnnotationVersion))
    rows = select_in(session, query, AnnotationVersion.document_id, set(document_ids))
    return sorted((row[0] for row in rows), key=lambda version: version.id)


def history(session: Session, document_id: int) -> list[AnnotationVersion]:
    """Every version of every annotation of a document, in the order they were seen."""
    query = select(AnnotationVersion).where(AnnotationVersion.document_id == document_id)
    return list(session.scalars(query.order_by(AnnotationVersion.id)))


def is_latest(version: type[AnnotationVersion]) -> ColumnElement[bool]:
    """The SQL condition of a version that no later one of the same annotation follows."""
    later = aliased(AnnotationVersion)
    return ~exists().where(
        later.document_id == version.document_id,
        later.source == version.source,
        later.source_id == version.source_id,
        later.sequence > version.sequence,
    )


def in_doubt(version: type[AnnotationVersion]) -> ColumnElement[bool]:
    """The SQL condition of a version of which something was not understood.

    The rows of `set_aside` tell, and not the spans: earlier releases stored the spans that were understood.
    """
    aside = aliased(SetAside)
    return exists().where(
        aside.document_id == version.document_id,
        aside.annotation_version_id == version.id,
        aside.reason.in_(sorted(DOUBTS)),
        aside.mended_at.is_(None),
    )


def has_live_annotation(document_id: InstrumentedAttribute[int]) -> ColumnElement[bool]:
    """The SQL condition of a document with an annotation (a skip too) that is not deleted."""
    version = aliased(AnnotationVersion)
    return exists().where(version.document_id == document_id, ~version.deleted, is_latest(version))


_PEOPLE = ("result", "creator", "lead_time", "skipped", "ground_truth", "parent_prediction", "deleted")
_CARRIED = (
    *("document_id", "source", "source_id", "result", "spans", "creator", "lead_time", "skipped", "ground_truth"),
    *("parent_prediction", "source_created_at", "source_updated_at"),
)


def _digest(row: Mapping[str, Any], doubts: Iterable[NotLearned] = ()) -> str:
    """Doubts are a part of it only where there are some: without doubts, digests of earlier releases stay equal."""
    spans = None if row["spans"] is None else spans_to_json(row["spans"])
    content = {name: row[name] for name in _PEOPLE} | {"spans": spans}
    doubted = [[item.reason, item.payload] for item in doubts]
    return _sha256(content | {"doubts": doubted} if doubted else content)


def _row(document_id: int, annotation: NewAnnotation) -> dict[str, Any]:
    row = {name: getattr(annotation, name) for name in _CARRIED if name != "document_id"}
    row |= {
        "document_id": document_id,
        "result": [dict(region) for region in annotation.result],
        "lead_time": None if annotation.lead_time is None else float(annotation.lead_time),
        "deleted": False,
        "seen_at": utc_now(),
    }
    return row | {"digest": _digest(row, annotation.doubts)}


def _append(row: dict[str, Any], latest: dict[_Key, _Latest], doubted: bool) -> bool:
    """Number the row after its latest version and note it as that; False when it says the same.

    A version of an earlier release may be in doubt and have the same spans as the annotation has without the doubt.
    """
    key = (row["document_id"], row["source"], row["source_id"])
    known = latest.get(key, _NEVER_SEEN)
    if (known.digest, known.in_doubt) == (row["digest"], doubted):
        return False
    row["sequence"] = known.sequence + 1
    latest[key] = _Latest(row["sequence"], row["digest"], doubted)
    return True


def _latest(session: Session, document_ids: set[int]) -> dict[_Key, _Latest]:
    version = AnnotationVersion
    key = (version.document_id, version.source, version.source_id)
    query = select(*key, version.sequence, version.digest, in_doubt(version)).where(is_latest(version))
    rows = select_in(session, query, version.document_id, document_ids)
    return {(row[0], row[1], row[2]): _Latest(*row[3:]) for row in rows}


def _lock_projects(tx: Transaction, document_ids: set[int]) -> dict[int, int]:
    """Project by document, each project locked; raises NotFoundError for documents that are not there."""
    query = select(Document.id, Document.project_id)
    projects = {row[0]: row[1] for row in select_in(tx.session, query, Document.id, document_ids)}
    missing = document_ids - projects.keys()
    if missing:
        raise NotFoundError("an annotation's document is in the store", value=sorted(missing)[:10])
    for project_id in sorted(set(projects.values())):
        lock_project(tx, project_id)
    return projects


def _save_aside(tx: Transaction, projects: Mapping[int, int], stored: Sequence[_Stored]) -> None:
    version = AnnotationVersion
    query = select(version.id, version.document_id, version.source, version.source_id, version.sequence)
    rows = select_in(tx.session, query, version.document_id, {item.document_id for item in stored})
    ids = {tuple(row[1:]): row[0] for row in rows}
    by_project: dict[int, list[NewSetAside]] = {}
    for item in stored:
        name, document = item.annotation, item.document_id
        version_id = ids[document, name.source, name.source_id, item.sequence]
        reference = f"{name.source}:{name.source_id}"
        by_project.setdefault(projects[document], []).extend(
            NewSetAside(reference, part.reason, part.payload, document, version_id) for part in name.set_aside
        )
    for project_id, items in by_project.items():
        save_set_aside(tx, project_id, items)


@dataclass(frozen=True, slots=True)
class NewSetAside:
    """`source_ref` says where it came from (`label_studio:17`, `train.jsonl:12`), `payload` is JSON as it came."""

    source_ref: str
    reason: str
    payload: Any
    document_id: int | None = None
    annotation_version_id: int | None = None


def save_set_aside(tx: Transaction, project_id: int, items: Iterable[NewSetAside]) -> int:
    """Store what is not stored yet (same place, reason, payload and version); gives how many items were new.

    An item that was mended and comes again unchanged is not mended any more.
    """
    lock_project(tx, project_id)
    given = {_set_aside_digest(item): item for item in items}
    query = select(SetAside.digest, SetAside.id, SetAside.mended_at).where(SetAside.project_id == project_id)
    known = {row.digest: row for row in select_in(tx.session, query, SetAside.digest, given)}
    rows = [_set_aside_row(project_id, digest, item) for digest, item in given.items() if digest not in known]
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


def _set_aside_row(project_id: int, digest: str, item: NewSetAside) -> dict[str, Any]:
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


def _set_aside_digest(item: NewSetAside) -> str:
    return _sha256([item.source_ref, item.reason, item.payload, item.document_id, item.annotation_version_id])


def _sha256(content: Any) -> str:
    return hashlib.sha256(to_json(content).encode()).hexdigest()
