"""What the votes alone teach about the sources."""

from __future__ import annotations

import random

from ner.labels import LabelSet
from ner.spans import Span
from weak_labeling.aggregate.contract import VotedText
from weak_labeling.aggregate.generative import Generative, estimated_precision, weights_of
from weak_labeling.source import Vote

LABELS = LabelSet(("OS", "TOOL"))


def made(count: int, right: dict[str, float], seed: int = 0) -> list[VotedText]:
    """Texts with one OS each, at characters 7 to 12. A source is right with its chance, else it says TOOL."""
    rng = random.Random(seed)
    return [
        VotedText(
            number,
            "We run Linux here",
            tuple(
                Vote(Span(7, 12, "OS" if rng.random() < chance else "TOOL"), name)
                for name, chance in right.items()
                if rng.random() < 0.8
            ),
        )
        for number in range(count)
    ]


def test_sources_that_agree_are_believed_and_the_source_that_contradicts_them_is_not() -> None:
    found = estimated_precision(made(300, {"a": 0.95, "b": 0.9, "c": 0.9, "liar": 0.05}), LABELS)
    assert min(found["a", "OS"], found["b", "OS"], found["c", "OS"]) > 0.72
    assert found["liar", "TOOL"] < 0.3


def test_two_sources_that_are_trusted_outvote_three_that_are_not() -> None:
    right = {"a": 0.95, "b": 0.95, "c": 0.95, "d": 0.95, "x": 0.1, "y": 0.1, "z": 0.1}
    new = VotedText(
        "new",
        "We run Linux here",
        (*(Vote(Span(7, 12, "OS"), name) for name in "ab"), *(Vote(Span(7, 12, "TOOL"), name) for name in "xyz")),
    )
    [answer] = Generative().learn([], LABELS, estimated_precision(made(300, right), LABELS))({})([new])
    assert [span.label for span in answer.spans] == ["OS"]


def test_a_source_alone_is_neither_believed_nor_doubted() -> None:
    assert estimated_precision(made(50, {"a": 1.0}), LABELS) == {("a", "OS"): 0.7}
    assert estimated_precision([], LABELS) == {}


def test_a_source_does_not_confirm_itself() -> None:
    """The vote of a source is left out where the source is judged, so that more votes of it alone change nothing."""
    both = made(100, {"a": 0.9, "b": 0.9})
    alone = [VotedText(f"{number}", "We run Linux here", (Vote(Span(7, 12, "OS"), "a"),)) for number in range(500)]
    few, many = (estimated_precision(given, LABELS) for given in (both, [*both, *alone]))
    assert abs(few["a", "OS"] - many["a", "OS"]) < 0.05


def test_a_source_that_is_mostly_wrong_has_no_weight() -> None:
    assert weights_of({("a", "OS"): 0.5, ("b", "OS"): 0.3}) == {("a", "OS"): 0.0, ("b", "OS"): 0.0}
    assert weights_of({("a", "OS"): 0.9})["a", "OS"] > weights_of({("a", "OS"): 0.6})["a", "OS"] > 1


def test_the_gold_is_not_looked_at_and_the_order_of_texts_does_not_matter_much() -> None:
    given = made(200, {"a": 0.9, "b": 0.8, "c": 0.3})
    forward, backward = estimated_precision(given, LABELS), estimated_precision(given[::-1], LABELS)
    assert all(abs(forward[key] - backward[key]) < 1e-9 for key in forward)


def test_a_few_contradictions_do_not_undo_a_source_that_votes_alone_nearly_always() -> None:
    alone = [VotedText(f"{n}", "We run Linux here", (Vote(Span(7, 12, "OS"), "a"),)) for n in range(400)]
    both = (Vote(Span(7, 12, "OS"), "a"), *(Vote(Span(7, 12, "TOOL"), name) for name in "bc"))
    contradicted = [VotedText(n, "We run Linux here", both) for n in range(40)]
    found = estimated_precision([*alone, *contradicted], LABELS)
    assert found["a", "OS"] > 0.5
    assert estimated_precision(contradicted, LABELS)["a", "OS"] < 0.5
