"""What was published: a version's predictions for documents, and the order in which the documents are to be labelled.

A version is that of a model or, while no model serves, that of the agreed votes of the sources of weak labels.

When a model is withdrawn, this module also tells which versions served, and which annotations began from a pre-label.

And it tells what annotators did with the pre-labels: each submitted annotation beside the pre-label that it was begun
from. An annotation counts once, by the first version of it that was submitted and understood. Its later versions are
corrections of people, and count no more. An annotation that is deleted later still counts: it shows what a person did
with the pre-label. So counts of annotations never fall, and can be continued from the last annotation that was read. A
held-out text shows no pre-label, and its annotations do not count.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, delete, exists, func, select, update
from sqlalchemy.orm import Session, aliased

from ner.label_studio.edits import Edits, edits_of
from ner.spans import Span, clean_spans
from store.annotations import LABEL_STUDIO, is_latest
from store.database.columns import Instant, utc_now
from store.database.schema import HOLDOUT, AnnotationVersion, Document, Prediction, Promotion, QueueRank, Split
from store.database.session import ROWS_AT_ONCE, Transaction, chunks, insert_rows, select_in
from store.registry import MOVES, model, promotions

_Submitted = Row[*tuple[Any, ...]]
# Versions of models end in four digits or more.
_OF_VOTES = re.compile(r"votes-[0-9a-f]{8}")


@dataclass(frozen=True, slots=True)
class NewPrediction:
    """Spans and task score (0..1, low first in the queue) of a document; a `holdout` one is published empty."""

    document_id: int
    score: float
    spans: tuple[Span, ...]
    holdout: bool = False


def votes_version(digest: str) -> str:
    """The version of the agreed votes; `digest` (hex) is of the project and of all that decides the votes."""
    return f"votes-{digest[:8]}"


def is_of_votes(version: str | None) -> bool:
    """Whether the version is that of agreed votes, and no model's."""
    return version is not None and _OF_VOTES.fullmatch(version) is not None


def save_predictions(tx: Transaction, version: str, items: Iterable[NewPrediction]) -> int:
    """Note what is about to be sent, in place of the version's earlier predictions for these documents.

    Gives the number. A prediction counts as one that annotators may have seen, and not as an empty one, until it is
    confirmed. Raises NotFoundError for a version that is neither a model's nor of agreed votes.
    """
    name = _known(tx.session, version)
    rows = {
        item.document_id: {
            "document_id": item.document_id,
            "model": name,
            "score": item.score,
            "spans": item.spans,
            "holdout": item.holdout,
            "published_at": utc_now(),
            "confirmed_at": None,
        }
        for item in items
    }
    for chunk in chunks(rows):
        mine = delete(Prediction).where(Prediction.model == name, Prediction.document_id.in_(chunk))
        tx.session.execute(mine.execution_options(synchronize_session=False))
    insert_rows(tx.session, Prediction, list(rows.values()))
    return len(rows)


def confirm_predictions(tx: Transaction, version: str, document_ids: Iterable[int]) -> int:
    """Note that Label Studio has the version's predictions for these documents, and shows them.

    Gives how many were not confirmed before.
    """
    waiting = select(Prediction.document_id).where(Prediction.model == version, Prediction.confirmed_at.is_(None))
    ids = [row[0] for row in select_in(tx.session, waiting, Prediction.document_id, set(document_ids))]
    for chunk in chunks(ids):
        mine = update(Prediction).where(Prediction.model == version, Prediction.document_id.in_(chunk))
        tx.session.execute(mine.values(confirmed_at=utc_now()).execution_options(synchronize_session=False))
    return len(ids)


def predictions(session: Session, version: str) -> dict[int, Prediction]:
    """A version's predictions by document id."""
    query = select(Prediction).where(Prediction.model == version).order_by(Prediction.document_id)
    return {row.document_id: row for row in session.scalars(query)}


def save_ranks(tx: Transaction, version: str, ordered: Sequence[tuple[int, float]]) -> int:
    """Store a version's queue, (document id, confidence) with the first to label first, in place of its earlier one."""
    name = _known(tx.session, version)
    mine = delete(QueueRank).where(QueueRank.model == name)
    tx.session.execute(mine.execution_options(synchronize_session=False))
    rows = [
        {"document_id": document, "model": name, "confidence": confidence, "rank": rank}
        for rank, (document, confidence) in enumerate(ordered)
    ]
    insert_rows(tx.session, QueueRank, rows)
    return len(rows)


