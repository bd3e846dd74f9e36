"""Which method aggregates: the method that was named, or "auto", which the gold chooses.

"auto" tries the methods on the labelled texts, each text answered by a fit without its gold (cross-validation: Stone
1974). It takes the methods together ("combined") unless another method is clearly better: with little gold, the best F1
is mostly luck, and the methods together are seldom far behind the best of them. Of methods that are not clearly worse
than the best, the method wins that learns most. Without enough gold it is the majority vote: which of the methods
without gold is better cannot be known then, and no method is best on every set.
"""

from __future__ import annotations

import zlib
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ner.arrays import FloatArray, IntArray
from ner.errors import InputError
from ner.labels import LabelSet
from ner.spans import Span
from weak_labeling.aggregate.combined import Combined
from weak_labeling.aggregate.contract import Aggregated, Aggregator, Believed, Gold, Learner, Method, VotedText
from weak_labeling.aggregate.generative import Generative, estimated_precision
from weak_labeling.aggregate.learned import Learned
from weak_labeling.aggregate.majority import MajorityVote
from weak_labeling.aggregate.weighted import Weighted

AUTO = "auto"
# From the simplest to the one that learns most.
_COMBINED = Combined()
METHODS: tuple[Method, ...] = (MajorityVote(), Generative(), Weighted(), Learned(), _COMBINED)
# Below so many labelled texts "auto" does not try methods out.
LEAST_LABELLED = 10
# Folds of cross-validation: more where there is little gold, so that each fit sees almost all.
_FOLDS, _FOLDS_OF_FEW, _FEW = 5, 10, 50
# A method is clearly better where its F1 is higher by more than so many standard errors of the difference.
_CLEARLY = 2.0


@dataclass(frozen=True)
class MethodScore:
    """Strict span scores (0..1) of one method on the labelled texts, micro, each answered without its gold.

    error: the standard error of f1 over the labelled texts.
    """

    method: str
    precision: float
    recall: float
    f1: float
    error: float


@dataclass(frozen=True, eq=False)
class Aggregation:
    """One aggregation of many texts: which method, and why (a sentence).

    scores: what each method that was tried is worth on the gold; empty where none was tried. fitted: answers any text,
    with all gold.
    """

    method: str
    reason: str
    scores: tuple[MethodScore, ...]
    texts: tuple[VotedText, ...]
    fitted: Aggregator
    _trial: _Trial = field(repr=False)

    def answers(self, texts: Sequence[VotedText] | None = None) -> Iterator[Aggregated]:
        """One answer for each text (of these), in order, made as it is asked for.

        No labelled text is answered by a method that has learned from its gold.
        """
        texts = self.texts if texts is None else texts
        held_back = self._trial.answers
        rest = iter(self.fitted([text for text in texts if text.key not in held_back]))
        for text in texts:
            yield held_back[text.key] if text.key in held_back else next(rest)


def aggregate(texts: Sequence[VotedText], gold: Gold, labels: LabelSet, method: str = AUTO) -> Aggregation:
    """Aggregate the votes on all texts with the help of the gold of some of them (by key).

    method: a name of METHODS, or "auto". Deterministic. Raises InputError for another name, and for a vote or a gold
    span whose label is not in `labels`.
    """
    names = [known.name for known in METHODS]
    if method not in (AUTO, *names):
        raise InputError(
            f"a method of aggregation is one of {', '.join((AUTO, *names))}",
            value=repr(method),
            next_step="Name one of these, or none for auto.",
        )
    labelled = tuple(text for text in texts if text.key in gold)
    if method == AUTO and len(labelled) >= LEAST_LABELLED and any(gold[text.key] for text in labelled):
        believed = estimated_precision(texts, labels)
        trials = [_Trial(one, learner, labelled, gold) for one, learner in learners(texts, labels, believed)]
        chosen, reason = _chosen(trials)
        scores = tuple(trial.score for trial in trials)
    else:
        one = METHODS[0] if method == AUTO else METHODS[names.index(method)]
        believed = {} if one is METHODS[0] else estimated_precision(texts, labels)
        chosen, scores = _Trial(one, one.learn(texts, labels, believed), labelled, gold), ()
        reason = "This method was asked for."
        if method == AUTO:
            reason = f"The majority vote stands until {LEAST_LABELLED} texts with entities are labelled."
    return Aggregation(chosen.method.name, reason, scores, tuple(texts), chosen.learner(gold), chosen)


