from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ner.label_studio.offsets import CODE_POINTS, Claim, OffsetUnit, ProvenUnit, proven_unit, same_words, to_code_points

FIRE = "\U0001f692"
ENCODINGS = {"CODE_POINTS": ("utf-32-le", 4), "UTF16": ("utf-16-le", 2), "UTF8": ("utf-8", 1)}


def counted(text: str, place: int, unit: OffsetUnit) -> int:
    """The offset of a code point in a unit, by encoding what stands before it. No CRLF is cut at `place`."""
    before = text[:place].replace("\r\n", "\n") if unit.name.endswith("CRLF_AS_ONE") else text[:place]
    encoding, width = ENCODINGS[unit.name.removesuffix("_CRLF_AS_ONE")]
    return len(before.encode(encoding)) // width


def claim(text: str, words: str, unit: OffsetUnit, shift: int = 0) -> Claim:
    start = text.index(words)
    offsets = (counted(text, place, unit) + shift for place in (start, start + len(words)))
    return (text, *offsets, words)  # type: ignore[return-value]


def fits_all(unit: OffsetUnit, claims: list[Claim]) -> bool:
    for text, start, end, words in claims:
        convert = to_code_points(text, unit)
        first, last = convert(start), convert(end)
        if first is None or last is None or not same_words(text, first, last, words):
            return False
    return True


pieces = st.sampled_from(
    [
        "Nora Falk",
        "Lyon",
        " ",
        "  ",
        "\n",
        "\r\n",
        "\r\n\r\n",
        "\t",
        "é",
        "e\u0301",
        "東京",
        "ｶﾞ",
        "سلام",
        "שלום",
        FIRE,
        "\U0001f469\u200d\U0001f692",
        "❤\ufe0f",
        "\u200f",
        "\ufeff",
        "𝔸",
        ",",
        "x",
    ]
) | st.text(max_size=3)
texts = st.lists(pieces, min_size=1, max_size=12).map("".join)


@st.composite
def texts_with_spans(draw: st.DrawFn) -> tuple[str, list[tuple[int, int]]]:
    text = draw(texts)
    places = [place for place in range(len(text) + 1) if text[place - 1 : place + 1] != "\r\n" or place == 0]
    borders = st.tuples(st.sampled_from(places), st.sampled_from(places))
    spans = draw(st.lists(borders, min_size=1, max_size=6))
    return text, [(min(span), max(span)) for span in spans]


@given(texts_with_spans(), st.sampled_from(OffsetUnit))
def test_offsets_come_back_from_every_unit(given_text: tuple[str, list[tuple[int, int]]], unit: OffsetUnit) -> None:
    text, spans = given_text
    convert = to_code_points(text, unit)
    for start, end in spans:
        assert (convert(counted(text, start, unit)), convert(counted(text, end, unit))) == (start, end)
    assert convert(-1) is None
    assert convert(counted(text, len(text), unit)) == len(text)
    assert convert(counted(text, len(text), unit) + 1) is None


@given(texts, st.sampled_from(OffsetUnit))
def test_every_offset_is_a_character_or_inside_one(text: str, unit: OffsetUnit) -> None:
    convert = to_code_points(text, unit)
    found = [convert(offset) for offset in range(counted(text, len(text), unit) + 1)]
    places = [place for place in found if place is not None]
    assert places == sorted(set(places))
    expected = set(range(len(text) + 1))
    if unit.name.endswith("CRLF_AS_ONE"):
        expected -= {place for place in range(1, len(text)) if text[place - 1 : place + 1] == "\r\n"}
    assert set(places) == expected


def test_an_offset_inside_a_character_is_none() -> None:
    convert = to_code_points(f"a{FIRE}b", OffsetUnit.UTF16)
    assert [convert(offset) for offset in range(6)] == [0, 1, None, 2, 3, None]


@pytest.mark.parametrize("unit", OffsetUnit)
def test_a_unit_is_recognised_by_the_words(unit: OffsetUnit) -> None:
    text = f"Ünder {FIRE}{FIRE}\r\nNora Falk met Lyon"
    claims = [claim(text, words, unit) for words in ("Nora Falk", "Lyon")]
    assert proven_unit(claims) == ProvenUnit(unit, fitting=2, differing=0)