def ranks(session: Session, version: str) -> list[QueueRank]:
    """A version's queue, the first to label first."""
    return list(session.scalars(select(QueueRank).where(QueueRank.model == version).order_by(QueueRank.rank)))


def _known(session: Session, version: str) -> str:
    return version if is_of_votes(version) else model(session, version).version


@dataclass(frozen=True, slots=True)
class BegunFromPrelabel:
    """A live annotation that names a prediction as its parent; `parent_prediction` is Label Studio's id of it.

    made_at: when it was submitted, by Label Studio's clock where that is known. spans None: nothing can be learned
    from it. split: where its document stands now.
    """

    document_id: int
    external_id: str
    ls_task_id: int
    annotation_version_id: int
    annotation_id: int
    annotator: str | None
    made_at: datetime
    parent_prediction: int
    spans: tuple[Span, ...] | None
    split: str


@dataclass(frozen=True, slots=True)
class Published:
    """What a version said of a document from `published_at` on; a `holdout` one is known to be empty there."""

    version: str
    spans: tuple[Span, ...]
    holdout: bool
    published_at: datetime


def moves(decisions: Iterable[Promotion]) -> list[Promotion]:
    """Those decisions that put a model into service, in their order."""
    return [decision for decision in decisions if decision.action in MOVES]


def withdrawn_since(moved: Sequence[Promotion], target: str) -> tuple[str, ...]:
    """The versions that served after `target` last did, the one that served last at the end; all, if it never did.

    `moved` ends with the decision that put into service what a rollback to `target` withdraws.
    """
    served = [decision.version for decision in moved]
    after = served[len(served) - served[::-1].index(target) :] if target in served else served
    return tuple(reversed(dict.fromkeys(reversed(after))))


def begun_from_prelabels(session: Session, project_id: int) -> list[BegunFromPrelabel]:
    """Label Studio's live annotations (no skips) that were begun from a prediction, on live documents, oldest first.

    Label Studio forgets where an annotation began once that prediction is deleted; the versions seen before do not.
    """
    version, earlier = AnnotationVersion, aliased(AnnotationVersion)
    parent = (
        select(earlier.parent_prediction)
        .where(earlier.document_id == version.document_id, earlier.source == version.source)
        .where(earlier.source_id == version.source_id, earlier.parent_prediction.is_not(None))
        .order_by(earlier.sequence.desc())
        .limit(1)
        .scalar_subquery()
    )
    query = (
        select(version, Document.external_id, Document.ls_task_id, Split.split, parent)
        .join(Document, Document.id == version.document_id)
        .join(Split, Split.document_id == Document.id)
        .where(Document.project_id == project_id, Document.deleted_at.is_(None), Document.ls_task_id.is_not(None))
        .where(version.source == LABEL_STUDIO, ~version.deleted, ~version.skipped)
        .where(is_latest(version), parent.is_not(None))
        .order_by(version.id)
    )
    return [_begun(*row) for row in session.execute(query)]


def published_on(
    session: Session, document_ids: Collection[int], versions: Collection[str] | None = None
) -> dict[int, list[Published]]:
    """What was published for these documents, or may have been, by document id, oldest first; of these versions."""
    found: dict[int, list[Published]] = {}
    row = Prediction
    query = select(row.document_id, row.model, row.spans, row.holdout, row.confirmed_at, row.published_at)
    if versions is not None:
        query = query.where(row.model.in_(sorted(versions)))
    for document, version, spans, holdout, confirmed, at in select_in(
        session, query, row.document_id, set(document_ids)
    ):
        found.setdefault(document, []).append(Published(version, spans, holdout and confirmed is not None, at))
    return {document: sorted(items, key=lambda one: one.published_at) for document, items in found.items()}


def served_at(moved: Sequence[Promotion], moment: datetime) -> str | None:
    """The version that was in service at that moment."""
    return next((decision.version for decision in reversed(moved) if decision.at <= moment), None)


def version_shown(made_at: datetime, shown: Sequence[Published], moved: Sequence[Promotion]) -> str | None:
    """The version whose pre-label an annotation was begun from, told by times; None where there was none by then.

    It is the version in service at that time if it was published by then, else the version published last by then:
    between a promotion and its publishing, annotators still see the version before. `shown`: oldest first.
    """
    serving = served_at(moved, made_at)
    by_then = [one.version for one in shown if one.published_at <= made_at]
    return serving if serving in by_then or not by_then else by_then[-1]


