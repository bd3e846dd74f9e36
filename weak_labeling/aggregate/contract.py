"""What an aggregation takes and gives. Every method is behind this interface."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ner.arrays import BoolArray, FloatArray, IntArray
from ner.labels import LabelSet
from ner.spans import Span
from weak_labeling.source import Vote

Gold = Mapping[Hashable, Sequence[Span]]
# (source, label) -> the share (0..1) of the votes that is thought to be right before gold is looked at.
Believed = Mapping[tuple[str, str], float]


@dataclass(frozen=True, slots=True)
class VotedText:
    """A text and all votes on it. key: names the text, unique among those that are aggregated together."""

    key: Hashable
    text: str
    votes: tuple[Vote, ...]


@dataclass(frozen=True, slots=True, eq=False)
class SoftTags:
    r"""How likely each tag of each word is.

    A word is a run of `\w` or one other character that is not white space, cut where a vote begins or ends, so that
    every vote is made of whole words. offsets: (n, 2), half-open code points of the words. probabilities: (n,
    num_tags), each row sums to 1, in the order of `LabelSet.tags`. spoken: (n,), whether a source voted on the word, or
    the method found an entity there.
    """

    offsets: IntArray
    probabilities: FloatArray
    spoken: BoolArray


@dataclass(frozen=True, slots=True, eq=False)
class Aggregated:
    """What the sources say together of one text: flat spans with a score (0..1), and the tags behind them.

    possible: what a method that knows chances of spans thinks possible, each with its chance, overlapping; else empty.
    """

    spans: tuple[Span, ...]
    soft: SoftTags
    possible: tuple[Span, ...] = ()


class Aggregator(Protocol):
    """A method that has learned what it needs."""

    def __call__(self, texts: Sequence[VotedText], /) -> Iterator[Aggregated]:
        """One answer for each text, in order. The answer to a text does not depend on the other texts of the call."""


class Method(Protocol):
    """One way to aggregate. It learns in two steps, so that the first is done once where gold is tried out in parts."""

    @property
    def name(self) -> str:
        """Such as "majority"."""

    @property
    def needs_gold(self) -> bool:
        """Whether it learns from gold. A method that does not need gold does not look at it."""

    def learn(self, texts: Sequence[VotedText], labels: LabelSet, believed: Believed, /) -> Learner:
        """Learn from the votes on all texts. Deterministic. Raises InputError for a vote with another label.

        believed: `generative.estimated_precision` of these texts, made once for all methods.
        """


class Learner(Protocol):
    """What has learned from the votes, and still learns from gold."""

    def __call__(self, gold: Gold, /) -> Aggregator:
        """Learn from the gold of some of the texts (by key). Deterministic.

        A text with an entry in `gold` is labelled, also when the entry is empty. Raises InputError for a gold span
        with a label that the project does not have.
        """
