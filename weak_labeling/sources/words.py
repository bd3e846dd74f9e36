"""Where a word goes on: a span never begins or ends there."""

from __future__ import annotations

import regex

_UNSPACED = regex.compile(
    r"[\p{scx=Han}\p{scx=Hiragana}\p{scx=Katakana}\p{scx=Thai}\p{scx=Lao}\p{scx=Khmer}\p{scx=Myanmar}]"
)


def word_goes_on(text: str, place: int) -> bool:
    """Whether `place` lies between two letters or digits of one word. Scripts without spaces have no such places."""
    if not 0 < place < len(text):
        return False
    before, after = text[place - 1], text[place]
    return before.isalnum() and after.isalnum() and not _UNSPACED.search(before + after)
