"""Which method aggregates: the method that was named; "auto" is the majority vote today.

`weak_labeling.aggregate.learned` learns from gold, and is no choice here yet: an answer to a text would have to come
from a fit without the gold of this text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ner.errors import InputError
from ner.labels import LabelSet
from weak_labeling.aggregate.contract import Aggregated, Aggregator, Gold, Method, VotedText
from weak_labeling.aggregate.majority import MajorityVote

AUTO = "auto"
METHODS: tuple[Method, ...] = (MajorityVote(),)


@dataclass(frozen=True)
class MethodScore:
    """Strict span scores (0..1) of one method on the gold, micro.

    error: the standard error of f1 over the labelled texts.
    """

    method: str
    precision: float
    recall: float
    f1: float
    error: float


@dataclass(frozen=True)
class SourceEstimate:
    """How far one source is trusted with one type.

    votes: its spans of this type. precision: the share of them that is thought to be right. from_gold: whether gold
    was looked at; without gold, the other sources say it.
    """

    source: str
    label: str
    votes: int
    precision: float
    from_gold: bool


@dataclass(frozen=True)
class Aggregation:
    """One aggregation of many texts: which method, and why (a sentence).

    scores, sources: empty today; what each method and each source is worth on the gold.
    """

    method: str
    reason: str
    scores: tuple[MethodScore, ...]
    sources: tuple[SourceEstimate, ...]
    texts: tuple[VotedText, ...]
    fitted: Aggregator

    def answers(self) -> Iterator[Aggregated]:
        """One answer for each text, in order, made as it is asked for."""
        return self.fitted(self.texts)


def aggregate(texts: Sequence[VotedText], gold: Gold, labels: LabelSet, method: str = AUTO) -> Aggregation:
    """Aggregate the votes on all texts with the help of the gold of some of them (by key).

    method: a name of METHODS, or "auto". Deterministic. Raises InputError for another name, and for a vote or a gold
    span whose label is not in `labels`.
    """
    names = [known.name for known in METHODS]
    if method not in (AUTO, *names):
        raise InputError(f"a method of aggregation is one of {', '.join((AUTO, *names))}", value=method)
    chosen = next(known for known in METHODS if known.name == (names[0] if method == AUTO else method))
    reason = "The majority vote needs no gold." if method == AUTO else "This method was asked for."
    return Aggregation(chosen.name, reason, (), (), tuple(texts), chosen.fit(texts, gold, labels))
