"""Span finders from patterns and from context."""

from __future__ import annotations

import re

import pytest

from ner.errors import InputError
from ner.spans import Span
from weak_labeling.heuristics import near_keyword, regex


def found(finder: object, text: str) -> list[str]:
    return [text[span.start : span.end] for span in finder(text)]  # type: ignore[operator]


def test_a_pattern_votes_for_every_match_with_its_label() -> None:
    assert list(regex(r"\d+\.\d+", "VERSION")("2.0 and 3.1")) == [Span(0, 3, "VERSION"), Span(8, 11, "VERSION")]


def test_offsets_are_code_points() -> None:
    assert list(regex("b", "A")("🙈b")) == [Span(1, 2, "A")]


def test_a_group_is_voted_for_alone_and_abstains_where_it_did_not_take_part() -> None:
    finder = regex(r"version (\d+)|release", "VERSION", group=1)
    assert found(finder, "version 7, release") == ["7"]
    assert found(regex(r"v(?P<number>\d)", "VERSION", group="number"), "v7") == ["7"]


def test_an_empty_match_abstains() -> None:
    assert found(regex(r"x*", "A"), "axa") == ["x"]


def test_flags_are_those_of_re() -> None:
    assert found(regex("ora", "ERROR", flags=re.IGNORECASE), "ORA ora") == ["ORA", "ora"]


def test_a_pattern_that_is_no_regular_expression_is_refused_with_itself() -> None:
    with pytest.raises(InputError, match=re.escape("(unclosed")):
        regex("(unclosed", "A")


@pytest.mark.parametrize("group", [2, -1, "name"])
def test_a_group_that_is_not_in_the_pattern_is_refused(group: int | str) -> None:
    with pytest.raises(InputError, match="which has 1"):
        regex("(a)", "A", group=group)


NUMBERS = regex(r"\d+", "VERSION")


def test_a_keyword_among_the_words_before_keeps_the_span_and_one_further_away_does_not() -> None:
    finder = near_keyword(NUMBERS, ["build"], before=2)
    assert found(finder, "build no 7") == ["7"]
    assert found(finder, "build with no 7") == []
    assert found(finder, "build 7 and some more words") == ["7"]


def test_a_keyword_after_counts_only_if_asked_for() -> None:
    assert found(near_keyword(NUMBERS, ["build"]), "7 build") == []
    assert found(near_keyword(NUMBERS, ["build"], before=0, after=1), "7 build") == ["7"]
    assert found(near_keyword(NUMBERS, ["build"], before=0, after=1), "build 7 it") == []


def test_case_and_punctuation_do_not_hide_a_keyword() -> None:
    assert found(near_keyword(NUMBERS, ["Build"], before=1), "BUILD: (7)") == ["7"]


def test_a_keyword_inside_the_span_or_inside_a_longer_word_is_none() -> None:
    assert found(near_keyword(regex(r"build \d", "VERSION"), ["build"]), "build 7") == []
    assert found(near_keyword(NUMBERS, ["build"]), "rebuild 7") == []


def test_a_keyword_that_touches_the_span_is_close_by() -> None:
    assert found(near_keyword(regex(r"#\d", "VERSION"), ["build"], before=1), "build#7") == ["#7"]
    assert found(near_keyword(regex(r"\d#", "VERSION"), ["build"], before=0, after=1), "7#build") == ["7#"]


def test_a_finder_that_abstains_with_none_stays_silent() -> None:
    assert list(near_keyword(lambda text: None, ["build"])("build 7")) == []


def test_a_keyword_of_two_words_is_refused() -> None:
    with pytest.raises(InputError, match="stop code"):
        near_keyword(NUMBERS, ["stop code"])
