"""When the labels of a project came and went, so that each annotation is known by the types that it was made for.

A label that comes while nothing is annotated was there from the beginning, and so was every label of a store that is
older than these dates. A label that comes later is dated. An annotation that was made before was not made for that
type, and its silence on the type says nothing. An annotation that holds the type was made for it, whatever the dates.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from store.database.columns import utc_now
from store.database.schema import AnnotationVersion, Document, LabelDate
from store.database.session import Transaction


@dataclass(frozen=True, slots=True)
class LabelDates:
    """came: when labels were added; without those that were there from the beginning. gone: labels that were removed
    since, and did not come back."""

    came: Mapping[str, datetime] = field(default_factory=dict)
    gone: frozenset[str] = frozenset()

    def unknown_at(self, moment: datetime, labels: Collection[str], label_map: Mapping[str, str]) -> frozenset[str]:
        """The labels of `labels` that an annotation of that moment could not use.

        A label that a removed label is mapped to by `label_map` is that label under a new name, and as old.
        """
        renamed = {label_map[old] for old in self.gone & label_map.keys() if self._there(old, moment)}
        return frozenset(label for label in labels if not self._there(label, moment)) - renamed

    def _there(self, label: str, moment: datetime) -> bool:
        return label not in self.came or self.came[label] <= moment


def label_dates(session: Session, project_id: int) -> LabelDates:
    """What is known of a project's labels."""
    rows = session.scalars(select(LabelDate).where(LabelDate.project_id == project_id)).all()
    return LabelDates(
        {row.label: row.came_at for row in rows if row.came_at is not None},
        frozenset(row.label for row in rows if row.gone_at is not None),
    )


def note_labels(tx: Transaction, project_id: int, before: Collection[str], after: Collection[str]) -> None:
    """Date the labels that a project gains or loses now; nothing is dated while nothing is annotated."""
    if set(before) == set(after) or not _is_annotated(tx.session, project_id):
        return
    now = utc_now()
    for label in sorted(set(before) ^ set(after)):
        row = tx.session.get(LabelDate, (project_id, label))
        if row is None:
            row = LabelDate(project_id=project_id, label=label, came_at=None, gone_at=None)
            tx.session.add(row)
        if label in after:
            row.came_at, row.gone_at = now, None
        else:
            row.gone_at = now
    tx.session.flush()


def _is_annotated(session: Session, project_id: int) -> bool:
    annotated = exists().where(AnnotationVersion.document_id == Document.id, Document.project_id == project_id)
    return bool(session.scalar(select(annotated)))
