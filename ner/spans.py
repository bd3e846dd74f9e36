"""Entity spans: half-open character offsets into the original text, in Unicode code points."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, replace

from ner.errors import InputError

OVERLAPS = "region overlaps another"


@dataclass(frozen=True, order=True, slots=True)
class Span:
    """`text[start:end]` is an entity of type `label`. A model gives a `score`, 0..1; people's spans have None."""

    start: int
    end: int
    label: str
    score: float | None = None

    def without_score(self) -> Span:
        """The same span as a person would have drawn it: gold and predicted spans are compared without scores."""
        return self if self.score is None else replace(self, score=None)


def unscored(spans: Iterable[Span]) -> tuple[Span, ...]:
    """The spans without their scores, as they are compared."""
    return tuple(span.without_score() for span in spans)


def check_span(span: Span, text_length: int) -> None:
    """Raise InputError unless `0 <= start < end <= text_length`."""
    if span.start >= span.end:
        raise InputError(
            "a span starts before it ends",
            value=f"start {span.start}, end {span.end}",
            next_step="Offsets are half-open code points: `text[start:end]`.",
        )
    if span.start < 0 or span.end > text_length:
        raise InputError(
            f"a span lies within its text of {text_length} characters",
            value=f"start {span.start}, end {span.end}",
            next_step="Offsets count Unicode code points, not bytes or UTF-16 units.",
        )


def overlap(a: Span, b: Span) -> bool:
    """True when the two share at least one character."""
    return a.start < b.end and b.start < a.end


def drop_overlaps(spans: Iterable[Span]) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
    """(kept, dropped), both in text order: the longest span wins, then the earlier span, then the label's name.

    A flat tagger can learn only one of two overlapping spans. Where annotators nest spans, they most often mean the
    longest. The rule does not depend on the order in which regions were drawn.
    """
    kept: list[Span] = []
    dropped: list[Span] = []
    for span in sorted(spans, key=lambda s: (s.start - s.end, s.start, s.label)):
        place = bisect_left(kept, (span.start, span.end), key=lambda s: (s.start, s.end))
        if any(overlap(span, neighbour) for neighbour in kept[max(0, place - 1) : place + 1]):
            dropped.append(span)
        else:
            kept.insert(place, span)
    return tuple(kept), tuple(sorted(dropped, key=_position))


def trim_whitespace(text: str, start: int, end: int) -> tuple[int, int]:
    """The offsets without the whitespace at either end of `text[start:end]`; equal when nothing is left."""
    while start < end and text[start].isspace():
        start += 1
    while start < end and text[end - 1].isspace():
        end -= 1
    return start, end


def clean_spans(text: str, spans: Iterable[Span]) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
    """(kept, blank), each in the given order: `kept` without white space at their ends, `blank` as they came.

    Spans from outside come in through this rule, so that white space at their ends changes no score. Blank spans hold
    white space only. Each span lies within the text (`check_span`).
    """
    kept: list[Span] = []
    blank: list[Span] = []
    for span in spans:
        start, end = trim_whitespace(text, span.start, span.end)
        if start == end:
            blank.append(span)
        else:
            kept.append(span if (start, end) == (span.start, span.end) else replace(span, start=start, end=end))
    return tuple(kept), tuple(blank)


def flat_spans(text: str, spans: Iterable[Span]) -> tuple[Span, ...]:
    """What a flat tagger can learn of the spans of a text: clean (`clean_spans`) and apart (`drop_overlaps`)."""
    return drop_overlaps(clean_spans(text, spans)[0])[0]


def _position(span: Span) -> tuple[int, int, str]:
    return span.start, span.end, span.label
