"""Texts as windows of token ids and tags, and windows of like length as batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from ner.alignment import spans_to_tags
from ner.arrays import BoolArray, FloatArray, IntArray
from ner.decoding import joint_kinds
from ner.labels import LabelSet
from ner.spans import Span
from ner.tokens import TextEncoder
from ner.windows import Window, windows
from weak_labeling.aggregate.contract import SoftTags

IGNORED = -100
_SORTED_TOGETHER = 50
_MULTIPLE = 8


@dataclass(frozen=True, slots=True, eq=False)
class EncodedText:
    """A text as the model reads it.

    ids: its n tokens, without special ones. offsets: (n, 2). tags: (n,) to learn, IGNORED where a token carries no
    text. tagged: (n,) bool. parts: the windows that cover it; none for a text without tokens. lost: spans that no tag
    stands for. snapped: spans whose boundary lies inside a token. soft: (n, num_tags) how likely each tag of each token
    is, learned in place of `tags` wherever these are not IGNORED; None for gold. unannotated: types that the text was
    not annotated for. outside: as of `FramedWindow`.
    """

    text: str
    spans: tuple[Span, ...]
    ids: list[int]
    offsets: IntArray
    tagged: BoolArray
    tags: IntArray
    parts: tuple[Window, ...]
    lost: int
    snapped: int
    soft: FloatArray | None = None
    unannotated: frozenset[str] = frozenset()
    outside: tuple[int, ...] = ()

    def joints(self) -> tuple[IntArray, IntArray]:
        """(kinds, tags) of the tokens that carry text, what `ner.decoding.learned_costs` counts."""
        return joint_kinds(self.text, self.offsets[self.tagged]), self.tags[self.tagged]


@dataclass(frozen=True, slots=True, eq=False)
class FramedWindow:
    """One window with its special tokens: ids and tags of the same length m; tags to learn, or IGNORED.

    soft: (m, num_tags) in place of the tags that are not IGNORED, or None. outside: ids of the tags, O among them, that
    a token outside the gold spans may have where the text was not annotated for all types; empty where only O is meant.
    mentions: (start, end) of each entity of the gold whose tokens are all learned here; none where `soft` is learned.
    """

    ids: IntArray
    tags: IntArray
    soft: FloatArray | None = None
    outside: tuple[int, ...] = ()
    mentions: tuple[tuple[int, int], ...] = ()


def encode(
    text: str,
    spans: tuple[Span, ...],
    encoder: TextEncoder,
    labels: LabelSet,
    max_length: int,
    unannotated: frozenset[str] = frozenset(),
) -> EncodedText:
    """The text's tokens, tags and windows; `spans` is its gold, () for a text without any."""
    tokens = encoder.encode(text)
    alignment = spans_to_tags(spans, tokens.offsets, labels)
    silent = sorted(tag for name in unannotated for tag in (labels.begin(name), labels.inside(name)))
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
        unannotated=unannotated,
        outside=(0, *silent) if silent else (),
    )


def soften(text: EncodedText, soft: SoftTags, labels: LabelSet, *, silent_is_outside: bool) -> EncodedText:
    """The encoded text with the soft tags of its words as what is learned.

    A token takes the tags of the first word that it shares a character with. Where the word has an earlier token, the
    token is the inside of whatever the word belongs to: I-x has the probability of B-x and I-x, and B-x has none.
    silent_is_outside: whether a token on which no source spoke is learned as O; else it is left out of the loss.
    """
    words = soft.offsets
    word = np.searchsorted(words[:, 1], text.offsets[:, 0], side="right")
    learned = text.tagged & (word < len(words))
    learned[learned] &= words[word[learned], 0] < text.offsets[learned, 1]
    shares = np.zeros((len(text.ids), len(labels.tags)))
    shares[learned] = soft.probabilities[word[learned]]
    places = np.flatnonzero(learned)
    later = places[1:][word[places[1:]] == word[places[:-1]]]
    shares[later, 2::2] += shares[later, 1::2]
    shares[later, 1::2] = 0.0
    if not silent_is_outside:
        learned[learned] &= soft.spoken[word[learned]]
    return replace(text, soft=shares, tags=np.where(learned, text.tags, IGNORED))


def frame(text: EncodedText, encoder: TextEncoder) -> list[FramedWindow]:
    """The text's windows; each token is learned in the one window that would also predict it."""
    entities = _entities(text.tags if text.soft is None else text.tags[:0])
    framed = []
    for part in text.parts:
        tags = np.full(part.end - part.start, IGNORED)
        tags[part.kept] = text.tags[part.keep_start : part.keep_end]
        before, after = (np.full(len(side), IGNORED) for side in (encoder.prefix, encoder.suffix))
        ids = np.array(encoder.frame(text.ids[part.start : part.end]))
        soft = None
        if text.soft is not None:
            soft = np.pad(text.soft[part.start : part.end], ((len(before), len(after)), (0, 0)))
        # An entity that ends where the next window goes on is left out, as it was when BENCHMARKS.md was measured.
        end = part.keep_end + (part.keep_end == len(text.ids))
        whole = (part.keep_start <= entities[:, 0]) & (entities[:, 1] < end)
        mentions = tuple((start, stop) for start, stop in (entities[whole] - part.start + len(before)).tolist())
        framed.append(FramedWindow(ids, np.concatenate([before, tags, after]), soft, text.outside, mentions))
    return framed


def _entities(tags: IntArray) -> IntArray:
    """(entities, 2): start and end of each, in tokens. Tokens that carry no text may stand within an entity."""
    places = np.flatnonzero(tags != IGNORED)
    known = tags[places]
    begins = np.flatnonzero(known % 2 == 1)
    no_inside = np.append(np.flatnonzero((known == 0) | (known % 2 == 1)), len(known))
    after = no_inside[np.searchsorted(no_inside, begins, side="right")]
    return np.stack([places[begins], places[after - 1] + 1], axis=1)


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


def soft_targets(framed: Sequence[FramedWindow], tags: Any, num_tags: int) -> Any | None:
    """(batch, width, num_tags) float32: how likely each tag is, with a tag that is certain for windows without soft
    tags; None where no window has soft tags. tags: as `collate` gives them. Rows of IGNORED tags mean nothing."""
    if all(window.soft is None for window in framed):
        return None
    targets = torch.nn.functional.one_hot(tags.clamp(min=0), num_tags).float()
    for row, window in enumerate(framed):
        if window.soft is not None:
            targets[row, : len(window.soft)] = torch.from_numpy(window.soft).float()
    return targets


def outside_tags(framed: Sequence[FramedWindow], num_tags: int) -> Any | None:
    """(batch, num_tags) bool: the tags that a token which is O in the gold of its window may have; None where only O
    is meant, in every window."""
    if not any(window.outside for window in framed):
        return None
    allowed = torch.zeros((len(framed), num_tags), dtype=torch.bool)
    for row, window in enumerate(framed):
        allowed[row, list(window.outside or (0,))] = True
    return allowed
