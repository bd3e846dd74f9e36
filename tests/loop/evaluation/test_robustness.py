"""What is done to texts, and that their gold goes with it, exactly."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loop.evaluation import robustness as perturbation
from loop.evaluation.robustness import AS_IT_IS, PERTURBATIONS, perturb, robustness
from ner.labels import LabelSet
from ner.spans import Span, overlap

NAMES = tuple(PERTURBATIONS)
LABELS = LabelSet(("OS", "SOFTWARE"))
EMOJI = "👩\u200d💻"
WORDS = ("Windows", "outlook", "10.15", "1,000", "0x80070005", "Yahoo!", ".NET", "password")
# Words, marks, spaces, and what goes wrong: letters whose other case is longer, emoji, combining marks, surrogates.
PIECES = st.sampled_from(
    [*"abz Zß,. \n\u3000\ud800語", "  ", ", ", ". ", "...", "?!", "İ", "ŉ", "ΟΔΟΣ", "ﬃ", "e\u0301", EMOJI, *WORDS]
)


@dataclass(frozen=True)
class Labelled:
    text: str
    gold: tuple[Span, ...]


@st.composite
def labelled(draw: st.DrawFn) -> Labelled:
    """A text and spans anywhere in it, in order and apart, now and then touching; white space at their ends, too."""
    text = "".join(draw(st.lists(PIECES, max_size=25)))
    bounds = sorted(draw(st.sets(st.integers(0, len(text)), max_size=8)))
    pairs = list(pairwise(bounds))
    kept = [pair for pair in pairs[::2] if draw(st.booleans())] if draw(st.booleans()) else pairs
    return Labelled(text, tuple(Span(start, end, draw(st.sampled_from(LABELS.types))) for start, end in kept))


def marked(text: str) -> tuple[str, tuple[Span, ...]]:
    """`a [Windows] b`, without its brackets, which are a span."""
    spans, plain = [], ""
    for piece in text.replace("]", "[").split("["):
        spans.append((len(plain), len(plain) + len(piece)))
        plain += piece
    return plain, tuple(Span(start, end, "OS") for start, end in spans[1::2])


def done(name: str, text: str, seed: int = 0) -> str:
    """What becomes of `a [Windows] b`, with the brackets where the spans are then."""
    after = perturb(name, *marked(text), seed)
    shown = after.text
    for span in reversed(after.spans):
        shown = f"{shown[: span.start]}[{shown[span.start : span.end]}]{shown[span.end :]}"
    return shown


def outcomes(name: str, text: str, seeds: int = 200) -> set[str]:
    return {done(name, text, seed) for seed in range(seeds)}


@given(labelled(), st.sampled_from(NAMES), st.integers(0, 9))
def test_spans_stay_within_their_text_in_order_apart_and_what_they_were(
    given_text: Labelled, name: str, seed: int
) -> None:
    text, spans = given_text.text, given_text.gold
    after = perturb(name, text, spans, seed)
    assert [span.label for span in after.spans] == [span.label for span in spans]
    assert list(after.spans) == sorted(after.spans)
    assert not any(overlap(one, other) for one, other in pairwise(after.spans))
    for old, new in zip(spans, after.spans, strict=True):
        assert 0 <= new.start < new.end <= len(after.text)
        for place, now in ((old.start, new.start), (old.end - 1, new.end - 1)):
            assert text[place].isspace() or not after.text[now].isspace()


# What each perturbation leaves alone of any stretch of a text.
KEPT: dict[str, Callable[[str], object]] = {
    "lower case": lambda part: part.lower().replace("ς", "σ"),
    "upper case": str.upper,
    "typos": lambda part: re.sub(r"[^\W\d_]{3,}", "", part),
    "white space": str.split,
    "punctuation": lambda part: re.sub(r"[.,?!]", "", part),
}


@given(labelled(), st.sampled_from(NAMES), st.integers(0, 9))
def test_what_stands_between_two_bounds_comes_from_what_stood_there(given_text: Labelled, name: str, seed: int) -> None:
    text, spans = given_text.text, given_text.gold
    after = perturb(name, text, spans, seed)
    old = [0, *(bound for span in spans for bound in (span.start, span.end)), len(text)]
    new = [0, *(bound for span in after.spans for bound in (span.start, span.end)), len(after.text)]
    kept = KEPT[name]
    for before, now in zip(pairwise(old), pairwise(new), strict=True):
        assert kept(text[slice(*before)]) == kept(after.text[slice(*now)])


@given(labelled(), st.sampled_from(NAMES), st.integers(0, 9))
def test_what_is_no_letter_of_the_keyboard_survives(given_text: Labelled, name: str, seed: int) -> None:
    after = perturb(name, given_text.text, given_text.gold, seed)
    for survivor in (EMOJI, "\ud800", "語", "10.15", "1,000"):
        assert after.text.count(survivor) == given_text.text.count(survivor)


@given(labelled(), st.sampled_from(NAMES), st.integers(0, 9))
def test_a_text_that_is_not_blank_does_not_become_so(given_text: Labelled, name: str, seed: int) -> None:
    after = perturb(name, given_text.text, given_text.gold, seed)
    assert bool(after.text.strip()) == bool(given_text.text.strip())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("text", ["", "7\n8", "[10.15]\n" + EMOJI, "\ud800", "[1,000]"])
def test_a_text_without_anything_to_change_comes_back(name: str, text: str) -> None:
    assert outcomes(name, text, 20) == {text}


def test_a_case_that_is_longer_moves_the_spans_behind_it() -> None:
    assert done("upper case", "große [Straße], dann [macOS]") == "GROSSE [STRASSE], DANN [MACOS]"
    assert done("lower case", "[İş] in İzmir, [İ]") == "[i\u0307ş] in i\u0307zmir, [i\u0307]"
    assert done("lower case", "ΟΔΟΣ [ΟΔΟΣ]") == "οδος [οδος]"


def test_typos_are_swaps_drops_repeats_and_neighbours_within_words_of_four_letters() -> None:
    assert outcomes("typos", "[Word]") == {"[Word]", "[Wrod]", "[Wrd]", "[Woord]", "[Wird]", "[Wprd]"}
    assert outcomes("typos", "the [Mac] 10586 x64") == {"the [Mac] 10586 x64"}
    assert outcomes("typos", "ÄÖÜÄ") == {"ÄÖÜÄ", "ÄÜÖÄ", "ÄÜÄ", "ÄÖÖÜÄ"}


def test_typos_keep_the_case_of_the_key() -> None:
    assert "EXIT" not in outcomes("typos", "EDIT") and "ESIT" in outcomes("typos", "EDIT")


def test_typos_do_not_reach_across_the_bounds_of_spans() -> None:
    edges = re.compile(r"\[E\w*l\]s\w*s and \[Out\]\[l\w*k\]")
    found = outcomes("typos", "[Excel]sheets and [Out][look]")
    assert len(found) > 30
    assert [after for after in found if not edges.fullmatch(after)] == []


@pytest.mark.parametrize("word", ["password", "ωωωω"])
def test_about_a_fifth_of_the_words_has_one_typo(word: str) -> None:
    """Also where swapped letters would be the same, and no key is a neighbour."""
    after = perturb("typos", " ".join([word] * 400), (), 1).text.split()
    changed = sum(one != word for one in after)
    assert 0.14 < changed / 400 < 0.26


def test_spaces_are_doubled_or_become_tabs_or_line_breaks_within_spans_too() -> None:
    between = ("  ", " ", "\t", "\n")
    assert outcomes("white space", "a [b c]") == {f"a{one}[b{other}c]" for one in between for other in between}


def test_ends_of_sentences_are_dropped_or_doubled_and_commas_dropped() -> None:
    assert outcomes("punctuation", "No, it hangs. Why?!") == {
        f"No it hangs{dot} Why{mark}" for dot in ("", "..") for mark in ("", "?!!")
    }


@pytest.mark.parametrize(
    "text",
    ["[Yahoo!] mail", "[Windows 10.] is", "a [.NET] b", "at 10.15 by 1,000 and a.example/b?c", "[x, y] z", ". ! , ?"],
)
def test_marks_that_are_part_of_a_span_or_a_number_stay(text: str) -> None:
    assert outcomes("punctuation", text, 20) == {text}


def test_a_mark_beside_a_span_goes_and_the_span_stays() -> None:
    assert outcomes("punctuation", "[10.15], [Word].", 20) == {"[10.15] [Word]", "[10.15] [Word].."}


def test_what_is_done_depends_on_seed_and_text_and_not_on_the_place() -> None:
    text = "please install Outlook and Firefox for my colleague today, thanks"
    assert perturb("typos", text, (), 3) == perturb("typos", text, (), 3)
    assert len({perturb("typos", text, (), seed).text for seed in range(50)}) > 20


def test_a_text_that_would_get_too_long_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perturbation, "MAX_TEXT_CHARS", 3)
    assert done("upper case", "[ß]ß") == "[ß]ß"
    assert done("upper case", "[ß]x") == "[SS]X"


TEXTS = [
    ("my Windows crashes", (Span(3, 10, "OS"),)),
    ("my Outlook hangs", (Span(3, 10, "SOFTWARE"),)),
    ("my windows", (Span(3, 10, "OS"),)),
    ("my 7", ()),
]


class Reader:
    """Knows `Windows` and `Outlook` as they are written here; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, texts: Sequence[str]) -> list[tuple[Span, ...]]:
        self.asked.extend(texts)
        known = (("Windows", "OS"), ("Outlook", "SOFTWARE"))
        return [tuple(Span(3, 10, label) for word, label in known if text.find(word) == 3) for text in texts]


