"""The texts that are exported, and their gold aligned with the tokens of a text."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from loop.files.words import Entity, Token, tokens_of
from ner.spans import Span

IOB2, BILOU = "iob2", "bilou"
SCHEMES = (IOB2, BILOU)
_LETTERS = {IOB2: ("B", "I", "I", "B"), BILOU: ("B", "I", "L", "U")}


@dataclass(frozen=True, slots=True)
class StoredText:
    """A text of the store with its gold. `spans` is None for an unlabelled text, () for a text without entities.

    in_doubt: `spans` is None because something that was said about the text was not understood.
    """

    external_id: str
    text: str
    spans: tuple[Span, ...] | None
    split: str
    group: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    in_doubt: bool = False


@dataclass(frozen=True, slots=True)
class AlignedSpans:
    """The entities of a text over its tokens, in text order and without overlaps.

    cut: how many spans begin or end inside a token; their entities cover the whole tokens that they touch.
    untagged: how many of these have no entity, since a longer span covers one of their tokens.
    """

    entities: tuple[Entity, ...]
    cut: int
    untagged: int

    def tags(self, tokens: int, scheme: str = IOB2) -> list[str]:
        """The tags of a text of that many tokens.

        IOB2: Tjong Kim Sang and Veenstra, "Representing text chunks", EACL 1999. BILOU (begin, inside, last, outside,
        unit): Ratinov and Roth, "Design challenges and misconceptions in named entity recognition", CoNLL 2009.
        """
        begin, inside, last, unit = _LETTERS[scheme]
        tags = ["O"] * tokens
        for entity in self.entities:
            length = entity.behind - entity.first
            letters = [unit] if length == 1 else [begin, *[inside] * (length - 2), last]
            tags[entity.first : entity.behind] = [f"{letter}-{entity.label}" for letter in letters]
        return tags


@dataclass(frozen=True, slots=True)
class TaggedText:
    """A text with its tokens, and its gold aligned with the tokens."""

    source: StoredText
    tokens: list[Token]
    aligned: AlignedSpans

    @classmethod
    def of(cls, source: StoredText) -> TaggedText:
        """The text, its tokens and its gold over the tokens."""
        tokens = tokens_of(source.text)
        return cls(source, tokens, align(source.spans or (), tokens))

    @property
    def words(self) -> list[str]:
        """The tokens as strings."""
        return [self.source.text[start:end] for start, end in self.tokens]


def tag_names(labels: Sequence[str], scheme: str) -> list[str]:
    """Every tag of these labels, O first."""
    return ["O", *(f"{letter}-{label}" for label in labels for letter in dict.fromkeys(_LETTERS[scheme]))]


def align(spans: Sequence[Span], tokens: Sequence[Token]) -> AlignedSpans:
    """Spans that do not overlap, over tokens in text order. The longest span goes first, as `drop_overlaps` does."""
    starts, ends = [start for start, _ in tokens], [end for _, end in tokens]
    taken = [False] * len(tokens)
    entities, cut = [], 0
    for span in sorted(spans, key=lambda one: (one.start - one.end, one.start, one.label)):
        first, behind = bisect_right(ends, span.start), bisect_left(starts, span.end)
        if first < behind and not any(taken[first:behind]):
            taken[first:behind] = [True] * (behind - first)
            entities.append(Entity(first, behind, span.label))
        cut += first >= behind or (starts[first], ends[behind - 1]) != (span.start, span.end)
    ordered = tuple(sorted(entities, key=lambda one: one.first))
    return AlignedSpans(ordered, cut, len(spans) - len(ordered))
