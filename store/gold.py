"""Gold: for each document, the one annotation that is believed; and how much of it is new since a moment.

Live annotations are those whose latest version is neither deleted nor skipped and says something about the text. The
believed annotation of a document is the live one with ground truth, else the live one that was updated last. The other
live annotations are kept, and those with other spans are counted. A deleted document has no gold.

A text is gold only if everything that its believed annotation says was understood. If the believed annotation is in
doubt, or has a label that the project does not have, the whole document is kept out. No older annotation is believed in
its place. The part that was understood would be taught as if it were complete.

New gold is the reason to train again, and open tasks without a prediction are the reason to publish again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby
from typing import Any, Protocol

from sqlalchemy import ColumnElement, Row, Select, and_, case, exists, func, or_, select
from sqlalchemy.orm import Session, aliased

from ner.labels import OUTSIDE
from ner.spans import Span
from store.annotations import LABEL_STUDIO, in_doubt, is_latest
from store.database.columns import spans_to_json, to_json
from store.database.schema import HOLDOUT, POOL, SPLITS, TRAIN, AnnotationVersion, Document, Prediction, Split
from store.database.session import ROWS_AT_ONCE, select_in
from store.documents import is_open
from store.label_dates import label_dates
from store.projects import project_by_id

LEARNED_FROM = (POOL, TRAIN)


@dataclass(frozen=True, slots=True)
class GoldDocument:
    """A document with the spans that are believed, and the annotation version they come from.

    `alternatives` is the number of its other live annotations, `disagreements` that of those with other spans.
    `unannotated`: types of the project that the annotation was not made for, as `label_dates` tells: of these types,
    the document says neither where they are nor that there are none.
    """

    document_id: int
    external_id: str
    group_key: str
    content_hash: str
    text: str
    spans: tuple[Span, ...]
    annotation_version_id: int
    split: str
    creator: str | None
    ground_truth: bool
    alternatives: int
    disagreements: int
    unannotated: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class DoubtfulDocument:
    """A labelled document that is not gold, since something that its believed annotation says was not understood.

    `unknown_labels`: labels of its spans that the project does not have, and then `spans` are all of its spans. Where
    set-aside rows say what is in doubt, there are neither.
    """

    document_id: int
    external_id: str
    group_key: str
    content_hash: str
    annotation_version_id: int
    split: str
    unknown_labels: tuple[str, ...] = ()
    spans: tuple[Span, ...] | None = None


@dataclass(frozen=True, slots=True)
class Labelled:
    """The labelled documents: those whose annotation was understood, and those in doubt."""

    gold: tuple[GoldDocument, ...]
    doubtful: tuple[DoubtfulDocument, ...]


@dataclass(frozen=True, slots=True)
class TrainingGold:
    """Gold that may be trained on, and the documents left out because the holdout holds their text or group.

    `in_doubt`: how many documents are left out because something that was said about them was not understood.
    """

    documents: tuple[GoldDocument, ...]
    excluded_as_holdout_duplicates: tuple[GoldDocument, ...]
    in_doubt: int = 0


class Keyed(Protocol):
    """Anything that knows its group and the hash of its text."""

    @property
    def group_key(self) -> str:
        """What it must stand in one split with."""

    @property
    def content_hash(self) -> str:
        """Of its text."""


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The texts (by hash) and groups of all documents of the holdout: nothing of either is trained on."""

    texts: frozenset[str]
    groups: frozenset[str]

    def __contains__(self, item: Keyed) -> bool:
        return item.content_hash in self.texts or item.group_key in self.groups


def labelled(session: Session, project_id: int, splits: Collection[str] = SPLITS) -> Labelled:
    """The labelled documents of these splits, oldest first; by a few queries, however many there are."""
    found = list(each_labelled(session, project_id, splits))
    return Labelled(
        tuple(item for item in found if isinstance(item, GoldDocument)),
        tuple(item for item in found if isinstance(item, DoubtfulDocument)),
    )


def each_labelled(
    session: Session, project_id: int, splits: Collection[str] = SPLITS
) -> Iterator[GoldDocument | DoubtfulDocument]:
    """The same documents one after another, without all of them in memory."""
    rows = session.execute(_live(project_id, splits).execution_options(yield_per=ROWS_AT_ONCE))
    return _judged(session, project_id, rows)


def gold(session: Session, project_id: int, splits: Collection[str] = SPLITS) -> list[GoldDocument]:
    """The gold documents of these splits, oldest first."""
    return list(labelled(session, project_id, splits).gold)