def test_robustness_scores_the_texts_as_they_are_and_after_each_perturbation() -> None:
    reader = Reader()
    rows = {row.name: row for row in robustness(TEXTS, reader, LABELS, seed=1)}
    assert list(rows) == [AS_IT_IS, *NAMES]
    as_it_is, lower = rows[AS_IT_IS], rows["lower case"]
    assert (as_it_is.documents, as_it_is.changed) == (4, 0)
    assert as_it_is.micro_f1 == 2 * 2 / (2 + 3)
    assert as_it_is.per_type == {"OS": 2 * 1 / (1 + 2), "SOFTWARE": 1.0}
    assert (lower.micro_f1, lower.changed, lower.documents) == (0.0, 2, 4)
    assert rows["upper case"].changed == 4
    assert len(reader.asked) == len(set(reader.asked))  # nothing is read twice


def test_robustness_moves_the_gold_along() -> None:
    def find(texts: Sequence[str]) -> list[tuple[Span, ...]]:
        places = [text.lower().find("windows") for text in texts]
        return [(Span(place, place + 7, "OS"),) for place in places]

    rows = robustness([("Großes, weißes Windows", (Span(15, 22, "OS"),))], find, LABELS, seed=1)
    assert {row.name: row.micro_f1 for row in rows if row.name != "typos"} == dict.fromkeys(
        [AS_IT_IS, *NAMES[:2], *NAMES[3:]], 1.0
    )


