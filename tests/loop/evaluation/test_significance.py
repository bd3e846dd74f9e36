"""The paired test and the paired bootstrap: against scipy, against enumeration, and as properties of any counts."""

from __future__ import annotations

from dataclasses import fields
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from loop.evaluation.scores import Counts
from loop.evaluation.significance import (
    Comparison,
    Difference,
    compare_counts,
    detectable_difference,
    documents_needed,
    randomisation_p_value,
)

TYPES = ("SOFTWARE", "OS")
FEW = {"permutations": 200, "resamples": 200}

Document = tuple[tuple[int, int, int, int, int], ...]  # of each type: gold, and of both systems right and spurious


def counts_of(documents: list[Document]) -> tuple[Counts, Counts]:
    """Both systems' counts."""
    types = TYPES[: len(documents[0])] if documents else TYPES
    table = np.array(documents, dtype=np.int64).reshape(len(documents), len(types), 5)
    sides = (table[..., [1, 2]], table[..., [3, 4]])
    new, old = (Counts(types, side[..., 0], side.sum(axis=2), table[..., 0]) for side in sides)
    return new, old


@st.composite
def cells(draw: st.DrawFn) -> tuple[int, int, int, int, int]:
    gold = draw(st.integers(0, 4))
    right, spurious = st.integers(0, gold), st.integers(0, 2)
    return gold, draw(right), draw(spurious), draw(right), draw(spurious)


corpora = st.lists(st.tuples(cells(), cells()), max_size=12)
seeds = st.integers(0, 2**32 - 1)


def invented(documents: int, seed: int, new_recall: float, old_recall: float) -> tuple[Counts, Counts]:
    """Two systems on invented documents, each of about three entities."""
    rng = np.random.default_rng(seed)
    gold = rng.poisson(1.5, (documents, len(TYPES)))
    sides = []
    for recall in (new_recall, old_recall):
        right = rng.binomial(gold, recall)
        sides.append(Counts(TYPES, right, right + rng.poisson(0.3, gold.shape), gold))
    return sides[0], sides[1]


def micro(counts: Counts) -> np.ndarray:
    """(n, 2): true positives, predicted + gold."""
    found = counts.predicted.sum(axis=1) + counts.gold.sum(axis=1)
    return np.column_stack([counts.true_positives.sum(axis=1), found]).astype(np.float64)


def f1(sums: np.ndarray) -> np.ndarray:
    return 2 * sums[..., 0] / sums[..., 1]


def by_scipy(new: Counts, old: Counts) -> tuple[tuple[np.ndarray, np.ndarray], object]:
    """Two samples of row numbers, paired, and the statistic that looks the rows up: new F1 - old F1."""
    table = np.concatenate([micro(new), micro(old)])
    documents = len(new.gold)

    def difference(one: np.ndarray, other: np.ndarray, axis: int = -1) -> np.ndarray:
        return f1(table[one].sum(axis=axis - 1)) - f1(table[other].sum(axis=axis - 1))

    return (np.arange(documents), np.arange(documents) + documents), difference


def within(found: float, expected: float, draws: int) -> bool:
    """Whether a share of so many draws is as near to the expected one as chance leaves it, four sigmas at most."""
    return abs(found - expected) <= 4 * np.sqrt(expected * (1 - expected) / draws) + 1 / (draws + 1)


# Against scipy, and by hand


def test_the_p_value_of_one_document_that_is_won_is_one_half():
    new, old = counts_of([((2, 2, 0, 1, 0),), ((3, 3, 0, 3, 0),)])
    # Two arrangements, of which the one observed is the larger; the other document says the same of both.
    assert within(randomisation_p_value(micro(new), micro(old), 20_000, np.random.default_rng(1)), 1 / 2, 20_000)


def test_a_system_that_wins_everywhere_has_the_least_p_value_there_is():
    new, old = counts_of([((1, 1, 0, 0, 0),)] * 60)
    assert randomisation_p_value(micro(new), micro(old), 99, np.random.default_rng(1)) == 1 / 100


@pytest.mark.parametrize("seed", range(4))
def test_on_few_documents_the_p_value_is_that_of_scipys_exact_enumeration(seed: int):
    new, old = invented(9, seed, 0.8, 0.7)
    sample, difference = by_scipy(new, old)
    exact = stats.permutation_test(
        sample, difference, permutation_type="samples", alternative="greater", vectorized=True, n_resamples=np.inf
    )
    rows = np.stack([micro(new), micro(old)])
    arrangements = np.array(list(product((0, 1), repeat=9)))
    swapped = [f1(rows[a, range(9)].sum(axis=0)) - f1(rows[1 - a, range(9)].sum(axis=0)) for a in arrangements]
    assert exact.pvalue == pytest.approx(np.mean(np.array(swapped) >= exact.statistic - 1e-12))

    answer = compare_counts(new, old, permutations=20_000, resamples=1, seed=seed)
    assert answer.micro.delta == pytest.approx(exact.statistic)
    assert answer.micro.p_value is not None
    assert within(answer.micro.p_value, exact.pvalue, 20_000)


