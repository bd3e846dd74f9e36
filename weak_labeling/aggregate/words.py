r"""The words of a text: runs of `\w`, or one other character that is not white space, cut where a vote begins or ends.

With the cuts, every vote is made of whole words, and so every vote can be given back exactly.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise

import numpy as np

from ner.alignment import as_offsets, spans_to_tags
from ner.arrays import IntArray
from ner.labels import LabelSet
from ner.spans import Span, clean_spans, drop_overlaps
from weak_labeling.aggregate.contract import SoftTags
from weak_labeling.source import Vote

_WORD = re.compile(r"\w+|[^\w\s]")


def words(text: str, spans: Iterable[Span]) -> IntArray:
    """(n, 2) the half-open code points of the words of `text`, cut at the borders of `spans`."""
    borders = {border for span in spans for border in (span.start, span.end)}
    found: list[tuple[int, int]] = []
    for match in _WORD.finditer(text):
        start, end = match.span()
        inside = [border for border in borders if start < border < end] if end - start > 1 else ()
        found += pairwise((start, *sorted(inside), end)) if inside else [(start, end)]
    return as_offsets(found)


def word_range(span: Span, offsets: IntArray) -> tuple[int, int]:
    """The half-open range of the words of (n, 2) offsets that share a character with the span."""
    first = int(np.searchsorted(offsets[:, 1], span.start, side="right"))
    return first, int(np.searchsorted(offsets[:, 0], span.end, side="left"))


def tag_words(spans: Iterable[Span], offsets: IntArray, labels: LabelSet) -> IntArray:
    """(n,) the tag of each word, as ids into `LabelSet.tags`; a border inside a word moves out to the word's end."""
    return spans_to_tags(spans, offsets, labels).tags


def spoken_also(soft: SoftTags, spans: Iterable[Span], labels: LabelSet) -> SoftTags:
    """The same tags; the words of these spans are spoken of, too."""
    return replace(soft, spoken=soft.spoken | (tag_words(spans, soft.offsets, labels) > 0))


def cleaned(text: str, votes: Iterable[Vote]) -> tuple[Vote, ...]:
    """The votes without white space at their edges; overlapping votes of one source are cut down to the longest."""
    by_source: dict[str, list[Span]] = {}
    for vote in votes:
        by_source.setdefault(vote.source, []).append(vote.span.without_score())
    return tuple(
        Vote(span, source)
        for source, spans in by_source.items()
        for span in drop_overlaps(set(clean_spans(text, spans)[0]))[0]
    )
