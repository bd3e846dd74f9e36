from __future__ import annotations

import math

import numpy as np
import pytest

from ner.alignment import as_offsets
from ner.decoding import HIGHEST_COST, KINDS, check_costs, is_break, joint_costs, joint_kinds, learned_costs

TEXT = "on Windows10, yes"
OFFSETS = as_offsets([(0, 2), (3, 10), (10, 12), (12, 13), (14, 17)])
OUT, BEGIN, INSIDE = 0, 1, 2


def named(kinds: np.ndarray) -> list[str]:
    return [KINDS[kind] for kind in kinds]


def test_a_joint_is_a_gap_punctuation_or_the_inside_of_a_word() -> None:
    assert named(joint_kinds(TEXT, OFFSETS)) == ["gap", "gap", "word", "punctuation", "gap"]


def test_characters_without_a_token_make_a_gap() -> None:
    assert named(joint_kinds("a\u200bb", as_offsets([(0, 1), (2, 3)]))) == ["gap", "gap"]


def test_the_bytes_of_one_character_touch() -> None:
    assert named(joint_kinds("🙂", as_offsets([(0, 1), (0, 1)]))) == ["gap", "punctuation"]


def test_a_text_without_tokens_has_no_joints() -> None:
    assert joint_kinds("", as_offsets([])).tolist() == []
    assert is_break(np.array([], dtype=np.int64)).tolist() == []


def test_an_entity_breaks_where_it_begins_and_where_it_has_ended_but_not_at_the_start_of_the_text() -> None:
    assert is_break(np.array([BEGIN, INSIDE, BEGIN, OUT, OUT, BEGIN])).tolist() == [
        False,
        False,
        True,
        True,
        False,
        True,
    ]


def test_costs_are_the_smoothed_log_odds_of_staying_against_breaking() -> None:
    kinds = joint_kinds(TEXT, OFFSETS)
    costs = learned_costs([(kinds, np.array([OUT, BEGIN, INSIDE, OUT, OUT]))] * 3)
    assert costs["word"] == pytest.approx(math.log((3 + 1) / (0 + 1)))
    assert costs["punctuation"] == 0  # three breaks, no stay
    assert costs["gap"] == 0


def test_no_gold_makes_every_break_free() -> None:
    assert learned_costs([]) == dict.fromkeys(KINDS, 0.0)
    assert joint_costs(TEXT, OFFSETS, learned_costs([])) is None


def test_a_cost_never_becomes_a_ban() -> None:
    kinds = joint_kinds("ab", as_offsets([(0, 1), (1, 2)]))
    assert learned_costs([(kinds, np.array([BEGIN, INSIDE]))] * 100_000)["word"] == HIGHEST_COST


def test_each_joint_costs_what_its_kind_does() -> None:
    costs = joint_costs(TEXT, OFFSETS, {"word": 3.0, "punctuation": 0.5})
    assert costs is not None
    assert costs.tolist() == [0, 0, 3.0, 0.5, 0]


@pytest.mark.parametrize("costs", [{"comma": 1.0}, {"word": -1.0}, {"word": math.inf}, {"word": "1"}, {"word": True}])
def test_costs_are_numbers_from_zero_on_for_known_joints(costs: dict[str, object]) -> None:
    assert not check_costs(costs)
