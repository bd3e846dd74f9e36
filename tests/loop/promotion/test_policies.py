"""What each policy decides, at the border of each rule, and what each of the five words means."""

from __future__ import annotations

from dataclasses import replace
from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loop.evaluation.regret import Estimate, needed_difference
from loop.promotion.policies import (
    BOUNDED,
    CANNOT_TELL,
    HIGHER,
    HOLD,
    LIKELY_BETTER,
    LIKELY_WORSE,
    NOT_SHOWN_WORSE,
    POLICIES,
    PROMOTE,
    PROVEN,
    PROVEN_BETTER,
    REJECT,
    WORDS,
    CandidateFacts,
    PolicyLimits,
    blocking_types,
    decide,
    word_for,
)

NORMAL = NormalDist()
LARGE = 0.05  # a standard error, of a few dozen documents
SMALL = 0.02  # with which a difference of 0 suffices: 0.17 * 0.02 < 0.005
TINY = 1e-6


def row(difference: float, error: float = LARGE, documents: int = 100, name: str = "micro") -> Estimate:
    return Estimate(name, difference, error, documents)


def verdict(policy: str, facts: CandidateFacts, limits: PolicyLimits | None = None) -> str:
    return decide(policy, facts, limits).verdict


# Bounded


def test_on_a_large_error_bounded_promotes_from_the_needed_difference_on() -> None:
    needed = needed_difference(LARGE, 0.005)
    assert 0 < needed < LARGE
    assert verdict(BOUNDED, CandidateFacts(row(needed))) == PROMOTE
    below = decide(BOUNDED, CandidateFacts(row(needed - TINY)))
    assert (below.verdict, below.needed) == (HOLD, needed)
    assert below.reasons == (f"{100 * needed:+.1f} F1 points, {100 * needed:+.1f} are needed",)


def test_on_a_small_error_bounded_promotes_an_equal_candidate_and_no_worse_one() -> None:
    assert verdict(BOUNDED, CandidateFacts(row(0, SMALL))) == PROMOTE
    assert verdict(BOUNDED, CandidateFacts(row(-TINY, SMALL))) == HOLD


def test_who_allows_a_larger_loss_needs_a_smaller_difference() -> None:
    facts = CandidateFacts(row(0.005))
    assert verdict(BOUNDED, facts, PolicyLimits(average_loss=0.005)) == HOLD
    assert verdict(BOUNDED, facts, PolicyLimits(average_loss=0.01)) == PROMOTE


def test_while_the_first_model_serves_a_wrong_decision_may_cost_more() -> None:
    first = CandidateFacts(row(0, 4 * LARGE), first=True)
    held = decide(BOUNDED, first)
    assert (held.verdict, held.average_loss, held.needed) == (HOLD, 0.025, needed_difference(4 * LARGE, 0.025))
    assert verdict(BOUNDED, replace(first, served=row(held.needed, 4 * LARGE))) == PROMOTE
    later = decide(BOUNDED, replace(first, served=row(held.needed, 4 * LARGE), first=False))
    assert (later.verdict, later.average_loss) == (HOLD, 0.005)
    assert verdict(BOUNDED, first, PolicyLimits(average_loss=0.05)) == PROMOTE


def test_fewer_documents_than_the_least_decide_nothing() -> None:
    assert verdict(BOUNDED, CandidateFacts(row(0.2, documents=15))) == PROMOTE
    few = decide(BOUNDED, CandidateFacts(row(0.2, documents=14)))
    assert (few.verdict, few.word) == (HOLD, LIKELY_BETTER)
    assert few.reasons == ("14 documents, 15 are needed",)


def test_a_candidate_below_the_best_model_that_ever_served_is_held() -> None:
    assert verdict(BOUNDED, CandidateFacts(row(0.1), best=row(0))) == PROMOTE
    held = decide(BOUNDED, CandidateFacts(row(0.1), best=row(-TINY)))
    assert held.verdict == HOLD
    assert held.reasons == ("less than 0.1 points below the best earlier model",)


def test_a_candidate_that_is_likely_worse_is_rejected_and_a_slightly_worse_one_is_held() -> None:
    border = LARGE * NORMAL.inv_cdf(0.2)
    assert verdict(BOUNDED, CandidateFacts(row(border - TINY))) == REJECT
    assert verdict(BOUNDED, CandidateFacts(row(border + TINY))) == HOLD


def test_a_gate_that_is_not_passed_rejects() -> None:
    found = decide(BOUNDED, CandidateFacts(row(0.2), blocking=("micro: recall",)))
    assert (found.verdict, found.reasons) == (REJECT, ("not passed: micro: recall",))


def test_a_type_that_is_shown_to_be_worse_rejects_and_is_named() -> None:
    types = (row(0.2, name="SOFTWARE"), row(-0.3, name="OS"))
    found = decide(BOUNDED, CandidateFacts(row(0.1), types=types))
    assert (found.verdict, found.types, found.reasons) == (REJECT, ("OS",), ("OS is shown to be worse",))


@pytest.mark.parametrize("types", [1, 2, 5, 20])
def test_each_type_is_tested_at_its_share_of_five_percent(types: int) -> None:
    border = LARGE * NORMAL.inv_cdf(0.05 / types)
    fine = tuple(row(0, name=str(number)) for number in range(types - 1))
    assert blocking_types((*fine, row(border + TINY, name="OS"))) == ()
    assert blocking_types((*fine, row(border - TINY, name="OS"))) == ("OS",)


