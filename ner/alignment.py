"""Spans to token tags: every sub-word token gets a tag, so that an entity may begin inside a word.

With a tag on each sub-word, and not only on the first of each word, a span such as `10` in `Windows10` can be learned.
The hard transitions of `ner.decoding` keep the pieces of one entity together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ner.arrays import BoolArray, IntArray
from ner.labels import LabelSet
from ner.spans import OVERLAPS, Span, drop_overlaps, trim_whitespace

NO_TOKEN = "span touches no token"
SHARED_TOKEN = "span shares its only token with another"


@dataclass(frozen=True, slots=True)
class Snapped:
    """A span whose boundary lies inside a token or in whitespace, and the characters that its tokens cover instead."""

    span: Span
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Unaligned:
    """A span that no tag stands for, with the reason."""

    span: Span
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Alignment:
    """The tags of a text's tokens and what was lost on the way.

    tags: (n,) int64 ids into `LabelSet.tags`. Tokens for which `carries_text` is False (special tokens, whitespace)
    have the id of O, which means nothing: leave these tokens out of the loss and of decoding. The tags of all other
    tokens make a valid path. snapped, set_aside: the spans that changed, and the spans that were lost.
    """

    tags: IntArray
    snapped: tuple[Snapped, ...] = ()
    set_aside: tuple[Unaligned, ...] = ()


def as_offsets(offsets: Sequence[tuple[int, int]] | IntArray) -> IntArray:
    """(n, 2) int64, also for no tokens at all."""
    return np.asarray(offsets, dtype=np.int64).reshape(-1, 2)


def trim_offsets(offsets: Sequence[tuple[int, int]] | IntArray, text: str) -> IntArray:
    """(n, 2): the same offsets without the whitespace at either end of a token.

    Byte-level BPE counts the space before a word as part of the word's token. Training and serving both trim here, so
    that no span starts or ends with whitespace. A token of nothing but whitespace comes out empty.
    """
    pairs = offsets.tolist() if isinstance(offsets, np.ndarray) else offsets
    trimmed = [
        trim_whitespace(text, start, end)
        if start < end and (text[start].isspace() or text[end - 1].isspace())
        else (start, end)
        for start, end in pairs
    ]
    return as_offsets(trimmed)


def carries_text(offsets: IntArray) -> BoolArray:
    """(n,): True for tokens with characters of their own. Special tokens, (0, 0) by convention, have none."""
    return offsets[:, 1] > offsets[:, 0]


def spans_to_tags(spans: Iterable[Span], token_offsets: IntArray, labels: LabelSet) -> Alignment:
    """Tag each token with the span it belongs to.

    token_offsets: (n, 2) half-open code points, trimmed (`trim_offsets`), in text order apart from empty ones.
    A span takes every token with which it shares a character. A boundary inside a token moves out to the token's end,
    which is reported. Of overlapping spans the longest is kept (`drop_overlaps`). Where two spans meet inside a token,
    the earlier span takes the token. Raises InputError for a label that is not in `labels`.
    """
    offsets = as_offsets(token_offsets)
    kept, overlapping = drop_overlaps(spans)
    real = np.flatnonzero(carries_text(offsets))
    starts, ends = offsets[real, 0], offsets[real, 1]
    tags = np.zeros(len(offsets), dtype=np.int64)
    snapped: list[Snapped] = []
    aside = [Unaligned(span, OVERLAPS) for span in overlapping]
    free = 0
    for span in kept:
        begin = labels.begin(span.label)
        touched = int(np.searchsorted(ends, span.start, side="right"))
        stop = int(np.searchsorted(starts, span.end, side="left"))
        first = max(touched, free)
        if first >= stop:
            aside.append(Unaligned(span, SHARED_TOKEN if touched < stop else NO_TOKEN))
            continue
        tags[real[first]] = begin
        tags[real[first + 1 : stop]] = begin + 1
        free = stop
        covered = int(starts[first]), int(ends[stop - 1])
        if covered != (span.start, span.end):
            snapped.append(Snapped(span, *covered))
    return Alignment(tags, tuple(snapped), tuple(aside))
