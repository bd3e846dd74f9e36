"""Which method aggregates, and that no labelled text is answered by a method that saw its gold."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from ner.errors import InputError
from ner.labels import LabelSet
from ner.spans import Span
from weak_labeling.aggregate import choosing
from weak_labeling.aggregate.choosing import AUTO, LEAST_LABELLED, METHODS, aggregate
from weak_labeling.aggregate.contract import VotedText
from weak_labeling.aggregate.majority import MajorityVote
from weak_labeling.source import Vote

LABELS = LabelSet(("OS", "TOOL"))
RIGHT = Span(7, 12, "OS")


def text(number: int, right: bool = True) -> VotedText:
    """ "We run <name> here": "good" knows the name, and two other sources take the word before it for a tool."""
    name = "".join(random.Random(number).choices("abcdefghij", k=5))
    span = RIGHT if right else Span(7, 12, "TOOL")
    votes = [Vote(span, "good"), Vote(Span(3, 6, "TOOL"), "bad"), Vote(Span(3, 6, "TOOL"), "worse")]
    return VotedText(number, f"We run {name} here", tuple(votes))


def texts(count: int) -> list[VotedText]:
    return [text(number) for number in range(count)]


def spans(answers) -> list[list[Span]]:
    return [[span.without_score() for span in answer.spans] for answer in answers]


def test_without_gold_it_is_the_majority_vote() -> None:
    done = aggregate(texts(3), {}, LABELS)
    assert (done.method, done.scores) == ("majority", ())
    assert done.reason == f"The majority vote stands until {LEAST_LABELLED} texts with entities are labelled."
    assert spans(done.answers()) == [[Span(3, 6, "TOOL"), RIGHT]] * 3


def test_gold_chooses_the_method_and_says_why() -> None:
    given = texts(30)
    done = aggregate(given, {one.key: (RIGHT,) for one in given[:20]}, LABELS)
    assert done.method == "combined"
    assert done.reason.startswith(
        "The best of 5 methods (0.85 learned + 0.4 weighted + 0.2 generative): F1 1.000 on 20"
    )
    by_name = {one.method: one for one in done.scores}
    assert list(by_name) == [one.name for one in METHODS]
    assert by_name["majority"].f1 == pytest.approx(2 / 3)
    assert spans(done.answers()) == [[RIGHT]] * 30


def test_too_little_gold_does_not_choose() -> None:
    given = texts(LEAST_LABELLED)
    gold = {one.key: (RIGHT,) for one in given[:-1]}
    assert aggregate(given, gold, LABELS).method == "majority"
    assert aggregate(given, {**gold, given[-1].key: ()}, LABELS).method != "majority"
    assert aggregate(given, {one.key: () for one in given}, LABELS).method == "majority"


def noisy(number: int) -> VotedText:
    """Each of three sources is wrong about the name at times, in a way that the words do not show."""
    draw = random.Random(number)
    spans = [RIGHT if draw.random() < share else Span(3, 12, "OS") for share in (0.8, 0.7, 0.6)]
    return VotedText(number, text(number).text, tuple(map(Vote, spans, ("good", "fair", "poor"))))


def test_methods_that_are_not_clearly_apart_are_taken_together() -> None:
    given = [noisy(number) for number in range(40)]
    done = aggregate(given, {one.key: (RIGHT,) for one in given}, LABELS)
    assert done.method == "combined"
    assert done.method != max(done.scores, key=lambda one: one.f1).method
    assert "0.85 learned + 0.4 weighted + 0.2 generative" in done.reason


class Silent:
    """A method that finds an entity in one text of four, as if it had learned little."""

    name, needs_gold = "silent", True

    def learn(self, texts, labels, believed):
        vote = MajorityVote().learn(texts, labels, believed)({})
        return lambda _gold: lambda asked: vote([replace(t, votes=t.votes[: t.key % 4 == 0]) for t in asked])


def test_a_method_that_is_clearly_better_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choosing, "METHODS", (MajorityVote(), Silent()))
    given = [VotedText(one.key, one.text, one.votes[:1]) for one in texts(40)]
    done = aggregate(given, {one.key: (RIGHT,) for one in given}, LABELS)
    assert (done.method, done.reason[:45]) == ("majority", "The best of 2 methods: F1 1.000 on 40 labelle")


@pytest.mark.parametrize("method", [one.name for one in METHODS])
def test_an_answer_does_not_depend_on_the_other_texts(method: str) -> None:
    given = [noisy(number) for number in range(30)]
    fitted = aggregate(given, {one.key: (RIGHT,) for one in given[:20]}, LABELS, method).fitted
    for alone, together in zip((next(fitted([one])) for one in given), fitted(given), strict=True):
        assert spans([alone]) == spans([together])
        np.testing.assert_allclose(alone.soft.probabilities, together.soft.probabilities, atol=1e-9)


@pytest.mark.parametrize("method", ["weighted", "learned", "combined"])
def test_no_labelled_text_is_answered_by_its_own_gold(method: str) -> None:
    given = texts(20)
    odd = given[7]
    gold = {one.key: (RIGHT,) for one in given} | {odd.key: (Span(13, 17, "TOOL"),)}
    answer = list(aggregate(given, gold, LABELS, method).answers())[7]
    [alone] = aggregate(given, {key: spans for key, spans in gold.items() if key != odd.key}, LABELS, method).answers(
        [odd]
    )
    assert spans([answer]) == spans([alone]) == [[RIGHT]]


def test_equal_texts_are_held_back_together() -> None:
    """ "odd" votes on copies of one text alone, wrongly: the copies must not teach each other so."""
    given, odd = texts(20), Span(13, 17, "TOOL")
    votes = (*given[0].votes, Vote(odd, "odd"))
    copies = [VotedText(f"copy {number}", given[0].text, votes) for number in range(15)]
    gold = {one.key: (RIGHT,) for one in (*given[1:], *copies)}
    answers = list(aggregate([*given[1:], *copies], gold, LABELS, "weighted").answers(copies))
    assert spans(answers) == [[RIGHT, odd]] * 15


def test_answers_to_other_texts_use_all_gold_and_come_in_order() -> None:
    given = texts(20)
    done = aggregate(given, {one.key: (RIGHT,) for one in given[:10]}, LABELS, "weighted")
    new, old = VotedText("new", "We run Linux here", (Vote(Span(7, 12, "TOOL"), "good"),)), given[0]
    assert spans(done.answers([new, old])) == [[Span(7, 12, "TOOL")], [RIGHT]]


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(InputError, match="a method of aggregation is one of auto, majority, generative"):
        aggregate([], {}, LABELS, "best")


def test_auto_works_without_texts() -> None:
    assert list(aggregate([], {}, LABELS, AUTO).answers()) == []
