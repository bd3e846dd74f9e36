"""The words around a span, as a condition that a source of any kind may set."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import regex
from pydantic import Field

from ner.spans import Span
from weak_labeling.sources.entry import EntryError, SourceEntry, Text
from weak_labeling.sources.expressions import SECONDS_A_TEXT, compiled, harmless

_WORD = regex.compile(r"\w+")
# Characters before a span in which its `before` is looked for.
_REACH = 200
_BEFORE, _AFTER = r"(?:{})\s*\Z", r"\s*(?:{})"


@dataclass(frozen=True)
class Context:
    """Keeps a span that has `before` right before it, `after` right behind it, and a word of `near` close by.

    before, after: regular expressions; white space may stand between them and the span. near: casefolded single words,
    of which one is among the `words_before` words before the span or the `words_after` words behind it.
    """

    before: str = ""
    after: str = ""
    near: tuple[str, ...] = ()
    words_before: int = 4
    words_after: int = 4

    def __bool__(self) -> bool:
        """Whether there is any condition."""
        return bool(self.before or self.after or self.near)

    def keep(self, spans: Iterable[Span], text: str) -> Iterator[Span]:
        """The spans that meet every condition, in their order."""
        if not self:
            yield from spans
            return
        for span in spans:
            if self._has_neighbours(span, text) and (not self.near or self._is_near(span, text)):
                yield span

    def _has_neighbours(self, span: Span, text: str) -> bool:
        start = max(0, span.start - _REACH)
        limit = {"timeout": SECONDS_A_TEXT}
        if self.before and not self._before.search(text, start, span.start, **limit):
            return False
        return not self.after or self._after.match(text, span.end, **limit) is not None

    def _is_near(self, span: Span, text: str) -> bool:
        words = [(match.start(), match.end(), match.group().casefold()) for match in _WORD.finditer(text)]
        left = bisect_right(words, span.start, key=lambda word: word[1])  # words[:left] end before the span
        right = bisect_left(words, span.end, key=lambda word: word[0])
        around = words[max(0, left - self.words_before) : left] + words[right : right + self.words_after]
        return any(word in self.near for _, _, word in around)

    @cached_property
    def _before(self) -> regex.Pattern[str]:
        return regex.compile(_BEFORE.format(self.before))

    @cached_property
    def _after(self) -> regex.Pattern[str]:
        return regex.compile(_AFTER.format(self.after))


class ContextEntry(SourceEntry):
    """The keys of a source that may set a context."""

    before: Text | None = None
    after: Text | None = None
    near: tuple[Text, ...] = ()
    words_before: int = Field(4, ge=0)
    words_after: int = Field(4, ge=0)

    def context(self) -> Context:
        """The condition, checked. Raises EntryError."""
        for key, pattern, in_place in (("before", self.before, _BEFORE), ("after", self.after, _AFTER)):
            if pattern is not None:
                harmless(compiled(pattern, 0, key), key)
                compiled(in_place.format(pattern), 0, key)  # a comment under (?x) would swallow what stands behind it
        for word in self.near:
            if not _WORD.fullmatch(word):
                raise EntryError(
                    "a word of `near` is a single word",
                    key="near",
                    value=word,
                    next_step="Give the words of a phrase one by one, or use `before` or `after`.",
                )
        near = tuple(sorted({word.casefold() for word in self.near}))
        return Context(self.before or "", self.after or "", near, self.words_before, self.words_after)
