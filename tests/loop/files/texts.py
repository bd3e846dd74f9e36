"""Texts and spans as people have them: many scripts, line ends, joiners, combining marks."""

from __future__ import annotations

from hypothesis import strategies as st

from ner.spans import Span, trim_whitespace

_PIECES = (
    *("Anna", "Berg", "node.js", "10GB", "3.14", "don't", "foo_bar", "a-b", "#", "-DOCSTART-", "O'Neil", '"', "\\"),
    *(" ", "  ", "\t", "\n", "\r\n", "\r", "\u00a0", "\u2028", "\u0085", "\x1c", "\x0b"),
    *("東京", "ラーメン", "서울에서", "กำไทย", "ကမ္ဘာ", "ភាសា", "ㄅㄆ"),
    *("مرحبا", "گل\u200cها", "\u0600", "שָׁלוֹם", "क्षि", "e\u0301", "\u0301", "Z\u0351\u036b\u0343"),
    *("😀", "👩‍👩‍👧", "🇦🇹🇩🇪", "1️⃣", "👍🏽", "\u200b", "\u00ad", "\u2066", "\ufeff", "\x01", "\x7f"),
)


def texts() -> st.SearchStrategy[str]:
    """Texts that a store takes: never blank, without U+0000 and lone surrogates."""
    anything = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=3)
    piece = st.sampled_from(_PIECES) | anything
    return st.lists(piece, min_size=1, max_size=8).map("".join).filter(lambda text: not text.isspace())


@st.composite
def labelled(draw: st.DrawFn, labels: tuple[str, ...] = ("PER", "ORG")) -> tuple[str, tuple[Span, ...]]:
    """A text with spans as the store holds them: trimmed, in text order, without overlaps."""
    text = draw(texts())
    borders = sorted(draw(st.lists(st.integers(0, len(text)), max_size=8)))
    trimmed = [trim_whitespace(text, a, b) for a, b in zip(borders[::2], borders[1::2], strict=False)]
    return text, tuple(Span(a, b, draw(st.sampled_from(labels))) for a, b in trimmed if a < b)
