"""Policies: what follows for a candidate from what was measured, as pure functions.

"bounded" promotes a candidate where a wrong promotion costs little F1 on average, whatever the true difference is
(minimax regret; Tetenov 2012, Stoye 2009, Manski & Tetenov 2015). "proven" promotes a candidate that a test shows to be
better. "higher" promotes every candidate with a higher F1, and is there for comparison. To add a policy, write its
function and add the policy to `POLICIES`.

A decision has one of five words for how the candidate compares with the model in service. The words mean the same under
every policy: see `word_for`. F1 and its differences are shares (0..1); the reasons, which people read, are in points.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from statistics import NormalDist

from loop.evaluation.regret import Estimate, needed_difference
from loop.wording import points, size

BOUNDED, PROVEN, HIGHER = "bounded", "proven", "higher"
PROMOTE, HOLD, REJECT = "promote", "hold", "reject"

PROVEN_BETTER = "proven better"
LIKELY_BETTER = "likely better"
NOT_SHOWN_WORSE = "not shown worse"
CANNOT_TELL = "cannot tell"
LIKELY_WORSE = "likely worse"
WORDS = (PROVEN_BETTER, LIKELY_BETTER, NOT_SHOWN_WORSE, CANNOT_TELL, LIKELY_WORSE)

LIKELY = 0.8  # the probability from which "likely" is said
TYPE_ALPHA = 0.05  # the chance that a candidate that is equal on all types is blocked by any of them


@dataclass(frozen=True, slots=True)
class CandidateFacts:
    """What was measured of a candidate, on one holdout as it stands.

    served: candidate against the model in service. best: candidate against the best earlier model, of those that were
    asked again; None where none of them is above the model in service. best_served: the best earlier model against the
    model in service; None likewise. types: candidate against the model in service on each entity type of
    `estimate_types`. p_value: of the claim that the candidate is better, by the paired test; alpha: what the claim may
    spend. Each is None where no claim can be made. worse_types: the types that the gates of `type_gates` stop.
    blocking: the file gates and the targets that are not passed, in words. by_hand: whether a person put the model
    in service there. first: whether the model in service is the first one, which was compared with no other model.
    """

    served: Estimate
    best: Estimate | None = None
    best_served: Estimate | None = None
    types: tuple[Estimate, ...] = ()
    p_value: float | None = None
    alpha: float | None = None
    worse_types: tuple[str, ...] = ()
    blocking: tuple[str, ...] = ()
    by_hand: bool = False
    first: bool = False

    @property
    def claim_holds(self) -> bool:
        """Whether the test shows the candidate to be better, at what the claim may spend."""
        return self.p_value is not None and self.alpha is not None and self.p_value <= self.alpha


@dataclass(frozen=True, slots=True)
class PolicyLimits:
    """What a policy allows; F1 is a share (0..1).

    average_loss: the F1 that a wrong promotion may cost on average. first_loss: the same, while the first model serves:
    no comparison has put that model there, and the replacement comes once. least_documents: fewer decide nothing. back:
    the standard errors by which the best earlier model has to beat the model in service, to be put back.
    """

    average_loss: float = 0.005
    first_loss: float = 0.025
    least_documents: int = 15
    back: float = 0.5

    def loss(self, *, first: bool) -> float:
        """The F1 that a wrong promotion may cost on average. first: whether the first model serves."""
        return max(self.average_loss, self.first_loss) if first else self.average_loss


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows for a candidate.

    verdict: PROMOTE, HOLD (more gold may still promote it) or REJECT. outdone: whether the candidate does not serve and
    the best earlier model is clearly better than the model in service. put_back: whether the best earlier model then
    takes the place of the model in service; a model that a person put into service keeps its place. word: one of WORDS.
    served: candidate against the model in service. average_loss: what the promotion may cost, see `PolicyLimits.loss`.
    needed: the difference that the policy asks of `served`; None where the policy asks for a p-value. types: the entity
    types that block. reasons: why the candidate is not promoted, clauses for people; empty where it is promoted.
    """

    policy: str
    verdict: str
    outdone: bool
    put_back: bool
    word: str
    served: Estimate
    average_loss: float
    needed: float | None
    types: tuple[str, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """A rule that promotes.

    name: its key in POLICIES. needed: the difference in F1 that the candidate needs; None for a policy that asks for a
    p-value. types: the names of the types that block. obstacles: everything else that is in the way, as clauses. final:
    whether a candidate that is not promoted is rejected at once, instead of held. puts_back: whether the best model may
    come back.
    """

    name: str
    needed: Callable[[CandidateFacts, PolicyLimits], float | None]
    types: Callable[[CandidateFacts], tuple[str, ...]]
    obstacles: Callable[[CandidateFacts, PolicyLimits], Iterator[str]]
    final: bool
    puts_back: bool


def decide(policy: str, facts: CandidateFacts, limits: PolicyLimits | None = None) -> Decision:
    """The decision of a policy, a key of POLICIES."""
    return decide_by(POLICIES[policy], facts, limits or PolicyLimits())


def decide_by(rule: Policy, facts: CandidateFacts, limits: PolicyLimits) -> Decision:
    """The decision of any policy."""
    types = rule.types(facts)
    grave = [*(f"{name} is shown to be worse" for name in types), *(f"not passed: {name}" for name in facts.blocking)]
    reasons = (*rule.obstacles(facts, limits), *grave)
    word = word_for(facts, promoted=not reasons)
    outdone = bool(reasons) and rule.puts_back and _outdone(facts, limits)
    return Decision(
        policy=rule.name,
        verdict=_verdict(reasons, rejected=bool(grave) or rule.final or word == LIKELY_WORSE),
        outdone=outdone,
        put_back=outdone and not facts.by_hand,
        word=word,
        served=facts.served,
        average_loss=limits.loss(first=facts.first),
        needed=rule.needed(facts, limits),
        types=types,
        reasons=reasons,
    )


def word_for(facts: CandidateFacts, *, promoted: bool) -> str:
    """One of WORDS.

    PROVEN_BETTER: promoted, and the claim holds. LIKELY_BETTER: better than the model in service with a probability of
    at least 80 %. LIKELY_WORSE: with a probability of at most 20 %. NOT_SHOWN_WORSE: promoted otherwise. CANNOT_TELL:
    not promoted otherwise.
    """
    if promoted and facts.claim_holds:
        return PROVEN_BETTER
    if facts.served.better >= LIKELY:
        return LIKELY_BETTER
    if facts.served.better <= 1 - LIKELY:
        return LIKELY_WORSE
    return NOT_SHOWN_WORSE if promoted else CANNOT_TELL


def blocking_types(types: tuple[Estimate, ...]) -> tuple[str, ...]:
    """The types on which the candidate is shown to be worse, each tested at TYPE_ALPHA / types (Bonferroni 1936)."""
    if not types:
        return ()
    border = NormalDist().inv_cdf(TYPE_ALPHA / len(types))
    return tuple(row.name for row in types if row.standardised < border)


def _verdict(reasons: tuple[str, ...], *, rejected: bool) -> str:
    if not reasons:
        return PROMOTE
    return REJECT if rejected else HOLD


def _outdone(facts: CandidateFacts, limits: PolicyLimits) -> bool:
    """Whether the best earlier model is clearly better than the model in service."""
    best = facts.best_served
    return best is not None and best.standardised >= limits.back and best.documents >= limits.least_documents


def _bounded(facts: CandidateFacts, limits: PolicyLimits) -> Iterator[str]:
    row, needed = facts.served, _bounded_need(facts, limits)
    if row.documents < limits.least_documents:
        yield f"{row.documents:,} documents, {limits.least_documents:,} are needed"
    if row.difference < needed:
        yield f"{points(row.difference)} F1 points, {points(needed)} are needed"
    if facts.best is not None and facts.best.difference < 0:
        yield f"{size(facts.best.difference)} below the best earlier model"


def _bounded_need(facts: CandidateFacts, limits: PolicyLimits) -> float:
    return needed_difference(facts.served.error, limits.loss(first=facts.first))


def _proven(facts: CandidateFacts, limits: PolicyLimits) -> Iterator[str]:
    del limits
    if facts.served.difference <= 0:
        yield "F1 is not higher"
    elif facts.alpha is None or facts.p_value is None:
        yield "no claim can be made on this holdout any more"
    elif not facts.claim_holds:
        yield f"p {facts.p_value:.4f}, at most {facts.alpha:.3g} is needed"


def _higher(facts: CandidateFacts, limits: PolicyLimits) -> Iterator[str]:
    del limits
    if facts.served.difference <= 0:
        yield f"{points(facts.served.difference)} F1 points, more than 0 are needed"


POLICIES: Mapping[str, Policy] = {
    rule.name: rule
    for rule in (
        Policy(
            BOUNDED,
            _bounded_need,
            lambda facts: blocking_types(facts.types),
            _bounded,
            final=False,
            puts_back=True,
        ),
        Policy(PROVEN, lambda *_: None, lambda facts: facts.worse_types, _proven, final=True, puts_back=False),
        Policy(HIGHER, lambda *_: 0.0, lambda _: (), _higher, final=True, puts_back=False),
    )
}
