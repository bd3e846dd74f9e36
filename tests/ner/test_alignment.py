from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ner.alignment import NO_TOKEN, SHARED_TOKEN, as_offsets, carries_text, spans_to_tags, trim_offsets
from ner.decoding import is_valid_path, tags_to_spans
from ner.errors import InputError
from ner.labels import LabelSet
from ner.spans import OVERLAPS, Span

Array = npt.NDArray[Any]

LABELS = LabelSet(("OS", "VERSION"))
OUT, B_OS, I_OS, B_VERSION, I_VERSION = range(5)


def offsets(*pairs: tuple[int, int]) -> Array:
    return as_offsets(pairs)


WINDOWS_10 = offsets((0, 0), (0, 4), (4, 7), (7, 9), (0, 0))  # [CLS] wind ##ows ##10 [SEP]


def test_every_subword_of_a_span_is_tagged() -> None:
    aligned = spans_to_tags([Span(0, 7, "OS")], WINDOWS_10, LABELS)
    assert aligned.tags.tolist() == [OUT, B_OS, I_OS, OUT, OUT]
    assert (aligned.snapped, aligned.set_aside) == ((), ())


def test_a_span_may_begin_inside_a_word() -> None:
    aligned = spans_to_tags([Span(7, 9, "VERSION"), Span(0, 7, "OS")], WINDOWS_10, LABELS)
    assert aligned.tags.tolist() == [OUT, B_OS, I_OS, B_VERSION, OUT]


def test_a_boundary_inside_a_token_snaps_out_and_is_reported() -> None:
    aligned = spans_to_tags([Span(2, 5, "OS")], WINDOWS_10, LABELS)
    assert aligned.tags.tolist() == [OUT, B_OS, I_OS, OUT, OUT]
    (snap,) = aligned.snapped
    assert (snap.span, snap.start, snap.end) == (Span(2, 5, "OS"), 0, 7)


def test_a_span_of_characters_without_a_token_is_set_aside() -> None:
    aligned = spans_to_tags([Span(3, 4, "OS")], offsets((0, 3), (4, 6)), LABELS)
    assert [(lost.span, lost.reason) for lost in aligned.set_aside] == [(Span(3, 4, "OS"), NO_TOKEN)]
    assert not aligned.tags.any()


def test_the_later_of_two_spans_inside_one_token_is_set_aside() -> None:
    aligned = spans_to_tags([Span(0, 2, "OS"), Span(2, 4, "VERSION")], offsets((0, 4)), LABELS)
    assert aligned.tags.tolist() == [B_OS]
    assert [(lost.span.label, lost.reason) for lost in aligned.set_aside] == [("VERSION", SHARED_TOKEN)]


def test_two_spans_meeting_inside_a_token_leave_it_to_the_earlier() -> None:
    aligned = spans_to_tags([Span(0, 3, "OS"), Span(3, 6, "VERSION")], offsets((0, 2), (2, 4), (4, 6)), LABELS)
    assert aligned.tags.tolist() == [B_OS, I_OS, B_VERSION]
    assert [(snap.span.label, snap.start, snap.end) for snap in aligned.snapped] == [("OS", 0, 4), ("VERSION", 4, 6)]


def test_of_overlapping_spans_the_shorter_is_set_aside() -> None:
    aligned = spans_to_tags([Span(0, 4, "VERSION"), Span(2, 7, "OS")], offsets((0, 2), (2, 7)), LABELS)
    assert aligned.tags.tolist() == [OUT, B_OS]
    assert [lost.reason for lost in aligned.set_aside] == [OVERLAPS]


def test_adjacent_spans_of_one_type_stay_two() -> None:
    aligned = spans_to_tags([Span(0, 2, "OS"), Span(2, 4, "OS")], offsets((0, 2), (2, 4)), LABELS)
    assert aligned.tags.tolist() == [B_OS, B_OS]


def test_a_text_without_tokens_sets_every_span_aside() -> None:
    aligned = spans_to_tags([Span(0, 1, "OS")], offsets(), LABELS)
    assert (len(aligned.tags), len(aligned.set_aside)) == (0, 1)


def test_a_label_outside_the_set_is_refused() -> None:
    with pytest.raises(InputError, match="HARDWARE"):
        spans_to_tags([Span(0, 1, "HARDWARE")], WINDOWS_10, LABELS)


def test_whitespace_is_trimmed_off_both_ends_of_a_token() -> None:
    assert trim_offsets([(0, 3), (3, 8), (8, 9), (0, 0)], "foo bar\t\n").tolist() == [[0, 3], [4, 7], [9, 9], [0, 0]]


def test_trimming_does_not_write_into_the_offsets_it_was_given() -> None:
    given_offsets = offsets((0, 2))
    trim_offsets(given_offsets, " a")
    assert given_offsets.tolist() == [[0, 2]]


@st.composite
def tokenised_spans(draw: st.DrawFn) -> tuple[Array, list[Span]]:
    """Tokens with gaps between some of them, and spans whose boundaries are token boundaries."""
    text = draw(st.text(alphabet="ab ", max_size=40))
    tokens = [match.span() for match in re.finditer(r"[ab]{1,3}", text)]
    cuts = sorted(draw(st.sets(st.integers(0, len(tokens)), max_size=len(tokens) + 1)))
    ranges = [pair for pair in pairwise(cuts) if draw(st.booleans())]
    spans = [Span(tokens[a][0], tokens[b - 1][1], draw(st.sampled_from(LABELS.types))) for a, b in ranges]
    return as_offsets([(0, 0), *tokens, (0, 0)]), spans


@given(tokenised_spans())
def test_spans_at_token_boundaries_come_back_whole(case: tuple[Array, list[Span]]) -> None:
    token_offsets, spans = case
    aligned = spans_to_tags(spans, token_offsets, LABELS)
    assert (aligned.snapped, aligned.set_aside) == ((), ())
    real = carries_text(token_offsets)
    assert is_valid_path(aligned.tags[real], LABELS)
    assert list(tags_to_spans(aligned.tags[real], token_offsets[real], LABELS)) == spans


wild_spans = st.builds(lambda start, length: Span(start, start + length, "OS"), st.integers(0, 40), st.integers(1, 5))


@given(
    tokenised_spans(),
    st.lists(
        st.builds(lambda s, n: Span(s, s + n, "OS"), st.integers(0, 40), st.integers(1, 5)), max_size=6, unique=True
    ),
)
def test_any_spans_are_tagged_or_reported(case: tuple[Array, list[Span]], wild: list[Span]) -> None:
    token_offsets, _ = case
    aligned = spans_to_tags(wild, token_offsets, LABELS)
    real = carries_text(token_offsets)
    assert is_valid_path(aligned.tags[real], LABELS)
    found = tags_to_spans(aligned.tags[real], token_offsets[real], LABELS)
    assert len(found) + len(aligned.set_aside) == len(wild)
    snapped = {snap.span: (snap.start, snap.end) for snap in aligned.snapped}
    lost = [unaligned.span for unaligned in aligned.set_aside]
    exact = [span for span in wild if span not in snapped and span not in lost]
    assert {(s.start, s.end) for s in found} == {*snapped.values(), *((s.start, s.end) for s in exact)}
