"""Gazetteers: whole tokens, the longest term, case by choice."""

from __future__ import annotations

import unicodedata
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ner.errors import InputError
from ner.spans import Span
from weak_labeling.gazetteers import Gazetteer, LetterCase, load_terms


def found(terms: list[str], text: str, case: LetterCase = "ignore") -> list[str]:
    return [text[span.start : span.end] for span in Gazetteer(terms, "A", case=case)(text)]


def test_a_term_is_found_with_its_label_and_offsets() -> None:
    assert list(Gazetteer(["Word"], "SOFTWARE")("In Word, Word")) == [Span(3, 7, "SOFTWARE"), Span(9, 13, "SOFTWARE")]


@pytest.mark.parametrize("text", ["Wordpress", "passWord", "Word_2", "Word2"])
def test_a_term_inside_a_longer_word_is_not_found(text: str) -> None:
    assert found(["Word"], text) == []


def test_the_longest_term_wins_and_its_words_are_used_up() -> None:
    terms = ["Visual Studio", "Visual Studio Code", "Code", "Studio"]
    assert found(terms, "Visual Studio Code Visual Studio Codex Studio") == [
        "Visual Studio Code",
        "Visual Studio",
        "Studio",
    ]


def test_a_longer_term_that_fails_late_falls_back_to_the_shorter_one() -> None:
    assert found(["SQL", "SQL Server Management Studio", "Server"], "SQL Server Management") == ["SQL", "Server"]


@pytest.mark.parametrize(
    ("case", "text", "expected"),
    [("ignore", "word WORD Word", ["word", "WORD", "Word"]), ("exact", "word WORD Word", ["Word"])],
)
def test_case_counts_only_if_asked_for(case: LetterCase, text: str, expected: list[str]) -> None:
    assert found(["Word"], text, case) == expected


def test_folding_that_changes_the_length_keeps_the_offsets_of_the_text() -> None:
    assert found(["STRASSE", "x"], "Straße x") == ["Straße", "x"]


def test_composed_and_decomposed_accents_are_the_same() -> None:
    decomposed = unicodedata.normalize("NFD", "Plánovač")
    assert found(["Plánovač"], f"in {decomposed}.") == [decomposed]
    assert found([decomposed], "in Plánovač.") == ["Plánovač"]


@pytest.mark.parametrize("term", ["C++", "C#", ".NET", "Notepad++", "Wi-Fi", "1С:Предприятие"])
def test_terms_with_signs_are_found_whole(term: str) -> None:
    assert found([term], f"({term})") == [term]


def test_white_space_in_a_term_may_be_any_but_a_blank_line() -> None:
    assert found(["Visual Studio"], "Visual\n   Studio") == ["Visual\n   Studio"]
    assert found(["Visual Studio"], "Visual\n\nStudio") == []


def test_white_space_is_neither_invented_nor_forgotten() -> None:
    assert found(["Wi-Fi"], "Wi - Fi") == []
    assert found(["Power BI"], "PowerBI Power-BI") == []


def test_a_blank_term_is_refused() -> None:
    with pytest.raises(InputError, match="character that shows"):
        Gazetteer(["Word", "  "], "A")


def test_the_order_of_the_list_does_not_change_the_digest() -> None:
    digests = {
        Gazetteer(["a", "b"], "A").digest,
        Gazetteer(["b", "a", "a"], "A").digest,
        Gazetteer(["a"], "A").digest,
        Gazetteer(["a", "b"], "B").digest,
        Gazetteer(["a", "b"], "A", case="exact").digest,
    }
    assert len(digests) == 4


@given(st.lists(st.sampled_from(["a", "b", "a b", "b a", "a b a"]), min_size=1), st.text("ab ", max_size=20))
def test_every_span_is_a_term_none_overlap_and_no_term_begins_where_nothing_was_found(
    terms: list[str], text: str
) -> None:
    spans = list(Gazetteer(terms, "A")(text))
    assert all(" ".join(text[span.start : span.end].split()) in terms for span in spans)
    assert all(left.end <= right.start for left, right in pairwise(spans))
    covered = {position for span in spans for position in range(span.start, span.end)}
    starts = {start for start in range(len(text)) if text[start : start + 1] in terms and start not in covered}
    assert not {start for start in starts if f" {text} "[start] == " " == f" {text} "[start + 2]}


def test_ten_thousand_terms_are_found_in_one_pass() -> None:
    terms = [f"product number {number}" for number in range(10_000)]
    gazetteer = Gazetteer(terms, "A")
    assert len(list(gazetteer(", ".join(terms)))) == 10_000


def test_a_list_is_read_from_a_file_without_its_comments_and_blank_lines(tmp_path: Path) -> None:
    path = tmp_path / "terms.txt"
    path.write_text("\ufeff# programs\nWord\n\n  C#  \n#hashtag\n", encoding="utf-8")
    assert load_terms(path) == ("Word", "C#", "#hashtag")


def test_a_file_that_is_missing_not_utf_8_or_empty_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes("Plánovač".encode("cp1250"))
    (tmp_path / "utf-16.txt").write_text("Aurora", encoding="utf-16-le")  # without a mark it reads as UTF-8
    (tmp_path / "empty.txt").write_text("# nothing\n", encoding="utf-8")
    (tmp_path / "long.txt").write_text("a" * 1001, encoding="utf-8")
    for name, rule in (
        ("gone.txt", "can be read: got"),
        ("latin.txt", "UTF-8"),
        ("utf-16.txt", "UTF-8"),
        ("empty.txt", "holds a term"),
        ("long.txt", "at most 1,000 characters"),
    ):
        with pytest.raises(InputError, match=rule) as refusal:
            load_terms(tmp_path / name)
        assert name in str(refusal.value)
