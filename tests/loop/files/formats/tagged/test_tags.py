"""Tags of tokens: the scheme is recognised from all of them, and the entities are read by one rule."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loop.files.formats.tagged.tags import BARE, SCHEMES, TagScheme, TagSurvey, detected_scheme
from loop.files.words import Entity
from loop.files.writing.texts import AlignedSpans
from ner.errors import InputError


def scheme(*texts: str, name: str | None = None) -> TagScheme:
    return detected_scheme([text.split() for text in texts], name)


def entities(text: str, *, name: str | None = None) -> list[tuple[int, int, str]]:
    return [tuple(one) for one in scheme(text, name=name).entities(text.split())]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("I-X I-X B-X O I-Y", "iob1"),
        ("B-X I-X B-X O B-Y", "iob2"),
        ("B-X I-X E-X S-X O S-Y", "bioes"),
        ("B-X I-X L-X U-X O U-Y", "bilou"),
        ("B-X M-X E-X W-X O W-Y", "bmewo"),
        ("B-X M-X E-X S-X O S-Y", "bmes"),
        ("B_X I_X B_X O B_Y", "iob2"),
        ("B.X I.X B.X O B.Y", "iob2"),
        ("X-B X-I X-B O Y-B", "iob2"),
        ("b-X i-X b-X o b-Y", "iob2"),
        ("X_b X_i X_b o Y_b", "iob2"),
        ("B-X I-X B-X _ B-Y", "iob2"),
    ],
)
def test_every_scheme_gives_the_same_entities(text: str, name: str):
    assert scheme(text).name == name
    two_tokens = [(0, 2, "X"), (2, 3, "X"), (4, 5, "Y")]
    three_tokens = [(0, 3, "X"), (3, 4, "X"), (5, 6, "Y")]
    assert entities(text) == (two_tokens if name.startswith("iob") else three_tokens)
    assert any(name.upper() in sentence for sentence in scheme(text).said)


def test_bare_types_are_read_and_said_to_be_a_guess():
    assert scheme("X X O Y").name == BARE
    assert entities("X X O Y") == [(0, 2, "X"), (3, 4, "Y")]
    assert "guess" in scheme("X X O Y").said[0]


def test_a_type_may_hold_hyphens_and_is_never_split_at_them():
    assert entities("B-geo-loc I-geo-loc O B-x_y") == [(0, 2, "geo-loc"), (3, 4, "x_y")]
    assert entities("geo-loc geo-loc O E-MAIL PER") == [(0, 2, "geo-loc"), (3, 4, "E-MAIL"), (4, 5, "PER")]
    assert entities("O PART_B PER") == [(1, 2, "PART_B"), (2, 3, "PER")]


@pytest.mark.parametrize(
    ("text", "expected", "breaches"),
    [
        ("B-X O I-X I-Y", [(0, 1, "X"), (2, 3, "X"), (3, 4, "Y")], "1 of 4"),
        ("B-X I-Y O B-Y I-Y", [(0, 1, "X"), (1, 2, "Y"), (3, 5, "Y")], "1 of 5"),
        ("E-X O S-X B-X B-X O I-X", [(0, 1, "X"), (2, 3, "X"), (3, 4, "X"), (4, 5, "X"), (6, 7, "X")], "5 of 7"),
        ("U-X I-X L-X I-X", [(0, 1, "X"), (1, 3, "X"), (3, 4, "X")], "3 of 4"),
    ],
)
def test_tags_that_do_not_follow_their_scheme_are_counted(text: str, expected: list[object], breaches: str):
    assert entities(text) == expected
    assert any(f"{breaches} tags do not follow" in sentence for sentence in scheme(text).said)


def test_a_file_with_i_tags_alone_says_that_neighbours_are_one_entity():
    assert entities("O I-X I-Y I-Y") == [(1, 2, "X"), (2, 4, "Y")]
    assert any("neighbouring entities" in sentence for sentence in scheme("O I-X").said)


def test_a_file_of_o_alone_is_said_to_hold_no_entity():
    assert entities("O O") == []
    assert "no entity" in scheme("O O").said[0]


@pytest.mark.parametrize(
    "text",
    ["B-X I-X L-X E-X O", "B-X O U-X S-X", "B I O", "0 3 4 0", "b i o"],
    ids=["two ends", "two singles", "no types", "numbers", "no types in lower case"],
)
def test_tags_of_no_one_scheme_are_refused(text: str):
    with pytest.raises(InputError):
        scheme(text)


@pytest.mark.parametrize("strange", ["-", "", "0", "_", "o", "X", "B-", "B_X", "Z-X", "*", "b-X"])
def test_a_strange_tag_is_refused_where_it_stands(strange: str):
    found = detected_scheme([["B-X", "I-X", "O"], ["B-X", strange]])
    with pytest.raises(InputError, match="tag"):
        found.entities(["B-X", strange])


def test_spacys_sign_for_an_unknown_tag_is_never_read_as_outside():
    found = detected_scheme([["B-X", "-", "-"], ["-", "-"]])
    with pytest.raises(InputError):
        found.entities(["-"])


def test_a_named_scheme_overrides_what_the_tags_show():
    assert entities("B-X I-X", name=BARE) == [(0, 1, "B-X"), (1, 2, "I-X")]
    with pytest.raises(InputError, match="BILOU"):
        scheme("S-X O", name="bilou").entities(["S-X"])


def test_a_survey_forgets_values_that_are_too_many_for_tags():
    survey = TagSurvey()
    for number in range(4_000):
        survey.add([f"w{number}", "O"])
    assert survey.too_many and not survey.tags and survey.total == 8_000
    with pytest.raises(InputError):
        survey.scheme()


LABELS = st.sampled_from(["X", "geo-loc", "B", "a_b", "E-MAIL"])


@given(st.lists(st.tuples(st.integers(1, 3), LABELS | st.none()), min_size=1, max_size=8), st.sampled_from(SCHEMES[1:]))
def test_entities_come_back_from_their_tags(runs: list[tuple[int, str | None]], name: str):
    borders = [0]
    for length, _ in runs:
        borders.append(borders[-1] + length)
    gold = [(*pair, label) for pair, (_, label) in zip(pairwise(borders), runs, strict=True) if label]
    tags = AlignedSpans(tuple(Entity(*one) for one in gold), 0, 0).tags(
        borders[-1], "bilou" if name == "bilou" else "iob2"
    )
    if name == "bioes":
        tags = _bioes(gold, borders[-1])
    found = detected_scheme([tags], None if name != BARE else "iob2")
    assert found.entities(tags) == gold
    assert not any("do not follow" in sentence for sentence in found.said)


@given(
    st.lists(st.lists(st.text("BIELSUOo0_-.X", max_size=5), max_size=6), max_size=4), st.sampled_from([None, *SCHEMES])
)
def test_any_tags_give_entities_or_an_input_error(texts: list[list[str]], name: str | None):
    try:
        found = detected_scheme(texts, name)
        for tags in texts:
            ends = [0, *(behind for _, behind, _ in found.entities(tags))]
            assert ends == sorted(ends)
    except InputError:
        pass


def _bioes(gold: list[tuple[int, int, str]], tokens: int) -> list[str]:
    tags = ["O"] * tokens
    for first, behind, label in gold:
        tags[first:behind] = [f"I-{label}"] * (behind - first)
        tags[behind - 1] = f"E-{label}"
        tags[first] = f"S-{label}" if behind - first == 1 else f"B-{label}"
    return tags
