"""What is published for each open task, and in which order the tasks will be offered. Pure.

A pool task gets its pre-label and its confidence as score. A holdout task gets an empty prediction, so that what
annotators are shown cannot leak into what judges the model, and a score that spreads it evenly through the pool.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loop.acquisition import least_confident_first, spread
from ner.label_config import LabelConfig
from ner.label_studio import clip_score, to_result
from ner.spans import Span
from ner.tagger import Tagging
from store.documents import StoredDocument
from store.schema import HOLDOUT


@dataclass(frozen=True, slots=True)
class QueueItem:
    """One open task's prediction: `score` (0..1) is its place in Label Studio's queue, `spans` what annotators see.

    `confidence` is the model's own; for the holdout it differs from the score, and no one is shown it.
    """

    document: StoredDocument
    spans: tuple[Span, ...]
    score: float
    confidence: float
    holdout: bool


def plan(
    documents: Sequence[StoredDocument], taggings: Sequence[Tagging], published: Iterable[float], salt: str
) -> list[QueueItem]:
    """An item for each of `documents` (their taggings beside them), first to be offered first.

    `published`: scores of this version's predictions on pool tasks that are still open, among which new ones fall in.
    """
    by_id = {doc.document_id: (doc, tagging) for doc, tagging in zip(documents, taggings, strict=True)}
    pool = {key: clip_score(tagging.confidence) for key, (doc, tagging) in by_id.items() if doc.split != HOLDOUT}
    held = {key: doc.external_id for key, (doc, _) in by_id.items() if doc.split == HOLDOUT}
    scores = pool | spread(held, [*pool.values(), *published], salt)
    return [_item(*by_id[key], scores[key]) for key in least_confident_first(scores)]


def _item(document: StoredDocument, tagging: Tagging, score: float) -> QueueItem:
    holdout = document.split == HOLDOUT
    spans = () if holdout else tagging.spans
    return QueueItem(document, spans, score, clip_score(tagging.confidence), holdout)


def as_prediction(item: QueueItem, config: LabelConfig, version: str) -> Mapping[str, Any]:
    """The item as Label Studio's import takes it. Raises InputError for a label outside the config."""
    return {
        "task": item.document.ls_task_id,
        "result": to_result(item.spans, item.document.text, config),
        "score": item.score,
        "model_version": version,
    }
