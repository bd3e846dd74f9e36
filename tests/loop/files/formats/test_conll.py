"""CoNLL: tokens and tags become texts with spans."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loop.files.records import Problem, Record
from loop.files.writing.conll import write_conll
from loop.files.writing.texts import StoredText, TaggedText
from ner.spans import Span
from tests.loop.files.read import problem, raw, record, spans


def conll(text: str) -> list[Record | Problem]:
    return raw(text, "conll")


def test_iob1_and_iob2_give_the_same_spans():
    iob1 = conll("a\tI-X\nb\tI-X\nc\tB-X\nd\tI-Y\ne\tO\nf\tI-X\n")
    iob2 = conll("a\tB-X\nb\tI-X\nc\tB-X\nd\tB-Y\ne\tO\nf\tB-X\n")
    assert spans(iob1[0]) == spans(iob2[0])
    assert spans(iob1[0]) == (Span(0, 3, "X"), Span(4, 5, "X"), Span(6, 7, "Y"), Span(10, 11, "X"))


def test_a_blank_line_ends_a_text_and_docstart_begins_a_group():
    first, second, third = conll("-DOCSTART- O\n\na O\n\nb O\n\n-DOCSTART-\tO\nc\tB-X\n")
    assert [record(item).text for item in (first, second, third)] == ["a", "b", "c"]
    assert record(first).group == record(second).group == "file:doc-1"
    assert record(third).group == "file:doc-2"
    assert record(third).where == "line 8"


def test_a_token_may_hold_a_no_break_space():
    assert spans(conll("10\u00a0GB B-X\nleft\tO\n")[0]) == (Span(0, 5, "X"),)


@pytest.mark.parametrize(
    ("line", "rule"),
    [("alone", "two columns"), ("a B-X z", "two columns"), ("a\tS-X", "B-TYPE"), ("a\tB-", "B-TYPE"), ("a X", "B-")],
)
def test_a_bad_line_makes_its_text_a_problem_and_no_other(line: str, rule: str):
    before, bad, after = conll(f"a O\n\nb O\n{line}\n\nc O\n")
    assert (record(before).text, record(after).text) == ("a", "c")
    assert problem(bad).where == "line 4"
    assert rule in str(problem(bad).error)


TOKENS = st.lists(st.text("abcé", min_size=1, max_size=4) | st.sampled_from("😀.,"), min_size=1, max_size=8)


@given(TOKENS, st.data())
def test_texts_of_joined_tokens_come_back_from_conll_with_their_spans(tokens: list[str], data: st.DataObject):
    text = " ".join(tokens)
    borders = [0]
    for token in tokens:
        borders.append(borders[-1] + len(token) + 1)
    flags = data.draw(st.lists(st.sampled_from(["", "X", "Y"]), min_size=len(tokens), max_size=len(tokens)))
    placed = zip(borders, tokens, flags, strict=False)
    gold = tuple(Span(start, start + len(token), flag) for start, token, flag in placed if flag)
    (read,) = conll("".join(write_conll([TaggedText.of(StoredText("a", text, gold, "train"))], plain=True)))
    assert (record(read).text, spans(read)) == (text, gold)
