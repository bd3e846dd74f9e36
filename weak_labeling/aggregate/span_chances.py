"""How likely each span is exactly right, by the sums over all paths of a chain, and which spans to say.

A span is said if its chance is at least half of the F1 that can be reached: so the expected F1 is best (Lipton et al.
2014). The most probable path finds too few.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ner.arrays import FloatArray, IntArray
from ner.spans import Span
from weak_labeling.aggregate.chains import Posterior

# A span that is less likely is not looked at; and a span that is said is at least so likely: half of an F1 of 0.8.
LEAST_POSSIBLE, LEAST_SAID = 0.02, 0.4
_LONGEST = 30


@dataclass(frozen=True, eq=False)
class SpanChances:
    """Spans that are possible, in no order, overlapping: the words `first[s]:stop[s]`, the number of the type."""

    first: IntArray
    stop: IntArray
    kind: IntArray
    chance: FloatArray


def span_chances(sums: Posterior, transitions: FloatArray) -> SpanChances:
    """Of all spans of 30 words at most. A span has the tags B, I, ..., and its type's I does not follow."""
    begins, stays = sums.marginals[:, 1::2], _stays(sums, transitions)
    place, kind = np.nonzero(begins >= LEAST_POSSIBLE)
    first, last, chance, after = place, place, begins[place, kind], 0
    found: list[tuple[IntArray, IntArray, IntArray, FloatArray]] = []
    for _ in range(_LONGEST):
        on = stays[after][last, kind]
        ends = chance * (1 - on)
        possible = ends >= LEAST_POSSIBLE
        found.append((first[possible], last[possible] + 1, kind[possible], ends[possible]))
        chance, after = chance * on, 1
        longer = chance >= LEAST_POSSIBLE
        first, last, kind, chance = first[longer], last[longer] + 1, kind[longer], chance[longer]
    return SpanChances(*(np.concatenate(column) for column in zip(*found, strict=True)))


def best_of(possible: Iterable[Span], least: float) -> tuple[Span, ...]:
    """Of spans with a score of at least `least`, the likeliest that do not overlap, in text order."""
    taken: list[Span] = []
    for span in sorted(possible, key=lambda span: (-(span.score or 0.0), span.start, span.end, span.label)):
        if (span.score or 0.0) < least:
            break
        if all(span.end <= other.start or other.end <= span.start for other in taken):
            taken.append(span)
    return tuple(sorted(taken, key=lambda span: span.start))


def _stays(sums: Posterior, transitions: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(words, types) twice: how likely I follows a word with B, and a word with I."""
    moves = np.exp(transitions)
    kinds = np.arange(0, sums.marginals.shape[1] - 1, 2)
    coming = np.zeros((len(sums.coming), len(kinds)))
    coming[:-1] = sums.coming[1:, 2::2]
    after = [
        coming * moves[kinds + tag, kinds + 2] / np.maximum(sums.future[:, tag::2][:, : len(kinds)], 1e-300)
        for tag in (1, 2)
    ]
    return after[0].clip(0, 1), after[1].clip(0, 1)