def training_gold(session: Session, project_id: int) -> TrainingGold:
    """Gold of the pool and of train, without what shares its text or its group with the holdout, as `held_out` says."""
    found = labelled(session, project_id, LEARNED_FROM)
    held = held_out(session, project_id)
    return TrainingGold(
        documents=tuple(item for item in found.gold if item not in held),
        excluded_as_holdout_duplicates=tuple(item for item in found.gold if item in held),
        in_doubt=sum(item not in held for item in found.doubtful),
    )


def has_gold(session: Session, project_id: int) -> bool:
    """Whether there is any gold that may be trained on, as `training_gold`; nothing behind the first is read."""
    held = held_out(session, project_id)
    found = each_labelled(session, project_id, LEARNED_FROM)
    return any(isinstance(item, GoldDocument) and item not in held for item in found)


def held_out(session: Session, project_id: int) -> HeldOut:
    """The texts and groups of the holdout, also of its deleted documents: nothing that shares one is trained on."""
    query = select(Document.content_hash, Document.group_key).join(Split, Split.document_id == Document.id)
    rows = session.execute(query.where(Document.project_id == project_id, Split.split == HOLDOUT)).all()
    return HeldOut(frozenset(row.content_hash for row in rows), frozenset(row.group_key for row in rows))


def is_held_out(document: type[Document]) -> ColumnElement[bool]:
    """The SQL condition of a document that shares its text or its group with the holdout, as `held_out`."""
    held, split = aliased(Document), aliased(Split)
    standing = exists().where(held.project_id == document.project_id, split.document_id == held.id)
    standing = standing.where(split.split == HOLDOUT)
    # Two lookups rather than one with OR, which no index serves.
    return or_(
        standing.where(held.content_hash == document.content_hash), standing.where(held.group_key == document.group_key)
    )


