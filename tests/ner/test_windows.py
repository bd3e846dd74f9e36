from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ner.alignment import as_offsets, spans_to_tags
from ner.decoding import tags_to_spans
from ner.labels import LabelSet
from ner.spans import Span
from ner.windows import Window, merge, windows

LABELS = LabelSet(("OS",))
sizes = st.tuples(st.integers(1, 12), st.integers(0, 11)).filter(lambda pair: pair[1] < pair[0])


def context(window: Window, token: int, num_tokens: int) -> float:
    left = token - window.start if window.start else np.inf
    right = window.end - 1 - token if window.end < num_tokens else np.inf
    return min(left, right)


@given(st.integers(0, 80), sizes)
def test_each_token_is_kept_once_from_the_window_where_it_has_most_context(
    num_tokens: int, size: tuple[int, int]
) -> None:
    room, overlap = size
    parts = windows(num_tokens, room + 2, 2, overlap)
    kept = [(token, part) for part in parts for token in range(part.keep_start, part.keep_end)]
    assert [token for token, _ in kept] == list(range(num_tokens))
    for token, part in kept:
        within = [other for other in parts if other.start <= token < other.end]
        assert part in within
        assert context(part, token, num_tokens) == max(context(other, token, num_tokens) for other in within)


@given(st.integers(0, 80), sizes)
def test_windows_are_as_full_and_overlap_as_much_as_asked(num_tokens: int, size: tuple[int, int]) -> None:
    room, overlap = size
    parts = windows(num_tokens, room + 2, 2, overlap)
    assert all(part.end - part.start == min(room, num_tokens) for part in parts)
    assert all(before.end - after.start >= overlap for before, after in pairwise(parts))


@given(st.integers(0, 100_000), st.integers(3, 512))
def test_what_the_encoder_reads_grows_in_step_with_the_text(num_tokens: int, max_length: int) -> None:
    read = sum(window.end - window.start for window in windows(num_tokens, max_length, num_special=2))
    assert num_tokens <= read <= num_tokens * 4 / 3 + max_length


def test_a_text_that_fits_is_one_window() -> None:
    assert windows(126, 128) == (Window(0, 126, 0, 126),)
    assert len(windows(127, 128)) == 2
    assert windows(0, 128) == ()


@pytest.mark.parametrize(("max_length", "overlap"), [(2, None), (10, 8), (10, -1)])
def test_windows_without_room_are_refused(max_length: int, overlap: int | None) -> None:
    with pytest.raises(ValueError, match="no room"):
        windows(50, max_length, 2, overlap)


@given(st.integers(1, 60), sizes, st.data())
def test_no_window_edge_cuts_or_doubles_an_entity(num_tokens: int, size: tuple[int, int], data: st.DataObject) -> None:
    start = data.draw(st.integers(0, num_tokens - 1))
    end = data.draw(st.integers(start + 1, num_tokens))
    offsets = as_offsets([(token, token + 1) for token in range(num_tokens)])
    whole = np.eye(3)[spans_to_tags([Span(start, end, "OS")], offsets, LABELS).tags]
    parts = windows(num_tokens, size[0] + 2, 2, size[1])
    merged = merge(parts, [whole[part.start : part.end] for part in parts])
    assert (merged == whole).all()
    assert tags_to_spans(merged.argmax(axis=1), offsets, LABELS) == (Span(start, end, "OS"),)
