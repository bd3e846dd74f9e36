"""Majority vote: overlapping votes of several labelling functions become flat spans."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ner.spans import Span, clean_spans
from weak_labeling.source import Vote


@dataclass(frozen=True)
class _Segment:
    """`text[start:end]`: no vote begins or ends within. `runs_on`: a vote for `label` goes on behind `end`."""

    start: int
    end: int
    label: str
    runs_on: bool


def majority_vote(votes: Sequence[Vote], text: str) -> tuple[Span, ...]:
    """The spans that most functions vote for, in text order, none overlapping, none with white space at an edge.

    The text is cut wherever a vote begins or ends. In each segment every function with a vote there counts once; a
    function without a vote abstains, which is no vote against. The label with most votes wins. **Ties** go to the label
    of the longest vote there, then to the label whose name comes first. Neighbouring segments of one label become one
    span if a vote for that label runs across their border: "Microsoft Teams" wins over "Teams". White space at the
    edges of a vote does not count.
    """
    votes = [Vote(span, vote.source) for vote in votes for span in clean_spans(text, (vote.span,))[0]]
    spans: list[Span] = []
    before: _Segment | None = None
    for segment in _segments(votes):
        joined = before is not None and before.runs_on and before.label == segment.label
        start = spans.pop().start if joined else segment.start
        spans.append(Span(start, segment.end, segment.label))
        before = segment
    return clean_spans(text, spans)[0]  # A segment between two words may hold blanks alone.


def _segments(votes: Sequence[Vote]) -> Iterator[_Segment]:
    """Segments with at least one vote, in text order. One sweep: votes open and close as the borders go by."""
    opening = sorted(votes, key=lambda vote: vote.span.start, reverse=True)
    borders = sorted({border for vote in votes for border in (vote.span.start, vote.span.end)})
    active: list[Vote] = []
    for start, end in pairwise(borders):
        active = [vote for vote in active if vote.span.end > start]
        while opening and opening[-1].span.start == start:
            active.append(opening.pop())
        if active:
            label = _winner(active)
            runs_on = any(vote.span.label == label and vote.span.end > end for vote in active)
            yield _Segment(start, end, label, runs_on)


def _winner(active: Sequence[Vote]) -> str:
    counts = Counter(label for label, _ in {(vote.span.label, vote.source) for vote in active})
    longest: dict[str, int] = {}
    for vote in active:
        longest[vote.span.label] = max(longest.get(vote.span.label, 0), vote.span.end - vote.span.start)
    return min(counts, key=lambda label: (-counts[label], -longest[label], label))
