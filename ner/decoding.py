"""Logits to log-probabilities to the best valid tag path to scored spans.

Training-side evaluation, the queue and serving all decode here, so that what is measured is what is shown.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ner.labels import LabelSet
from ner.spans import Span

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def log_softmax(logits: npt.NDArray[np.floating[Any]]) -> FloatArray:
    """(n, t) log-probabilities in nats, in float64; stable for logits of any finite size."""
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=1, keepdims=True, initial=-np.inf)
    shifted -= np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return shifted


def is_valid_path(tags: IntArray, labels: LabelSet) -> bool:
    """True when every I-X of (n,) tags follows a B-X or I-X."""
    if not len(tags):
        return True
    return bool(labels.allowed_start()[tags[0]]) and bool(labels.allowed_transitions()[tags[:-1], tags[1:]].all())


def viterbi(log_probs: FloatArray, labels: LabelSet) -> IntArray:
    """(n,) the tags of the most probable valid path through (n, t) log-probabilities (Viterbi 1967).

    Tokens are independent given the text but for the hard transitions of `LabelSet`, so when the best tag of each
    token already makes a valid path, that path is the best one and nothing needs to be searched.
    """
    best = log_probs.argmax(axis=1)
    return best if is_valid_path(best, labels) else _search(log_probs)


def tags_to_spans(
    tags: IntArray, offsets: IntArray, labels: LabelSet, probs: FloatArray | None = None
) -> tuple[Span, ...]:
    """The spans of a valid path, in text order, never overlapping.

    tags: (n,). offsets: (n, 2) half-open code points, trimmed; tokens without characters lend a span no boundary.
    probs: (n, t); a span's score is the geometric mean of its tags' probabilities along it, None without probs.
    Raises ValueError for a path that is not valid.
    """
    if not tags.any():
        return ()
    if not is_valid_path(tags, labels):
        raise ValueError("an I- tag follows a B- or I- tag of its own type: decode with viterbi() first")
    spans: list[Span] = []
    free = 0
    for first, stop in _entities(tags):
        bounds = _bounds(offsets[first:stop], free)
        if bounds is None:
            continue
        score = None if probs is None else _geometric_mean(probs[np.arange(first, stop), tags[first:stop]])
        spans.append(Span(*bounds, labels.types[(int(tags[first]) - 1) // 2], score))
        free = bounds[1]
    return tuple(spans)


def _search(log_probs: FloatArray) -> IntArray:
    """Viterbi in O(n t): only I-X is choosy, so the best predecessor of every other tag is the same one.

    Valid by construction, even where probabilities are 0: a backpointer of I-X can only be B-X or I-X, and I-X as a
    first tag scores minus infinity.
    """
    length, num_tags = log_probs.shape
    begins = np.arange(1, num_tags, 2)
    previous = np.empty((length, num_tags), dtype=np.int64)
    score = log_probs[0].copy()
    score[2::2] = -np.inf
    for step in range(1, length):
        best = score.argmax()
        begin, inside = score[1::2], score[2::2]
        previous[step] = best
        previous[step, 2::2] = begins + (inside > begin)
        reached = np.full(num_tags, score[best])
        reached[2::2] = np.maximum(begin, inside)
        score = reached + log_probs[step]
    path = np.empty(length, dtype=np.int64)
    path[-1] = score.argmax()
    for step in range(length - 1, 0, -1):
        path[step - 1] = previous[step, path[step]]
    return path


def _entities(tags: IntArray) -> list[tuple[int, int]]:
    """The half-open token ranges of the entities of a valid path."""
    ranges: list[tuple[int, int]] = []
    first: int | None = None
    for index, tag in enumerate(tags.tolist()):
        if first is not None and (tag == 0 or tag % 2 == 1):
            ranges.append((first, index))
            first = None
        if tag % 2 == 1:
            first = index
    if first is not None:
        ranges.append((first, len(tags)))
    return ranges


def _bounds(offsets: IntArray, free: int) -> tuple[int, int] | None:
    """First and last character of the tokens that lie after `free`; None when nothing is left.

    Byte-level tokens of one character (the bytes of an emoji) share its offsets, so two entities can meet in it.
    """
    real = offsets[offsets[:, 1] > offsets[:, 0]]
    if not len(real):
        return None
    start, end = max(int(real[0, 0]), free), int(real[-1, 1])
    return (start, end) if start < end else None


def _geometric_mean(probabilities: FloatArray) -> float:
    with np.errstate(divide="ignore"):
        return float(np.exp(np.log(probabilities).mean()))
