"""The method "combined": what "learned", "weighted" and "generative" say of a span, joined by the log-odds they give.

A logarithmic opinion pool (Genest and Zidek 1986). Methods that err differently are better together than alone, most
of all with little gold, where the chain of "learned" is often wrong and the two votes are not. The weights of the
methods are constants. They were chosen on other draws of gold than those that BENCHMARKS.md shows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from ner.labels import LabelSet
from ner.spans import Span
from weak_labeling.aggregate.contract import Aggregated, Aggregator, Believed, Gold, Learner, Method, VotedText
from weak_labeling.aggregate.generative import Generative
from weak_labeling.aggregate.learned import Learned
from weak_labeling.aggregate.span_chances import LEAST_SAID, best_of
from weak_labeling.aggregate.weighted import Weighted
from weak_labeling.aggregate.words import spoken_also

# The methods, and the weight of the log-odds that each gives to a span.
_PARTS: tuple[tuple[Method, float], ...] = ((Learned(), 0.85), (Weighted(), 0.4), (Generative(), 0.2))
_OFFSET = -0.5
# The chance of a span that "learned" does not think possible. The votes say nothing of a span that they do not say.
_IMPOSSIBLE, _MOST = 0.005, 0.997


@dataclass(frozen=True)
class Combined:
    """The method."""

    name: ClassVar[str] = "combined"
    needs_gold: ClassVar[bool] = True

    def learn(self, texts: Sequence[VotedText], labels: LabelSet, believed: Believed, /) -> Learner:
        """Learn what each of the methods learns."""
        return self.of({part.name: part.learn(texts, labels, believed) for part, _ in _PARTS}, labels)

    def of(self, learners: Mapping[str, Learner], labels: LabelSet) -> Learner:
        """The same, of methods that have learned from the votes, by name."""

        def taught(gold: Gold) -> Pool:
            return Pool(labels, tuple(learners[part.name](gold) for part, _ in _PARTS))

        return taught

    def __str__(self) -> str:
        return " + ".join(f"{weight:g} {part.name}" for part, weight in _PARTS)


@dataclass(frozen=True)
class Pool:
    """The methods, each of which has learned. The tags behind the spans are those of "learned"."""

    labels: LabelSet
    parts: tuple[Aggregator, ...]

    def __call__(self, texts: Sequence[VotedText], /) -> Iterator[Aggregated]:
        """One answer for each text, in order."""
        for learned, *votes in zip(*(part(texts) for part in self.parts), strict=True):
            possible = _pooled(learned, votes)
            spans = best_of(possible, LEAST_SAID)
            yield Aggregated(spans, spoken_also(learned.soft, spans, self.labels), possible)


def _pooled(learned: Aggregated, votes: Sequence[Aggregated]) -> tuple[Span, ...]:
    said = [
        {span.without_score(): span.score or 0.0 for span in spans}
        for spans in (learned.possible, *(vote.spans for vote in votes))
    ]
    weights = [weight for _, weight in _PARTS]
    pooled = []
    for span in sorted(set().union(*said), key=lambda span: (span.start, span.end, span.label)):
        odds = weights[0] * _log_odds(said[0].get(span, _IMPOSSIBLE))
        odds += sum(
            w * _log_odds(scores[span]) for w, scores in zip(weights[1:], said[1:], strict=True) if span in scores
        )
        pooled.append(replace(span, score=1 / (1 + math.exp(-odds - _OFFSET))))
    return tuple(pooled)


def _log_odds(chance: float) -> float:
    bounded = min(max(chance, _IMPOSSIBLE), _MOST)
    return math.log(bounded / (1 - bounded))
