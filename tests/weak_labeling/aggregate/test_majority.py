"""Majority vote over spans."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from ner.spans import Span
from weak_labeling.aggregate.majority import majority_vote
from weak_labeling.source import Vote

TEXT = "Windows 11 on a ThinkPad"


def votes(*spans: tuple[str, str, str], text: str = TEXT) -> list[Vote]:
    """(source, surface, label) each, the surface where it first stands in the text."""
    return [Vote(Span(text.index(s), text.index(s) + len(s), label), source) for source, s, label in spans]


def decided(*spans: tuple[str, str, str], text: str = TEXT) -> list[tuple[str, str]]:
    return [(text[s.start : s.end], s.label) for s in majority_vote(votes(*spans, text=text), text)]


def test_no_votes_make_no_spans() -> None:
    assert majority_vote([], TEXT) == ()


def test_a_single_vote_is_enough_since_abstaining_is_no_vote_against() -> None:
    assert decided(("a", "ThinkPad", "HARDWARE")) == [("ThinkPad", "HARDWARE")]


def test_two_votes_beat_one() -> None:
    assert decided(("a", "Windows", "SOFTWARE"), ("b", "Windows", "OS"), ("c", "Windows", "OS")) == [("Windows", "OS")]


def test_a_tie_goes_to_the_longest_vote() -> None:
    assert decided(("a", "Windows 11", "SOFTWARE"), ("b", "Windows", "OS")) == [("Windows 11", "SOFTWARE")]


def test_white_space_makes_no_vote_longer() -> None:
    assert decided(("a", "Windows ", "SOFTWARE"), ("b", "Windows", "OS")) == [("Windows", "OS")]


def test_a_tie_of_equal_length_goes_to_the_label_that_comes_first_by_name() -> None:
    labels = ("SOFTWARE", "VERSION", "ERROR", "HARDWARE", "OS")
    assert decided(*((f"f{label}", "Windows", label) for label in labels)) == [("Windows", "ERROR")]


def test_each_segment_is_voted_on_by_itself() -> None:
    cast = (("a", "Windows 11", "SOFTWARE"), ("b", "Windows", "OS"), ("c", "Windows", "OS"), ("b", "11", "VERSION"))
    assert decided(*cast) == [("Windows", "OS"), ("11", "SOFTWARE")]


def test_a_longer_vote_for_the_same_label_joins_the_parts() -> None:
    text = "new Microsoft Teams app"
    cast = (("a", "Teams", "SOFTWARE"), ("b", "Teams", "SOFTWARE"), ("c", "Microsoft Teams", "SOFTWARE"))
    assert decided(*cast, text=text) == [("Microsoft Teams", "SOFTWARE")]


def test_neighbours_that_no_vote_runs_across_stay_apart() -> None:
    text = "ab"
    assert decided(("a", "a", "OS"), ("b", "b", "OS"), text=text) == [("a", "OS"), ("b", "OS")]


def test_one_function_counts_once_in_a_segment() -> None:
    cast = [Vote(Span(0, 7, "OS"), "a"), Vote(Span(0, 6, "OS"), "a"), Vote(Span(0, 7, "SOFTWARE"), "b")]
    cast += [Vote(Span(0, 7, "SOFTWARE"), "c")]
    assert majority_vote(cast, TEXT) == (Span(0, 7, "SOFTWARE"),)


def test_white_space_that_is_left_between_winners_is_cut_off() -> None:
    cast = (
        ("a", "Windows 11 on", "HARDWARE"),
        ("b", "Windows", "OS"),
        ("c", "Windows", "OS"),
        ("d", "11 on", "VERSION"),
    )
    cast += (("e", "11 on", "VERSION"),)
    assert decided(*cast) == [("Windows", "OS"), ("11 on", "VERSION")]


SPANS = st.builds(
    lambda start, length, label: Span(start, min(start + length, 12), label),
    st.integers(0, 11),
    st.integers(1, 6),
    st.sampled_from(["A", "B", "C"]),
)
CAST = st.lists(st.builds(Vote, SPANS, st.sampled_from(["f", "g", "h"])), max_size=12)
SPACED = "ab cd  ef gh"


@given(CAST)
def test_spans_are_flat_trimmed_and_made_of_votes(cast: list[Vote]) -> None:
    spans = majority_vote(cast, SPACED)
    assert all(left.end <= right.start for left, right in pairwise(spans))
    for span in spans:
        assert SPACED[span.start : span.end] == SPACED[span.start : span.end].strip() != ""
        for position in range(span.start, span.end):
            assert any(v.span.label == span.label and v.span.start <= position < v.span.end for v in cast)


@given(CAST)
def test_every_character_that_shows_and_has_a_vote_is_in_a_span(cast: list[Vote]) -> None:
    covered = {position for span in majority_vote(cast, SPACED) for position in range(span.start, span.end)}
    voted = {position for vote in cast for position in range(vote.span.start, vote.span.end)}
    assert {position for position in voted if SPACED[position] != " "} <= covered


@given(CAST, st.randoms())
def test_the_order_of_the_votes_does_not_matter(cast: list[Vote], random: object) -> None:
    shuffled = list(cast)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert majority_vote(shuffled, SPACED) == majority_vote(cast, SPACED)
