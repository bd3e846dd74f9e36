from __future__ import annotations

import numpy as np
import pytest

from ner.errors import InputError
from ner.labels import LabelSet

LABELS = LabelSet(("OS", "ERROR"))


def test_tags_follow_the_order_of_types() -> None:
    assert LABELS.tags == ("O", "B-OS", "I-OS", "B-ERROR", "I-ERROR")
    assert LABELS.tag_ids["I-ERROR"] == 4
    assert (LABELS.index("ERROR"), LABELS.begin("ERROR"), LABELS.inside("ERROR")) == (1, 3, 4)


def test_inside_tags_follow_only_their_own_type() -> None:
    allowed = LABELS.allowed_transitions()
    for row, before in enumerate(LABELS.tags):
        for column, after in enumerate(LABELS.tags):
            expected = after[0] != "I" or before[1:] == after[1:]
            assert allowed[row, column] == expected, (before, after)


def test_no_sequence_starts_inside() -> None:
    assert LABELS.allowed_start().tolist() == [True, True, False, True, False]


def test_the_constraints_cannot_be_written_to() -> None:
    with pytest.raises(ValueError, match="read-only"):
        LABELS.allowed_transitions()[0, 0] = np.False_


@pytest.mark.parametrize("types", [(), ("",), (" OS",), ("OS\t",), ("O",), ("OS", "OS"), (1,)])
def test_types_that_break_a_rule_are_refused(types: tuple[str, ...]) -> None:
    with pytest.raises(InputError):
        LabelSet(types)


def test_a_type_may_hold_spaces_and_hyphens_inside() -> None:
    assert LabelSet(("Operating System", "x-y")).tags[-1] == "I-x-y"


def test_an_unknown_type_is_refused_by_name() -> None:
    with pytest.raises(InputError, match="VERSION"):
        LABELS.index("VERSION")


def test_types_given_as_a_list_become_a_tuple() -> None:
    assert LabelSet(["OS"]) == LabelSet(("OS",))  # type: ignore[arg-type]
