"""Majority vote, weighted or not: overlapping votes of several sources become flat spans."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar

import numpy as np

from ner.arrays import BoolArray, FloatArray, IntArray
from ner.labels import LabelSet
from ner.spans import Span, clean_spans
from weak_labeling.aggregate.contract import Aggregated, Believed, Gold, SoftTags, VotedText
from weak_labeling.aggregate.words import tag_words, word_range, words
from weak_labeling.source import Vote

# (source, label) -> what a vote of the source for the label counts. A pair that is not there counts 1.
Weights = Mapping[tuple[str, str], float]


@dataclass(frozen=True)
class MajorityVote:
    """The method "majority": every source counts the same. Nothing is learned, from gold or without gold.

    The usual baseline of data programming (Ratner et al. 2016), on segments of text.
    """

    name: ClassVar[str] = "majority"
    needs_gold: ClassVar[bool] = False

    def learn(
        self, _texts: Sequence[VotedText], labels: LabelSet, _believed: Believed, /
    ) -> Callable[[Gold], WeightedVote]:
        """Nothing is learned."""
        return lambda _gold: WeightedVote(labels, {})


@dataclass(frozen=True)
class WeightedVote:
    """The majority vote with given weights.

    A word's tags have the shares of the weights that vote for them; a word without a vote is O. A span's score is
    the mean over its words of `(w + 1) / (W + 2)`: w is the weight of the votes for its label, W that of all votes
    (the rule of succession). So two sources that agree are more certain than one source alone.
    """

    labels: LabelSet
    weights: Weights

    def __call__(self, texts: Sequence[VotedText], /) -> Iterator[Aggregated]:
        """One answer for each text, in order."""
        return (self._aggregated(text) for text in texts)

    def _aggregated(self, voted: VotedText) -> Aggregated:
        votes = _without_blanks(voted.votes, voted.text)
        spans = majority_vote(votes, voted.text, self.weights)
        offsets = words(voted.text, (vote.span for vote in votes))
        by_tag = _weights_by_tag(votes, offsets, self.labels, self.weights)
        total = by_tag.sum(axis=1)
        soft = SoftTags(
            offsets, _shares(by_tag, total, tag_words(spans, offsets, self.labels)), _spoken(votes, offsets)
        )
        by_type = by_tag[:, 1::2] + by_tag[:, 2::2]
        surety = (by_type + 1) / (total + 2)[:, None]
        return Aggregated(tuple(_scored(span, offsets, surety, self.labels) for span in spans), soft)


def majority_vote(votes: Sequence[Vote], text: str, weights: Weights | None = None) -> tuple[Span, ...]:
    """The spans that most sources vote for, in text order, none overlapping, none with white space at an edge.

    The text is cut wherever a vote begins or ends. In each segment every source with a vote there counts once, by its
    weight; a source without a vote abstains, which is no vote against. The label with the most weight wins. **Ties** go
    to the label of the longest vote there, then to the label whose name comes first. Neighbouring segments of one label
    become one span if a vote for that label runs across their border: "Microsoft Teams" wins over "Teams". White space
    at the edges of a vote does not count. A vote with a weight of 0 or less does not count at all.
    """
    given = weights or {}
    votes = [vote for vote in _without_blanks(votes, text) if given.get((vote.source, vote.span.label), 1.0) > 0]
    spans: list[Span] = []
    before: _Segment | None = None
    for segment in _segments(votes, given):
        joined = before is not None and before.runs_on and before.label == segment.label
        start = spans.pop().start if joined else segment.start
        spans.append(Span(start, segment.end, segment.label))
        before = segment
    return clean_spans(text, spans)[0]  # A segment between two words may hold blanks alone.


@dataclass(frozen=True)
class _Segment:
    """`text[start:end]`: no vote begins or ends within. `runs_on`: a vote for `label` goes on behind `end`."""

    start: int
    end: int
    label: str
    runs_on: bool


def _without_blanks(votes: Sequence[Vote], text: str) -> list[Vote]:
    return [Vote(span, vote.source) for vote in votes for span in clean_spans(text, (vote.span,))[0]]


def _segments(votes: Sequence[Vote], weights: Weights) -> Iterator[_Segment]:
    """Segments with at least one vote, in text order. One sweep: votes open and close as the borders go by."""
    opening = sorted(votes, key=lambda vote: vote.span.start, reverse=True)
    borders = sorted({border for vote in votes for border in (vote.span.start, vote.span.end)})
    active: list[Vote] = []
    for start, end in pairwise(borders):
        active = [vote for vote in active if vote.span.end > start]
        while opening and opening[-1].span.start == start:
            active.append(opening.pop())
        if active:
            label = _winner(active, weights)
            runs_on = any(vote.span.label == label and vote.span.end > end for vote in active)
            yield _Segment(start, end, label, runs_on)


def _winner(active: Sequence[Vote], weights: Weights) -> str:
    by_label: dict[str, list[float]] = {}
    for label, source in {(vote.span.label, vote.source) for vote in active}:
        by_label.setdefault(label, []).append(weights.get((source, label), 1.0))
    counts = {label: math.fsum(given) for label, given in by_label.items()}
    longest: dict[str, int] = {}
    for vote in active:
        longest[vote.span.label] = max(longest.get(vote.span.label, 0), vote.span.end - vote.span.start)
    return min(counts, key=lambda label: (-counts[label], -longest[label], label))


def _weights_by_tag(votes: Sequence[Vote], offsets: IntArray, labels: LabelSet, weights: Weights) -> FloatArray:
    """(words, num_tags) the weight of the votes for each tag of each word; a source counts once for a tag."""
    by_tag = np.zeros((len(offsets), len(labels.tags)))
    for vote in set(votes):
        weight = max(weights.get((vote.source, vote.span.label), 1.0), 0.0)
        first, stop = word_range(vote.span, offsets)
        by_tag[first, labels.begin(vote.span.label)] += weight
        by_tag[first + 1 : stop, labels.inside(vote.span.label)] += weight
    return by_tag


def _shares(by_tag: FloatArray, total: FloatArray, decided: IntArray) -> FloatArray:
    """(words, num_tags), rows sum to 1. All weight of the type that won goes to the tag that was decided."""
    shares: FloatArray = by_tag / np.where(total > 0, total, 1.0)[:, None]
    shares[:, 0] = total == 0
    won = np.flatnonzero(decided)
    tags = decided[won]
    other = np.where(tags % 2 == 1, tags + 1, tags - 1)
    shares[won, tags] += shares[won, other]
    shares[won, other] = 0.0
    return shares


def _spoken(votes: Sequence[Vote], offsets: IntArray) -> BoolArray:
    spoken = np.zeros(len(offsets), dtype=np.bool_)
    for vote in votes:
        first, stop = word_range(vote.span, offsets)
        spoken[first:stop] = True
    return spoken


def _scored(span: Span, offsets: IntArray, surety: FloatArray, labels: LabelSet) -> Span:
    first, stop = word_range(span, offsets)
    return replace(span, score=float(surety[first:stop, labels.index(span.label)].mean()))
