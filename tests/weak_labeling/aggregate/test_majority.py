"""Majority vote over spans."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ner.labels import LabelSet
from ner.spans import Span
from weak_labeling.aggregate.contract import VotedText
from weak_labeling.aggregate.majority import WeightedVote, Weights, majority_vote
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


def softly(
    *spans: tuple[str, str, str], text: str = TEXT, weights: Weights | None = None
) -> tuple[list[tuple[str, float | None]], dict[str, dict[str, float]]]:
    """The spans with their scores, and word -> tag -> probability where it is not 0."""
    labels = LabelSet(("HARDWARE", "OS", "SOFTWARE", "VERSION"))
    [answer] = WeightedVote(labels, weights or {})([VotedText(1, text, tuple(votes(*spans, text=text)))])
    soft = answer.soft
    tags = {
        text[start:end]: {labels.tags[tag]: float(row[tag]) for tag in np.flatnonzero(row)}
        for (start, end), row in zip(soft.offsets.tolist(), soft.probabilities, strict=True)
    }
    return [(text[s.start : s.end], s.score) for s in answer.spans], tags


def test_tags_have_the_shares_of_the_votes() -> None:
    cast = (("a", "Windows 11", "OS"), ("b", "Windows", "OS"), ("c", "Windows", "SOFTWARE"))
    spans, tags = softly(*cast)
    assert tags == {
        "Windows": {"B-OS": 2 / 3, "B-SOFTWARE": 1 / 3},
        "11": {"I-OS": 1.0},
        "on": {"O": 1.0},
        "a": {"O": 1.0},
        "ThinkPad": {"O": 1.0},
    }
    assert spans == [("Windows 11", (3 / 5 + 2 / 3) / 2)]


def test_weights_outvote_numbers() -> None:
    cast = (("a", "Windows", "OS"), ("b", "Windows", "SOFTWARE"), ("c", "Windows", "SOFTWARE"))
    assert softly(*cast, weights={("a", "OS"): 3.0})[0] == [("Windows", 4 / 7)]
    assert softly(*cast, weights={("a", "OS"): 3.0})[1]["Windows"] == {"B-OS": 3 / 5, "B-SOFTWARE": 2 / 5}


def test_a_source_without_weight_makes_no_span() -> None:
    spans, tags = softly(("a", "ThinkPad", "HARDWARE"), weights={("a", "HARDWARE"): 0.0})
    assert (spans, tags["ThinkPad"]) == ([], {"O": 1.0})


def test_a_vote_for_a_part_of_a_word_is_given_exactly() -> None:
    spans, tags = softly(("a", "Think", "HARDWARE"))
    assert [surface for surface, _ in spans] == ["Think"]
    assert (tags["Think"], tags["Pad"]) == ({"B-HARDWARE": 1.0}, {"O": 1.0})