@pytest.mark.parametrize("new_recall", [0.71, 0.74, 0.68])
def test_on_many_documents_the_p_value_is_that_of_scipys_sampling(new_recall: float):
    new, old = invented(300, 7, new_recall, 0.7)
    sample, difference = by_scipy(new, old)
    theirs = stats.permutation_test(
        sample,
        difference,
        permutation_type="samples",
        alternative="greater",
        vectorized=True,
        n_resamples=4_000,
        batch=500,
        rng=np.random.default_rng(3),
    )
    ours = randomisation_p_value(micro(new), micro(old), 4_000, np.random.default_rng(4))
    assert abs(ours - theirs.pvalue) <= 4 * np.sqrt(2 * theirs.pvalue * (1 - theirs.pvalue) / 4_000) + 1 / 4_001


def test_the_bootstrap_of_three_documents_is_that_of_their_27_draws():
    new, old = counts_of([((4, 4, 0, 1, 0),), ((2, 1, 1, 1, 0),), ((1, 0, 1, 1, 0),)])
    draws = np.array(list(product(range(3), repeat=3)))
    drawn = [f1(micro(side)[draws].sum(axis=1)) for side in (new, old)]
    answer = compare_counts(new, old, permutations=1, resamples=20_000, seed=1).micro
    assert answer.standard_error == pytest.approx(np.std(drawn[0] - drawn[1]), rel=0.03)


def test_the_interval_is_that_of_scipys_paired_percentile_bootstrap():
    new, old = invented(300, 11, 0.76, 0.7)
    sample, difference = by_scipy(new, old)
    theirs = stats.bootstrap(
        sample,
        difference,
        paired=True,
        method="percentile",
        vectorized=True,
        n_resamples=6_000,
        batch=500,
        rng=np.random.default_rng(5),
    )
    ours = compare_counts(new, old, permutations=1, resamples=6_000, seed=6).micro
    error = theirs.standard_error
    assert ours.standard_error == pytest.approx(error, rel=0.06)  # six sigmas of the root of 6,000 draws' variance
    # The standard error of a 2.5 % quantile of 6,000 normal draws is 0.035 of theirs; of a difference of two, 0.05.
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs.confidence_interval), abs=0.2 * error)
    assert ours.lower == pytest.approx(ours.delta - 1.645 * error, abs=0.2 * error)
    assert ours.upper == pytest.approx(ours.delta + 1.645 * error, abs=0.2 * error)


def test_the_intervals_of_a_type_are_those_of_its_own_column():
    new, old = invented(200, 13, 0.8, 0.7)
    both = compare_counts(new, old, permutations=1, resamples=4_000, seed=1)
    for kind, name in enumerate(TYPES):
        only = (
            Counts((name,), *(array[:, [kind]] for array in (side.true_positives, side.predicted, side.gold)))
            for side in (new, old)
        )
        alone = compare_counts(*only, permutations=1, resamples=4_000, seed=2).micro
        row = both.per_type[kind]
        assert (row.new_f1, row.old_f1, row.support) == (alone.new_f1, alone.old_f1, alone.support)
        assert (row.low, row.high) == pytest.approx((alone.low, alone.high), abs=0.25 * alone.standard_error)


# Properties


@given(corpora, seeds)
@settings(max_examples=60, deadline=None)
def test_swapping_the_systems_mirrors_every_figure(documents: list[Document], seed: int):
    new, old = counts_of(documents)
    forth, back = (compare_counts(*pair, **FEW, seed=seed) for pair in ((new, old), (old, new)))
    for one, other in zip(rows(forth), rows(back), strict=True):
        assert (one.new_f1, one.old_f1, one.better, one.worse) == (
            other.old_f1,
            other.new_f1,
            other.worse,
            other.better,
        )
        mirrored = (-other.high, -other.low, -other.upper, -other.lower, other.standard_error)
        assert (one.low, one.high, one.lower, one.upper, one.standard_error) == pytest.approx(mirrored, abs=1e-12)
    assert forth.micro.p_value is not None
    assert back.micro.p_value is not None
    # Each arrangement is at least as large for one of the two, the one observed for both.
    assert forth.micro.p_value + back.micro.p_value >= 1


@given(corpora, seeds)
@settings(max_examples=60, deadline=None)
def test_identical_systems_differ_by_nothing_and_have_p_1(documents: list[Document], seed: int):
    new, _ = counts_of(documents)
    for row in rows(compare_counts(new, new, **FEW, seed=seed)):
        assert (row.delta, row.low, row.high, row.lower, row.upper, row.standard_error) == (0, 0, 0, 0, 0, 0)
        assert (row.better, row.worse) == (0, 0)
        assert row.p_value == (1 if row.name == "micro" else None)


