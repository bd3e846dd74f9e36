"""The tokens of a text, by a rule that knows nothing but the text; the places of given tokens, and entities over them.

Offsets are half-open and count code points.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import regex

from ner.errors import InputError
from ner.spans import Span

Token = tuple[int, int]
"""(start, end) of a token in its text."""


class Entity(NamedTuple):
    """The tokens `first` to `behind` (half-open) are an entity of type `label`."""

    first: int
    behind: int
    label: str


# Scripts that set no space between words, and Hangul, where a space parts words but names take their particles without
# one: KLUE-NER tags the syllables of Korean for that reason (Park et al., "KLUE", NeurIPS Datasets 2021).
_UNSPACED: Final = (
    *("Han", "Hiragana", "Katakana", "Bopomofo", "Yi", "Hangul", "Thai", "Lao", "Khmer", "Myanmar"),
    *("Tai_Le", "New_Tai_Lue", "Tai_Tham", "Tai_Viet", "Ahom", "Javanese", "Balinese"),
)
_BY_CHARACTER: Final = "".join(rf"\p{{scx={script}}}" for script in _UNSPACED)
# Without Hangul. A mark such as the ideographic full stop belongs to Han and to other scripts, too.
_OF_UNSPACED: Final = regex.compile(
    "[" + "".join(rf"\p{{scx={script}}}" for script in _UNSPACED if script != "Hangul") + "]", regex.UNICODE
)
_LETTER: Final = rf"[[\p{{L}}\p{{N}}]--[{_BY_CHARACTER}]]"
# The search for clusters takes time, and ASCII before ASCII does not need it.
_WORD: Final = rf"(?:(?>[A-Za-z0-9]+(?=[\x00-\x7f]|\Z))|(?=\p{{GCB=Prepend}}*+{_LETTER})\X)++"
# A soft hyphen or a direction mark stands inside a word; a zero-width space parts two words.
_INVISIBLE: Final = r"[\p{Cf}--\u200b]++"
# What `str.isspace` calls white space.
_SPACE: Final = r"[\s\x1c-\x1f]"
# A prepended sign (such as U+0600) forms a cluster with the character behind it; white space must not be a part of it.
_PREPENDED: Final = rf"\p{{GCB=Prepend}}++(?={_SPACE})"
_TOKEN: Final = regex.compile(
    rf"(?!{_SPACE})(?:{_WORD}(?:{_INVISIBLE}{_WORD})*+|{_PREPENDED}|\X)", regex.VERSION1 | regex.UNICODE
)


def tokens_of(text: str) -> list[Token]:
    """The tokens of a text in order. Every character but white space is in one token; none holds white space.

    A token is a run of letters and digits, or one character of any other kind, such as a punctuation mark. In scripts
    without spaces each character is a token. A character is a grapheme cluster: combining marks, and emoji tied by
    joiners, stay with their base (Unicode Standard Annex 29).
    """
    return [match.span() for match in _TOKEN.finditer(text)]


def cut_words(text: str, spans: Iterable[Span]) -> list[Span]:
    """The spans that begin or end inside a token of the text. An offset that slipped often makes such a span."""
    # White space parts tokens, so that most spans are known to be good before the tokens are found, which takes time.
    spans = [span for span in spans if not _is_between_spaces(text, span)]
    tokens = tokens_of(text) if spans else ()
    starts, ends = {start for start, _ in tokens}, {end for _, end in tokens}
    return [span for span in spans if span.start not in starts or span.end not in ends]


def _is_between_spaces(text: str, span: Span) -> bool:
    before, first = text[span.start - 1 : span.start], text[span.start]
    last, behind = text[span.end - 1], text[span.end : span.end + 1]
    return (
        not (first.isspace() or last.isspace())
        and (not before or before.isspace())
        and (not behind or behind.isspace())
    )


def place_tokens(text: str, tokens: Iterable[str]) -> list[Token]:
    """Where each of these tokens, in this order, stands in the text: the next one begins where white space ends.

    Raises InputError when a token does not stand there, or when the text holds more than the tokens.
    """
    placed: list[Token] = []
    position = 0
    for token in tokens:
        start = _behind_space(text, position)
        position = start + len(token)
        if not token or text[start:position] != token:
            raise _misplaced(f"{text[start : start + max(len(token), 1)]!r} in the place of {token!r}")
        placed.append((start, position))
    rest = text[_behind_space(text, position) :]
    if rest:
        raise _misplaced(f"{rest[:40]!r} behind the last token")
    return placed


def joined_tokens(tokens: Sequence[str], *, by_script: bool = True) -> tuple[str, list[Token]]:
    """The text that these tokens make, and the place of each: one space parts two tokens.

    by_script: no space stands between two tokens where both neighbouring characters are of scripts without spaces.
    """
    pieces: list[str] = []
    places: list[Token] = []
    position, last = 0, ""
    for token in tokens:
        if pieces and not (by_script and is_unspaced(last) and is_unspaced(token[:1])):
            pieces.append(" ")
            position += 1
        pieces.append(token)
        places.append((position, position + len(token)))
        position, last = position + len(token), token[-1:]
    return "".join(pieces), places


def is_unspaced(text: str) -> bool:
    """Whether a character of the text is of a script that sets no space between words, such as Han, kana or Thai."""
    return not text.isascii() and _OF_UNSPACED.search(text) is not None


JOINED_SAID = "Tokens of scripts without spaces, such as Chinese and Thai, are joined without a space between them."


def _behind_space(text: str, position: int) -> int:
    while position < len(text) and text[position].isspace():
        position += 1
    return position


def _misplaced(found: str) -> InputError:
    return InputError(
        "a text is its tokens with nothing but white space between them",
        value=found,
        next_step="Correct the text or the tokens, or remove the text: its tokens are then joined by one space.",
    )
