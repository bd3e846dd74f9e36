"""Builders of span finders from regular expressions and from the words around a match."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ner.errors import InputError
from ner.spans import Span
from weak_labeling.functions import SpanFinder

_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class RegexFinder:
    """Votes `label` for `group` of every match of `pattern`, left to right; a group that is empty or unset abstains."""

    pattern: re.Pattern[str]
    label: str
    group: int | str = 0

    def __call__(self, text: str, /) -> Iterator[Span]:
        """Spans that do not overlap, in text order."""
        for match in self.pattern.finditer(text):
            start, end = match.span(self.group)
            if start < end:
                yield Span(start, end, self.label)


@dataclass(frozen=True)
class NearKeywordFinder:
    """The spans of `finder` that have one of `keywords` close by; build it with `near_keyword`."""

    finder: SpanFinder
    keywords: frozenset[str]
    before: int
    after: int

    def __call__(self, text: str, /) -> Iterator[Span]:
        """Spans in the order in which `finder` yields them."""
        words = [(match.start(), match.end(), match.group().casefold()) for match in _WORD.finditer(text)]
        starts, ends = [word[0] for word in words], [word[1] for word in words]
        for span in self.finder(text) or ():
            left = bisect_right(ends, span.start)  # words that end before the span are words[:left]
            right = bisect_left(starts, span.end)
            around = words[max(0, left - self.before) : left] + words[right : right + self.after]
            if any(word in self.keywords for _, _, word in around):
                yield span


def regex(pattern: str, label: str, *, group: int | str = 0, flags: int | re.RegexFlag = 0) -> RegexFinder:
    """A finder of `group` of every match of `pattern`. Raises InputError for a pattern or group that does not exist."""
    try:
        compiled = re.compile(pattern, flags)
    except re.error as error:
        raise InputError(
            f"a labelling function's pattern is a regular expression ({error})",
            value=pattern,
            next_step="Mend the pattern; `re.compile` explains it.",
        ) from error
    if group not in compiled.groupindex and group not in range(compiled.groups + 1):
        raise InputError(
            f"a group stands in its pattern, which has {compiled.groups}",
            value=group,
            next_step="Group 0 is the whole match.",
        )
    return RegexFinder(compiled, label, group)


def near_keyword(finder: SpanFinder, keywords: Iterable[str], *, before: int = 3, after: int = 0) -> NearKeywordFinder:
    r"""Keep a span only if a keyword is among the `before` words that precede it or the `after` words that follow it.

    Words are runs of `\w`; case does not count. Raises InputError for a keyword that is not one such word.
    """
    folded = frozenset(keyword.casefold() for keyword in keywords)
    strange = sorted(keyword for keyword in folded if not _WORD.fullmatch(keyword))
    if strange:
        raise InputError(
            "a context keyword is a single word",
            value=strange[0],
            next_step="Give the words of a phrase one by one, or put the phrase into the pattern.",
        )
    return NearKeywordFinder(finder, folded, before, after)
