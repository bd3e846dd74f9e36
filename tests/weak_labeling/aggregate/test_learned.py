"""What gold teaches about the sources."""

from __future__ import annotations

from ner.labels import LabelSet
from ner.spans import Span
from weak_labeling.aggregate.contract import VotedText
from weak_labeling.aggregate.learned import Learned
from weak_labeling.source import Vote

LABELS = LabelSet(("OS", "TOOL"))
NAMES = ("Arch", "Brew", "Cargo", "Deno", "Emacs", "Fish", "Gradle", "Helm")


def said(name: str, *votes: tuple[str, str]) -> VotedText:
    """A text about `name`, with (source, label) votes on the name and a vote of "noisy" on the word before it."""
    text = f"We run {name} here"
    cast = [Vote(Span(7, 7 + len(name), label), source) for source, label in votes]
    return VotedText(name, text, (*cast, Vote(Span(3, 6, "TOOL"), "noisy")))


def test_gold_teaches_which_source_to_follow_and_which_to_leave() -> None:
    texts = [said(name, ("good", "OS"), ("bad", "TOOL")) for name in NAMES]
    gold = {text.key: (Span(7, 7 + len(str(text.key)), "OS"),) for text in texts}
    new = said("Zephyr", ("good", "OS"), ("bad", "TOOL"))
    [answer] = Learned().learn([*texts, new], LABELS)(gold)([new])
    assert [span.without_score() for span in answer.spans] == [Span(7, 13, "OS")]


def test_without_evidence_the_answer_is_the_vote() -> None:
    new = said("Zephyr", ("good", "OS"), ("better", "OS"))
    [answer] = Learned().learn([new], LABELS)({})([new])
    assert [span.without_score() for span in answer.spans] == [Span(3, 6, "TOOL"), Span(7, 13, "OS")]


def test_a_text_without_words_has_no_spans() -> None:
    [answer] = Learned().learn([said("Arch")], LABELS)({})([VotedText(0, " ", ())])
    assert (answer.spans, len(answer.soft.offsets)) == ((), 0)


def test_a_word_on_which_an_entity_is_found_without_a_vote_is_spoken_of() -> None:
    texts = [said(name) for name in NAMES]
    gold = {text.key: (Span(7, 7 + len(str(text.key)), "OS"),) for text in texts}
    new = VotedText("new", "We run Arch here", ())
    [answer] = Learned().learn(texts, LABELS)(gold)([new])
    assert [span.without_score() for span in answer.spans] == [Span(7, 11, "OS")]
    assert answer.soft.spoken.tolist() == [False, False, True, False]
