"""Texts as windows of token ids and tags, and windows of like length as batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ner.alignment import spans_to_tags
from ner.arrays import IntArray
from ner.decoding import joint_kinds
from ner.labels import LabelSet
from ner.spans import Span
from ner.tokens import TextEncoder
from ner.windows import Window, windows

IGNORED = -100
_SORTED_TOGETHER = 50
_MULTIPLE = 8


@dataclass(frozen=True, slots=True, eq=False)
class EncodedText:
    """A text as the model reads it.

    ids: its n tokens, without special ones. offsets: (n, 2). tags: (n,) gold, IGNORED where a token carries no text.
    tagged: (n,) bool. parts: the windows that cover it; none for a text without tokens. lost: gold spans that no tag
    stands for. snapped: gold spans whose boundary lies inside a token.
    """

    text: str
    spans: tuple[Span, ...]
    ids: list[int]
    offsets: IntArray
    tagged: npt.NDArray[np.bool_]
    tags: IntArray
    parts: tuple[Window, ...]
    lost: int
    snapped: int

    def joints(self) -> tuple[IntArray, IntArray]:
        """(kinds, tags) of the tokens that carry text, what `ner.decoding.learned_costs` counts."""
        return joint_kinds(self.text, self.offsets[self.tagged]), self.tags[self.tagged]


@dataclass(frozen=True, slots=True, eq=False)
class FramedWindow:
    """One window with its special tokens: ids and tags of the same length m; tags to learn, or IGNORED."""

    ids: IntArray
    tags: IntArray


def encode(text: str, spans: tuple[Span, ...], encoder: TextEncoder, labels: LabelSet, max_length: int) -> EncodedText:
    """The text's tokens, tags and windows; `spans` is its gold, () for a text without any."""
    tokens = encoder.encode(text)
    alignment = spans_to_tags(spans, tokens.offsets, labels)
    return EncodedText(
        text=text,
        spans=spans,
        ids=tokens.ids,
        offsets=tokens.offsets,
        tagged=tokens.tagged,
        tags=np.where(tokens.tagged, alignment.tags, IGNORED),
        parts=windows(len(tokens.ids), max_length, encoder.num_special),
        lost=len(alignment.set_aside),
        snapped=len(alignment.snapped),
    )


def frame(text: EncodedText, encoder: TextEncoder) -> list[FramedWindow]:
    """The text's windows; each token is learned in the one window that would also predict it."""
    framed = []
    for part in text.parts:
        tags = np.full(part.end - part.start, IGNORED)
        tags[part.kept] = text.tags[part.keep_start : part.keep_end]
        before, after = (np.full(len(side), IGNORED) for side in (encoder.prefix, encoder.suffix))
        ids = np.array(encoder.frame(text.ids[part.start : part.end]))
        framed.append(FramedWindow(ids, np.concatenate([before, tags, after])))
    return framed


def shuffled_batches(lengths: Sequence[int], batch_size: int, random: np.random.Generator) -> Iterator[IntArray]:
    """Every index once, in batches of like length, in random order: 1.8 times the speed of random batches."""
    order = random.permutation(len(lengths))
    size = np.asarray(lengths)
    batches: list[IntArray] = []
    for start in range(0, len(order), batch_size * _SORTED_TOGETHER):
        bucket = order[start : start + batch_size * _SORTED_TOGETHER]
        bucket = bucket[np.argsort(size[bucket], kind="stable")]
        batches.extend(bucket[at : at + batch_size] for at in range(0, len(bucket), batch_size))
    for index in random.permutation(len(batches)).tolist():
        yield batches[index]


def collate(framed: Sequence[FramedWindow], padding_id: int) -> tuple[Any, Any, Any]:
    """(ids, attention mask, tags), int64 tensors of (batch, longest rounded up to a multiple of 8)."""
    longest = max(len(window.ids) for window in framed)
    width = -(-longest // _MULTIPLE) * _MULTIPLE
    ids = torch.full((len(framed), width), padding_id, dtype=torch.long)
    mask = torch.zeros_like(ids)
    tags = torch.full_like(ids, IGNORED)
    for row, window in enumerate(framed):
        length = len(window.ids)
        ids[row, :length] = torch.from_numpy(window.ids)
        mask[row, :length] = 1
        tags[row, :length] = torch.from_numpy(window.tags)
    return ids, mask, tags
