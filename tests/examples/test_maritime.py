"""The maritime example: what its README promises beyond what holds for every example."""

from __future__ import annotations

import re
import tomllib
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ner.spans import Span
from scripts.build_example import EXAMPLES
from tests.examples.test_examples import gold_of, labels_of
from weak_labeling.functions import LabelingFunction, load_functions

EXAMPLE = EXAMPLES / "maritime"


@cache
def functions() -> dict[str, LabelingFunction]:
    """The example's functions by name."""
    return {one.name: one for one in load_functions(EXAMPLE / "labeling_functions.py")}


def imo_numbers(text: str) -> list[Span]:
    """What the function says of the text."""
    return list(functions()["imo_numbers"](text) or ())


def check_digit(six: str) -> int:
    """Of an IMO number that begins with these six digits."""
    return sum(int(digit) * weight for digit, weight in zip(six, (7, 6, 5, 4, 3, 2), strict=True)) % 10


@given(st.from_regex(r"[0-9]{6}", fullmatch=True))
def test_of_ten_numbers_with_the_same_six_digits_one_is_an_imo_number(six: str) -> None:
    found = [last for last in range(10) if imo_numbers(f"IMO {six}{last}, at anchor")]
    assert found == [check_digit(six)]


@pytest.mark.parametrize(
    "text", ["IMO 12074729", "invoice 907472", "TGHU9074729", "9074729-1", "1,9074729", "9074729.5"]
)
def test_digits_of_a_longer_number_or_word_are_no_imo_number(text: str) -> None:
    assert imo_numbers("IMO 9074729.") == [Span(4, 11, "IMO")]
    assert imo_numbers(text) == []


def test_every_imo_number_of_the_gold_passes_the_check_and_no_other_number_of_seven_digits_does() -> None:
    for name, text, spans in gold_of(EXAMPLE):
        numbers = {(match.start(), match.end()) for match in re.finditer(r"(?<!\d)\d{7}(?!\d)", text)}
        right = {(a, b) for a, b in numbers if check_digit(text[a : b - 1]) == int(text[b - 1])}
        assert {(span.start, span.end) for span in spans if span.label == "IMO"} == right, name
        assert all(text[a] in "23" for a, _ in right), name


def test_every_type_has_as_many_spans_as_are_recommended() -> None:
    wanted = tomllib.loads((EXAMPLE / "settings.toml").read_text("utf-8"))["status"]["types"]
    assert tuple(wanted) == labels_of(EXAMPLE)
    for label, counts in wanted.items():
        spans = sum(span.label == label for _, _, spans in gold_of(EXAMPLE) for span in spans)
        assert spans >= counts["recommended"] > counts["minimum"], label


def test_between_15_and_25_percent_of_the_texts_have_no_entity() -> None:
    gold = gold_of(EXAMPLE)
    assert 0.15 <= sum(not spans for _, _, spans in gold) / len(gold) <= 0.25


def test_a_name_has_one_type_wherever_it_stands_except_for_ports_that_are_states() -> None:
    labels: dict[str, set[str]] = {}
    for _, text, spans in gold_of(EXAMPLE):
        for span in spans:
            labels.setdefault(text[span.start : span.end].casefold(), set()).add(span.label)
    assert {name for name, found in labels.items() if len(found) > 1} == {"gibraltar", "singapore"}
