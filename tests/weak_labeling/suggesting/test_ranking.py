"""Suggestions: what gold has and no source has, judged on documents that it was not made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from ner.spans import Span
from weak_labeling.suggesting.drafts import Draft
from weak_labeling.suggesting.evidence import KnownText
from weak_labeling.suggesting.ranking import Suggestion, suggestions
from weak_labeling.suggesting.shapes import shapes_of


def known(marked: str, document: str, *, voted: bool = False, labelled: bool = True) -> KnownText:
    """A text in which [brackets] are gold for NAME, and sources mark them if `voted`."""
    text, spans = "", []
    for part in marked.split("["):
        inside, _, rest = part.partition("]") if "]" in part else ("", "", part)
        if inside:
            spans.append(Span(len(text), len(text) + len(inside), "NAME"))
        text += inside + rest
    return KnownText(text, document, frozenset(spans) if voted else frozenset(), frozenset(spans) if labelled else None)


def labelled(*texts: str) -> list[KnownText]:
    return [known(text, f"d{n}") for n, text in enumerate(texts)]


def others(*texts: str) -> list[KnownText]:
    return [known(text, f"u{n}", labelled=False) for n, text in enumerate(texts)]


def terms(found: Sequence[Suggestion]) -> list[object]:
    return [one.draft.keys()["terms"] for one in found if one.draft.kind == "gazetteer"]


def all_right(documents: int, tried: int = 1) -> float:
    """The lower bound where each document is right: the share at which that is as likely as one in twenty."""
    return (0.05 / tried) ** (1 / documents)


def test_a_term_of_two_documents_is_suggested_with_what_it_adds():
    (found,) = suggestions(labelled("ask [anna] now", "so [Anna] said"), others("for anna", "annas", "no"))
    assert found.draft.keys() == {"kind": "gazetteer", "label": "NAME", "terms": ("Anna",)}
    evidence = found.evidence
    assert (evidence.spans, evidence.documents, evidence.right, evidence.judged) == (2, 2, 2, 2)
    assert evidence.low == pytest.approx(all_right(2))
    assert found.added == ((0, Span(4, 8, "NAME")),)


def test_a_term_of_one_document_is_not_judged_and_not_suggested():
    assert suggestions(labelled("ask [anna], [anna], [anna] now", "nobody"), others("for anna")) == ()


def test_a_common_word_is_not_suggested_though_it_is_gold_now_and_then():
    gold = labelled("[it] is", "so [it] was", *(f"{n} and it" for n in "abcdefgh"))
    assert suggestions(gold, others("and it")) == ()


def test_texts_that_are_silent_on_a_type_do_not_speak_against_an_entry():
    silent = [replace(one, unannotated=frozenset({"NAME"})) for one in labelled(*(f"{n} and it" for n in "abcdefgh"))]
    (found,) = suggestions([*labelled("[it] is", "so [it] was"), *silent], others("and it"))
    assert (found.evidence.right, found.evidence.judged) == (2, 2)


def test_what_is_surely_wrong_in_four_of_ten_cases_is_not_suggested():
    gold = labelled(*(f"{n} [anna]" for n in range(30)), *(f"{n} anna" for n in range(20)))
    assert suggestions(gold, others("for anna")) == ()


@pytest.mark.parametrize("word", ["x", "42", "IT"], ids=["a letter", "a number", "an acronym and a word"])
def test_what_is_no_word_or_is_gold_in_one_document_each_is_not_suggested(word: str):
    """A gazetteer tells IT from it."""
    gold = labelled(f"ask [{word}] now", f"so [{word.lower()}] said")
    assert suggestions(gold, others(f"for {word}, {word.lower()}")) == ()


def test_a_term_is_suggested_as_it_is_written_most_often():
    gold = labelled("ask [anna] now", "so [anna] said", "then [Anna] came")
    (found,) = suggestions(gold, others("for anna"))
    assert found.draft.keys()["terms"] == ("anna",)


def test_what_an_entry_adds_wrongly_is_no_labelled_span_of_it():
    (found,) = suggestions(labelled(*(f"{n} [anna]" for n in range(9)), "anna"), others("for anna"))
    evidence = found.evidence
    assert (evidence.spans, evidence.documents, evidence.right, evidence.judged) == (9, 9, 9, 10)


def test_a_pattern_of_two_documents_is_the_best_of_too_many_to_be_suggested():
    assert suggestions(labelled("install [KB4034658]", "load [KB4022747]"), others("KB1111111 fails")) == ()


def test_what_sources_mark_already_speaks_for_nothing():
    gold = [known("ask [anna]", "a", voted=True), known("so [anna] said", "b", voted=True)]
    assert suggestions(gold, others("for anna")) == ()


def test_an_entry_is_judged_by_what_it_adds_alone():
    """Ten spans that a source has already do not excuse that half of the others are wrong."""
    known_spans = [known("ask [Anna]", f"v{n}", voted=True) for n in range(10)]
    gold = [*known_spans, *labelled("so [Anna] said", "then [Anna] came", "Anna street", "Anna hall")]
    assert suggestions(gold, others("for Anna")) == ()


def test_an_entry_that_adds_nothing_is_not_suggested():
    gold = labelled("ask [anna] now", "so [anna] said")
    assert suggestions(gold, others("for nobody")) == ()
    assert suggestions(gold, [known("for [anna]", "u", voted=True, labelled=False)]) == ()


def test_case_counts_where_the_word_is_common_in_small_letters():
    gold = labelled("open [Teams]", "in [Teams] too", "our teams", "both teams", "teams of two")
    (found,) = suggestions(gold, others("Teams hangs", "teams win"))
    assert found.draft.keys()["case"] == "exact"
    assert [place for place, _ in found.added] == [0]


def test_numbers_of_one_look_become_a_pattern_that_stands_first():
    gold = labelled(*(f"install [KB40{n}4658] now, {n} of 1234567" for n in range(8)))
    first, *_ = suggestions(gold, others("KB1111111 fails", "call 1111111"))
    assert first.draft.keys() == {"kind": "pattern", "label": "NAME", "pattern": r"\bKB\d+(?![\w-]|[.,]\d)"}
    tried = len(
        {shape for text in gold for span in text.missed for shape, _ in shapes_of(text.text, span.start, span.end)}
    )
    assert first.evidence.low == pytest.approx(all_right(8, tried))
    assert first.added == ((0, Span(0, 9, "NAME")),)


def test_a_number_that_means_something_behind_one_word_only_gets_this_word():
    gold = labelled(*(f"{word} [{n}.{n}], {n}.7, 5.{n}" for n, word in enumerate(["version", "Build"] * 6)))
    first, *_ = suggestions(gold, others("version 8.1, 8.2", "3.3"))
    assert first.draft.keys()["before"] == r"\b(?i:version|build)"
    assert first.added == ((0, Span(8, 11, "NAME")),)


@pytest.mark.parametrize(
    ("right", "wrong", "pattern", "key"),
    [
        (("[{} ft]", "[{} m]"), "[{} pm]", r"(?<![\w.,-])\d+ (?:ft|m)\b", "pattern"),
        (("[Grade {}]", "[Class {}]"), "[Table {}]", r"\b(?:Class|Grade) \d+(?![\w-]|[.,]\d)", "pattern"),
        (("[{}] errors", "[{}] faults"), "[{}] people", r"(?i:errors|faults)\b", "after"),
    ],
    ids=["the last word", "the first word", "the word behind"],
)
def test_a_pattern_keeps_the_words_that_are_right(right: tuple[str, ...], wrong: str, pattern: str, key: str):
    """A word that is gold twice and wrong nine times is no part of it."""
    plain = wrong.replace("[", "").replace("]", "")
    gold = labelled(*(text.format(10 + n) for n in range(9) for text in (*right, plain)), *map(wrong.format, (30, 31)))
    first, *_ = suggestions(gold, others(right[0].replace("[", "").replace("]", "").format(77), plain.format(77)))
    assert first.draft.keys()[key] == pattern
    assert (first.evidence.spans, first.evidence.judged, [place for place, _ in first.added]) == (18, 18, [0])


def test_a_word_that_the_other_documents_would_have_given_is_judged_though_it_is_left_out():
    gold = labelled(
        *(f"version [{n}.{n}]" for n in range(8)), "at [8.8]", "at [9.9]", "at 7.3 then at 7.4", *8 * ["in 3.3"]
    )
    first, *_ = suggestions(gold, others("version 8.1"))
    assert first.draft.keys()["before"] == r"\b(?i:version)"
    assert (first.evidence.spans, first.evidence.right, first.evidence.judged) == (8, 8, 10)


def test_what_a_suggestion_has_the_next_ones_do_not_count():
    names = ("ab", "cd", "ef", "gh", "ij", "kl", "mn", "op")
    gold = labelled("ask [anna]", "so [anna]", *(f"dear [{name}]" for name in names))
    found = suggestions(gold, others("dear anna", "dear zoe", "by anna"))
    assert sorted(one for suggestion in found for one in suggestion.added) == [
        (0, Span(5, 9, "NAME")),
        (1, Span(5, 8, "NAME")),
        (2, Span(3, 7, "NAME")),
    ]


def test_a_labelled_span_speaks_for_one_suggestion_alone():
    """Here the pattern has the spans of the term, though the two add nothing in common."""
    gold = labelled(
        *3 * ["dear [anna]"], *(f"dear [{name}]" for name in ("ab", "cd", "ef", "gh", "ij", "kl", "mn", "op"))
    )
    (found,) = suggestions(gold, others("by anna", "dear zoe"))
    assert (found.draft.kind, found.evidence.spans, [place for place, _ in found.added]) == ("pattern", 11, [1])


def test_a_suggestion_with_nothing_left_to_add_is_left_out():
    gold = labelled(
        "ask [anna]", "so [anna]", *(f"dear [{name}]" for name in ("ab", "cd", "ef", "gh", "ij", "kl", "mn"))
    )
    (found,) = suggestions(gold, others("dear anna"))
    assert found.added == ((0, Span(5, 9, "NAME")),)


def test_a_word_that_is_right_in_three_of_four_cases_stays_in_a_pattern():
    right = [*(f"version [{n}.{n}]" for n in range(8)), *(f"build [{n}.9]" for n in range(3))]
    gold = labelled(*right, "build 3.9", *(f"in 3.{n}" for n in range(9)))
    first, *_ = suggestions(gold, others("version 8.1"))
    assert first.draft.keys()["before"] == r"\b(?i:version|build)"


def test_numbers_differ_and_there_are_no_more_than_people_read(monkeypatch: pytest.MonkeyPatch):
    gold, open_texts = labelled("ask [anna], [bo]", "so [anna], [bo]"), others("anna, anna, bo")
    assert len(suggestions(gold, open_texts)) == 2
    with monkeypatch.context() as patch:
        patch.setattr("weak_labeling.suggesting.ranking.MOST_SUGGESTIONS", 1)
        assert len(suggestions(gold, open_texts)) == 1
    monkeypatch.setattr(Draft, "number", 12345)
    assert terms(suggestions(gold, open_texts)) == [("anna",)]


def test_an_entry_that_weak_toml_refuses_is_not_suggested(monkeypatch: pytest.MonkeyPatch):
    gold = labelled(*(f"install [KB40{n}4658] now" for n in range(8)))
    assert suggestions(gold, others("KB1111111"))
    monkeypatch.setattr("weak_labeling.sources.expressions.LONGEST", 5)
    assert suggestions(gold, others("KB1111111")) == ()


def test_a_wider_pattern_does_not_live_on_what_a_narrower_one_has():
    gold = labelled(*(f"install [KB40{n}4658]" for n in range(20)), *(f"room RB40{n}4658" for n in range(3)))
    found = suggestions(gold, others(*(f"KB{n}111111" for n in range(1, 7)), "RB2222222"))
    assert [place for one in found for place, _ in one.added] == [0, 1, 2, 3, 4, 5]


def test_the_number_hangs_on_the_content_alone():
    gold = labelled("ask [anna] now", "so [anna] said", "[bo] is", "[bo] was")
    before = {terms([one])[0]: one.number for one in suggestions(gold, others("anna", "bo"))}
    more = [*gold, known("[anna], not [bo]", "new"), known("[zoe]", "z1"), known("[zoe]", "z2")]
    after = {terms([one])[0]: one.number for one in suggestions(more, others("bo", "anna", "zoe", "zoe"))}
    assert before.keys() == {("anna",), ("bo",)} and before.items() <= after.items()


def test_several_texts_of_one_document_are_one_trial():
    texts = [known(f"{n} ask [anna]", "same") for n in range(9)]
    (found,) = suggestions([*texts, known("so [anna]", "other")], others("anna"))
    assert (found.evidence.spans, found.evidence.low) == (10, pytest.approx(all_right(2)))
