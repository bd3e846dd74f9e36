"""Doubts, counted: labelled texts that are not gold, since something that was said about them was not understood."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from ner.label_studio.label_config import NotLearned
from ner.label_studio.results import DOUBTS, OUTSIDE_CONFIG, SEVERAL_LABELS
from store.gold import DoubtfulDocument
from store.schema import SetAside
from store.session import select_in

_NAMES_LABELS = frozenset({OUTSIDE_CONFIG, SEVERAL_LABELS})


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
