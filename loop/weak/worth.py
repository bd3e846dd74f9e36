"""What each source of weak labels is worth on gold, and which sources do harm.

A source is worth the F1 of all votes with it, less their F1 without it, on labelled texts. The method that aggregates
never learns from the gold of the text that it answers (cross-fitting), so that the figures are honest.

A source does harm when the majority vote is better without it. It is tested whether that may be chance, by paired
randomisation over documents, at a level that is divided by the number of sources tested (Bonferroni), so that a project
where no source does harm mutes one in a hundred trainings at most. Majority vote is the judge because it trusts every
source alike; a method that has learned whom to trust hides the harm. But a source that such a method makes good use of
is kept: where the method in use is better with it, by more than CLEAR standard errors. Sources are found one at a time,
the worst first, each by the votes that are left.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from loop.evaluation.scores import Counts, count, grouped
from loop.evaluation.significance import (
    Difference,
    compare_counts,
    micro_columns,
    permutations_for,
    randomisation_p_value,
)
from ner.labels import LabelSet
from ner.spans import Span
from weak_labeling.aggregate.choosing import AUTO, Aggregation, aggregate
from weak_labeling.aggregate.contract import Gold, VotedText
from weak_labeling.aggregate.majority import MajorityVote, majority_vote

# Below so many labelled documents nothing is muted; and the chance of muting a harmless source in one training.
LEAST_DOCUMENTS, ALPHA = 25, 0.01
# Texts without gold that a method learns from, beside the labelled texts.
UNLABELLED = 1000
# A gain of fewer standard errors may be chance, and does not clear a source that harms the majority vote.
CLEAR = 2
_PERMUTATIONS, _RESAMPLES, _SEED = 2_000, 2_000, 12


@dataclass(frozen=True, eq=False)
class VoteSample:
    """Labelled texts with their votes, the group (document) of each, and some texts without gold to learn from."""

    labels: LabelSet
    labelled: tuple[VotedText, ...]
    groups: tuple[Hashable, ...]
    gold: Gold
    unlabelled: tuple[VotedText, ...] = ()

    @property
    def documents(self) -> int:
        """Labelled documents: texts of one group are one."""
        return len(set(self.groups))

    def sources(self) -> tuple[str, ...]:
        """The names of those that vote on a labelled text."""
        return tuple(sorted({vote.source for text in self.labelled for vote in text.votes}))

    def without(self, names: Collection[str]) -> VoteSample:
        """The same texts without the votes of these sources."""
        return replace(
            self,
            labelled=tuple(without_votes(text, names) for text in self.labelled),
            unlabelled=tuple(without_votes(text, names) for text in self.unlabelled),
        )

    def counts(self, method: str) -> Counts:
        """What the votes find and miss on the gold, by document; each text answered by a fit without its gold."""
        if method == MajorityVote.name:
            return self._counted([majority_vote(text.votes, text.text) for text in self.labelled])
        return self.counts_of(self.aggregation(method))

    def counts_of(self, done: Aggregation) -> Counts:
        """The same, of an aggregation of this sample."""
        return self._counted([answer.spans for answer in islice(done.answers(), len(self.labelled))])

    def aggregation(self, method: str = AUTO) -> Aggregation:
        """All texts by this method; by default, by the method that the gold speaks for."""
        return aggregate((*self.labelled, *self.unlabelled), self.gold, self.labels, method)

    def _counted(self, said: Sequence[Sequence[Span]]) -> Counts:
        true = [self.gold[text.key] for text in self.labelled]
        return grouped(count(true, said, self.labels), self.groups)


@dataclass(frozen=True)
class Worth:
    """What a source adds to the F1 of all votes by this method, with - without, and the 95 % interval of that over
    documents.
    """

    source: str
    method: str
    with_f1: float
    without_f1: float
    low: float
    high: float

    @property
    def gain(self) -> float:
        """With minus without."""
        return self.with_f1 - self.without_f1


@dataclass(frozen=True)
class Harm:
    """The evidence against a source. F1 of the majority vote with and without it, and the interval of the gain
    without it; the p-value and how many sources were tested; F1 of the method in use with and without it; how many of
    its votes on the gold are right.
    """

    source: str
    documents: int
    with_f1: float
    without_f1: float
    low: float
    high: float
    p_value: float
    tested: int
    method: str
    method_with_f1: float
    method_without_f1: float
    votes: int
    right: int

    def __str__(self) -> str:
        return (
            f"without {self.source} the majority vote on {self.documents:,} labelled documents has F1 "
            f"{self.without_f1:.3f} instead of {self.with_f1:.3f} (gain {self.low:.3f} to {self.high:.3f}); "
            f"{self.right:,} of its {self.votes:,} votes there are right"
        )


def worth_of(sample: VoteSample, names: Collection[str], method: str, together: Counts) -> Iterator[Worth]:
    """What each of these sources is worth to the method, in order; the method learns anew without each.

    together: `sample.counts(method)`.
    """
    for name in names:
        micro = _compared(together, sample.without({name}).counts(method))
        yield Worth(name, method, micro.new_f1, micro.old_f1, micro.low, micro.high)


def harmful(sample: VoteSample, candidates: Collection[str], method: str | None = None) -> tuple[Harm, ...]:
    """The candidates that do harm, the worst first. method: the one in use; by default the one the gold speaks for."""
    if sample.documents < LEAST_DOCUMENTS:
        return ()
    found: list[Harm] = []
    tested = len(candidates)
    while True:
        left = sample.without({one.source for one in found})
        names = [name for name in left.sources() if name in candidates]
        worst = next(_harms(left, names, tested, method), None)
        if worst is None:
            return tuple(found)
        found.append(worst)


def _harms(sample: VoteSample, names: Sequence[str], tested: int, method: str | None) -> Iterator[Harm]:
    everything = sample.counts(MajorityVote.name)
    others = {name: sample.without({name}).counts(MajorityVote.name) for name in names}
    gains = {name: counts.micro_f1() - everything.micro_f1() for name, counts in others.items()}
    for name in sorted(names, key=lambda name: (-gains[name], name)):
        if gains[name] <= 0:
            return
        p_value = _p_value(others[name], everything, ALPHA / tested)
        if p_value > ALPHA / tested:
            continue
        done = sample.aggregation(method or AUTO)
        method = done.method
        with_it = sample.counts_of(done)
        without_it = others[name] if method == MajorityVote.name else sample.without({name}).counts(method)
        use = _compared(with_it, without_it)
        if use.delta > CLEAR * use.standard_error:
            continue
        gain = _compared(others[name], everything)
        votes, right = _votes_of(sample, name)
        yield Harm(
            name,
            sample.documents,
            with_f1=gain.old_f1,
            without_f1=gain.new_f1,
            low=gain.low,
            high=gain.high,
            p_value=p_value,
            tested=tested,
            method=method,
            method_with_f1=use.new_f1,
            method_without_f1=use.old_f1,
            votes=votes,
            right=right,
        )


def _p_value(new: Counts, old: Counts, alpha: float) -> float:
    rng = np.random.default_rng(_SEED)
    permutations = permutations_for(alpha, _PERMUTATIONS)
    return randomisation_p_value(micro_columns(new), micro_columns(old), permutations, rng)


def _compared(new: Counts, old: Counts) -> Difference:
    return compare_counts(new, old, permutations=1, resamples=_RESAMPLES, seed=_SEED).micro


def _votes_of(sample: VoteSample, name: str) -> tuple[int, int]:
    """(votes on labelled texts, those that are gold exactly)."""
    votes = right = 0
    for text in sample.labelled:
        gold = {span.without_score() for span in sample.gold[text.key]}
        given = {vote.span.without_score() for vote in text.votes if vote.source == name}
        votes, right = votes + len(given), right + len(given & gold)
    return votes, right


def without_votes(text: VotedText, names: Collection[str]) -> VotedText:
    """The text without the votes of these sources."""
    if not any(vote.source in names for vote in text.votes):
        return text
    return replace(text, votes=tuple(vote for vote in text.votes if vote.source not in names))
