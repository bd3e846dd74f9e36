"""The tokens of a text."""

from __future__ import annotations

import re
from itertools import pairwise

from ner.spans import Span

# Between the words stand the characters that str.splitlines or a reader of columns could take for a border. A no-break
# space and its like are part of a word.
_WORD = re.compile(r"[^ \t\n\r\x0b\x0c\x1c-\x1f\x85\u2028\u2029]+")


def tokens_of(text: str, spans: tuple[Span, ...]) -> list[tuple[int, int]]:
    """(start, end) of the tokens of a text: cut at white space, and wherever a span begins or ends inside a word."""
    borders = sorted({border for span in spans for border in (span.start, span.end)})
    tokens: list[tuple[int, int]] = []
    for start, end in (match.span() for match in _WORD.finditer(text)):
        tokens.extend(pairwise([start, *(border for border in borders if start < border < end), end]))
    return tokens
