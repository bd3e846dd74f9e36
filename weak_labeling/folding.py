"""Texts and terms in the form in which they are compared, and the way back to the offsets of the text.

`marked` folds a text as far as any rule may want, and puts a mark on each border of a token: a term stands in a text
as whole tokens exactly where its marked form is a substring. `written` says what a stricter rule compares.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate

# They open and close each token of a marked text, and stand nowhere else in one.
OPENS, CLOSES = "\x01", "\x02"
_SIGN = f"{CLOSES}{OPENS}{{}}{CLOSES}{OPENS}"
_GAP = re.compile(r"\s{2,}|[^\S ]")

# Canonical combining classes that change what a letter is, not how it is accented: none, and the iota below.
_LETTERS = (0, 240)
_DASHES = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2212"), "-")
_QUOTES = dict.fromkeys(map(ord, "\u2018\u2019\u201b"), "'")
_UNSEEN = dict.fromkeys(
    (
        0xAD,
        0x200B,
        0x200E,
        0x200F,
        0x61C,
        0x2060,
        0xFEFF,
        *range(0x202A, 0x202F),
        *range(0x2066, 0x206A),
        0xFE0E,
        0xFE0F,
    )
)
_TYPOGRAPHY: dict[int, str | None] = {**_DASHES, **_QUOTES, **_UNSEEN}
# From this length on, the marks of a text are not counted anew for each place.
_LONG = 2000
_JOINER = "\u200d"
_SKIN_TONES = range(0x1F3FB, 0x1F400)
# Scripts without spaces between words, whose every character is a token: Thai to Myanmar, Khmer, kana, Han.
_UNSPACED = (
    range(0xE00, 0xF00),
    range(0x1000, 0x10A0),
    range(0x1780, 0x1800),
    range(0x3005, 0x3008),
    range(0x3041, 0x30A0),
    range(0x3400, 0x4DC0),
    range(0x4E00, 0xA000),
    range(0xF900, 0xFB00),
    range(0x20000, 0x32000),
)


@dataclass(frozen=True)
class MarkedText:
    """`marked`: the folded text with its marks. `gaps`: (place in the squeezed text, start, end) of each white space
    of `text` that is more than one blank.
    """

    text: str
    squeezed: str
    marked: str
    gaps: tuple[tuple[int, int, int], ...]

    def place(self, start: int, end: int) -> tuple[int, int] | None:
        """The place in the text of `marked[start:end]`, which goes from an opening mark to a closing one.

        Half-open code points. None where a joiner or a skin tone binds the place to its neighbour: a part of an emoji
        is another thing than the emoji.
        """
        first, last = self._index(start + 1), self._index(end - 2)
        first, end = self._unsqueezed(first), self._unsqueezed(last) + 1
        while end < len(self.text) and unicodedata.category(self.text[end])[0] == "M":
            end += 1
        if self.text[first - 1 : first] == _JOINER or (end < len(self.text) and _binds(self.text[end])):
            return None
        return first, end

    def _index(self, position: int) -> int:
        """The place in the squeezed text of the character that gave `marked[position]`, no mark."""
        if self._starts is not None:
            return bisect_right(self._starts, position) - 1
        return position - self.marked.count(OPENS, 0, position) - self.marked.count(CLOSES, 0, position)

    @cached_property
    def _starts(self) -> list[int] | None:
        """Where the form of each character of the squeezed text begins; None where counting the marks is faster."""
        if self.squeezed.isascii() and len(self.squeezed) < _LONG:
            return None
        return list(accumulate((len(_FORMS[ord(character)]) for character in self.squeezed[:-1]), initial=1))

    def _unsqueezed(self, index: int) -> int:
        behind = bisect_left(self.gaps, (index, 0, 0))
        if not behind:
            return index
        place, _, end = self.gaps[behind - 1]
        return end + index - place - 1


# Several gazetteers read one text after the other: it is folded once.
@lru_cache(maxsize=2)
def marked(text: str) -> MarkedText:
    """The text as gazetteers search it. White space is a blank, or a line feed where it holds a blank line."""
    squeezed, gaps = _squeezed(text)
    return MarkedText(text, squeezed, f"{OPENS}{squeezed.translate(_FORMS)}{CLOSES}", gaps)


def marked_term(term: str) -> str:
    """What `marked` makes of the term wherever it stands in a text; "" for a term without a character that shows."""
    form = f"{OPENS}{_squeezed(term.strip())[0].translate(_FORMS)}{CLOSES}"
    empty = OPENS + CLOSES
    while form.startswith(empty):
        form = form[len(empty) :]
    return form.removesuffix(empty)


def written(text: str, *, accents: bool = True) -> str:
    """The text without what nobody means: composed, white space as a blank, dashes and quotes as typewriters have them,
    characters that do not show left out; without accents, if wanted. Case is kept.
    """
    squeezed = _squeezed(text)[0]
    if squeezed.isascii():
        return squeezed
    plain = squeezed.translate(_TYPOGRAPHY)
    if not accents:
        plain = "".join(c for c in unicodedata.normalize("NFD", plain) if unicodedata.combining(c) in _LETTERS)
    return unicodedata.normalize("NFC", plain)


def _squeezed(text: str) -> tuple[str, tuple[tuple[int, int, int], ...]]:
    if not _GAP.search(text):
        return text, ()
    pieces: list[str] = []
    gaps: list[tuple[int, int, int]] = []
    end = length = 0
    for match in _GAP.finditer(text):
        pieces += text[end : match.start()], "\n" if match.group().count("\n") > 1 else " "
        length += match.start() - end
        gaps.append((length, match.start(), match.end()))
        end, length = match.end(), length + 1
    return "".join((*pieces, text[end:])), tuple(gaps)


def _binds(character: str) -> bool:
    return character == _JOINER or ord(character) in _SKIN_TONES


class _Forms(dict[int, str]):
    """What each code point becomes in a marked text, worked out when it is first met."""

    def __missing__(self, code: int) -> str:
        self[code] = form = _form(chr(code))
        return form


_FORMS = _Forms()


def _form(character: str) -> str:
    if character in " \n":
        return f"{CLOSES}{character}{OPENS}"
    folded = "".join(
        part
        for part in unicodedata.normalize("NFD", unicodedata.normalize("NFD", character).casefold())
        if unicodedata.category(part)[0] != "M"
    ).translate(_TYPOGRAPHY)
    if not folded or character == _JOINER:
        return ""
    if unicodedata.category(folded[0]) == "Cs" or folded in (OPENS, CLOSES):
        return _SIGN.format("\ufffd")
    return folded if _in_word(folded[0]) else _SIGN.format(folded)


def _in_word(character: str) -> bool:
    """Whether a token may go on before and behind it."""
    unspaced = any(ord(character) in script for script in _UNSPACED)
    return not unspaced and (character == "_" or unicodedata.category(character)[0] in "LN")
