"""What annotators did with the pre-labels: each submitted annotation beside the pre-label that it was begun from.

An annotation counts once, by the first version of it that was submitted and understood. Its later versions are
corrections of people, and count no more. An annotation that is deleted later still counts: it shows what a person did
with the pre-label. So counts of annotations never fall, and can be continued from the last annotation that was read.

A held-out text shows no pre-label, and its annotations do not count.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, exists, func, select
from sqlalchemy.orm import Session, aliased

from ner.edits import Edits, edits_of
from ner.spans import clean_spans
from store.annotations import LABEL_STUDIO
from store.columns import Instant
from store.predictions import Published, moves, published_on, served_at, version_shown
from store.registry import promotions
from store.schema import HOLDOUT, AnnotationVersion, Document, Promotion, Split
from store.session import ROWS_AT_ONCE

_Submitted = Row[*tuple[Any, ...]]


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
