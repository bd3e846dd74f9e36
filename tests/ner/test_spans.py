from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ner.errors import InputError
from ner.spans import Span, check_span, clean_spans, drop_overlaps, flat_spans, overlap

spans = st.builds(
    lambda start, length, label: Span(start, start + length, label),
    st.integers(0, 30),
    st.integers(1, 8),
    st.sampled_from(["A", "B"]),
)


def naive_drop(given_spans: list[Span]) -> set[Span]:
    kept: list[Span] = []
    for span in sorted(given_spans, key=lambda s: (s.start - s.end, s.start, s.label)):
        if not any(overlap(span, other) for other in kept):
            kept.append(span)
    return set(kept)


@given(st.lists(spans, max_size=12))
def test_what_is_kept_never_overlaps_and_nothing_is_lost(given_spans: list[Span]) -> None:
    kept, dropped = drop_overlaps(given_spans)
    assert not any(overlap(a, b) for a, b in combinations(kept, 2))
    assert sorted((*kept, *dropped)) == sorted(given_spans)
    assert set(kept) == naive_drop(given_spans)
    assert list(kept) == sorted(kept)


def test_the_longest_of_overlapping_spans_is_kept() -> None:
    short, long = Span(0, 4, "A"), Span(2, 9, "B")
    assert drop_overlaps([short, long]) == ((long,), (short,))


def test_spans_that_only_touch_do_not_overlap() -> None:
    assert not overlap(Span(0, 3, "A"), Span(3, 5, "A"))
    assert drop_overlaps([Span(3, 5, "A"), Span(0, 3, "A")])[1] == ()


@pytest.mark.parametrize(("start", "end"), [(3, 3), (4, 2), (-1, 2), (0, 6)])
def test_a_span_outside_its_text_or_inverted_is_refused_with_its_offsets(start: int, end: int) -> None:
    with pytest.raises(InputError, match=f"start {start}, end {end}"):
        check_span(Span(start, end, "A"), 5)


def test_a_span_may_cover_its_whole_text() -> None:
    check_span(Span(0, 5, "A"), 5)


def test_spans_lose_the_white_space_at_their_ends_and_nothing_else() -> None:
    text = "met Anna\u00a0Berg, \r\n\tLyon\u3000"
    drawn = [Span(14, 23, "LOC", 0.5), Span(3, 13, "PER"), Span(4, 13, "PER"), Span(14, 18, "LOC")]
    kept, blank = clean_spans(text, drawn)
    assert kept == (Span(18, 22, "LOC", 0.5), Span(4, 13, "PER"), Span(4, 13, "PER"))
    assert blank == (Span(14, 18, "LOC"),)


@given(st.text(alphabet=" \t\n\r\u00a0\u200b\u3000aé東\U0001f692", min_size=1, max_size=20), st.data())
def test_a_clean_span_shows_what_the_drawn_one_shows(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    kept, blank = clean_spans(text, [Span(start, end, "A")])
    assert [text[span.start : span.end] for span in kept] == [words for words in [text[start:end].strip()] if words]
    assert len(kept) + len(blank) == 1
    assert clean_spans(text, kept) == (kept, ())


def test_flat_spans_are_clean_before_the_longest_is_chosen() -> None:
    assert flat_spans("Anna   Berg", [Span(0, 7, "A"), Span(0, 4, "B"), Span(2, 7, "C")]) == (Span(0, 4, "A"),)