def fingerprint(documents: Iterable[GoldDocument]) -> str:
    """SHA-256 (hex) over texts, spans and unannotated types; the same in every store and in any order of documents."""
    lines = sorted(
        " ".join([item.content_hash, to_json(spans_to_json(sorted(item.spans))), *sorted(item.unannotated)])
        for item in documents
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _live(project_id: int, splits: Collection[str]) -> Select[*tuple[Any, ...]]:
    version = AnnotationVersion
    return (
        select(
            Document.id.label("document_id"),
            Document.external_id,
            Document.group_key,
            Document.content_hash,
            Document.text,
            Split.split,
            version.id,
            version.spans,
            version.creator,
            version.ground_truth,
            in_doubt(version).label("in_doubt"),
            _made_at(version).label("made_at"),
        )
        .join(Split, Split.document_id == Document.id)
        .join(version, version.document_id == Document.id)
        .where(Document.project_id == project_id, Document.deleted_at.is_(None), Split.split.in_(splits))
        .where(~version.deleted, ~version.skipped, _says_something(version), is_latest(version))
        .order_by(
            Document.id,
            version.ground_truth.desc(),
            func.coalesce(version.source_updated_at, version.seen_at).desc(),
            version.id.desc(),
        )
    )


def _says_something(version: type[AnnotationVersion]) -> ColumnElement[bool]:
    """The SQL condition of a version that is read as a statement about its text, understood or not."""
    return or_(version.spans.is_not(None), in_doubt(version))


def _made_at(version: type[AnnotationVersion]) -> ColumnElement[datetime]:
    """When people made the annotation. A file is taken to be of the types that the project had at the import."""
    in_label_studio = and_(version.source == LABEL_STUDIO, version.source_updated_at.is_not(None))
    return case((in_label_studio, version.source_updated_at), else_=version.seen_at)


def _judged(
    session: Session, project_id: int, rows: Iterable[Row[*tuple[Any, ...]]]
) -> Iterator[GoldDocument | DoubtfulDocument]:
    """What each document of `_live`'s rows is, one after another."""
    project = project_by_id(session, project_id)
    labels, label_map = frozenset(project.labels), project.label_map or {}
    dates = label_dates(session, project_id)
    for _, versions in groupby(rows, key=lambda row: row.document_id):
        best, *others = versions
        spans = None if best.in_doubt else _in_labels(best.spans, labels, label_map)
        unknown = sorted({span.label for span in spans or ()} - labels)
        if spans is None or unknown:
            yield _doubtful(best, spans, tuple(unknown))
        else:
            silent = dates.unknown_at(best.made_at, labels, label_map) - {span.label for span in spans}
            yield _believed(best, spans, others, silent)


def _in_labels(spans: tuple[Span, ...], labels: Collection[str], label_map: Mapping[str, str]) -> tuple[Span, ...]:
    """The spans under today's label map: the map decides on labels that left the config after the spans were stored."""
    if all(span.label in labels for span in spans):
        return spans
    kept = (span for span in spans if span.label in labels or label_map.get(span.label) != OUTSIDE)
    return tuple(
        span if span.label in labels else replace(span, label=label_map.get(span.label, span.label)) for span in kept
    )


def _doubtful(
    best: Row[*tuple[Any, ...]], spans: tuple[Span, ...] | None, unknown_labels: tuple[str, ...]
) -> DoubtfulDocument:
    return DoubtfulDocument(
        document_id=best.document_id,
        external_id=best.external_id,
        group_key=best.group_key,
        content_hash=best.content_hash,
        annotation_version_id=best.id,
        split=best.split,
        unknown_labels=unknown_labels,
        spans=spans,
    )


def _believed(
    best: Row[*tuple[Any, ...]],
    believed: tuple[Span, ...],
    others: list[Row[*tuple[Any, ...]]],
    unannotated: frozenset[str],
) -> GoldDocument:
    """The best annotation as gold; of the others, those in doubt count as alternatives and not as disagreements."""
    spans = _as_set(best.spans) if others else frozenset()
    return GoldDocument(
        document_id=best.document_id,
        external_id=best.external_id,
        group_key=best.group_key,
        content_hash=best.content_hash,
        text=best.text,
        spans=believed,
        annotation_version_id=best.id,
        split=best.split,
        creator=best.creator,
        ground_truth=best.ground_truth,
        alternatives=len(others),
        disagreements=sum(not other.in_doubt and _as_set(other.spans) != spans for other in others),
        unannotated=unannotated,
    )


def _as_set(spans: Iterable[Span]) -> frozenset[tuple[int, int, str]]:
    return frozenset((span.start, span.end, span.label) for span in spans)


_Key = tuple[int, str, str]
_Spans = frozenset[tuple[int, int, str]]


def count_fresh_gold(session: Session, project_id: int, since: datetime | None) -> int:
    """How many documents that may be trained on got something new to learn after `since` (None: ever).

    A later version of an annotation that says the same spans is nothing new: Label Studio forgets the parents of
    annotations when predictions are deleted. What was in a holdout that was retired since is new. A document in doubt
    is no gold, whatever its other annotations say.
    """
    if since is None:
        return len(training_gold(session, project_id).documents)
    version = AnnotationVersion
    learned = (
        select(version.document_id, version.source, version.source_id, version.spans)
        .join(Document, Document.id == version.document_id)
        .join(Split, Split.document_id == Document.id)
        .where(Document.project_id == project_id, Document.deleted_at.is_(None), Split.split.in_(LEARNED_FROM))
        .where(~version.deleted, ~version.skipped, version.spans.is_not(None), ~in_doubt(version), is_latest(version))
        .where(~is_held_out(Document))
    )
    seen = session.execute(learned.where(version.seen_at > since)).all()
    before = _learned_before(session, {row.document_id for row in seen}, since)
    fresh = [row for row in seen if before.get((row.document_id, row.source, row.source_id)) != _as_set(row.spans)]
    retired = session.scalars(
        learned.where(Split.assigned_at > since, Split.epoch > 0).with_only_columns(version.document_id)
    )
    candidates = {row.document_id for row in fresh} | set(retired)
    rows = select_in(session, _live(project_id, LEARNED_FROM), Document.id, candidates)
    return sum(isinstance(item, GoldDocument) for item in _judged(session, project_id, rows))


def count_unpublished(session: Session, project_id: int, version: str) -> int:
    """How many open tasks have no confirmed prediction of that model version, or one for another split."""
    fitting = (Prediction.holdout == (Split.split == HOLDOUT)) & Prediction.confirmed_at.is_not(None)
    published = select(Prediction.document_id).join(Split, Split.document_id == Prediction.document_id)
    published = published.where(Prediction.model == version, fitting)
    query = select(func.count()).select_from(Document).where(Document.project_id == project_id, is_open())
    query = query.where(Document.ls_task_id.is_not(None), Document.deleted_at.is_(None))
    return session.scalar(query.where(Document.id.not_in(published))) or 0


def _learned_before(session: Session, documents: set[int], since: datetime) -> dict[_Key, _Spans | None]:
    """What each annotation of these documents said at `since`; None where nothing could be learned from it."""
    version = AnnotationVersion
    query = select(
        version.sequence,
        version.document_id,
        version.source,
        version.source_id,
        version.spans,
        version.skipped,
        version.deleted,
        in_doubt(version).label("in_doubt"),
    ).where(version.seen_at <= since)
    said: dict[_Key, _Spans | None] = {}
    for row in sorted(select_in(session, query, version.document_id, documents), key=lambda row: row.sequence):
        usable = row.spans is not None and not row.skipped and not row.deleted and not row.in_doubt
        said[row.document_id, row.source, row.source_id] = _as_set(row.spans) if usable else None
    return said
