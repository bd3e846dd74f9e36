"""Shapes of spans: regular expressions that find the span they were made from, and others like it."""

from __future__ import annotations

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from weak_labeling.suggesting.shapes import shapes_of

WORDS = st.text("abXYZ019.-/# ", min_size=1, max_size=15).map(lambda text: " ".join(text.split())).filter(bool)


def patterns(text: str, span: str) -> set[str]:
    start = text.index(span)
    return {shape.pattern([word]) for shape, word in shapes_of(text, start, start + len(span))}


@pytest.mark.parametrize(
    ("span", "pattern"),
    [
        ("KB4034658", r"\bKB\d+(?![\w-]|[.,]\d)"),
        ("KB4034658", r"\bKB\d{7}(?![\w-]|[.,]\d)"),
        ("G.O. 95", r"\bG\.O\. \d+(?![\w-]|[.,]\d)"),
        ("10.0.19045", r"(?<![\w.,-])\d+(?:\.\d+)+(?![\w-]|[.,]\d)"),
        ("10.0.19045", r"(?<![\w.,-])\d{2}\.\d{1}\.\d{5}(?![\w-]|[.,]\d)"),
        ("18 ft", r"(?<![\w.,-])\d+ ft\b"),
        ("MV Ocean Star", r"\bMV \p{Lu}\p{Ll}+(?: \p{Lu}\p{Ll}+)*\b"),
        ("M404dn", r"(?<![\w.,-])(?=\p{L}{0,20}\d)[\p{L}\d]+(?![\w-]|[.,]\d)"),
    ],
)
def test_a_span_looks_like(span: str, pattern: str):
    assert pattern in patterns(f"the {span}, that", span)


def test_small_words_alone_have_no_shape_but_beside_a_word():
    shapes = {(shape.slot, word) for shape, word in shapes_of("my old printer jams", 3, 14)}
    assert shapes == {("first", "old"), ("last", "printer"), ("before", "my"), ("after", "jams")}


def test_the_word_before_a_span_keeps_the_signs_behind_it():
    shapes = {word for shape, word in shapes_of("Error code: 1603 on", 12, 16) if shape.slot == "before"}
    assert shapes == {"code:"}


@given(WORDS)
def test_every_shape_finds_the_span_it_was_made_from(span: str):
    for pattern in patterns(f"§ {span} §", span):
        assert (2, 2 + len(span)) in [match.span() for match in regex.finditer(pattern, f"§ {span} §")], pattern
