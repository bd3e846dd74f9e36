"""What an aggregation takes and gives. Every method is behind this interface."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ner.arrays import BoolArray, FloatArray, IntArray
from ner.labels import LabelSet
from ner.spans import Span
from weak_labeling.source import Vote


@dataclass(frozen=True, slots=True)
class VotedText:
    """A text and all votes on it. key: names the text, unique among those that are aggregated together."""

    key: Hashable
    text: str
    votes: tuple[Vote, ...]


@dataclass(frozen=True, slots=True, eq=False)
class SoftTags:
    """How likely each tag of each word is.

    offsets: (n, 2), half-open code points of the words. probabilities: (n, num_tags), each row sums to 1, in the order
    of `LabelSet.tags`. spoken: (n,), whether any source voted on the word.
    """

    offsets: IntArray
    probabilities: FloatArray
    spoken: BoolArray


@dataclass(frozen=True, slots=True, eq=False)
class Aggregated:
    """What the sources say together of one text: flat spans with a score (0..1), and the tags behind them."""

    spans: tuple[Span, ...]
    soft: SoftTags


class Aggregator(Protocol):
    """A method that has learned what it needs."""

    def __call__(self, texts: Sequence[VotedText], /) -> Iterator[Aggregated]:
        """One answer for each text, in order."""


class Method(Protocol):
    """One way to aggregate. needs_gold: whether it can learn only from gold."""

    name: str
    needs_gold: bool

    def fit(
        self, texts: Sequence[VotedText], gold: Mapping[Hashable, Sequence[Span]], labels: LabelSet, /
    ) -> Aggregator:
        """Learn from the votes on all texts, and from the gold of some of them (by key). Deterministic."""