def test_robustness_draws_the_same_documents_wherever_they_stand() -> None:
    few = [robustness(order, Reader(), LABELS, seed=1, limit=2) for order in (TEXTS, TEXTS[::-1])]
    assert few[0] == few[1]
    assert {row.documents for row in few[0]} == {2}


def test_robustness_of_nothing_is_nothing() -> None:
    assert {(row.documents, row.micro_f1) for row in robustness([], Reader(), LABELS, seed=1)} == {(0, 0.0)}


@given(labelled())
def test_edits_of_their_own_are_applied_where_they_stand(given_text: Labelled) -> None:
    """Against the plain way: a text without its spaces, with each character's place looked up."""
    text, spans = given_text.text, given_text.gold
    edits = [perturbation.Edit(at, at + 1, "") for at, character in enumerate(text) if character == " "]
    changed, moved = perturbation._edited(text, spans, edits)
    assert changed == text.replace(" ", "")
    for old, new in zip(spans, moved, strict=True):
        assert changed[new.start : new.end] == text[old.start : old.end].replace(" ", "")


@pytest.mark.parametrize("name", NAMES)
def test_a_perturbation_draws_from_nothing_but_its_generator(name: str) -> None:
    text, spans = marked("please, install [Outlook] on my laptop. It hangs, again. And [Word], too!")
    first, again = (PERTURBATIONS[name](text, spans, Random(5)) for _ in range(2))
    assert first == again