def learners(texts: Sequence[VotedText], labels: LabelSet, believed: Believed) -> Iterator[tuple[Method, Learner]]:
    """Every method, which has learned from the votes; the last joins the others, so that nothing is learned twice."""
    known: dict[str, Learner] = {}
    for one in METHODS:
        if one is _COMBINED:
            yield one, _COMBINED.of(known, labels)
        else:
            known[one.name] = _remembered(one.learn(texts, labels, believed))
            yield one, known[one.name]


def _remembered(learner: Learner) -> Learner:
    """The same, which learns once from the same gold."""
    fitted: dict[frozenset[Hashable], Aggregator] = {}

    def remembering(gold: Gold) -> Aggregator:
        keys = frozenset(gold)
        if keys not in fitted:
            fitted[keys] = learner(gold)
        return fitted[keys]

    return remembering


@dataclass(frozen=True, eq=False)
class _Trial:
    """One method on the labelled texts."""

    method: Method
    learner: Learner
    labelled: tuple[VotedText, ...]
    gold: Gold

    @cached_property
    def answers(self) -> Mapping[Hashable, Aggregated]:
        """By key, each from a fit without its gold; empty for a method that does not look at gold."""
        if not self.method.needs_gold:
            return {}
        found: dict[Hashable, Aggregated] = {}
        for out in _folds(self.labelled):
            keys = {text.key for text in out}
            fitted = self.learner({key: spans for key, spans in self.gold.items() if key not in keys})
            found.update(zip((text.key for text in out), fitted(out), strict=True))
        return found

    @cached_property
    def counts(self) -> IntArray:
        """(labelled texts, 3): spans that are right, that were said, that are gold."""
        said = self.answers or dict(
            zip((text.key for text in self.labelled), self.learner({})(self.labelled), strict=True)
        )
        return np.array([_counted(said[text.key].spans, self.gold[text.key]) for text in self.labelled])

    @cached_property
    def f1(self) -> float:
        """Micro."""
        right, said, gold = self.counts.sum(axis=0).tolist()
        return 2 * right / (said + gold) if said + gold else 1.0

    @property
    def score(self) -> MethodScore:
        """For people."""
        right, said, gold = self.counts.sum(axis=0).tolist()
        error = _deviation(self.shares)
        return MethodScore(
            self.method.name, right / said if said else 0.0, right / gold if gold else 0.0, self.f1, error
        )

    @property
    def shares(self) -> FloatArray:
        """(labelled texts,) what each text adds to or takes from F1, to first order; sums to 0."""
        right, said, gold = self.counts.T
        shares: FloatArray = (2 * right - self.f1 * (said + gold)) / max(int((said + gold).sum()), 1)
        return shares


def _chosen(trials: Sequence[_Trial]) -> tuple[_Trial, str]:
    best = max(trials, key=lambda trial: trial.f1)
    chosen = [one for one in trials if best.f1 - one.f1 <= _CLEARLY * _deviation(best.shares - one.shares)][-1]
    told = f"F1 {chosen.f1:.3f} on {len(chosen.labelled):,} labelled texts, each answered without its own gold"
    what = f" ({_COMBINED})" if chosen.method is _COMBINED else ""
    if chosen.f1 == best.f1:
        return chosen, f"The best of {len(trials)} methods{what}: {told}."
    return (
        chosen,
        f"{told}{what}: not clearly less than {best.method.name} ({best.f1:.3f}), and it learns more from gold.",
    )


def _deviation(shares: FloatArray) -> float:
    """The standard error of the sum of shares that sum to 0."""
    count = len(shares)
    return float(np.sqrt((shares**2).sum() * count / (count - 1))) if count > 1 else 0.0


def _folds(labelled: Sequence[VotedText]) -> Iterator[list[VotedText]]:
    """Equal texts are in one fold. Which fold does not depend on the order of the texts."""
    distinct = sorted({text.text for text in labelled}, key=lambda text: (zlib.crc32(text.encode()), text))
    number_of_folds = _FOLDS_OF_FEW if len(distinct) < _FEW else _FOLDS
    fold_of = {text: number % number_of_folds for number, text in enumerate(distinct)}
    folds = ([text for text in labelled if fold_of[text.text] == fold] for fold in range(number_of_folds))
    return (fold for fold in folds if fold)


def _counted(said: Sequence[Span], gold: Sequence[Span]) -> tuple[int, int, int]:
    found, true = {span.without_score() for span in said}, {span.without_score() for span in gold}
    return len(found & true), len(found), len(true)
