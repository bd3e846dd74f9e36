"""Which task is offered next: the acquisition score, the places of the holdout, and the plan of what is published.

Label Studio offers tasks in ascending prediction score. A score is therefore a confidence in 0..1: a low score means
that the task is worth labelling. A task of the pool gets its pre-label and the model's confidence. A task of the
holdout gets an empty prediction, so that nothing that annotators are shown leaks into what judges the model, and a
score that spreads the holdout evenly through the pool. Everything here is pure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ner.label_studio.results import clip_score
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


def least_confident_first(confidences: Mapping[int, float]) -> list[int]:
    """The keys in ascending confidence; ties by key, so that the order can be repeated.

    Uncertainty sampling: Lewis and Gale, "A sequential algorithm for training text classifiers", SIGIR 1994.
    """
    return sorted(confidences, key=lambda key: (confidences[key], key))


def spread(keys: Mapping[int, str], confidences: Sequence[float], salt: str) -> dict[int, float]:
    """A score for each of `keys` (an id and its name) that puts them evenly among `confidences` when sorted.

    Annotators meet the holdout at the rate at which it stands in the open tasks, whatever the model thinks of it.
    Stratified: with h keys over m confidences, the j-th of the shuffled keys lands at a random place within ranks
    j*m/h..(j+1)*m/h. Shuffle and places come from hashes of salt and name. They are the same in every run, and the
    places are even in the long run when keys come one at a time.
    """
    ladder = [0.0, *sorted(confidences), 1.0]
    shuffled = sorted(keys, key=lambda key: _uniform(salt, "order", keys[key]))
    return {
        key: _score_at((j + _uniform(salt, "place", keys[key])) / len(shuffled), ladder)
        for j, key in enumerate(shuffled)
    }


def plan(
    pool: Sequence[tuple[StoredDocument, Tagging]],
    holdout: Sequence[StoredDocument],
    published: Iterable[float],
    salt: str,
) -> list[QueueItem]:
    """An item for each document, the first to be offered first. The holdout is not even tagged.

    `published`: scores of this version's predictions on pool tasks that are still open, among which new ones fall in.
    """
    scores = {document.document_id: clip_score(tagging.confidence) for document, tagging in pool}
    held = {document.document_id: document.external_id for document in holdout}
    scores |= spread(held, [*scores.values(), *published], salt)
    items = [QueueItem(doc, tagging.spans, scores[doc.document_id], holdout=False) for doc, tagging in pool]
    items += [QueueItem(doc, (), scores[doc.document_id], holdout=True) for doc in holdout]
    by_id = {item.document.document_id: item for item in items}
    return [by_id[key] for key in least_confident_first(scores)]


def _score_at(quantile: float, ladder: Sequence[float]) -> float:
    """The score at `quantile` (0..1) of the ranks: between the two confidences that stand around that place."""
    gaps = len(ladder) - 1
    place = min(quantile * gaps, gaps - 1e-9)
    below = int(place)
    return ladder[below] + (ladder[below + 1] - ladder[below]) * (place - below)


def _uniform(*parts: str) -> float:
    """A number in 0..1 (1 excluded) from the SHA-256 of the parts."""
    digest = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