@given(corpora, seeds, st.integers(1, 50))
@settings(max_examples=60, deadline=None)
def test_a_p_value_is_never_0_and_at_most_1(documents: list[Document], seed: int, permutations: int):
    p_value = compare_counts(*counts_of(documents), permutations=permutations, resamples=1, seed=seed).micro.p_value
    assert p_value is not None
    assert 1 / (permutations + 1) <= p_value <= 1


@given(corpora, st.integers(1, 20), seeds)
@settings(max_examples=60, deadline=None)
def test_documents_without_entities_change_nothing_that_was_observed(documents: list[Document], empty: int, seed: int):
    nothing = ((0, 0, 0, 0, 0),) * len(TYPES)
    plain = compare_counts(*counts_of(documents), **FEW, seed=seed)
    padded = compare_counts(*counts_of([nothing, *documents, *[nothing] * empty]), **FEW, seed=seed)
    assert padded.micro.documents == len(documents) + empty + 1
    assert padded.micro.p_value == plain.micro.p_value
    assert [observed(row) for row in rows(padded)] == [observed(row) for row in rows(plain)]


def test_documents_without_entities_leave_the_interval_as_it_is():
    new, old = invented(200, 17, 0.8, 0.7)
    padded = (
        Counts(TYPES, *(np.pad(array, ((0, 800), (0, 0))) for array in (c.true_positives, c.predicted, c.gold)))
        for c in (new, old)
    )
    one, other = (compare_counts(*pair, permutations=1, resamples=4_000, seed=1).micro for pair in ((new, old), padded))
    assert (other.low, other.high) == pytest.approx((one.low, one.high), abs=0.25 * one.standard_error)


@given(corpora.flatmap(lambda drawn: st.tuples(st.just(drawn), st.permutations(drawn))), seeds)
@settings(max_examples=60, deadline=None)
def test_the_order_of_the_documents_does_not_matter(drawn: tuple[list[Document], list[Document]], seed: int):
    one, other = (compare_counts(*counts_of(documents), **FEW, seed=seed) for documents in drawn)
    assert [observed(row) for row in rows(one)] == [observed(row) for row in rows(other)]


def rows(answer: Comparison) -> list[Difference]:
    return [answer.micro, *answer.per_type]


def observed(row: Difference) -> tuple[object, ...]:
    return (row.name, row.new_f1, row.old_f1, row.support, row.better, row.worse)


# Validity, and what the figures are used for


def test_under_the_null_p_is_at_most_alpha_no_more_often_than_alpha():
    rng = np.random.default_rng(20)
    times, found = 1_000, []
    for _ in range(times):
        pair = np.stack([micro(side) for side in invented(30, int(rng.integers(2**32)), 0.8, 0.6)])
        coins = rng.integers(2, size=30)  # exchangeable by construction: which is which is a coin for each document
        new, old = pair[coins, range(30)], pair[1 - coins, range(30)]
        found.append(randomisation_p_value(new, old, 199, rng))
    for alpha in (0.01, 0.05, 0.1, 0.5):
        times_found = int(np.sum(np.array(found) <= alpha))
        assert times_found <= stats.binom.ppf(0.999, times, alpha)
        assert times_found >= stats.binom.ppf(0.001, times, 0.8 * alpha)  # nor much less often: ties are few


def test_the_detectable_difference_is_found_with_the_power_it_names():
    error = 0.0125
    detectable = detectable_difference(error, alpha=0.05, power=0.8)
    assert detectable == pytest.approx((1.6449 + 0.8416) * error, rel=1e-4)
    # A normal estimate around it passes the test's threshold as often as that.
    assert stats.norm.sf(1.6449 * error, loc=detectable, scale=error) == pytest.approx(0.8, abs=1e-3)


def test_half_the_difference_takes_four_times_the_documents():
    assert documents_needed(500, detectable=0.04, wanted=0.02) == 2_000
    assert documents_needed(500, detectable=0.01, wanted=0.02) == 500


def test_systems_that_were_not_judged_alike_are_not_compared():
    new, old = invented(5, 1, 0.8, 0.7)
    other_gold = Counts(TYPES, old.true_positives, old.predicted, old.gold + 1)
    for other in (other_gold, Counts(("A", "B"), old.true_positives, old.predicted, old.gold)):
        with pytest.raises(ValueError, match="same documents"):
            compare_counts(new, other, seed=1)


def test_the_same_seed_gives_the_same_answer():
    pair = invented(50, 3, 0.8, 0.7)
    once, again, other = (compare_counts(*pair, **FEW, seed=seed) for seed in (1, 1, 2))
    assert once == again
    assert [field.name for field in fields(once) if getattr(once, field.name) != getattr(other, field.name)]
