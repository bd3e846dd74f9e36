"""What a lead asks first, counted: labels for each type, open work, annotators, disagreement, what was set aside.

Doubts are counted here, too: labelled texts that are not gold, since something that was said about them was not
understood.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from ner.label_studio.label_config import NotLearned
from ner.label_studio.results import DOUBTS, OUTSIDE_CONFIG, SEVERAL_LABELS
from store.annotations import has_live_annotation, is_latest
from store.database.schema import HOLDOUT, AnnotationVersion, Document, SetAside, Split
from store.database.session import select_in
from store.documents import count_open
from store.gold import DoubtfulDocument, GoldDocument, held_out, labelled
from store.splits import split_sizes
from store.tasks import count_live_tasks

_NAMES_LABELS = frozenset({OUTSIDE_CONFIG, SEVERAL_LABELS})


@dataclass(frozen=True, slots=True)
class ProjectCounts:
    """Counts of live documents and annotations. `labels` counts gold spans by type outside the holdout.

    `disagreements` counts gold documents whose annotators differ; `skipped` annotations that are skips; `annotators`
    annotations by person, and `unnamed` those without a name, such as from a file; `set_aside` by reason, of
    annotations as they are now, of imports, and of tasks that were not mended since; `duplicates` gold documents that
    are not trained on because the holdout holds their text or group (their spans are not in `labels`). `doubts`:
    labelled documents that are no gold, in the holdout too.
    """

    documents: Mapping[str, int]
    tasks: int
    open: int
    deleted: int
    gold: int
    holdout_gold: int
    duplicates: int
    labels: Mapping[str, int]
    holdout_labels: Mapping[str, int]
    annotators: Mapping[str, int]
    unnamed: int
    skipped: int
    disagreements: int
    set_aside: Mapping[str, int]
    doubts: Doubts


def project_counts(session: Session, project_id: int) -> ProjectCounts:
    """All counts of a project, from one snapshot."""
    found = labelled(session, project_id)
    documents = found.gold
    held = [item for item in documents if item.split == HOLDOUT]
    kept_out = held_out(session, project_id)
    learned = [item for item in documents if item.split != HOLDOUT and item not in kept_out]
    people = _annotations(session, project_id)
    return ProjectCounts(
        documents=split_sizes(session, project_id),
        tasks=count_live_tasks(session, project_id),
        open=count_open(session, project_id),
        deleted=_deleted(session, project_id),
        gold=len(learned),
        holdout_gold=len(held),
        duplicates=len(documents) - len(held) - len(learned),
        labels=_labels(learned),
        holdout_labels=_labels(held),
        annotators={who: number for who, skipped, number in people if who is not None and not skipped},
        unnamed=sum(number for who, skipped, number in people if who is None and not skipped),
        skipped=sum(number for _, skipped, number in people if skipped),
        disagreements=sum(item.disagreements > 0 for item in documents),
        set_aside=_set_aside(session, project_id),
        doubts=doubts_of(session, found.doubtful),
    )


def open_documents(session: Session, project_id: int) -> dict[str, int]:
    """How many live documents nobody has annotated or skipped, by split."""
    query = select(Split.split, func.count()).join(Document, Document.id == Split.document_id)
    query = query.where(Document.project_id == project_id, Document.deleted_at.is_(None))
    query = query.where(~has_live_annotation(Document.id)).group_by(Split.split)
    return {row[0]: row[1] for row in session.execute(query)}


def seconds_an_annotation(session: Session, project_id: int) -> float | None:
    """The median time that people took for an annotation, skips left out; None where Label Studio told no time.

    The median, since a task that stands open over lunch says nothing about the work.
    """
    version = AnnotationVersion
    query = (
        select(version.lead_time)
        .join(Document, Document.id == version.document_id)
        .where(Document.project_id == project_id, version.lead_time > 0)
        .where(~version.deleted, ~version.skipped, is_latest(version))
    )
    times = [time for time in session.scalars(query) if time is not None]
    return median(times) if times else None


def _labels(documents: Iterable[GoldDocument]) -> dict[str, int]:
    return dict(sorted(Counter(span.label for item in documents for span in item.spans).items()))


def _deleted(session: Session, project_id: int) -> int:
    query = select(func.count()).select_from(Document)
    return session.scalar(query.where(Document.project_id == project_id, Document.deleted_at.is_not(None))) or 0


def _annotations(session: Session, project_id: int) -> list[tuple[str | None, bool, int]]:
    """(creator, skipped, number) of live annotations."""
    version = AnnotationVersion
    query = (
        select(version.creator, version.skipped, func.count())
        .join(Document, Document.id == version.document_id)
        .where(Document.project_id == project_id, Document.deleted_at.is_(None))
        .where(~version.deleted, is_latest(version))
        .group_by(version.creator, version.skipped)
        .order_by(version.creator)
    )
    return [(creator, skipped, number) for creator, skipped, number in session.execute(query)]


def _set_aside(session: Session, project_id: int) -> dict[str, int]:
    version = AnnotationVersion
    query = (
        select(SetAside.reason, func.count())
        .outerjoin(version, version.id == SetAside.annotation_version_id)
        .where(SetAside.project_id == project_id, SetAside.mended_at.is_(None))
        .where(or_(SetAside.annotation_version_id.is_(None), is_latest(version)))
        .group_by(SetAside.reason)
        .order_by(SetAside.reason)
    )
    return {row[0]: row[1] for row in session.execute(query)}


@dataclass(frozen=True)
class Doubts:
    """How many labelled texts are in doubt, by reason, and by label of the regions whose labels are at fault.

    A text counts once for each of its reasons and labels, so that these numbers may add up to more than `documents`.
    """

    documents: int = 0
    by_reason: Mapping[str, int] = field(default_factory=dict)
    labels: Mapping[str, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.documents > 0


def counted(by_document: Iterable[Iterable[NotLearned]]) -> Doubts:
    """The doubts among what was set aside of each document; what is no doubt is passed over."""
    documents, reasons, labels = 0, Counter[str](), Counter[str]()
    for items in by_document:
        doubts = [item for item in items if item.reason in DOUBTS]
        documents += bool(doubts)
        reasons.update({item.reason for item in doubts})
        labels.update({name for item in doubts if item.reason in _NAMES_LABELS for name in labels_of(item.payload)})
    return Doubts(documents, _most_first(reasons), _most_first(labels))


def doubts_of(session: Session, documents: Sequence[DoubtfulDocument]) -> Doubts:
    """The doubts of these documents, as they stand in the store."""
    return counted(set_aside_of(session, documents).values())


def set_aside_of(session: Session, documents: Sequence[DoubtfulDocument]) -> dict[int, list[NotLearned]]:
    """Why each of these documents (by id) is in doubt. A label that left the config is told as a region with it."""
    found: dict[int, list[NotLearned]] = {
        item.document_id: [NotLearned(OUTSIDE_CONFIG, _region(name)) for name in item.unknown_labels]
        for item in documents
    }
    believed = {item.annotation_version_id: item.document_id for item in documents}
    query = select(SetAside.annotation_version_id, SetAside.reason, SetAside.payload)
    query = query.where(SetAside.reason.in_(sorted(DOUBTS)), SetAside.mended_at.is_(None))
    for version, reason, payload in select_in(session, query.order_by(SetAside.id), SetAside.document_id, found):
        if version in believed:
            found[believed[version]].append(NotLearned(reason, payload))
    return found


def labels_of(region: Any) -> tuple[str, ...]:
    """The labels of a region as Label Studio writes it; none for anything else."""
    value = region.get("value") if isinstance(region, dict) else None
    names = value.get("labels") if isinstance(value, dict) else None
    return tuple(name for name in names if isinstance(name, str)) if isinstance(names, list) else ()


def _region(label: str) -> dict[str, Any]:
    return {"value": {"labels": [label]}}


def _most_first(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
