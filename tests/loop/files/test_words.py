"""Tokens come from the text alone, and tokens are found again in their text."""

from __future__ import annotations

import pytest
import regex
from hypothesis import given

from loop.files.words import cut_words, place_tokens, tokens_of
from ner.errors import InputError
from ner.spans import Span
from tests.loop.files.texts import labelled, texts


def words(text: str) -> list[str]:
    return [text[start:end] for start, end in tokens_of(text)]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("In Excel, Word's 3.14", ["In", "Excel", ",", "Word", "'", "s", "3", ".", "14"]),
        ("foo_bar 10GB!?", ["foo", "_", "bar", "10GB", "!", "?"]),
        ("東京でラーメン", ["東", "京", "で", "ラ", "ー", "メ", "ン"]),
        ("Excel東京", ["Excel", "東", "京"]),
        ("서울에서", ["서", "울", "에", "서"]),
        ("ไทยกำ", ["ไ", "ท", "ย", "กำ"]),
        ("e\u0301te\u0301 क्षि", ["e\u0301te\u0301", "क्षि"]),
        ("👩‍👩‍👧🇦🇹👍🏽", ["👩‍👩‍👧", "🇦🇹", "👍🏽"]),
        ("مرحبا، گل\u200cها", ["مرحبا", "،", "گل\u200cها"]),
        ("Donau\u00addampf a\u200bb", ["Donau\u00addampf", "a", "\u200b", "b"]),
        ("a\u00a0b\u2028c\r\nd", ["a", "b", "c", "d"]),
    ],
)
def test_a_token_is_a_word_a_punctuation_mark_or_a_character_of_a_script_without_spaces(text: str, tokens: list[str]):
    assert words(text) == tokens


@given(texts())
def test_all_but_white_space_is_in_a_token_and_no_white_space_is(text: str):
    tokens = tokens_of(text)
    inside = {place for start, end in tokens for place in range(start, end)}
    assert inside == {place for place, character in enumerate(text) if not character.isspace()}
    assert tokens == sorted(tokens)
    assert sum(end - start for start, end in tokens) == len(inside)


@given(texts())
def test_no_token_ends_inside_a_character_as_people_see_it(text: str):
    clusters = [match.span() for match in regex.finditer(r"\X", text)]
    inner = {place for start, end in clusters for place in range(start + 1, end)}
    beside_space = {place for place in inner if text[place - 1].isspace() or text[place].isspace()}
    assert not {border for token in tokens_of(text) for border in token} & (inner - beside_space)


@given(texts())
def test_the_tokens_of_a_text_are_placed_where_they_were(text: str):
    assert place_tokens(text, words(text)) == tokens_of(text)


def test_tokens_that_another_tool_made_are_placed_too():
    assert place_tokens(" New York\r\n!", ["New York", "!"]) == [(1, 9), (11, 12)]


@pytest.mark.parametrize(
    ("text", "tokens", "rule"),
    [
        ("a c", ["a", "b"], "'c' in the place of 'b'"),
        ("a b c", ["a", "b"], "'c' behind the last token"),
        ("a", ["a", "b"], "'' in the place of 'b'"),
        ("a", ["a", ""], "in the place of ''"),
    ],
)
def test_tokens_that_are_not_those_of_the_text_are_refused(text: str, tokens: list[str], rule: str):
    with pytest.raises(InputError, match="nothing but white space between") as caught:
        place_tokens(text, tokens)
    assert rule in str(caught.value)


def test_a_text_of_a_million_letters_is_one_token():
    assert tokens_of("a" * 1_000_000 + "é" * 1_000_000) == [(0, 2_000_000)]


@given(labelled())
def test_the_spans_that_cut_words_are_those_with_an_end_inside_a_token(case: tuple[str, tuple[Span, ...]]):
    text, spans = case
    starts, ends = zip(*tokens_of(text), strict=True)
    assert cut_words(text, spans) == [one for one in spans if one.start not in starts or one.end not in ends]
