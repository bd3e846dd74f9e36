"""Loops replayed under a rule: which model serves after each round, and what that cost.

F1 is a share (0..1). The true F1 of a model is its F1 on the texts of the truth, which no rule sees.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from loop.evaluation.regret import Estimate, estimate, estimate_types
from loop.evaluation.scores import Counts, grouped
from loop.evaluation.significance import (
    DECREASING,
    EVEN,
    alpha_of,
    compare_counts,
    micro_columns,
    permutations_for,
    randomisation_p_value,
)
from loop.promotion.compared_models import EARLIER
from loop.promotion.gates import type_gates
from loop.promotion.policies import (
    BOUNDED,
    HIGHER,
    POLICIES,
    PROMOTE,
    PROVEN,
    CandidateFacts,
    Policy,
    PolicyLimits,
    decide_by,
)
from ner.arrays import IntArray
from scripts.bench.policy.counts import LoopCounts
from scripts.bench.policy.loops import CORRUPTED, FIRST, HELD_OUT, named

LOOKS, ALPHA, DELTA = 10, 0.05, 0.03
ALL, RECENT, NONE = "all", "recent", "none"
# A first sample this large says which tests are worth all their arrangements: none below ALPHA is above SCREEN in it.
_FIRST_SAMPLE, _SCREEN = 1_000, 0.2


@dataclass(frozen=True, slots=True)
class Rule:
    """A policy, and what a claim may spend at look t (from 1 on); 0 where no claim can be made any more.

    against_anchor: whether claims are made against the last proven model, instead of the model in service.

    memory: the models that are asked again, to find the best that ever served. ALL of them; RECENT, the last few and
    the anchor, as `loop promote` does; or NONE.
    """

    name: str
    policy: Policy
    alpha: Callable[[int], float]
    limits: PolicyLimits = field(default_factory=PolicyLimits)
    against_anchor: bool = False
    memory: str = NONE


def _even(look: int) -> float:
    return alpha_of(EVEN, ALPHA, LOOKS, look)


def _decreasing(look: int) -> float:
    return alpha_of(DECREASING, ALPHA, LOOKS, look)


def _not_inferior(facts: CandidateFacts, limits: PolicyLimits) -> Iterator[str]:
    """The lower bound (95 %, one-sided) of the difference lies above -DELTA."""
    del limits
    if facts.served.difference - 1.645 * facts.served.error <= -DELTA:
        yield "perhaps worse"


NON_INFERIOR = Policy("non-inferiority", lambda *_: None, lambda _: (), _not_inferior, final=True, puts_back=False)


def bounded(name: str, limits: PolicyLimits, memory: str = RECENT) -> Rule:
    """The bounded policy within some limits."""
    return Rule(name, POLICIES[BOUNDED], _even, limits, against_anchor=True, memory=memory)


_LIMITS = PolicyLimits()
DEFAULT = bounded("bounded (default)", _LIMITS)
RULES = (
    Rule("higher F1 wins", POLICIES[HIGHER], lambda _: 0.0),
    Rule("higher F1 wins, 20 documents", POLICIES[HIGHER], lambda _: 0.0, replace(_LIMITS, least_documents=20)),
    Rule("p < .05 each", POLICIES[PROVEN], lambda _: ALPHA),
    Rule("proven, alpha spent evenly", POLICIES[PROVEN], _even),
    Rule("proven, alpha spent decreasingly", POLICIES[PROVEN], _decreasing),
    Rule("non-inferiority, 3 points", NON_INFERIOR, lambda _: 0.0),
    DEFAULT,
    bounded("bounded, eps 0.3", replace(_LIMITS, average_loss=0.003)),
    bounded("bounded, eps 1", replace(_LIMITS, average_loss=0.01)),
    bounded("bounded, eps 0.5 for the first model, too", replace(_LIMITS, first_loss=0.005)),
    bounded("bounded, first model replaced by any higher F1", replace(_LIMITS, first_loss=1)),
    bounded("bounded, 20 documents", replace(_LIMITS, least_documents=20)),
    bounded("bounded, put back from 1 standard error on", replace(_LIMITS, back=1)),
    bounded("the three together: 0.5, 20 documents, 1", PolicyLimits(0.005, 0.005, 20, 1)),
    bounded("bounded, asks no earlier model", _LIMITS, NONE),
    bounded("bounded, asks all that served", _LIMITS, ALL),
)


class Track:
    """The candidates of a loop, a holdout that grows with the rounds, and the true F1 of each candidate.

    holdout: the rows of the texts to judge by, in the order of `round`, (m,), the round from which on each judges.
    document: (n,) of each text. truths: F1 by candidate, on the rows `truth`. All answers are kept: rules ask the same
    questions.
    """

    def __init__(
        self,
        sides: Mapping[str, Counts],
        document: IntArray,
        holdout: IntArray,
        round_of: IntArray,
        truths: Mapping[str, float],
        truth: IntArray | None = None,
    ) -> None:
        self.truths = truths
        self._sides, self._document = sides, document
        self._truth = np.arange(len(document)) if truth is None else truth
        self._holdout, self._round_of = holdout, round_of
        self._views: dict[tuple[str, int], Counts] = {}
        self._estimates: dict[tuple[str, str, int], Estimate] = {}
        self._types: dict[tuple[str, str, int], tuple[Estimate, ...]] = {}
        self._p_values: dict[tuple[str, str, int], float] = {}

    def view(self, name: str, number: int) -> Counts:
        """The counts of a candidate by document, on the holdout of a round."""
        if (name, number) not in self._views:
            rows = self._holdout[self._round_of <= number]
            self._views[name, number] = self._documents_of(name, rows)
        return self._views[name, number]

    def true_difference(self, new: str, old: str) -> Estimate:
        """The difference on the texts of the truth: many texts, and yet a sample with an error."""
        key = (new, old, 0)
        if key not in self._estimates:
            self._estimates[key] = estimate(*(self._documents_of(name, self._truth) for name in (new, old)))
        return self._estimates[key]

    def _documents_of(self, name: str, rows: IntArray) -> Counts:
        """The counts of a candidate on some of the texts, summed by document."""
        return grouped(_cut(self._sides[name], rows), self._document[rows].tolist())

    def documents(self, number: int) -> int:
        """How many documents judge in a round."""
        return len(self.view(FIRST, number).gold)

    def estimate(self, new: str, old: str, number: int) -> Estimate:
        """The difference on the holdout of a round."""
        key = (new, old, number)
        if key not in self._estimates:
            self._estimates[key] = estimate(self.view(new, number), self.view(old, number))
        return self._estimates[key]

    def types(self, new: str, old: str, number: int) -> tuple[Estimate, ...]:
        """Likewise, of each entity type."""
        key = (new, old, number)
        if key not in self._types:
            self._types[key] = estimate_types(self.view(new, number), self.view(old, number))
        return self._types[key]

    def p_value(self, new: str, old: str, number: int) -> float:
        """Of the paired test on the holdout of a round."""
        key = (new, old, number)
        if key not in self._p_values:
            rng = np.random.default_rng([*new.encode(), *old.encode(), number])
            sides = [micro_columns(self.view(name, number)) for name in (new, old)]
            found = randomisation_p_value(*sides, _FIRST_SAMPLE, rng)
            if found <= _SCREEN:
                found = randomisation_p_value(*sides, permutations_for(ALPHA / LOOKS, 10_000), rng)
            self._p_values[key] = found
        return self._p_values[key]

    def worse_types(self, new: str, old: str, number: int) -> tuple[str, ...]:
        """The types that the gates of `type_gates` stop."""
        sides = self.view(new, number), self.view(old, number)
        rows = compare_counts(*sides, permutations=1, resamples=2, seed=number).per_type
        return tuple(gate.entity_type or "" for gate in type_gates(rows, DELTA) if gate.blocks)


@dataclass(frozen=True, slots=True)
class Move:
    """Another model went into service in a round."""

    number: int
    before: str
    after: str
    put_back: bool


@dataclass(frozen=True, slots=True)
class Replayed:
    """served: the model in service after each round. claims: (round, candidate, anchor) of each proof."""

    served: tuple[str, ...]
    moves: tuple[Move, ...]
    claims: tuple[tuple[int, str, str], ...]


def replay(track: Track, rule: Rule, candidates: Mapping[int, str]) -> Replayed:
    """A whole loop under a rule. candidates: the name of each round's candidate, in order; "" where there is none."""
    served = anchor = FIRST
    remembered, looks = [FIRST], 0
    history, moves, claims = list[str](), list[Move](), list[tuple[int, str, str]]()
    for number, new in candidates.items():
        if new and track.documents(number) >= rule.limits.least_documents:
            looks += 1
            alpha = rule.alpha(looks)
            asked = _recent(remembered, served, anchor) if rule.memory == RECENT else remembered
            best = _best(track, number, served, asked)
            before, claimed = served, anchor if rule.against_anchor else served
            facts = replace(_facts(track, rule, number, new, served, best, claimed, alpha), first=not moves)
            done = decide_by(rule.policy, facts, rule.limits)
            if done.verdict == PROMOTE:
                moves.append(Move(number, served, new, put_back=False))
                if facts.claim_holds:
                    claims.append((number, new, claimed))
                    anchor = new
                served = new
            elif done.put_back:
                moves.append(Move(number, served, best, put_back=True))
                served = best
            remembered = list(dict.fromkeys([served, before, *remembered])) if rule.memory != NONE else []
        history.append(served)
    return Replayed(tuple(history), tuple(moves), tuple(claims))


