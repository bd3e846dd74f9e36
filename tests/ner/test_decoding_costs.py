from __future__ import annotations

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ner.alignment import as_offsets
from ner.decoding import HIGHEST_COSTS, KINDS, check_costs, is_break, joint_costs, joint_kinds, learned_costs, viterbi
from ner.labels import LabelSet

TEXT = "on Windows10, yes"
OFFSETS = as_offsets([(0, 2), (3, 10), (10, 12), (12, 13), (14, 17)])
OUT, BEGIN, INSIDE = 0, 1, 2


def named(kinds: np.ndarray) -> list[str]:
    return [KINDS[kind] for kind in kinds]


def test_a_joint_is_a_gap_punctuation_or_the_inside_of_a_word() -> None:
    assert named(joint_kinds(TEXT, OFFSETS)) == ["gap", "gap", "word", "punctuation", "gap"]


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("node.js", ["gap", *["word"] * 3, "inside", "inside", "word"]),
        ("(a.)", ["gap", *["punctuation"] * 3]),
        ("a, b", ["gap", "punctuation", "gap", "gap"]),
        ("a(), b", ["gap", *["punctuation"] * 3, "gap", "gap"]),
        ("我用Go.x。", ["gap", *["punctuation"] * 2, "word", "inside", "inside", "punctuation"]),
        ("C,用x", ["gap", *["punctuation"] * 3]),
        ("Go에 a", ["gap", "word", "punctuation", "gap", "gap"]),
        ("กa-b", ["gap", "punctuation", "inside", "inside"]),
        ("-x--y- .", ["gap", "punctuation", "inside", "inside", "inside", "punctuation", "gap", "gap"]),
    ],
)
def test_punctuation_is_inside_a_word_where_letters_or_digits_stand_on_both_sides(text: str, kinds: list[str]) -> None:
    characters = as_offsets([(at, at + 1) for at in range(len(text))])
    expected = [kind for kind, character in zip(kinds, text, strict=True) if character != " "]
    assert named(joint_kinds(text, characters[[character != " " for character in text]])) == expected


@given(st.text("ab1 .(,\u200b用。", max_size=40))
def test_kinds_of_joints_follow_from_the_runs_of_tokens_alone(text: str) -> None:
    places = [at for at, character in enumerate(text) if character not in " \u200b"]
    found = named(joint_kinds(text, as_offsets([(at, at + 1) for at in places])))
    for kind, at in zip(found, places, strict=True):
        left = re.split("[ \u200b]", text[:at])[-1]
        right = re.split("[ \u200b]", text[at:])[0]
        if left and (left[-1] in "用。" or right[0] in "用。"):
            assert kind == "punctuation"
            continue
        left, right = re.split("[用。]", left)[-1], re.split("[用。]", right)[0]
        both = any(map(str.isalnum, left)) and any(map(str.isalnum, right))
        within = left[-1:].isalnum() and right[0].isalnum()
        assert kind == ("gap" if not left else "word" if within else "inside" if both else "punctuation")


def test_characters_without_a_token_make_a_gap() -> None:
    assert named(joint_kinds("a\u200bb", as_offsets([(0, 1), (2, 3)]))) == ["gap", "gap"]


def test_the_bytes_of_one_character_touch() -> None:
    assert named(joint_kinds("🙂", as_offsets([(0, 1), (0, 1)]))) == ["gap", "punctuation"]


def test_the_bytes_of_one_letter_are_within_a_word() -> None:
    assert named(joint_kinds("用用", as_offsets([(0, 1), (0, 1), (1, 2)]))) == ["gap", "word", "punctuation"]


def test_spaced_words_make_no_break_dear_where_a_script_writes_no_blanks() -> None:
    kinds = joint_kinds("ab.c", as_offsets([(at, at + 1) for at in range(4)]))
    costs = learned_costs([(kinds, np.array([BEGIN, INSIDE, INSIDE, INSIDE]))] * 10_000)
    text, offsets = "我用Go，好", as_offsets([(0, 1), (1, 2), (2, 4), (4, 5), (5, 6)])
    probs = np.full((5, 3), 0.005)
    probs[np.arange(5), [OUT, OUT, BEGIN, OUT, OUT]] = 0.99
    path = viterbi(np.log(probs), LabelSet(("A",)), joint_costs(text, offsets, costs))
    assert path.tolist() == [OUT, OUT, BEGIN, OUT, OUT]


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
    assert costs["word"] == pytest.approx(2 * math.log((3 + 1) / (0 + 1)))
    assert costs["punctuation"] == costs["inside"] == 0  # three breaks, no stay; never seen
    kinds = joint_kinds("a.b", as_offsets([(0, 1), (1, 2), (2, 3)]))
    assert learned_costs([(kinds, np.array([BEGIN, INSIDE, INSIDE]))])["inside"] == pytest.approx(2 * math.log(3))
    kinds = joint_kinds("a.", as_offsets([(0, 1), (1, 2)]))
    assert learned_costs([(kinds, np.array([BEGIN, INSIDE]))])["punctuation"] == pytest.approx(math.log(2))
    assert costs["gap"] == 0


def test_no_gold_makes_every_break_free() -> None:
    assert learned_costs([]) == dict.fromkeys(KINDS, 0.0)
    assert joint_costs(TEXT, OFFSETS, learned_costs([])) is None


def test_a_cost_never_becomes_a_ban() -> None:
    kinds = joint_kinds("ab.c.", as_offsets([(at, at + 1) for at in range(5)]))
    costs = learned_costs([(kinds, np.array([BEGIN, *[INSIDE] * 4]))] * 100_000)
    assert costs == dict(zip(KINDS, [0.0, *HIGHEST_COSTS[1:].tolist()], strict=True))
    assert HIGHEST_COSTS.max() < 20  # a network may be as sure as that


def test_each_joint_costs_what_its_kind_does() -> None:
    costs = joint_costs(TEXT, OFFSETS, {"word": 3.0, "punctuation": 0.5})
    assert costs is not None
    assert costs.tolist() == [0, 0, 3.0, 0.5, 0]


def test_bundles_that_know_no_inside_of_words_mean_punctuation() -> None:
    offsets = as_offsets([(0, 1), (1, 2), (2, 3)])
    old, new = ({"word": 3.0, "punctuation": 0.5}, {"word": 3.0, "punctuation": 0.5, "inside": 2.0})
    found = [joint_costs("a.b", offsets, costs) for costs in (old, new)]
    assert [costs.tolist() for costs in found if costs is not None] == [[0, 0.5, 0.5], [0, 2.0, 2.0]]


@pytest.mark.parametrize("costs", [{"comma": 1.0}, {"word": -1.0}, {"word": math.inf}, {"word": "1"}, {"word": True}])
def test_costs_are_numbers_from_zero_on_for_known_joints(costs: dict[str, object]) -> None:
    assert not check_costs(costs)
