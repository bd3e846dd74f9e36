"""What gold teaches about the sources."""

from __future__ import annotations

from collections.abc import Sequence

from ner.labels import LabelSet
from ner.spans import Span
from weak_labeling.aggregate.contract import Learner, VotedText
from weak_labeling.aggregate.generative import estimated_precision
from weak_labeling.aggregate.learned import Learned
from weak_labeling.source import Vote

LABELS = LabelSet(("OS", "TOOL"))
NAMES = ("Arch", "Brew", "Cargo", "Deno", "Emacs", "Fish", "Gradle", "Helm")


def learn(texts: Sequence[VotedText]) -> Learner:
    return Learned().learn(texts, LABELS, estimated_precision(texts, LABELS))


def said(name: str, *votes: tuple[str, str]) -> VotedText:
    """A text about `name`, with (source, label) votes on the name and a vote of "noisy" on the word before it."""
    text = f"We run {name} here"
    cast = [Vote(Span(7, 7 + len(name), label), source) for source, label in votes]
    return VotedText(name, text, (*cast, Vote(Span(3, 6, "TOOL"), "noisy")))


def test_gold_teaches_which_source_to_follow_and_which_to_leave() -> None:
    texts = [said(name, ("good", "OS"), ("bad", "TOOL")) for name in NAMES]
    gold = {text.key: (Span(7, 7 + len(str(text.key)), "OS"),) for text in texts}
    new = said("Zephyr", ("good", "OS"), ("bad", "TOOL"))
    [answer] = learn([*texts, new])(gold)([new])
    assert [span.without_score() for span in answer.spans] == [Span(7, 13, "OS")]


def test_without_evidence_the_answer_is_the_vote() -> None:
    new = said("Zephyr", ("good", "OS"), ("better", "OS"))
    [answer] = learn([new])({})([new])
    assert [span.without_score() for span in answer.spans] == [Span(3, 6, "TOOL"), Span(7, 13, "OS")]


def test_a_text_without_words_has_no_spans() -> None:
    [answer] = learn([said("Arch")])({})([VotedText(0, " ", ())])
    assert (answer.spans, len(answer.soft.offsets)) == ((), 0)


def test_a_word_on_which_an_entity_is_found_without_a_vote_is_spoken_of() -> None:
    texts = [said(name) for name in NAMES]
    gold = {text.key: (Span(7, 7 + len(str(text.key)), "OS"),) for text in texts}
    new = VotedText("new", "We run Arch here", ())
    [answer] = learn(texts)(gold)([new])
    assert [span.without_score() for span in answer.spans] == [Span(7, 11, "OS")]
    assert answer.soft.spoken.tolist() == [False, False, True, False]


def test_without_gold_sources_that_the_others_contradict_count_less() -> None:
    agreed = [
        said(name, *((source, "OS") for source in "abc"), ("liar", "TOOL"), ("cheat", "TOOL")) for name in NAMES * 5
    ]
    new = said("Zephyr", ("a", "OS"), ("b", "OS"), ("liar", "TOOL"), ("cheat", "TOOL"), ("noisy", "TOOL"))
    [answer] = learn([*agreed, new])({})([new])
    assert Span(7, 13, "OS") in {span.without_score() for span in answer.spans}
