"""Gazetteers in every script: the automaton finds what a slow and simple reading of the rules finds."""

from __future__ import annotations

import sys
import unicodedata
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ner.spans import Span
from weak_labeling.folding import marked, marked_term, written
from weak_labeling.gazetteers import Gazetteer, LetterCase, Strictness, TermRules

LONG_S_DOTS = "s\u0323\u0307"
# Sharp s, dotted and dotless i, final sigma, a ligature, marks (also doubled, and in another order), the iota below,
# emoji with joiner, skin tone and variation selector, Han, kana, Thai, Hangul and its parts, Hebrew with points,
# Devanagari, direction marks, soft hyphens, typographic signs, white space, ASCII, and the marks of a marked text.
PIECES = [
    *"aAbIißſsSİıσςΣŉǰﬁÅéÉ",
    *("e\u0301", "A\u030a", "\u1e69", LONG_S_DOTS, "s\u0307\u0323", "\u03b1\u0345", "\u1fbc"),
    *("👩", "💻", "👩\u200d💻", "👍", "👍\U0001f3fd", "☎", "☎\ufe0f"),
    *("京", "都", "タ", "の", "が", "か\u3099", "ท", "ที", "한", "\u1112\u1161\u11ab", "각"),
    *("ש", "\u05e9\u05c1\u05bc", "\u05e9\u05bc\u05c1", "ع", "हि", "न्दी", "\u200f", "\u00ad"),
    *("-", "\u2010", "'", "\u2019", ".", "#", "_", "9", " ", " ", "\n", "\n\n", "\t", "\u00a0", "\x01", "\x02"),
]
texts = st.lists(st.sampled_from(PIECES), max_size=14).map("".join)
terms = st.lists(st.lists(st.sampled_from(PIECES), min_size=1, max_size=4).map("".join), max_size=6).map(
    lambda made: [term for term in made if marked_term(term) and "\n" not in written(term.strip())]  # no blank line
)


def tokens(text: str) -> list[tuple[int, int]]:
    """(start, end) of each: what shows, with the marks behind it; a run of word characters is one token."""
    found: list[tuple[int, int]] = []
    kind = "gap"
    for place, character in enumerate(text):
        if unicodedata.category(character)[0] == "M" or character in "\u200d\U0001f3fd":
            if kind != "gap" and found[-1][1] == place:
                found[-1] = (found[-1][0], place + 1)
        elif text[place - 1 : place] == "\u200d":
            found[-1] = (found[-1][0], place + 1)
        elif character.isspace():
            kind = "gap"
        elif written(character):
            before, kind = kind, "word" if is_spaced(character) else "sign"
            if before == kind == "word":
                found[-1] = (found[-1][0], place + 1)
            else:
                found.append((place, place + 1))
    return found


def is_spaced(character: str) -> bool:
    """Whether the character is part of a word of a script that sets blanks between words."""
    unspaced = unicodedata.name(character, "").startswith(("CJK", "HIRAGANA", "THAI"))
    return (character.isalnum() or character == "_") and not unspaced


def slow_search(keys: set[str], text: str, rules: TermRules) -> list[tuple[int, int]]:
    """Every place of a term, from left to right, the longest first."""
    places = tokens(text)
    found: list[tuple[int, int]] = []
    for index, (start, _) in enumerate(places):
        ends = [end for _, end in places[index:] if rules.key(text[start:end]).casefold() in keys]
        if ends and (not found or found[-1][1] <= start):
            found.append((start, max(ends)))
    return found


@given(terms, texts, st.sampled_from(["exact", "ignore"]))
@example(["STRASSE"], "Straße straße", "exact")
@example(["İ"], "i̇ I İ", "exact")
@example(["i"], "İ ı I", "ignore")
@example(["東京"], "東京都", "exact")
@example(["a", "ท"], "ทีa", "exact")
@example(["💻"], "👩\u200d💻 💻", "exact")
@example(["שלום"], "\u200fשלום\u200f.", "exact")
@example(["é"], "e\u0301\u0323", "exact")
@example([LONG_S_DOTS], "s\u0307\u0323", "exact")
def test_the_automaton_finds_what_a_slow_search_finds(names: list[str], text: str, accents: Strictness) -> None:
    rules = TermRules(accents=accents)
    keys = {rules.key(name.strip()).casefold() for name in names}
    spans = list(Gazetteer(names, "A", accents=accents)(text))
    assert [(span.start, span.end) for span in spans] == slow_search(keys, text, rules)


@given(st.text(), st.text(), st.sampled_from(["ignore", "exact", "smart"]))
def test_any_text_is_searched_and_what_is_found_is_a_term_and_apart(term: str, text: str, case: LetterCase) -> None:
    names = [name for name in (term, text[:3], text[2:5]) if marked_term(name)]
    gazetteer = Gazetteer(names, "A", case=case)
    for whole in (text, f"{term} {text}"):
        spans = list(gazetteer(whole))
        keys = {written(name.strip()) for name in names}
        folded = {key.casefold() for key in keys}
        for span in spans:
            found = written(whole[span.start : span.end])
            assert found in keys if case == "exact" else found.casefold() in folded
        assert all(left.end <= right.start for left, right in pairwise(spans))


def test_every_character_is_folded_as_its_other_forms_are() -> None:
    """What is equal by the rules has one marked form; else the automaton would miss it."""
    for character in map(chr, range(sys.maxunicode + 1)):
        if character.isspace() or character in "\x01\x02" or character.isascii():
            continue
        forms = {character.casefold(), written(character), written(character).casefold()}
        if forms != {character}:
            forms |= {unicodedata.normalize("NFD", character), written(character, accents=False)}
            form = marked_term(f"a{character}a")
            assert all(marked_term(f"a{other}a") == form for other in forms), ascii(character)


@pytest.mark.parametrize("text", ["Straße", "a  b", "x\n\n y", "e\u0301é", "👩\u200d💻!", "ﬁx"])
def test_every_token_goes_back_to_its_place(text: str) -> None:
    form = marked(text)
    for start, end in tokens(text):
        found = [form.place(*hit) for hit in occurrences(form.marked, marked_term(text[start:end]))]
        assert (start, end) in found


def occurrences(text: str, part: str) -> list[tuple[int, int]]:
    return [(place, place + len(part)) for place in range(len(text)) if text.startswith(part, place)]


def test_a_long_text_gives_the_places_of_a_short_one() -> None:
    text = "Word  and\nWord, Straße. "
    once = list(Gazetteer(["word", "strasse"], "A")(text))
    length = len(text)
    many = [Span(s.start + n * length, s.end + n * length, "A") for n in range(200) for s in once]
    assert list(Gazetteer(["word", "strasse"], "A")(text * 200)) == many