def _begun(found: AnnotationVersion, external_id: str, task_id: int, split: str, parent: int) -> BegunFromPrelabel:
    return BegunFromPrelabel(
        document_id=found.document_id,
        external_id=external_id,
        ls_task_id=task_id,
        annotation_version_id=found.id,
        annotation_id=int(found.source_id),
        annotator=found.creator,
        made_at=found.source_created_at or found.seen_at,
        parent_prediction=parent,
        spans=found.spans,
        split=split,
    )


@dataclass(frozen=True, slots=True)
class ReviewedPrelabel:
    """An annotation that was begun from a pre-label, and what the annotator did with the pre-label's regions.

    group: what the text belongs to. at: when the annotation was submitted. version: whose pre-label it was, told by
    times as `version_shown` says. edits: by entity type; None where the store does not know the pre-label, since the ML
    backend gave it on demand.
    """

    annotation_version_id: int
    group: str
    annotator: str | None
    at: datetime
    version: str | None
    edits: Mapping[str, Edits] | None


def reviewed_prelabels(session: Session, project_id: int, after: int = 0) -> Iterator[ReviewedPrelabel]:
    """The project's annotations that were begun from pre-labels, in the order in which the store saw them.

    after: the id of an annotation version; only later versions are read.
    """
    moved = moves(promotions(session, project_id))
    rows = session.execute(_first_submitted(project_id, after).execution_options(yield_per=ROWS_AT_ONCE))
    for part in rows.partitions():
        shown = _shown(session, part, moved)
        found = (_reviewed(row, shown.get(row.document_id, ()), moved) for row in part)
        yield from (one for one in found if one is not None)


def _first_submitted(project_id: int, after: int) -> Select[*tuple[Any, ...]]:
    """The first submitted version of each annotation that names a prediction as its parent, oldest first."""
    version, earlier = AnnotationVersion, aliased(AnnotationVersion)
    submitted_before = exists().where(
        earlier.document_id == version.document_id,
        earlier.source == version.source,
        earlier.source_id == version.source_id,
        earlier.sequence < version.sequence,
        *_submitted(earlier),
    )
    at = func.coalesce(version.source_created_at, version.seen_at, type_=Instant()).label("at")
    # The sum keeps SQLite from its index of the project's documents: it would read all of them to find a few versions.
    of_the_project = Document.project_id + 0 == project_id
    return (
        select(
            *(version.id, version.document_id, version.spans, version.creator, at),
            *(Document.text, Document.group_key, Split.split),
        )
        .join(Document, Document.id == version.document_id)
        .join(Split, Split.document_id == Document.id)
        .where(of_the_project, version.id > after, version.source == LABEL_STUDIO)
        .where(*_submitted(version), version.parent_prediction.is_not(None), ~submitted_before)
        .order_by(version.id)
    )


def _shown(session: Session, rows: Sequence[_Submitted], moved: Sequence[Promotion]) -> dict[int, list[Published]]:
    """What `version_shown` needs to know of these documents, without the versions that cannot have been shown.

    Most annotators see the version in service, and a document may have had predictions of many versions.
    """
    serving = [served_at(moved, row.at) for row in rows]
    documents = {row.document_id for row in rows}
    shown = published_on(session, documents, {version for version in serving if version is not None})
    late = {
        row.document_id for row, version in zip(rows, serving, strict=True) if not _was_published(row, version, shown)
    }
    return shown | published_on(session, late)


def _was_published(row: _Submitted, version: str | None, shown: Mapping[int, Sequence[Published]]) -> bool:
    return any(one.version == version and one.published_at <= row.at for one in shown.get(row.document_id, ()))


def _submitted(version: type[AnnotationVersion]) -> tuple[Any, ...]:
    return ~version.deleted, ~version.skipped, version.spans.is_not(None)


def _reviewed(row: _Submitted, shown: Sequence[Published], moved: Sequence[Promotion]) -> ReviewedPrelabel | None:
    """None for an annotation that saw no pre-label."""
    version = version_shown(row.at, shown, moved)
    told = next((one for one in shown if one.version == version), None)
    if row.split == HOLDOUT or (told is not None and told.holdout):
        return None
    edits = None
    if told is not None:
        edits = edits_of(clean_spans(row.text, told.spans)[0], clean_spans(row.text, row.spans)[0])
    return ReviewedPrelabel(row.id, row.group_key, row.creator, row.at, version, edits)
