"""Applying functions: votes for what is right, a named failure for what is not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest

from ner.spans import Span
from weak_labeling.apply import apply_functions
from weak_labeling.functions import LabelingFunction, labeling_function
from weak_labeling.source import Vote

LABELS = ("OS", "VERSION")


def gives(name: str, *spans: object) -> LabelingFunction:
    """A function that answers every text with `spans`."""

    def find(text: str) -> Iterable[Span]:
        return spans  # type: ignore[return-value]

    return labeling_function(name=name)(find)


@labeling_function(name="raises")
def raises(text: str) -> Iterator[Span]:
    yield Span(0, 1, "OS")
    if "bad" in text:
        raise KeyError("what it said")


@labeling_function(name="abstains")
def abstains(text: str) -> None:
    return None


def test_votes_are_by_document_in_text_order_with_their_source() -> None:
    applied = apply_functions(
        [gives("b", Span(2, 3, "OS"), Span(0, 1, "OS")), gives("a", Span(0, 1, "OS"))], [(7, "abc")], LABELS
    )
    assert applied.votes == {7: (Vote(Span(0, 1, "OS"), "a"), Vote(Span(0, 1, "OS"), "b"), Vote(Span(2, 3, "OS"), "b"))}
    assert applied.failures == ()


def test_a_document_on_which_all_abstain_has_no_votes_but_is_there() -> None:
    assert apply_functions([abstains, gives("empty")], [("d1", "abc")], LABELS).votes == {"d1": ()}


def test_a_function_that_raises_loses_its_votes_on_that_document_only_and_the_rest_go_on() -> None:
    applied = apply_functions([raises, gives("a", Span(1, 2, "OS"))], [("d1", "bad"), ("d2", "good")], LABELS)
    assert applied.votes == {
        "d1": (Vote(Span(1, 2, "OS"), "a"),),
        "d2": (Vote(Span(0, 1, "OS"), "raises"), Vote(Span(1, 2, "OS"), "a")),
    }
    (failure,) = applied.failures
    assert (failure.function, failure.document_id) == ("raises", "d1")
    assert failure.reason == "raised KeyError: 'what it said'"


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (Span(0, 4, "OS"), "within its text of 3 characters"),
        (Span(-1, 2, "OS"), "within its text"),
        (Span(2, 2, "OS"), "starts before it ends"),
        (Span(0, 1, "PERSON"), "one of OS, VERSION"),
        (Span(0.0, 1, "OS"), "Spans with whole numbers"),  # type: ignore[arg-type]
        (Span(False, True, "OS"), "Spans with whole numbers"),
        (Span(0, 1, []), "one of OS, VERSION"),  # type: ignore[arg-type]
        ((0, 1, "OS"), "Spans with whole numbers"),
        (None, "Spans with whole numbers"),
    ],
)
def test_a_vote_that_breaks_a_rule_sets_the_functions_votes_on_the_document_aside(wrong: object, says: str) -> None:
    applied = apply_functions([gives("f", Span(0, 1, "OS"), wrong)], [("d1", "abc")], LABELS)
    assert applied.votes == {"d1": ()}
    (failure,) = applied.failures
    assert says in failure.reason


def test_an_answer_that_is_no_list_is_a_failure_too() -> None:
    @labeling_function(name="number")
    def number(text: str) -> Iterable[Span]:
        return 3  # type: ignore[return-value]

    assert "not iterable" in apply_functions([number], [("d1", "abc")], LABELS).failures[0].reason


def test_failures_are_counted_by_function() -> None:
    documents = [("d1", "bad"), ("d2", "bad"), ("d3", "fine")]
    applied = apply_functions([raises, gives("g", Span(0, 9, "OS"))], documents, LABELS)
    assert applied.failures_by_function() == {"g": 3, "raises": 2}


def test_of_overlapping_spans_of_one_function_the_longest_counts_and_doubles_count_once() -> None:
    function = gives("f", Span(0, 1, "OS"), Span(0, 3, "OS"), Span(4, 5, "OS"), Span(4, 5, "OS"))
    votes = apply_functions([function], [("d1", "abc d")], LABELS).votes["d1"]
    assert [vote.span for vote in votes] == [Span(0, 3, "OS"), Span(4, 5, "OS")]


def test_white_space_at_the_ends_of_a_vote_does_not_count_and_a_blank_vote_abstains() -> None:
    function = gives("f", Span(0, 4, "OS"), Span(3, 4, "OS"), Span(3, 5, "OS"))
    applied = apply_functions([function], [("d1", "abc d")], LABELS)
    assert [vote.span for vote in applied.votes["d1"]] == [Span(0, 3, "OS"), Span(4, 5, "OS")]
    assert applied.failures == ()


def test_scores_are_dropped() -> None:
    votes = apply_functions([gives("f", Span(0, 1, "OS", 0.5))], [("d1", "abc")], LABELS).votes["d1"]
    assert votes == (Vote(Span(0, 1, "OS"), "f"),)


def test_an_interrupt_is_not_swallowed() -> None:
    @labeling_function(name="interrupted")
    def interrupted(text: str) -> Iterable[Span]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        apply_functions([interrupted], [("d1", "abc")], LABELS)
