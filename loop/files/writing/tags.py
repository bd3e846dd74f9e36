"""Tags of tokens."""

from __future__ import annotations

from bisect import bisect_left

from ner.spans import Span


def tags_of(tokens: list[tuple[int, int]], spans: tuple[Span, ...]) -> list[str]:
    """IOB2 tags of tokens that no span cuts; a token outside every span is O. Spans do not overlap."""
    tags, starts = ["O"] * len(tokens), [start for start, _ in tokens]
    for span in spans:
        first, behind = bisect_left(starts, span.start), bisect_left(starts, span.end)
        for i in range(first, behind):
            tags[i] = f"{'B' if i == first else 'I'}-{span.label}"
    return tags