def test_the_best_model_comes_back_from_half_a_standard_error_on_if_the_candidate_does_not_serve() -> None:
    held = CandidateFacts(row(0), best=row(-0.06), best_served=row(LARGE / 2))
    assert decide(BOUNDED, held).put_back
    assert not decide(BOUNDED, replace(held, best_served=row(LARGE / 2 - TINY))).put_back
    assert not decide(BOUNDED, replace(held, best_served=row(LARGE, documents=14))).put_back
    chosen = decide(BOUNDED, replace(held, by_hand=True))
    assert (chosen.outdone, chosen.put_back) == (True, False)
    promoted = decide(BOUNDED, replace(held, served=row(0.1), best=row(0.01)))
    assert (promoted.verdict, promoted.put_back) == (PROMOTE, False)


# Proven and higher


def test_proven_promotes_by_the_test_and_by_nothing_else() -> None:
    assert verdict(PROVEN, CandidateFacts(row(0.001), p_value=0.005, alpha=0.005)) == PROMOTE
    above = decide(PROVEN, CandidateFacts(row(0.2), p_value=0.0051, alpha=0.005))
    assert (above.verdict, above.needed) == (REJECT, None)
    assert above.reasons == ("p 0.0051, at most 0.005 is needed",)


def test_proven_never_promotes_a_candidate_that_is_not_higher() -> None:
    assert verdict(PROVEN, CandidateFacts(row(0), p_value=0.5, alpha=0.9)) == REJECT


def test_proven_promotes_nothing_where_no_claim_can_be_made() -> None:
    assert verdict(PROVEN, CandidateFacts(row(0.2))) == REJECT


def test_proven_is_stopped_by_the_types_that_the_gates_stop() -> None:
    found = decide(PROVEN, CandidateFacts(row(0.2), p_value=0.001, alpha=0.005, worse_types=("OS",)))
    assert (found.verdict, found.types) == (REJECT, ("OS",))


def test_higher_promotes_whatever_is_higher() -> None:
    worse = (row(-0.4, name="OS"),)
    assert verdict(HIGHER, CandidateFacts(row(TINY, documents=1), types=worse, worse_types=("OS",))) == PROMOTE
    assert verdict(HIGHER, CandidateFacts(row(0))) == REJECT


@pytest.mark.parametrize("policy", [PROVEN, HIGHER])
def test_only_bounded_puts_a_model_back(policy: str) -> None:
    assert not decide(policy, CandidateFacts(row(-0.1), best_served=row(0.2))).put_back


# The words


def test_proven_better_takes_a_claim_that_holds_and_a_promotion() -> None:
    facts = CandidateFacts(row(0.2), p_value=0.01, alpha=0.01)
    assert decide(BOUNDED, facts).word == PROVEN_BETTER
    assert decide(BOUNDED, replace(facts, p_value=0.0101)).word == LIKELY_BETTER
    assert decide(BOUNDED, replace(facts, alpha=None)).word == LIKELY_BETTER
    assert decide(BOUNDED, replace(facts, blocking=("the file",))).word == LIKELY_BETTER


@pytest.mark.parametrize(("promoted", "between"), [(True, NOT_SHOWN_WORSE), (False, CANNOT_TELL)])
def test_likely_begins_at_four_cases_of_five(promoted: bool, between: str) -> None:
    border = LARGE * NORMAL.inv_cdf(0.8)

    def word(difference: float) -> str:
        return word_for(CandidateFacts(row(difference)), promoted=promoted)

    assert (word(border + TINY), word(border - TINY)) == (LIKELY_BETTER, between)
    assert (word(-border - TINY), word(-border + TINY)) == (LIKELY_WORSE, between)


# Any facts


estimates = st.builds(row, st.floats(-0.5, 0.5), st.floats(0.001, 0.5), st.integers(1, 2000))
facts = st.builds(
    CandidateFacts,
    estimates,
    st.none() | estimates,
    st.none() | estimates,
    st.lists(estimates, max_size=4).map(tuple),
    st.none() | st.floats(0, 1),
    st.none() | st.floats(0, 0.1),
    st.just(()) | st.just(("OS",)),
    st.just(()) | st.just(("the file",)),
)


@given(st.sampled_from(list(POLICIES)), facts)
def test_a_candidate_is_promoted_exactly_where_nothing_speaks_against_it(policy: str, known: CandidateFacts) -> None:
    found = decide(policy, known)
    assert (found.verdict == PROMOTE) == (not found.reasons)
    assert found.verdict in (PROMOTE, HOLD, REJECT) and found.word in WORDS
    assert not (found.put_back and found.verdict == PROMOTE)
    if found.verdict == PROMOTE:
        assert not known.blocking and not found.types
    if found.word == PROVEN_BETTER:
        assert found.verdict == PROMOTE and known.claim_holds


@given(facts)
def test_bounded_never_promotes_a_candidate_of_lower_f1(known: CandidateFacts) -> None:
    if decide(BOUNDED, known).verdict == PROMOTE:
        assert known.served.difference >= 0
        assert known.best is None or known.best.difference >= 0


@given(facts, st.floats(0, 0.5))
def test_a_larger_difference_is_never_worse_for_a_candidate(known: CandidateFacts, more: float) -> None:
    better = replace(known, served=replace(known.served, difference=known.served.difference + more))
    if decide(BOUNDED, known).verdict == PROMOTE:
        assert decide(BOUNDED, better).verdict == PROMOTE
