"""Whether a type got worse: shown not to be, shown to be, or not to be told with the gold there is."""

from __future__ import annotations

import math

import numpy as np
import pytest

from loop.evaluation.scores import Counts
from loop.evaluation.significance import Difference, compare_counts
from loop.promotion.gates import entities_needed, judge_type, least_documents, type_gate

DELTA = 0.03


def difference(gold: int, new: int, old: int, shift: int = 0) -> Difference:
    """Of a type with one entity a document: the new system finds the first ones, the old one those from `shift` on."""
    found = (range(new), range(shift, shift + old))
    sides = [np.array([[int(n in side)] for n in range(gold)]) for side in found]
    counts = [Counts(("OS",), side, side, np.ones((gold, 1), dtype=np.int64)) for side in sides]
    return compare_counts(counts[0], counts[1], seed=1, permutations=1000, resamples=2000).per_type[0]


def test_a_type_on_which_nothing_changed_passes_once_the_rule_of_three_says_so() -> None:
    # log(0.05) / log(0.97) = 98.4
    assert least_documents(DELTA, 0.95) == 99
    assert judge_type(difference(99, 90, 90), DELTA).status == "pass"
    few = judge_type(difference(98, 90, 90), DELTA)
    assert (few.status, few.needed) == ("insufficient", 99)
    told = "the bound is met, but on too little gold to trust: 98 documents have such entities, 99 are needed"
    assert few.note == told


def test_a_hundred_entities_of_one_document_say_as_much_as_one(
    entities: int = 120,
) -> None:
    side = np.zeros((400, 1), dtype=np.int64)
    side[0] = entities
    counts = Counts(("OS",), side, side, side)
    row = compare_counts(counts, counts, seed=1, permutations=1000, resamples=2000).per_type[0]
    assert (row.support, row.bearing) == (120, 1)
    assert judge_type(row, DELTA).status == "insufficient"


def test_a_type_that_is_shown_to_be_worse_fails_however_little_gold_there_is() -> None:
    assert judge_type(difference(20, 4, 18), DELTA).status == "fail"
    slightly = difference(90, 74, 78)  # every change is a loss, of which some resamples make more than three points
    assert slightly.lower < -DELTA < slightly.upper < 0
    verdict = judge_type(slightly, DELTA)
    assert (verdict.status, verdict.needed > slightly.support) == ("fail", True)


def test_a_type_that_lost_with_enough_gold_fails() -> None:
    lost = difference(20_000, 16_000, 18_000)
    assert lost.support >= entities_needed(lost, DELTA)
    assert judge_type(lost, DELTA).status == "fail"


def test_a_type_that_lost_less_than_the_margin_passes_with_much_gold() -> None:
    assert judge_type(difference(20_000, 17_900, 18_000), DELTA).status == "pass"


def test_what_cannot_be_told_names_the_number_that_would_tell() -> None:
    row = difference(200, 150, 150, shift=20)
    verdict = judge_type(row, DELTA)
    assert verdict.status == "insufficient"
    assert row.lower < -DELTA
    assert verdict.note == f"about {verdict.needed:,} gold entities would tell"
    # z(0.95) + z(0.8) = 1.645 + 0.842 standard errors have to fit into the margin.
    assert verdict.needed == math.ceil(200 * (2.48647 * row.standard_error / DELTA) ** 2)


@pytest.mark.parametrize("support", [30, 99, 1000])
def test_the_gate_says_what_was_held_against_what(support: int) -> None:
    gate = type_gate(difference(support, support, support), DELTA)
    assert gate.target == "lower bound (95%) above -3"
    assert gate.value == f"+0.0, lower bound +0.0, {support:,} entities"
    assert gate.blocks is False
