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


@dataclass(frozen=True, slots=True)
class QueueItem:
    """One open task's prediction: `score` (0..1) is its place in Label Studio's queue, `spans` what annotators see."""

    document: StoredDocument
    spans: tuple[Span, ...]
    score: float
    holdout: bool


def plan(
    pool: Sequence[tuple[StoredDocument, Tagging]],
    holdout: Sequence[StoredDocument],
    published: Iterable[float],
    salt: str,
) -> list[QueueItem]:
    """An item for each document, first to be offered first; the holdout is not even tagged.

    `published`: scores of this version's predictions on pool tasks that are still open, among which new ones fall in.
    """
    scores = {document.document_id: clip_score(tagging.confidence) for document, tagging in pool}
    held = {document.document_id: document.external_id for document in holdout}
    scores |= spread(held, [*scores.values(), *published], salt)
    items = [QueueItem(doc, tagging.spans, scores[doc.document_id], holdout=False) for doc, tagging in pool]
    items += [QueueItem(doc, (), scores[doc.document_id], holdout=True) for doc in holdout]
    by_id = {item.document.document_id: item for item in items}
    return [by_id[key] for key in least_confident_first(scores)]


def as_prediction(item: QueueItem, config: LabelConfig, version: str) -> Mapping[str, Any]:
    """The item as Label Studio's import takes it. Raises InputError for a label outside the config."""
    return {
        "task": item.document.ls_task_id,
        "result": to_result(item.spans, item.document.text, config),
        "score": item.score,
        "model_version": version,
    }
