"""Suspicions: signs of slipped offsets and of another encoding, and names and texts that are no such signs."""

from __future__ import annotations

import pytest
from hypothesis import given

from loop.files.suspicions import (
    CUT_WORDS,
    LOST_CHARACTERS,
    MARK_AT_END,
    MARKS_ALONE,
    MISDECODED,
    NUMBER_ALONE,
    ONE_WORD,
    TAGS_IN_TEXT,
    suspicions,
)
from ner.spans import Span
from tests.loop.files.texts import labelled

GERMAN = "Für Jörg läuft es größer"


def found(text: str, *spans: tuple[int, int]) -> dict[str, str]:
    return dict(suspicions(text, [Span(start, end, "X") for start, end in spans]))


def test_a_span_that_cuts_a_word_is_shown_in_its_place():
    assert found("my Excel hangs", (4, 8)) == {CUT_WORDS: "'xcel' in 'my Excel hangs'"}


@pytest.mark.parametrize(("span", "what"), [((5, 6), MARKS_ALONE), ((5, 10), MARK_AT_END), ((0, 6), MARK_AT_END)])
def test_a_span_that_slipped_onto_a_mark_is_shown(span: tuple[int, int], what: str):
    assert what in found("Excel, Word", (span[0], span[1]))


@pytest.mark.parametrize("name", ["Delphi & Co.", "(ABC) Ltd", "C++", "🚒", "«Nova»", "Yahoo!", "-x-", "东京"])
def test_names_with_marks_of_their_own_are_no_suspicion(name: str):
    assert found(f"at {name}", (3, 3 + len(name))) == {}


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
@pytest.mark.parametrize("text", [GERMAN, "Łódź and Анна", "naïve 🚒"])
def test_utf8_that_was_read_in_another_encoding_is_shown_even_where_tokens_were_joined(text: str, encoding: str):
    wrong = text.encode().decode(encoding, "replace")
    assert MISDECODED in found(wrong)
    assert MISDECODED in found(f"{' '.join(wrong.split())} → plain")


@pytest.mark.parametrize("text", [GERMAN, "«CAFÉ»", "Ünïcödé", "São Paulo – “x”", "Âge", "東京", "Ão", "€5 for Åsa"])
def test_texts_of_high_characters_are_no_suspicion(text: str):
    assert found(text) == {}


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "ascii"])
@pytest.mark.parametrize("text", ["Żaneta Kos", "Łódź", "Анна Берг"])
def test_characters_that_an_encoding_could_not_hold_are_shown(text: str, encoding: str):
    assert LOST_CHARACTERS in found(text.encode(encoding, "replace").decode(encoding))
    assert LOST_CHARACTERS in found(text.encode().decode("ascii", "replace"))


@pytest.mark.parametrize("text", ["Really?", "What??? Why?!", "a.example/x?y=z&u=?v", "Is it? yes", "ok ?", "??"])
def test_questions_and_addresses_are_no_suspicion(text: str):
    assert found(text) == {}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("NN NN NN NN", {ONE_WORD}),
        ("O O B-NP O", {TAGS_IN_TEXT}),
        ("a B-PER tag", {TAGS_IN_TEXT}),
        (" 4711", {NUMBER_ALONE}),
        ("no no no", set()),
        ("4711 and 3.5", set()),
        ("no no no no yes", set()),
        ("an I-beam, a B-52, vitamin B-x", set()),
    ],
)
def test_texts_of_another_column_are_shown(text: str, what: set[str]):
    assert set(found(text)) == what


@given(labelled())
def test_any_text_is_looked_at(case: tuple[str, tuple[Span, ...]]):
    assert len(dict(suspicions(*case))) == len(list(suspicions(*case)))
