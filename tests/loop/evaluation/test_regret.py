"""Bounded regret: the values of h, the influence of a document, the standard error, and the promise of the bound."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import optimize, stats

from loop.evaluation.regret import (
    Estimate,
    documents_until_any,
    estimate,
    estimate_types,
    influence,
    inverse_regret,
    needed_difference,
    normal_tail,
    worst_regret,
)
from loop.evaluation.scores import Counts
from scripts.bench.promotion.regret import Corpus, expected_losses

POINT = 0.01
losses = st.floats(0.001, 0.05)
errors = st.floats(0.001, 0.5)
# Of each document: right, missed, spurious of the new system; right, missed, spurious of the old one.
cells = arrays(np.int64, st.tuples(st.integers(1, 30), st.just(2)), elements=st.integers(0, 5))


def counts_of(gold: np.ndarray, right: np.ndarray, spurious: np.ndarray) -> Counts:
    """Of one entity type; each (n,)."""
    right, gold = right[:, None], gold[:, None]
    return Counts(("OS",), right, right + spurious[:, None], gold)


def one_type(documents: list[tuple[int, int, int]]) -> tuple[Counts, Counts]:
    """(gold, right of the new system, right of the old system) of each document; nothing is spurious."""
    gold, new, old = np.array(documents).T
    return counts_of(gold, new, 0 * gold), counts_of(gold, old, 0 * gold)


# h


def test_the_worst_regret_of_promoting_whatever_looks_no_worse_is_a_sixth_of_a_standard_error() -> None:
    assert worst_regret(0) == pytest.approx(0.170, abs=5e-5)


@pytest.mark.parametrize("threshold", [0, 0.3, 1, 2.5])
def test_h_is_the_maximum_over_all_losses(threshold: float) -> None:
    found = optimize.minimize_scalar(lambda loss: -loss * stats.norm.sf(threshold + loss), bounds=(0, 5))
    assert worst_regret(threshold) == pytest.approx(-found.fun, rel=1e-6)


@given(st.floats(0, 30))
def test_the_inverse_finds_the_threshold(threshold: float) -> None:
    assert inverse_regret(worst_regret(threshold)) == pytest.approx(threshold, abs=1e-9)


@given(st.floats(0.17, 100))
def test_where_the_regret_is_allowed_anyway_no_threshold_is_needed(regret: float) -> None:
    assert inverse_regret(regret) == 0


def test_no_threshold_is_high_enough_for_no_regret() -> None:
    assert inverse_regret(0) == math.inf


def test_far_out_in_the_tail_the_probability_is_still_known() -> None:
    assert normal_tail(30) == pytest.approx(stats.norm.sf(30), rel=1e-9)


# What is needed


@given(errors, losses)
def test_the_needed_difference_allows_just_the_average_loss(error: float, average_loss: float) -> None:
    needed = needed_difference(error, average_loss)
    # The loss of the worst true difference, in F1.
    assert error * worst_regret(needed / error) <= average_loss * (1 + 1e-9)
    if needed > 0:
        assert error * worst_regret(needed / error) == pytest.approx(average_loss)


@given(errors, losses)
def test_a_smaller_error_or_a_larger_allowance_never_asks_for_more(error: float, average_loss: float) -> None:
    needed = needed_difference(error, average_loss)
    assert needed_difference(error * 0.9, average_loss) <= needed + 1e-12
    assert needed_difference(error, average_loss * 1.1) <= needed + 1e-12


@given(errors, st.integers(20, 5000), losses)
def test_on_so_many_documents_any_difference_suffices_and_on_fewer_not(
    error: float, documents: int, average_loss: float
) -> None:
    enough = documents_until_any(error, documents, average_loss)
    assert needed_difference(error * math.sqrt(documents / enough), average_loss) == pytest.approx(0, abs=1e-6)
    if enough > documents:
        assert needed_difference(error * math.sqrt(documents / (enough - 1)), average_loss) > 0
    else:
        assert enough == documents


# The estimate


@given(cells, st.data())
def test_the_influence_of_a_document_is_the_derivative_by_its_weight(table: np.ndarray, data: st.DataObject) -> None:
    right, rest = table.T
    found = 2 * right + rest
    at = data.draw(st.integers(0, len(right) - 1))
    if not found.sum():
        assert not influence(right, found).any()
        return

    def f1(more: float) -> float:
        weights = np.ones(len(right))
        weights[at] += more
        return float(2 * (weights @ right) / (weights @ found))

    step = 1e-4
    derivative = (f1(step) - f1(-step)) / (2 * step)
    assert influence(right, found)[at] / len(right) == pytest.approx(derivative, abs=1e-6)


@given(cells)
def test_the_influences_add_up_to_nothing(table: np.ndarray) -> None:
    right, rest = table.T
    assert influence(right, 2 * right + rest).sum() == pytest.approx(0, abs=1e-9)


def test_the_error_of_two_equal_systems_is_that_of_one_entity_won_and_one_lost() -> None:
    # F1 = 2 * 15 / (15 + 20) = 6/7 of both; a mean of 35/10 entities is predicted or gold in a document.
    new, old = one_type([(2, 2, 2)] * 5 + [(2, 1, 1)] * 5)
    row = estimate(new, old)
    assert (row.difference, row.documents) == (0, 10)
    assert row.error == pytest.approx(math.sqrt(2) * (2 - 6 / 7) / 3.5 / 10)
    assert row.better == 1 / 2


def test_the_error_is_the_root_of_the_squared_influences_and_of_the_added_pair() -> None:
    # New: F1 = 2 * 3 / 7 of 4 gold and 3 predicted; old: 2 * 2 / 6.
    new, old = one_type([(1, 1, 1), (1, 1, 0), (1, 0, 1), (1, 1, 0)])
    influences = [(2 * np.array(tp) - f1 * (1 + np.array(tp))) / f for tp, f1, f in (
        ([1, 1, 0, 1], 6 / 7, 7 / 4),
        ([1, 0, 1, 0], 4 / 6, 6 / 4),
    )]  # fmt: skip
    spread = influences[0] - influences[1]
    pair = (2 - (6 / 7 + 4 / 6) / 2) / ((7 / 4 + 6 / 4) / 2)
    row = estimate(new, old)
    assert row.difference == pytest.approx(6 / 7 - 4 / 6)
    assert row.error == pytest.approx(math.sqrt(np.sum(spread**2) + 2 * pair**2) / 4)


@pytest.mark.parametrize("documents", [200, 1000])
def test_on_many_documents_the_error_is_that_of_the_bootstrap(documents: int) -> None:
    rng = np.random.default_rng(3)
    gold = rng.poisson(2, documents)
    new, old = (counts_of(gold, rng.binomial(gold, recall), rng.poisson(0.4, documents)) for recall in (0.7, 0.6))
    drawn = rng.integers(documents, size=(4000, documents))

    def f1(side: Counts) -> np.ndarray:
        right, found = side.true_positives[drawn, 0], (side.predicted + side.gold)[drawn, 0]
        return 2 * right.sum(axis=1) / found.sum(axis=1)

    assert estimate(new, old).error == pytest.approx((f1(new) - f1(old)).std(), rel=0.06)


def test_to_swap_the_systems_changes_the_sign_and_nothing_else() -> None:
    new, old = one_type([(3, 2, 1), (2, 2, 0), (1, 0, 1)] * 9)
    one, other = estimate(new, old), estimate(old, new)
    assert one.difference == pytest.approx(-other.difference)
    assert one.error == pytest.approx(other.error)
    assert one.better == pytest.approx(1 - other.better)


def test_each_type_is_estimated_by_its_own_counts_and_a_type_that_nobody_names_is_not_judged() -> None:
    gold = np.array([[2, 0, 0], [1, 0, 1]])
    new = Counts(("SOFTWARE", "OS", "ERROR"), gold, gold, gold)
    old = Counts(new.types, gold * [1, 0, 0], gold * [1, 0, 0], gold)
    rows = estimate_types(new, old)
    assert [(row.name, row.difference, row.documents) for row in rows] == [("SOFTWARE", 0, 2), ("ERROR", 1, 2)]
    alone = estimate(*(Counts(("ERROR",), side.true_positives[:, 2:], side.predicted[:, 2:], gold[:, 2:])
                       for side in (new, old)))  # fmt: skip
    assert rows[1].error == alone.error


def test_without_any_entity_nothing_can_be_told() -> None:
    new, old = one_type([(0, 0, 0)] * 30)
    row = estimate(new, old)
    assert (row, row.better) == (Estimate("micro", 0.0, math.inf, 30), 1 / 2)
    assert estimate_types(new, old) == ()
    assert needed_difference(row.error, 0.005) == math.inf


def test_systems_on_other_documents_are_not_compared() -> None:
    new, _ = one_type([(2, 1, 1)])
    _, old = one_type([(3, 1, 1)])
    for compare in (estimate, estimate_types):
        with pytest.raises(ValueError, match="the same documents"):
            compare(new, old)


# The promise


@pytest.mark.parametrize("documents", [60, 200])
def test_a_wrong_promotion_costs_at_most_the_average_loss_in_an_independent_simulation(documents: int) -> None:
    true = [-5 * POINT, -3 * POINT, -2 * POINT, -1 * POINT]
    for corpus in (Corpus(entities=1.0, f1=0.6), Corpus(entities=2.4, f1=0.8)):
        rows = expected_losses(corpus, documents, true, average_loss=0.005, runs=800, seed=documents)
        assert max(row.loss for row in rows) <= 1.3 * 0.005
