"""What looks wrong in a text or a span that can be read: signs of slipped offsets, columns, and encodings.

A suspicion is shown and changes nothing: a name may hold a comma, and a text may speak of encodings.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator

from loop.files.words import cut_words
from ner.spans import Span

CUT_WORDS = "spans that begin or end inside a word"
INCLUSIVE_ENDS = "spans that end one character before a word does: do the ends of the file count inclusively?"
TWICE = "texts that stand in the file twice, with different entities"
DIFFERING = "texts whose annotations differ (ground truth decides, else the latest)"
MARKS_ALONE = "spans of punctuation marks alone"
MARK_AT_END = "spans that begin or end with a mark, such as a comma"
MISDECODED = "UTF-8 that was read as Latin-1"
LOST_CHARACTERS = "characters that another encoding could not hold"
TAGS_IN_TEXT = "tags among the words of a text"
ONE_WORD = "texts of one word again and again"
NUMBER_ALONE = "texts that are a number alone"
UNREAD_NUMBERS = "spans with numbers that are not read"
SUSPICIONS = (
    *(CUT_WORDS, INCLUSIVE_ENDS, MARKS_ALONE, MARK_AT_END, MISDECODED, LOST_CHARACTERS),
    *(TAGS_IN_TEXT, ONE_WORD, NUMBER_ALONE),
)
"""All that `suspicions` may find; the other names above are for a whole file, or for a region as it stands there."""

_ENCODINGS = ("cp1252", "latin-1")
# What the two encodings make of the bytes of UTF-8: one that begins a character, and one to three that follow it.
_HIGH = "\u0080-\u00ff\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0192\u02c6\u02dc\u2013-\u203a\u20ac\u2122"
_FOLLOWING = "\u0080-\u00bf\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0192\u02c6\u02dc\u2013-\u203a\u20ac\u2122\ufffd"
_SEQUENCE = re.compile(
    rf"[\u00c2-\u00df][{_FOLLOWING}]|[\u00e0-\u00ef][{_FOLLOWING}]{{2}}|[\u00f0-\u00f4][{_FOLLOWING}]{{3}}"
)
_HIGH_CHARACTER = re.compile(f"[{_HIGH}\ufffd]")
_MOSTLY = 0.75
# A letter that became a question mark stands in a word; not in an address, where a question begins so.
_QUESTION_MARK = re.compile(r"(?<!\S)(?!\S*[/=&])(?:\?+[^\W\d_]|\S*[^\W\d_]\?+[^\W\d_])|\?{3,}(?= \?{2,})")
_TAG = re.compile(r"(?<!\S)[BILU]-[A-Z]{2,}(?!\S)")
_OFTEN = 4
_AROUND = 8
_NO_BEGIN, _NO_END = frozenset(",;:!?)]}»”"), frozenset(",;:([{«„")


def suspicions(text: str, spans: Iterable[Span] = ()) -> Iterator[tuple[str, str]]:
    """(what looks wrong, the words where it does) of a text and its spans, each suspicion once."""
    if not text.isascii() and (found := _misdecoded(text)):
        yield MISDECODED, found
    if (lost := text.find("\ufffd")) >= 0:
        yield LOST_CHARACTERS, _shown(text, lost, lost + 1)
    elif "?" in text and (match := _QUESTION_MARK.search(text)) is not None:
        yield LOST_CHARACTERS, _shown(text, match.end() - 1, match.end())
    if "-" in text and (match := _TAG.search(text)) is not None:
        yield TAGS_IN_TEXT, _shown(text, match.start(), match.end())
    if text.strip().isdecimal():
        yield NUMBER_ALONE, _shown(text, 0, len(text))
    words = text.split(maxsplit=_OFTEN)
    if len(words) >= _OFTEN and len(set(words[:_OFTEN])) == 1 and len(set(text.split())) == 1:
        yield ONE_WORD, _shown(text, 0, len(words[0]))
    yield from _of_spans(text, list(spans))


def _of_spans(text: str, spans: list[Span]) -> Iterator[tuple[str, str]]:
    if not spans:
        return
    cut = cut_words(text, spans)
    longer = [Span(span.start, span.end + 1, span.label) for span in cut if span.end < len(text)]
    inclusive = len(longer) == len(cut) and not cut_words(text, longer)
    for what, slipped in (
        (INCLUSIVE_ENDS if inclusive else CUT_WORDS, cut),
        (MARKS_ALONE, [span for span in spans if _is_marks(text[span.start : span.end])]),
        (MARK_AT_END, [span for span in spans if text[span.start] in _NO_BEGIN or text[span.end - 1] in _NO_END]),
    ):
        if slipped:
            first = slipped[0]
            yield what, f"{text[first.start : first.end]!r} in {_shown(text, first.start, first.end)}"


def _shown(text: str, start: int, end: int) -> str:
    return repr(text[max(0, start - _AROUND) : end + _AROUND])


def _is_marks(words: str) -> bool:
    return not words[0].isalnum() and all(c.isspace() or unicodedata.category(c).startswith("P") for c in words)


def _misdecoded(text: str) -> str:
    """Where a text reads such as "MÃ¼ller"; empty where it does not.

    The whole text is UTF-8 when its characters are taken for bytes, or most of its high characters are such sequences.
    A single sequence in a text with other high characters may be meant: "«CAFÉ»".
    """
    first = _SEQUENCE.search(text)
    if first is None:
        return ""
    sequences = sum(len(match[0]) for match in _SEQUENCE.finditer(text))
    if sequences >= _MOSTLY * len(_HIGH_CHARACTER.findall(text)) or any(_is_utf8(text, one) for one in _ENCODINGS):
        return _shown(text, first.start(), first.end())
    return ""


def _is_utf8(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding).decode("utf-8")
    except UnicodeError:
        return False
    return True