def _best(track: Track, number: int, served: str, others: Sequence[str]) -> str:
    """The model of highest F1 on the holdout of a round; the model in service where no other model is higher."""
    return max([served, *others], key=lambda name: track.estimate(name, served, number).difference)


def _recent(remembered: Sequence[str], served: str, anchor: str) -> list[str]:
    """The last few models that served, and the anchor. remembered: the last one first."""
    return [*[name for name in remembered if name not in (served, anchor)][:EARLIER], anchor]


def _facts(
    track: Track, rule: Rule, number: int, new: str, served: str, best: str, anchor: str, alpha: float
) -> CandidateFacts:
    p_value = track.p_value(new, anchor, number) if alpha else None
    claimed = p_value is not None and p_value <= alpha
    return CandidateFacts(
        track.estimate(new, served, number),
        best=None if best == served else track.estimate(new, best, number),
        best_served=None if best == served else track.estimate(best, served, number),
        types=track.types(new, served, number) if rule.policy is POLICIES[BOUNDED] else (),
        p_value=p_value,
        alpha=alpha or None,
        worse_types=track.worse_types(new, served, number) if claimed and rule.policy is POLICIES[PROVEN] else (),
    )


# Tracks


def draw_track(loop: LoopCounts, draw: int) -> Track:
    """A track of a loop. Draw 0 has the holdout that the loop had; other draws hold other texts out, of all blind ones.

    Neither the holdout nor the truth was learned from, so that each text may judge as well as tell the truth.
    """
    texts = len(loop.round)
    order = np.arange(texts) if not draw else np.random.default_rng([loop.seed, draw]).permutation(texts)
    held = int(np.count_nonzero(loop.round))
    sides = _sides(loop)
    truth = order[held:]
    truths = {name: _cut(side, truth).micro_f1() for name, side in sides.items()}
    return Track(sides, loop.document, order[:held], loop.round[:held], truths, truth)