@pytest.mark.parametrize("unit", OffsetUnit)
def test_no_claims_and_texts_in_which_all_units_agree_are_code_points(unit: OffsetUnit) -> None:
    assert proven_unit([]) == ProvenUnit(CODE_POINTS, 0, 0)
    assert proven_unit([claim("Nora Falk met Lyon", "Lyon", unit)]) == ProvenUnit(CODE_POINTS, 1, 0)


def test_single_mismatches_do_not_hide_the_unit() -> None:
    text = f"{FIRE} Nora Falk met Lyon"
    good = [claim(text, "Lyon", OffsetUnit.UTF16), claim("No emoji in Graz", "Graz", OffsetUnit.UTF16)]
    wrong = [(text, 0, 2, "Oslo"), ("No emoji in Graz", 0, 2, "Oslo")]
    assert proven_unit([*wrong, *good]) == ProvenUnit(OffsetUnit.UTF16, fitting=2, differing=2)
    assert proven_unit([*good, *wrong], least_share=0.9) == ProvenUnit(CODE_POINTS, fitting=1, differing=3)


@pytest.mark.parametrize("first", [True, False])
def test_one_claim_that_only_code_points_fit_is_enough_to_keep_them(first: bool) -> None:
    text = f"{FIRE} Nora Falk met Lyon"
    others = [claim(text, "Lyon", OffsetUnit.UTF16)] * 9
    own = [claim(text, "Nora Falk", CODE_POINTS)]
    assert proven_unit([*own, *others] if first else [*others, *own]) == ProvenUnit(CODE_POINTS, 1, 9)


@pytest.mark.parametrize("turn", range(3))
def test_units_that_contradict_each_other_prove_none(turn: int) -> None:
    text = f"{FIRE}é Nora Falk met Lyon"
    claims = [claim(text, words, unit) for words in ("Lyon", "Falk") for unit in (OffsetUnit.UTF16, OffsetUnit.UTF8)]
    assert proven_unit(claims[turn:] + claims[:turn]).unit is CODE_POINTS


def test_a_shift_that_no_unit_explains_is_no_unit() -> None:
    text = f"{FIRE} Nora Falk met Lyon"
    assert proven_unit([claim(text, "Lyon", CODE_POINTS, shift=5)]) == ProvenUnit(CODE_POINTS, 0, 1)


def test_two_units_that_find_the_words_at_different_places_prove_none() -> None:
    text = f"{FIRE}é ha ha ha"  # UTF-16 units are one more than code points before the words, bytes four more
    places = {unit: counted(text, 3, unit) for unit in (OffsetUnit.UTF16, OffsetUnit.UTF8)}
    assert places == {OffsetUnit.UTF16: 4, OffsetUnit.UTF8: 7}
    (start,) = {place for place in places.values() if place == 7}
    assert proven_unit([(text, start, start + 2, "ha")]).unit is CODE_POINTS


def test_line_ends_may_be_counted_as_one_in_texts_without_them() -> None:
    crlf, lf = "Dear all,\r\nNora Falk", "Dear all,\nNora Falk"
    unit = OffsetUnit.CODE_POINTS_CRLF_AS_ONE
    claims = [claim(crlf, "Nora Falk", unit), claim(lf, "Nora Falk", unit)]
    assert proven_unit(claims) == ProvenUnit(unit, 2, 0)


@given(st.lists(texts_with_spans(), min_size=1, max_size=4), st.sampled_from(OffsetUnit))
def test_the_unit_of_a_source_is_found_or_another_that_says_the_same(
    source: list[tuple[str, list[tuple[int, int]]]], unit: OffsetUnit
) -> None:
    drawn = [(text, start, end) for text, spans in source for start, end in spans if text[start:end].strip()]
    claims: list[Claim] = [
        (text, counted(text, start, unit), counted(text, end, unit), text[start:end]) for text, start, end in drawn
    ]
    proven = proven_unit(claims)
    assert proven.fitting + proven.differing == len(claims)
    if proven.differing:
        # A second unit finds the same words at other places: nothing is converted, and what differs is doubted.
        assert proven.unit is CODE_POINTS
        assert sum(fits_all(other, claims) for other in OffsetUnit) > 1
        return
    for text, start, end in drawn:
        convert = to_code_points(text, proven.unit)
        first, last = convert(counted(text, start, unit)), convert(counted(text, end, unit))
        assert first is not None
        assert last is not None
        assert same_words(text, first, last, text[start:end])
