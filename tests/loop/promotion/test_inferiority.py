"""Whether a type got worse: shown not to be, shown to be, or not to be told with the gold there is."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from loop.evaluation.scores import Counts, score
from loop.evaluation.significance import Comparison, Difference, compare_counts
from loop.promotion.attempt import Gate
from loop.promotion.gates import entities_needed, least_documents, reason_of, significance_gate, type_gates
from ner.labels import LabelSet

DELTA = 0.03


def difference(gold: int, new: int, old: int, shift: int = 0) -> Difference:
    """Of a type with one entity a document: the new system finds the first ones, the old one those from `shift` on."""
    found = (range(new), range(shift, shift + old))
    sides = [np.array([[int(n in side)] for n in range(gold)]) for side in found]
    counts = [Counts(("OS",), side, side, np.ones((gold, 1), dtype=np.int64)) for side in sides]
    return compare_counts(counts[0], counts[1], seed=1, permutations=1000, resamples=2000).per_type[0]


def gate_of(row: Difference) -> Gate:
    [gate] = type_gates([row], DELTA)
    return gate


def test_a_type_on_which_nothing_changed_passes_once_the_rule_of_three_says_so() -> None:
    # log(0.05) / log(0.97) = 98.4
    assert least_documents(DELTA, 0.95) == 99
    assert gate_of(difference(99, 90, 90)).status == "pass"
    few = gate_of(difference(98, 90, 90))
    told = "the bound is met, but on too little gold to trust: 98 documents have such entities, 99 are needed"
    assert (few.status, few.note) == ("insufficient", told)


def test_a_hundred_entities_of_one_document_say_as_much_as_one() -> None:
    side = np.zeros((400, 1), dtype=np.int64)
    side[0] = 120
    counts = Counts(("OS",), side, side, side)
    row = compare_counts(counts, counts, seed=1, permutations=1000, resamples=2000).per_type[0]
    assert (row.support, row.bearing) == (120, 1)
    assert gate_of(row).status == "insufficient"


def test_a_type_that_is_shown_to_be_worse_fails_however_little_gold_there_is() -> None:
    assert gate_of(difference(20, 4, 18)).status == "fail"
    # Every document that changed is lost: 1/2^5 is below 5 %, and 1/2^4 is not.
    assert gate_of(difference(90, 73, 78)).status == "fail"
    assert gate_of(difference(90, 74, 78)).status == "insufficient"


def test_a_type_that_lost_with_much_gold_fails() -> None:
    assert gate_of(difference(20_000, 16_000, 18_000)).status == "fail"


def test_a_type_that_lost_less_than_the_margin_passes_with_much_gold() -> None:
    assert gate_of(difference(20_000, 17_900, 18_000)).status == "pass"


def test_what_cannot_be_told_names_the_number_that_would_tell() -> None:
    row = difference(200, 150, 150, shift=20)
    gate = gate_of(row)
    needed = entities_needed(row, DELTA, types=1)
    assert (gate.status, gate.note) == ("insufficient", f"about {needed:,} gold entities would tell")
    assert row.lower < -DELTA
    # Twice z(0.95) = 1.64485 standard errors have to fit into the margin.
    assert needed == math.ceil(200 * (2 * 1.6448536 * row.standard_error / DELTA) ** 2)
    # Of five types each is tested at 1 %: z(0.99) = 2.32635.
    assert entities_needed(row, DELTA, types=5) == math.ceil(200 * (3.9712016 * row.standard_error / DELTA) ** 2)


@pytest.mark.parametrize("support", [30, 99, 1000])
def test_the_gate_says_what_was_held_against_what(support: int) -> None:
    gate = gate_of(difference(support, support, support))
    assert gate.target == "lower bound (95%) above −3.0 points"
    assert gate.value == f"0.0, lower bound 0.0, {support:,} entities"
    assert (gate.entity_type, gate.blocks) == ("OS", False)


def many_types(documents: int, types: int, rng: np.random.Generator, worse: int = 0) -> tuple[Gate, ...]:
    """Each document has an entity of each type. Both systems find one in four cases of five; `worse` types never."""
    gold = np.ones((documents, types), dtype=np.int64)
    new, old = (rng.binomial(1, 0.8, gold.shape) for _ in range(2))
    new[:, :worse] = 0
    names = tuple(f"T{number}" for number in range(types))
    sides = [Counts(names, side, side, gold) for side in (new, old)]
    rows = compare_counts(*sides, seed=int(rng.integers(2**32)), permutations=1000, resamples=100).per_type
    return tuple(type_gates(rows, DELTA))


def test_of_candidates_that_are_equal_on_twenty_types_at_most_one_in_twenty_is_blocked() -> None:
    rng = np.random.default_rng(1)
    candidates = 100
    blocked = sum(any(gate.blocks for gate in many_types(40, 20, rng)) for _ in range(candidates))
    # With a true chance of 5 %, more than 12 of 100 are blocked in 1 of 700 cases. Each type alone at 5 % blocks 45.
    assert blocked <= 12


def test_a_type_that_is_wholly_lost_is_found_among_nineteen_that_are_not() -> None:
    rng = np.random.default_rng(2)
    gates = many_types(20, 20, rng, worse=1)
    assert [gate.entity_type for gate in gates if gate.blocks] == ["T0"]


def test_a_decision_names_the_types_that_it_could_not_judge_and_writes_a_tiny_p_as_an_inequality() -> None:
    micro, few = replace(difference(98, 90, 80), p_value=1e-6), difference(98, 90, 90)
    gates = (significance_gate(micro, 0.05, "v1"), *type_gates([few], DELTA))
    reason = reason_of(gates, Comparison(micro, (few,), 1000, 2000, 1), score([[]], [[]], LabelSet(["OS"])), "v1")
    assert gates[0].value.endswith("p < 0.0001")
    assert "p < 0.0001)" in reason
    assert reason.endswith("too little gold to judge OS.")
