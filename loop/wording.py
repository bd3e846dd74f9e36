"""How figures, times and foreign texts are written for people: in reports, in decisions and on a terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from datetime import datetime

NOTHING = "–"
DEFAULT_REASON = "asked for on the command line"  # of a rollback; its report does not repeat this
# Marks that change the direction of the text behind them. In a report they would turn the words of the report.
_DIRECTIONS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def score(value: float | None) -> str:
    """F1, precision or recall (0..1) with three decimals."""
    return NOTHING if value is None else f"{value:.3f}"


def points(value: float | None) -> str:
    """A difference of F1 (0..1) in points, signed, with a true minus."""
    if value is None:
        return NOTHING
    written = f"{100 * value:+.1f}"
    return "0.0" if written in ("+0.0", "-0.0") else written.replace("-", "−")


def size(value: float | None) -> str:
    """The size of a difference of F1 (0..1): `1 point`, `2.1 points`."""
    if value and abs(value) < 0.0005:
        return "less than 0.1 points"
    written = NOTHING if value is None else f"{100 * abs(value):.1f}".removesuffix(".0")
    return f"{written} point" if written == "1" else f"{written} points"


def interval(low: float | None, high: float | None) -> str:
    """`+0.4 to +2.1`, in points."""
    return NOTHING if low is None or high is None else f"{points(low)} to {points(high)}"


def whole(value: float | None) -> str:
    """A count, with commas between the thousands."""
    return NOTHING if value is None else f"{value:,.0f}"


def quantity(value: float | None, unit: str = "") -> str:
    """A measured figure with three significant digits."""
    if value is None:
        return NOTHING
    written = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{written} {unit}".rstrip()


def chance(value: float | None) -> str:
    """A p-value or an alpha: at most two significant digits, never 0."""
    if value is None:
        return NOTHING
    return (
        "< 0.0001" if 0 < value < 0.0001 else f"{value:.4f}".rstrip("0").rstrip(".") if value < 0.01 else f"{value:.3g}"
    )


def probability(value: float | None) -> str:
    """A probability in percent. A probability that is not certain is never written as 0 or 100 %."""
    if value is None:
        return NOTHING
    if 0 < value < 0.001 or 0.999 < value < 1:
        return "under 0.1 %" if value < 0.5 else "over 99.9 %"
    return f"{100 * value:.1f} %" if 0 < value < 0.01 or 0.99 < value < 1 else f"{100 * value:.0f} %"


def share(value: float | None) -> str:
    """A share (0..1) in percent."""
    return NOTHING if value is None else f"{100 * value:.4g} %"


def duration(seconds: float | None) -> str:
    """`42 s`, `3 min 05 s`, `1 h 07 min`."""
    if seconds is None:
        return NOTHING
    whole_seconds = round(seconds)
    if whole_seconds < 60:
        return f"{whole_seconds} s" if seconds >= 1 else f"{seconds:.1f} s"
    minutes, rest = divmod(whole_seconds, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def moment(at: datetime | None) -> str:
    """A time as `2026-11-21 09:30 UTC`."""
    return NOTHING if at is None else f"{at:%Y-%m-%d %H:%M %Z}".rstrip()


def value(thing: object) -> str:
    """A setting or a fact, as people read it."""
    if thing is None or thing == "":
        return NOTHING
    if isinstance(thing, bool):
        return "yes" if thing else "no"
    if isinstance(thing, float):
        return f"{thing:g}"
    if isinstance(thing, Mapping):
        return ", ".join(f"{key} {value(item)}" for key, item in thing.items()) or NOTHING
    if isinstance(thing, Sequence) and not isinstance(thing, str):
        return ", ".join(map(value, thing)) or NOTHING
    return str(thing)


def number_of(count: int, one: str, more: str | None = None) -> str:
    """`1 look`, `2 looks`."""
    return f"{count:,} {one if count == 1 else more or one + 's'}"


def documents_of(documents: int, texts: int, what: str = "document") -> str:
    """`450 documents (2,963 texts)`; just `450 documents` where each document is one text."""
    counted = number_of(documents or texts, what)
    return counted if documents in (0, texts) else f"{counted} ({number_of(texts, 'text')})"


def listed(names: Sequence[str], most: int = 6) -> str:
    """`A, B and C`; of more than `most` names the first ones, and how many more there are."""
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most:,} more"
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def visible(text: str) -> str:
    """The text on one line. Control characters and marks of direction are written out."""
    return "".join(_visible(sign) for sign in text)


def shortened(text: str, most: int) -> str:
    """At most `most` characters; a text that is cut ends with its full length."""
    return text if len(text) <= most else f"{text[: most - 1]}… ({len(text):,} characters)"


def _visible(sign: str) -> str:
    if sign in ("\n", "\u2028", "\u2029", "\x85"):
        return " ⏎ "
    if sign in _DIRECTIONS:
        return f"\\u{ord(sign):04x}"
    category = unicodedata.category(sign)
    if category == "Cc":
        return f"\\x{ord(sign):02x}"
    return "\N{REPLACEMENT CHARACTER}" if category == "Cs" else sign
