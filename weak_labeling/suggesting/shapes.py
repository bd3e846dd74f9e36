r"""What spans look like: their digits, letters and signs as parts of a regular expression.

"G.O. 95" looks like `G\.O\. \d+`, "10.0.19045" like `\d+(?:\.\d+)+`, and "Rose" like `\p{Lu}\p{Ll}+`. A shape may have
a hole for its first or last word, or for the word beside it: such a shape is tried with all words that labelled spans
have there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import regex

Slot = Literal["", "first", "last", "before", "after"]

_PIECE = regex.compile(r"\p{L}[\p{L}\p{M}]*|\d+|\s+|.")
_MIXED_PIECE = regex.compile(r"[\p{L}\p{M}\d]+|\s+|.")
_MOST_PIECES, _LONGEST = 15, 60
_LEFT = regex.compile(r"(\p{L}[\w'’-]{0,30})[^\S\n]?([^\w\s]{0,2})[^\S\n]*\Z")
_RIGHT = regex.compile(r"[^\S\n]*(\p{L}[\w'’-]{0,30})")
# How far before a span its left neighbour is looked for.
_REACH = 40


@dataclass(frozen=True, order=True)
class Shape:
    """A regular expression; with the slot "first" or "last" a word stands before or behind it and belongs to the span,
    with "before" or "after" a word stands beside the span.
    """

    expression: str
    slot: Slot = ""
    left: str = ""
    right: str = ""

    def pattern(self, words: Sequence[str]) -> str:
        """The expression with these words in the hole that is part of the span, and its edges."""
        inside = any_of(words) if self.slot in ("first", "last") else ""
        body = f"{inside}{self.expression}" if self.slot == "first" else f"{self.expression}{inside}"
        return f"{self.left}{body}{self.right}"


def any_of(words: Sequence[str]) -> str:
    """An expression for one of the words, the longest first."""
    escaped = [regex.escape(word, special_only=True) for word in sorted(words, key=lambda word: (-len(word), word))]
    return escaped[0] if len(escaped) == 1 else f"(?:{'|'.join(escaped)})"


def shapes_of(text: str, start: int, end: int) -> Iterator[tuple[Shape, str]]:
    """Each (shape, word of its hole) of the span; shapes that say too little are left out."""
    span = text[start:end]
    if len(span) > _LONGEST or "\n" in span:
        return
    around: tuple[tuple[Slot, str], ...] = (("before", word_before(text, start)), ("after", word_after(text, end)))
    for pieces, classes in _readings(span):
        edges = _edge(pieces[0], left=True), _edge(pieces[-1], left=False)
        for expression in _expressions(pieces, classes):
            if _says_something(pieces):
                yield Shape(expression, "", *edges), ""
            for slot, word in around:
                if word:
                    yield Shape(expression, slot, *edges), word
        yield from _with_words(pieces, classes, edges)


def word_before(text: str, start: int) -> str:
    """The word right before a place, casefolded, with up to two signs behind it; "" where there is none."""
    match = _LEFT.search(text, max(0, start - _REACH), start)
    return f"{match[1].casefold()}{match[2]}" if match else ""


def word_after(text: str, end: int) -> str:
    """The word right behind a place, casefolded; "" where there is none."""
    match = _RIGHT.match(text, end)
    return match[1].casefold() if match else ""


def _readings(span: str) -> Iterator[tuple[list[str], list[str]]]:
    """The pieces of the span with the class of each.

    Numbers are of any length, then of their length; last, words with digits in them are one piece.
    """
    pieces = _PIECE.findall(span)
    if len(pieces) <= _MOST_PIECES:
        yield pieces, [_class(piece) for piece in pieces]
        if any(piece.isdecimal() and len(piece) > 1 for piece in pieces):
            yield pieces, [f"\\d{{{len(piece)}}}" if piece.isdecimal() else _class(piece) for piece in pieces]
    mixed = _MIXED_PIECE.findall(span)
    if len(mixed) <= _MOST_PIECES and any(_is_mixed(piece) for piece in mixed):
        yield mixed, [_mixed_class(piece) if _is_mixed(piece) else _class(piece) for piece in mixed]


def _expressions(pieces: Sequence[str], classes: Sequence[str]) -> Iterator[str]:
    """All pieces as classes, and all but the words."""
    yield from _repeated(classes)
    if any(piece[0].isalpha() for piece in pieces) and any(map(_has_digit, pieces)):
        yield from _repeated(
            [given if _has_digit(piece) else _literal(piece) for piece, given in zip(pieces, classes, strict=True)]
        )


def _with_words(pieces: Sequence[str], classes: Sequence[str], edges: tuple[str, str]) -> Iterator[tuple[Shape, str]]:
    """The first word, or the last, is a hole."""
    blanks = [place for place, piece in enumerate(pieces) if piece.isspace()]
    first = blanks[0] if blanks else 1
    last = blanks[-1] + 1 if blanks else len(pieces) - 1
    if 0 < first < len(pieces) and any(map(str.isalpha, pieces[0])):
        for expression in _repeated(classes[first:]):
            yield Shape(expression, "first", *edges), "".join(pieces[:first])
    if 0 < last < len(pieces) and any(map(str.isalpha, pieces[-1])):
        for expression in _repeated(classes[:last]):
            yield Shape(expression, "last", *edges), "".join(pieces[last:])


def _repeated(parts: Sequence[str]) -> Iterator[str]:
    """The parts in a row; then, where a part and a sign come again and again, once or more and any number of times."""
    yield "".join(parts)
    for times in "+*":
        made, place = [], 0
        while place < len(parts):
            more = place
            while _is_class(parts[place]) and parts[more + 1 : more + 3] == [
                *parts[place + 1 : place + 2],
                parts[place],
            ]:
                more += 2
            made.append(parts[place] if more == place else f"{parts[place]}(?:{parts[place + 1]}{parts[place]}){times}")
            place = more + 1
        if len(made) < len(parts):
            yield "".join(made)


def _class(piece: str) -> str:
    if piece.isdecimal():
        return r"\d+"
    if not piece[0].isalpha():
        return _literal(piece)
    if piece.isupper():
        return r"\p{Lu}+"
    if piece.islower():
        return r"\p{Ll}+"
    return r"\p{Lu}\p{Ll}+" if piece.istitle() else r"\p{L}+"


def _is_class(part: str) -> bool:
    return part.startswith((r"\p", r"\d", "(?="))


def _literal(piece: str) -> str:
    return " " if piece.isspace() else regex.escape(piece, special_only=True)


def _mixed_class(piece: str) -> str:
    letters = r"\p{Lu}" if piece.upper() == piece else r"\p{L}"
    return rf"(?={letters}{{0,20}}\d)[{letters}\d]+"


def _is_mixed(piece: str) -> bool:
    return any(map(str.isdecimal, piece)) and any(map(str.isalpha, piece))


def _has_digit(piece: str) -> bool:
    return any(map(str.isdecimal, piece))


def _says_something(pieces: Sequence[str]) -> bool:
    """Small words alone are like any other words."""
    return any(piece[0].isdecimal() or (not piece.islower() and not piece.isspace()) for piece in pieces)


def _edge(piece: str, *, left: bool) -> str:
    """What must not go on beside the first or last piece: a word, or a number."""
    if _has_digit(piece):
        return r"(?<![\w.,-])" if left else r"(?![\w-]|[.,]\d)"
    if piece[0].isalpha():
        return r"\b"
    return ""
