"""Quotes from a text, located in it: first exactly, then with other white space, quotation marks and dashes."""

from __future__ import annotations

import re

from weak_labeling.sources.words import word_goes_on

NOT_THERE = "a quote that is not in the text"
INSIDE_A_WORD = "a quote that is in the text only inside a word"
NO_SUCH_TURN = "a number of an occurrence that the text does not have"

_PIECES = re.compile(r"\s+|.", re.DOTALL)
_ALIKE = ('"“”„‟«»″', "'‘’‚‛`´′", "-‐‑‒–—−")
_CLASSES = {mark: f"[{re.escape(marks)}]" for marks in _ALIKE for mark in marks}


def locate(text: str, quote: str, turn: int | None = None) -> list[tuple[int, int]] | str:
    """The half-open ranges where `quote` stands in `text`, in text order and apart; or why there is none, in words.

    turn: the occurrence that is meant, from 1; None for all. A range never begins or ends inside a word or a number.
    """
    wanted = quote.strip()
    found = _found(text, re.escape(wanted)) or _found(text, _loose(wanted))
    if not wanted or not found:
        return NOT_THERE
    whole = [place for place in found if not _cuts(text, place[0]) and not _cuts(text, place[1])]
    if not whole:
        return INSIDE_A_WORD
    if turn is None:
        return whole
    return whole[turn - 1 : turn] if 1 <= turn <= len(whole) else NO_SUCH_TURN


def _found(text: str, pattern: str) -> list[tuple[int, int]]:
    return [match.span() for match in re.finditer(pattern, text)] if pattern else []


def _loose(quote: str) -> str:
    """A pattern for the quote, with any white space for white space, and any mark for a mark of its kind."""
    return "".join(
        r"\s+" if piece.isspace() else _CLASSES.get(piece) or re.escape(piece) for piece in _PIECES.findall(quote)
    )


def _cuts(text: str, place: int) -> bool:
    """Whether a word or a number goes on across this place; a unit may touch its number."""
    return word_goes_on(text, place) and text[place - 1].isdigit() == text[place].isdigit()