def names_by_round(loop: LoopCounts, *, corrupted: bool) -> dict[int, str]:
    """The candidate of each round, those of corrupted batches where that is asked for."""
    names = {number: named(number, CORRUPTED.get(number) if corrupted else None) for number in loop.rounds}
    return {number: name if name in loop.right else "" for number, name in names.items()}


DRIFT_ROUNDS = 16


def drifting(loop: LoopCounts, draw: int, step: float) -> tuple[Track, dict[int, str]]:
    """Candidates that are each worse by `step` F1 than the one before, made from the counts of two late candidates.

    A system answers each text as one of the two does, drawn anew for each system, so that all systems have one expected
    F1 and differ on many texts. Then true positives are lost, just so many that the expected F1 is as wanted; the truth
    is that expectation. With a step of 0 all candidates are as good as the first model.
    """
    rng = np.random.default_rng([loop.seed, draw, 7])
    made = [name for name in names_by_round(loop, corrupted=False).values() if name]
    sides = [_sides(loop)[name] for name in made[-2:]]
    right, found = (np.stack([getattr(side, name) for side in sides]) for name in ("true_positives", "predicted"))
    gold, texts = loop.gold, len(loop.gold)
    hits, total = right.mean(axis=0).sum(), found.mean(axis=0).sum() + gold.sum()
    systems, truths = dict[str, Counts](), dict[str, float]()
    for number in range(DRIFT_ROUNDS + 1):
        aim = 2 * hits / total - number * step
        lost = max(0.0, (2 * hits - aim * total) / (hits * (2 - aim)))  # a rounding error would be below 0
        answers = rng.integers(len(sides), size=texts), np.arange(texts)
        gone = rng.binomial(right[answers], lost)
        systems[named(number)] = Counts(loop.types, right[answers] - gone, found[answers] - gone, gold)
        truths[named(number)] = float(aim)
    each = max(1, round(loop.batch * HELD_OUT))
    held = rng.permutation(texts)[: each * DRIFT_ROUNDS]
    rounds = np.repeat(np.arange(1, DRIFT_ROUNDS + 1), each)[: len(held)]
    track = Track(systems, np.arange(texts), held, rounds, truths)
    return track, {number: named(number) for number in range(1, DRIFT_ROUNDS + 1)}


def _sides(loop: LoopCounts) -> dict[str, Counts]:
    """By candidate. A first model that could not be trained says nothing."""
    nothing = np.zeros_like(loop.gold)
    sides = {name: Counts(loop.types, loop.right[name], loop.found[name], loop.gold) for name in loop.right}
    return {FIRST: Counts(loop.types, nothing, nothing, loop.gold)} | sides


def _cut(side: Counts, rows: IntArray) -> Counts:
    """Some of the texts."""
    return Counts(side.types, side.true_positives[rows], side.predicted[rows], side.gold[rows])
