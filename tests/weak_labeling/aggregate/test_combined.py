"""What the methods say together."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from ner.labels import LabelSet
from ner.spans import Span
from weak_labeling.aggregate.combined import Pool
from weak_labeling.aggregate.contract import Aggregated, SoftTags, VotedText

LABELS = LabelSet(("OS",))
TEXT = VotedText(0, "We run Arch here", ())
OFFSETS = np.array([[0, 2], [3, 6], [7, 11], [12, 16]])


@dataclass(frozen=True)
class Fixed:
    """Says the same of every text: spans, and other spans that are possible."""

    spans: tuple[Span, ...] = ()
    possible: tuple[Span, ...] = ()

    def __call__(self, texts: Sequence[VotedText], /) -> Iterator[Aggregated]:
        soft = SoftTags(OFFSETS, np.full((4, 3), 1 / 3), np.zeros(4, dtype=np.bool_))
        return (Aggregated(self.spans, soft, self.possible) for _ in texts)


def pooled(learned: Sequence[Span], weighted: Sequence[Span] = (), generative: Sequence[Span] = ()) -> Aggregated:
    [answer] = Pool(LABELS, (Fixed((), tuple(learned)), Fixed(tuple(weighted)), Fixed(tuple(generative))))([TEXT])
    return answer


def test_votes_say_what_the_chain_alone_would_leave() -> None:
    doubtful, voted = Span(7, 11, "OS", 0.35), Span(7, 11, "OS", 0.8)
    assert pooled([doubtful]).spans == ()
    [span] = pooled([doubtful], [voted], [voted]).spans
    odds = 0.85 * math.log(0.35 / 0.65) + (0.4 + 0.2) * math.log(0.8 / 0.2) - 0.5
    assert (span.without_score(), span.score) == (Span(7, 11, "OS"), pytest.approx(1 / (1 + math.exp(-odds))))


def test_a_vote_alone_does_not_overrule_a_chain_that_finds_its_span_impossible() -> None:
    assert pooled([], [Span(7, 11, "OS", 0.9)], [Span(7, 11, "OS", 0.9)]).spans == ()


def test_spans_do_not_overlap_and_their_words_are_spoken_of() -> None:
    answer = pooled([Span(3, 11, "OS", 0.7), Span(7, 11, "OS", 0.9)])
    assert [span.without_score() for span in answer.spans] == [Span(7, 11, "OS")]
    assert [span.without_score() for span in answer.possible] == [Span(3, 11, "OS"), Span(7, 11, "OS")]
    assert answer.soft.spoken.tolist() == [False, False, True, False]
