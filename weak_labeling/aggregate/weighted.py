"""The method "weighted": the majority vote, each source weighted by its precision on the gold, type by type.

The weighted majority vote of data programming (Ratner et al. 2016) with precisions that were counted. Little gold
counts little: what `weak_labeling.aggregate.generative` believes without gold, moved up or down by how the source does
on the gold of all types together, weighs as much as ten votes.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from ner.labels import LabelSet
from weak_labeling.aggregate.contract import Believed, Gold, VotedText
from weak_labeling.aggregate.generative import MOST_SURE, weights_of
from weak_labeling.aggregate.majority import WeightedVote
from weak_labeling.aggregate.words import cleaned

_Key = tuple[str, str]
# How many votes the belief about a type weighs, and how many right votes the belief about a source.
_BELIEF, _SOURCE_BELIEF = 10.0, 5.0


@dataclass(frozen=True)
class Weighted:
    """The method."""

    name: ClassVar[str] = "weighted"
    needs_gold: ClassVar[bool] = True

    def learn(
        self, texts: Sequence[VotedText], labels: LabelSet, believed: Believed, /
    ) -> Callable[[Gold], WeightedVote]:
        """Believe what the votes say, until gold says better."""
        return lambda gold: WeightedVote(labels, weights_of(precision_on_gold(texts, gold, believed)))


def precision_on_gold(texts: Iterable[VotedText], gold: Gold, believed: Believed) -> dict[_Key, float]:
    """(source, label) -> the share (0..1) of its votes that are gold exactly, smoothed towards what is believed."""
    votes, right = _counted(texts, gold)
    expected: dict[str, float] = defaultdict(float)
    found: dict[str, float] = defaultdict(float)
    for key, share in believed.items():
        expected[key[0]] += votes[key] * share
        found[key[0]] += right[key]
    precision = {}
    for key, share in believed.items():
        moved = share * (found[key[0]] + _SOURCE_BELIEF) / (expected[key[0]] + _SOURCE_BELIEF)
        precision[key] = min((right[key] + _BELIEF * min(moved, MOST_SURE)) / (votes[key] + _BELIEF), MOST_SURE)
    return precision


def _counted(texts: Iterable[VotedText], gold: Gold) -> tuple[Counter[_Key], Counter[_Key]]:
    votes: Counter[_Key] = Counter()
    right: Counter[_Key] = Counter()
    for text in texts:
        if text.key not in gold:
            continue
        true = {span.without_score() for span in gold[text.key]}
        for vote in cleaned(text.text, text.votes):
            votes[vote.source, vote.span.label] += 1
            right[vote.source, vote.span.label] += vote.span in true
    return votes, right
